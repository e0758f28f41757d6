"""`.env` in the encodings that editors write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from codeq.config.environment import load_env_file, where_set
from tests.config.texts import PLAIN, load

TEXT = "CODEQ_A=1\r\n# für später\r\nCODEQ_B='é x'\r\n"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_every_encoding_of_an_editor_is_read(encoding: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_bytes(TEXT.encode(encoding))
    load_env_file()
    assert os.environ["CODEQ_A"] == "1"
    raw = "é x".encode("latin-1") if encoding == "latin-1" else "é x".encode()
    assert os.fsencode(os.environ["CODEQ_B"]) == raw
    assert capfd.readouterr() == ("", "")


def test_the_environment_wins_over_the_file() -> None:
    os.environ["CODEQ_A"] = "2"
    Path(".env").write_text(TEXT)
    load_env_file()
    assert os.environ["CODEQ_A"] == "2"


def test_paths_of_a_template_may_use_its_variables(folder: Path) -> None:
    Path(".env").write_text("CODEQ_DISK=/mnt/disk\n")
    load_env_file()
    assert load(f"{PLAIN}data_dir: $CODEQ_DISK/data\n").run_config().data_dir == "/mnt/disk/data"


def test_a_file_that_cannot_be_read_is_told_in_one_line_and_ignored(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_bytes(b"CODEQ_A=1\n" + "CODEQ_B=2\n".encode("utf-16-le"))  # as PowerShell's >> appends
    load_env_file()
    assert "CODEQ_A" not in os.environ
    reason = "ignored with all its variables: holds null characters; save it as UTF-8"
    assert capsys.readouterr().err == f".env:2: {reason}\n"

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    load_env_file()
    assert capsys.readouterr().err == ".env: ignored: Permission denied\n"


def test_a_line_that_sets_nothing_is_told_and_the_others_are_read(capfd: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("CODEQ_A\n\n= 3\nCODEQ_B=2\n")
    load_env_file()
    assert os.environ["CODEQ_B"] == "2" and "CODEQ_A" not in os.environ
    assert capfd.readouterr().err.splitlines() == [
        ".env:1: ignored: must be NAME=VALUE",
        ".env:3: ignored: must be NAME=VALUE",
    ]


def test_a_variable_is_known_by_its_line_unless_the_environment_has_it() -> None:
    os.environ["CODEQ_B"] = "2"
    Path(".env").write_text(TEXT)
    load_env_file()
    assert (where_set("CODEQ_A"), where_set("CODEQ_B"), where_set("CODEQ_C")) == (".env:1", *["environment"] * 2)
    Path(".env").write_text("# key\n\n\nexport CODEQ_C=3\nCODEQ_D=4\n")
    load_env_file()
    assert (where_set("CODEQ_C"), where_set("CODEQ_D"), where_set("CODEQ_A")) == (".env:4", ".env:5", "environment")


def test_without_a_file_nothing_happens() -> None:
    Path(".env").mkdir()
    before = dict(os.environ)
    load_env_file()
    assert dict(os.environ) == before
