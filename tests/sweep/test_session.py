"""What a session leaves of itself in the process."""

from __future__ import annotations

import os

import pytest

from codeq.sweep.session import _environment


@pytest.mark.parametrize("before", [None, "3"])
def test_what_packs_tell_tune_ends_with_their_sweep(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later sweep without packs would ask for all its trials at once, and its search would learn nothing."""
    name = "TUNE_MAX_PENDING_TRIALS_PG"
    monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv(name, before)
    with pytest.raises(KeyboardInterrupt), _environment({name: "240"}):
        assert os.environ[name] == "240"
        raise KeyboardInterrupt
    assert os.environ.get(name) == before
