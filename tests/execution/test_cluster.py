"""Ray's token belongs to its user alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeq.execution.cluster import _keep_token_private


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_a_new_token_is_readable_by_its_user_alone_whatever_the_umask(token: Path, umask: int) -> None:
    _keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(token.read_text())) == 32


def test_a_token_that_others_could_read_is_kept_and_made_private(token: Path, umask: int) -> None:
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o666)
    _keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "secret"
