"""SIGINT and SIGTERM: the first interrupts and everything is saved, a second ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from codeq.config.exit_codes import interrupted

NUMBERS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
_on_first: Callable[[int], object] | None = None


@contextlib.contextmanager
def handled_signals() -> Iterator[None]:
    """Handle both signals, in the main thread, in the `with` block: the first raises KeyboardInterrupt."""
    _received.clear()
    with _handlers(), _lost_in_silence():
        try:
            yield
        except KeyboardInterrupt:
            _received.append(signal.SIGINT)  # counts only where no signal was received
            raise


def received_signal() -> int | None:
    """Return the number of the first signal, also where its KeyboardInterrupt was lost: Python discards an exception
    that is raised in a finalizer or in a callback from C."""
    return _received[0] if _received else None


def interrupt(number: int) -> NoReturn:
    """Raise KeyboardInterrupt for a signal whose handler another library had replaced."""
    _received.append(number)
    raise KeyboardInterrupt(number)


@contextlib.contextmanager
def on_first_signal(action: Callable[[int], object]) -> Iterator[None]:
    """Call `action` with the number of a first signal instead of raising KeyboardInterrupt, in the `with` block.

    Raises KeyboardInterrupt on entry if a signal was received before and its exception was lost.
    """
    global _on_first
    if _received:
        raise KeyboardInterrupt(_received[0])
    with _handlers():  # a library may have its own
        before, _on_first = _on_first, action
        try:
            yield
        finally:
            _on_first = before


@contextlib.contextmanager
def _lost_in_silence() -> Iterator[None]:
    """Print no traceback of a KeyboardInterrupt that Python discards: the signal is known."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def _handlers() -> Iterator[None]:
    before = {number: signal.signal(number, _handle) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) > 1:
        _leave(number)
    if _on_first is None:
        raise KeyboardInterrupt(number)
    _on_first(number)


def _leave(number: int) -> None:
    """End the process without clean-up, which could take seconds: files are replaced whole, so the state is valid."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None and sys.stdout.isatty():
            os.write(sys.stdout.fileno(), b"\x1b[?25h\n")  # show the cursor that a live view has hidden
        os.write(2, b"interrupted twice, left at once; --resume goes on\n")
    os._exit(interrupted(number))
