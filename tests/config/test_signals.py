"""The first signal interrupts, also where Python loses the exception; the second leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codeq.config.signals import handled_signals, on_first_signal, received_signal
from tests.conftest import ROOT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_raises_and_is_known_afterwards(number: int) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), handled_signals():
        assert received_signal() is None
        os.kill(os.getpid(), number)
    assert received_signal() == number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


class Ends:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_a_signal_whose_exception_a_finalizer_loses_is_known_nevertheless_and_prints_nothing(
    capsys: pytest.CaptureFixture[str]
) -> None:
    with handled_signals():
        ends = Ends()
        del ends
    assert received_signal() == signal.SIGINT
    assert capsys.readouterr().err == ""


def test_a_training_does_not_begin_after_a_signal_whose_exception_was_lost() -> None:
    with pytest.raises(KeyboardInterrupt), handled_signals():
        ends = Ends()
        del ends
        with on_first_signal(print):
            pytest.fail("the training has begun")
    assert received_signal() == signal.SIGINT


def test_an_action_takes_the_place_of_the_exception() -> None:
    seen: list[int] = []
    with handled_signals():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(15))  # as a library has it
        with on_first_signal(seen.append):
            os.kill(os.getpid(), signal.SIGTERM)
    assert seen == [signal.SIGTERM]


TWICE = """
import os, pathlib, signal, sys, time
from codeq.config.signals import handled_signals
import atexit
atexit.register(lambda: pathlib.Path(sys.argv[1]).write_text("atexit"))
with handled_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("saving", flush=True)
        time.sleep(60)
"""


def test_a_second_signal_ends_the_process_at_once_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWICE, str(tmp_path / "atexit")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with contextlib.closing(process.stdout), contextlib.closing(process.stderr):  # type: ignore[type-var]
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "saving\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
        assert process.stderr.read() == "interrupted twice, left at once; --resume goes on\n"
    assert not (tmp_path / "atexit").exists()
