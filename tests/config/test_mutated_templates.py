"""Whatever happens to a template, it loads, or it is refused with a line for each problem."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings

import tune_main
from codeq.config import ConfigError, Template
from codeq.config.distributions import Choice
from codeq.config.document import MAX_BYTES
from codeq.config.dry_run import plan
from codeq.config.errors import MAX_PROBLEMS
from tests.config.mutations import ANY, REFUSED, TEMPLATES, Mutant, respelt

MAX_CPU_S = 10.0
"""Processor seconds for one file, of which none takes half a second on an idle machine."""
LINE_BREAK = re.compile(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]")
"""Where YAML begins a new line."""
MANY = settings(
    max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def check_lines(output: str, mutant: Mutant) -> None:
    """Every line names the file, or the one that it extends, with a line that it has."""
    lines = output.splitlines()
    files = {"mutant.yaml": mutant.content, **{name: text.encode() for name, text in TEMPLATES.items()}}
    assert lines and len(set(lines)) == len(lines)
    for line in lines:
        found = re.fullmatch(r"([\w.]+)(?::(\d+))?: .{5,}", line)
        assert found and found[1] in files, line
        assert line.isprintable() and len(line) < 1500, line
        if found[2]:
            assert 1 <= int(found[2]) <= len(LINE_BREAK.split(files[found[1]])), line
    if mutant.line is not None:
        assert any(line.startswith(f"mutant.yaml:{mutant.line}: ") for line in lines), (mutant.line, output)


@given(mutant=ANY)
@MANY
def test_a_changed_template_loads_or_is_refused_with_file_and_line(mutant: Mutant) -> None:
    path, began = mutant.write(), time.process_time()
    try:
        template = Template.load(path)
    except ConfigError as error:
        event("refused")
        assert not mutant.valid, str(error)
        check_lines(str(error), mutant)
    else:
        event("loaded")
        assert mutant.valid is not False, template.to_yaml()
        assert plan(template)
        Path("again.yaml").write_text(template.to_yaml(), encoding="utf-8")
        assert Template.load("again.yaml").to_yaml() == template.to_yaml()
        template.draw(lambda name, d: d.labels[0] if isinstance(d, Choice) else d.low)
    assert time.process_time() - began < MAX_CPU_S
    assert not Path("hacked").exists()


@given(mutant=respelt())
@settings(MANY, max_examples=30)
def test_a_template_in_other_characters_is_the_same_template(mutant: Mutant) -> None:
    same = Template.load(mutant.write())
    original = Template.load(mutant.template)
    assert same.tree == original.tree
    assert same.sweep.model_copy(update={"name": original.sweep.name}) == original.sweep


def refused_by_command(path: Path, *more: str) -> str:
    """What the command prints for a bad file, which is all that it does."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        assert tune_main.main([str(path), *more]) == 2
    assert output.getvalue() == ""
    return errors.getvalue()


@given(mutant=REFUSED)
@settings(MANY, max_examples=40)
def test_the_command_refuses_a_broken_template_with_one_line_per_problem(mutant: Mutant) -> None:
    began = time.process_time()
    check_lines(refused_by_command(mutant.write()), mutant)
    assert time.process_time() - began < MAX_CPU_S
    assert not Path("hacked").exists() and not Path("results").exists()


BASE = TEMPLATES["dz_wd.yaml"]
BOMBS = {
    "aliases of aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{f'*{a}, ' * 9}]\n" for a, b in pairwise("abcdefghij")),
    "60,000 aliases": "a: &a 1\nb: [" + "*a," * 60_000 + "]\n",
    "merges of merges": "".join(
        f"a{i}: &a{i}\n  <<: [{', '.join(f'*a{j}' for j in range(max(0, i - 40), i))}]\n" for i in range(1000)
    ),
    "merge keys": BASE + "<<: {epochs: 1}\n" * 15_000,
    "brackets": "[" * 200_000,
    "mappings": "{a: " * 60_000,
    "lists": "- " * 100_000,
    "indentation": "".join(" " * depth + "a:\n" for depth in range(700)),
    "long list": BASE.replace("epochs: 20", f"epochs: [{'1,' * 120_000}]"),
    "unknown keys": BASE + "".join(f"k{i}: 1\n" for i in range(25_000)),
    "long text": BASE.replace("epochs: 20", f"epochs: {'x' * 200_000}"),
    "loss terms": BASE.replace("loss_terms:", "loss_terms:\n" + "".join(f"  - {{name: n{i}}}\n" for i in range(2_000))),
    "references": BASE + "".join(f"k{i}: {{same_as: k{i + 1}}}\n" for i in range(2_000)),
    "python objects": "a: [" + "!!python/object/apply:os.mkdir [hacked]," * 5_000 + "]\n",
}  # fmt: skip
MEASURED = """\
import re, sys, time
import tune_main
code = tune_main.main(sys.argv[1:])
with open("/proc/self/status") as file:
    memory_kb = re.search(r"VmHWM:\\s*(\\d+)", file.read())[1]
print(code, time.process_time(), memory_kb)
"""
"""Runs the command and prints its exit code, its processor seconds and the most memory it had, in KB."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    Path("bomb.yaml").write_text(BOMBS[name][: MAX_BYTES - 1], encoding="utf-8")
    began = time.process_time()
    lines = refused_by_command(Path("bomb.yaml")).splitlines()
    assert time.process_time() - began < MAX_CPU_S
    assert 1 <= len(lines) <= MAX_PROBLEMS + 1
    assert all(re.match(r"bomb\.yaml:\d+: .", line) for line in lines[:MAX_PROBLEMS])
    assert not Path("hacked").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, for the memory that a process had")
@pytest.mark.parametrize("name", ["aliases of aliases", "brackets", "long text", "50 MB"])
def test_a_bomb_takes_less_than_100_mb(name: str, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    path = Path("bomb.yaml").absolute()
    path.write_text("a: 1\n" * 10_000_000 if name == "50 MB" else BOMBS[name], encoding="utf-8")
    done = run_python("-c", MEASURED, path)
    code, seconds, memory_kb = done.stdout.split()
    assert (code, len(done.stderr.splitlines())) == ("2", done.stderr.count(f"{path}:")), done.stderr
    assert float(seconds) < MAX_CPU_S
    assert int(memory_kb) < 100 * 1024
