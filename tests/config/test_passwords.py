"""Masked passwords of database URLs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codeq.config.passwords import is_masked, mask_password, without_mask


@pytest.mark.parametrize(
    ("url", "masked", "without"),
    [
        ("postgresql://me:s3:c@ret@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("postgresql://me:s3/c?r@t@host/db", "postgresql://me:***@host/db", "postgresql://me@host/db"),
        ("mysql://host/db?user=me&password=s3cret", "mysql://host/db?user=me&password=***", "mysql://host/db?user=me&"),
        ("mysql://host/db?PWD=s3cret&x=1", "mysql://host/db?PWD=***&x=1", "mysql://host/db?x=1"),
        ("postgresql://me@host/db", "postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/a***.db", "sqlite:////tmp/a***.db", "sqlite:////tmp/a***.db"),
    ],
)
def test_a_password_is_masked_and_a_mask_is_recognized_and_left_out(url: str, masked: str, without: str) -> None:
    assert mask_password(url) == masked == mask_password(masked)
    assert without_mask(masked) == without
    assert not is_masked(url)
    assert is_masked(masked) == (masked != url)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_passwords_on_the_command_line_are_hidden_from_other_programs(
    run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    show = (
        "import sys; from codeq.config.passwords import hide_passwords; hide_passwords(); print(sys.argv[1:]);"
        "print(open('/proc/self/cmdline').read().rstrip(chr(0)).split(chr(0))[3:])"
    )
    url = "sweep.study=postgresql://me:s3c@ret@host/db"
    done = run_python("-c", show, "é x.yaml", "--set", url, f"--set={url}", "--resume")
    masked = "sweep.study=postgresql://me:***@host/db"
    expected = ["é x.yaml", "--set", masked, f"--set={masked}", "--resume"]
    assert done.stdout == f"{expected}\n{expected}\n", done.stderr
