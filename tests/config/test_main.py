"""`python -m codeq.config`: exit codes, one line per problem, no torch, no Ray, no waiting."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codeq.config.__main__ import main
from codeq.config.json_schema import schema_text
from tests.config.texts import PLAIN, edited

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def files(folder: Path) -> dict[str, Path]:
    """A good and a bad template."""
    texts = {"good": PLAIN, "bad": edited(("epochs: 10", "epochs: 0"), ("max_bits", "max_bit"))}
    paths = {name: folder / f"{name}.yaml" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    return paths


def test_good_files_are_passed_in_silence(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "good.yaml", "good.yaml"]) == 0
    assert capsys.readouterr() == ("", "")


def test_problems_of_all_files_are_printed_one_a_line(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "bad.yaml", "good.yaml", "nothing.yaml"]) == 2
    assert capsys.readouterr() == (
        "",
        "bad.yaml:2: epochs: is 0, must be greater than or equal to 1\n"
        "bad.yaml:5: quantizer.kwargs.max_bit: unknown key; did you mean max_bits?\n"
        "nothing.yaml: cannot be read: No such file or directory\n",
    )


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()


@pytest.mark.parametrize("arguments", [[], ["check"], ["nothing"], ["check", "--nothing"]])
def test_a_bad_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_real_process_ends_with_the_exit_code_and_no_traceback(files: dict[str, Path], run_python: Run) -> None:
    assert run_python("-m", "codeq.config", "check", files["good"]).returncode == 0
    done = run_python("-m", "codeq.config", "check", files["bad"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == f"{files['bad']}:2: epochs: is 0, must be greater than or equal to 1"
    assert "Traceback" not in done.stderr


def test_checking_imports_no_torch_and_no_ray(files: dict[str, Path], run_python: Run) -> None:
    code = (
        "import sys, codeq.config; from codeq.config.__main__ import main; "
        f"assert main(['check', {str(files['good'])!r}]) == 0; "
        "heavy = {'torch', 'torchvision', 'timm', 'ray', 'optuna', 'numpy', 'sklearn', 'wandb'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
