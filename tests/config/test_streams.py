"""What a command prints: for readers that go away, and for terminals with few characters."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codeq.config.streams import SPELL, spell
from tests.conftest import ROOT
from tests.terminals import InTerminal

Run = Callable[..., subprocess.CompletedProcess[str]]

CHATTER = """
import logging, sys
from codeq.config.streams import prepare_streams
prepare_streams()
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
for number in range(500):
    print("a line of some length", number, flush=number % 2 == 0)
    logging.info("another %d", number)
    print("an error", number, file=sys.stderr)
sys.exit(7)
"""


def run_without_reader(*arguments: object) -> tuple[int, str]:
    """The exit code of this Python and its standard error, where nobody reads its standard output."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.close()
    errors = process.stderr.read()
    return process.wait(60), errors


def test_a_reader_that_goes_away_ends_nothing_and_leaves_no_traceback() -> None:
    code, errors = run_without_reader("-c", CHATTER)
    assert (code, errors.splitlines()) == (7, [f"an error {number}" for number in range(500)])
    both = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{CHATTER}' 2>&1 | head -n 1; echo ${{PIPESTATUS[0]}}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (both.stdout, both.stderr) == ("a line of some length 0\n7\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ["tune_main.py", "sweeps/dz_wd.yaml", "--dry-run"],
        ["tune_main.py", "--help"],
        ["-m", "codeq.config", "schema"],
        ["-m", "codeq.train", "--help"],
    ],
    ids=" ".join,
)
def test_every_command_outlives_its_reader(command: list[str]) -> None:
    assert run_without_reader(*command) == (0, "")


@pytest.mark.parametrize(
    ("text", "encoding", "spelled"),
    [
        ("96.1 ± 0.2", "ascii", "96.1 +- 0.2"),
        ("96.1 ± 0.2", "latin-1", "96.1 ± 0.2"),
        ("96.1 ± 0.2 é", "utf-8", "96.1 ± 0.2 é"),
        ("é", "ascii", "\\xe9"),
        ("日", "latin-1", "\\u65e5"),
        ("--\udcc3\udca9", "ascii", "--\\xe9"),
        ("--\udcc3\udca9 ±", "utf-8", "--é ±"),
        ("\udcc3\udca9±", "ascii", "\\xe9+-"),
        ("caf\udce9", "utf-8", "caf\\xe9"),
        ("\ud800", "utf-8", "\\ud800"),
    ],
)
def test_what_the_terminal_cannot_spell_is_spelled_otherwise(text: str, encoding: str, spelled: str) -> None:
    assert spell(text, encoding) == spelled
    stream = io.TextIOWrapper(io.BytesIO(), encoding, SPELL)
    print(text, file=stream, flush=True)
    assert stream.buffer.getvalue().decode(encoding) == f"{spelled}\n"  # type: ignore[attr-defined]


def test_an_ascii_terminal_is_told_what_it_can_spell(run_python: Run) -> None:
    done = run_python("-c", "from codeq.config.streams import prepare_streams as p; p(); print('é ± 1')",
                      PYTHONIOENCODING="ascii")  # fmt: skip
    assert (done.stdout, done.stderr) == ("\\xe9 +- 1\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "é"], "--name: sweep.name: is '\\xe9', must be at most 64 letters"),
        (["--set", "wandb_project=é"], None),
        (["--set", "epochs=é"], "--set: epochs: is '\\xe9', must be a whole number"),
        (["--storage", "é/x"], "--storage: sweep.storage: is '\\xe9/x', which the locale's encoding, ascii, cannot"),
    ],
)  # fmt: skip
def test_a_locale_without_accents_reads_them_all_the_same(
    run_python: Run, arguments: list[str], said: str | None
) -> None:
    done = run_python("tune_main.py", "sweeps/dz_wd.yaml", "--dry-run", *arguments, LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == (2 if said else 0), done.stderr
    assert len(done.stderr.splitlines()) == (1 if said else 0)
    assert done.stderr.startswith(said or "")


def test_a_reader_of_a_pipe_sees_each_line_as_it_comes() -> None:
    code = (
        "from codeq.config.streams import prepare_streams as p; p(); print('first'); input(); print('second'); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    for line in ("first\n", "second\n"):
        assert select.select([process.stdout], [], [], 30)[0], f"{line!r} does not come before the next one"
        assert process.stdout.readline() == line
        process.stdin.write("\n")
        process.stdin.flush()
    assert process.wait(30) == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_nowhere_and_no_file_takes_its_place(tmp_path: Path, closed: str) -> None:
    """Else what a child process prints would be written into the sweep's files."""
    code = (
        "import os, sys; from codeq.config.streams import prepare_streams; prepare_streams()\n"
        f"file = open('{tmp_path}/file', 'w')\n"
        "print('one'); print('two', file=sys.stderr); sys.stdout.flush()\n"
        "os.system('echo three; echo four >&2')\n"
        "file.write('five'); file.close(); sys.exit(7)\n"
    )
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {closed}', sys.executable, code],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (tmp_path / "file").read_text() == "five"
    out, err = ("" if ">&-" in closed.split() else "one\nthree\n"), ("" if "2>&-" in closed else "two\nfour\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, out, err)


def test_a_lost_terminal_ends_nothing() -> None:
    """Its writes fail with EIO, as those to a pseudo-terminal whose other side is closed."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CHATTER], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(master)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 7
    assert b"Traceback" not in errors and b"Logging error" not in errors


def test_a_line_too_long_for_a_terminal_breaks_between_words_and_elsewhere_stays_whole() -> None:
    line = "Trials differ by at most 0.46 points, of 434 images; results/a-very-long-name-of-a-sweep/best.yaml"
    command = [sys.executable, "-c", f"from codeq.config.streams import print_wrapped; print_wrapped({line!r})"]
    terminal = InTerminal(command, columns=44)
    assert terminal.wait() == 0
    assert terminal.shown.splitlines() == [
        "Trials differ by at most 0.46 points, of 434",
        "images;",
        "results/a-very-long-name-of-a-sweep/best.yaml",
    ]
    piped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "44"})
    assert piped.stdout == line + "\n"
