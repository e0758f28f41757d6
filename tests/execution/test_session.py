"""What a session checks before it starts Ray, and what it leaves of itself in the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.execution.session import RunOptions, Session, _preserve_sigterm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_handler_was_of_no_avail_still_ends_the_start(number: signal.Signals) -> None:
    """Ray's handler raises, and what is raised within a finalizer is printed and forgotten."""
    mine = signal.getsignal(number)
    try:
        with pytest.raises(KeyboardInterrupt) as interrupt, _preserve_sigterm():
            signal.signal(number, lambda number, frame: None)
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, mine)
    assert interrupt.value.args == (number,)


def test_a_start_without_signals_leaves_everything_as_it_was() -> None:
    mine = signal.getsignal(signal.SIGTERM)
    with _preserve_sigterm():
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.set_wakeup_fd(-1) == -1


def test_a_sweep_that_asks_for_a_missing_compiler_does_not_start(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    path = write_yaml({**tiny, "use_compile": 1})
    line = path.read_text().splitlines().index("use_compile: 1") + 1
    with pytest.raises(BadInput) as raised:
        Session(Template.load(path), RunOptions()).start()
    missing = "there is no C++ compiler no-such-compiler (Debian, Ubuntu: apt install g++)"
    assert str(raised.value) == f"{path}:{line}: use_compile: {missing}; install it, or write use_compile: auto or 0"


@pytest.mark.parametrize(
    ("device", "address", "gpus"),
    [("cuda", "10.0.0.1:6379", 1.0), ("auto", "10.0.0.1:6379", 0.0), ("cpu", "10.0.0.1:6379", 0.0), ("cuda", None, 0)],
)
def test_who_names_a_gpu_waits_for_one_on_a_cluster_that_has_none_yet(
    device: str, address: str | None, gpus: float, tiny: dict[str, Any], write_yaml: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    session = Session(Template.load(write_yaml({**tiny, "device": device})), RunOptions(address))
    session._check_resources()
    assert session.gpus == gpus
