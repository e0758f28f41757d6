"""What a session leaves of itself in the process."""

from __future__ import annotations

import os
import signal

import pytest

from codeq.execution.session import _preserve_sigterm


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
