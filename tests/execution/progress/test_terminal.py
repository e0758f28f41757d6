"""The live view on a terminal, and lines alone where there is none."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console, ConsoleOptions
from rich.text import Text

from codeq.execution.progress.terminal import Terminal, _OneThreadConsole, _View
from tests.terminals import ENV, InTerminal, is_cursor_shown

DRIVER = """
import logging, sys, time
from rich.console import Console
from codeq.config.streams import prepare_streams
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.execution.progress.terminal import Terminal
prepare_streams()
with Terminal(sys.argv[1], "opening the sweep") as terminal:
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    time.sleep(0.3)
    progress = SweepProgress("dz_wd", EpochPlan(2, 20, rungs=()), {"val_acc": "max"})
    terminal.show(progress)
    progress.start("0000", 20)
    for epoch in range(1, 4):
        progress.report("0000", {"epoch": epoch, "val_acc": 90.0 + epoch, "sparsity": 0.5, "rel_bops": 0.1,
                                 "mean_bits": 4.0}, time.monotonic())
        time.sleep(0.3)
        logging.warning("a warning after epoch %d", epoch)
        print("an error", epoch, file=sys.stderr)
    if len(sys.argv) > 2:
        time.sleep(60)
    terminal.wait("writing the report")
    time.sleep(0.3)
    terminal.clear()
    Console().print("the results")
    terminal.wait("training again")
    time.sleep(0.3)
print("the end")
"""
LINES = [line for epoch in (1, 2, 3) for line in (f"a warning after epoch {epoch}", f"an error {epoch}")]


def start(verbosity: str = "normal", *arguments: str, **more: object) -> InTerminal:
    return InTerminal([sys.executable, "-c", DRIVER, verbosity, *arguments], columns=80, **more)  # type: ignore[arg-type]


def test_the_view_follows_the_sweep_below_what_is_printed_and_logged() -> None:
    terminal = start()
    assert terminal.wait() == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)
    assert "0000   3/20    93.00" in shown
    assert re.search("opening the sweep.*writing the report.*training again", shown, re.DOTALL)
    assert 4 <= shown.count("0 of 2 trials") <= 14  # four a second, and one for each line
    assert [line for line in screen(shown) if line] == [*LINES, "the results", "the end"]
    assert is_cursor_shown(terminal.shown)


@pytest.mark.parametrize(
    ("verbosity", "env"), [("quiet", {}), ("normal", {"TERM": "dumb"}), ("normal", {"TTY_INTERACTIVE": "0"})]
)
def test_a_terminal_that_is_not_redrawn_gets_lines_alone(verbosity: str, env: dict[str, str]) -> None:
    terminal = start(verbosity, env=env)
    assert terminal.wait() == 0
    assert terminal.shown.splitlines() == [*LINES, "the results", "the end"]


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}])
def test_a_pipe_gets_lines_alone(env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "normal"], env={**ENV, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [*LINES[::2], "the results", "the end"]
    assert done.stderr.splitlines() == LINES[1::2]


def test_without_colours_there_is_still_a_view() -> None:
    terminal = start(env={"NO_COLOR": "1"})
    assert terminal.wait() == 0
    assert "0000   3/20    93.00" in terminal.shown
    assert not re.search(r"\x1b\[[0-9;]*3\dm", terminal.shown)


def test_errors_go_where_they_were_sent(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w") as file:
        terminal = start(stderr=file)
        assert terminal.wait() == 0
    assert (tmp_path / "errors").read_text().splitlines() == LINES[1::2]
    assert "an error" not in terminal.shown


def test_an_interrupt_leaves_the_terminal_as_it_was() -> None:
    terminal = start("normal", "wait")
    wait_until(lambda: LINES[-1] in terminal.shown)
    assert not is_cursor_shown(terminal.shown)
    time.sleep(0.5)  # until it waits
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.wait() != 0
    assert is_cursor_shown(terminal.shown)


def test_a_stopped_command_shows_the_cursor_until_it_goes_on() -> None:
    terminal = start("normal", "wait")
    wait_until(lambda: LINES[-1] in terminal.shown)
    os.kill(terminal.process.pid, signal.SIGTSTP)
    wait_until(lambda: is_cursor_shown(terminal.shown))
    _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(terminal.process.pid, signal.SIGCONT)
    wait_until(lambda: not is_cursor_shown(terminal.shown))
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.wait() != 0
    assert is_cursor_shown(terminal.shown)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("width", "rows_above"), [(80, 2), (40, 4), (30, 5), (100, 2)])
def test_a_terminal_that_becomes_narrower_wraps_the_view_which_is_then_erased_whole(
    monkeypatch: pytest.MonkeyPatch, width: int, rows_above: int
) -> None:
    """Lines of 80, 30 and 41 characters take 2, 1 and 2 rows of 40: four rows are above the cursor."""
    written, terminal = io.StringIO(), Terminal()
    terminal.console = _OneThreadConsole(file=written, force_terminal=True, width=80, height=24)
    monkeypatch.setattr(terminal, "render", lambda: Text("\n".join(["a" * 80, "b" * 30, "c" * 41])))
    view = _View(terminal)
    view.start(refresh=True)
    written.seek(0)
    written.truncate()
    terminal.console.width = width
    view.refresh()
    assert written.getvalue().count("\x1b[1A") == rows_above
    view.stop()


def screen(written: str) -> list[str]:
    """The rows of an endlessly high terminal after this was written to it."""
    rows, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*\w|\r|\n|[^\x1b\r\n]+", written):
        if token == "\n":
            row += 1
            rows += [""] * (row - len(rows) + 1)
        elif token == "\x1b[1A":
            row -= 1
        elif token == "\x1b[2K":
            rows[row] = ""
        elif not token.startswith(("\x1b", "\r")):
            rows[row] += token
    return rows


class SlowText:
    """A text that takes a while to be rendered, in which other threads have their turn."""

    def __init__(self, plain: str) -> None:
        self.plain = plain

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        time.sleep(0.001)
        yield Text(self.plain)


def test_threads_that_print_while_the_view_changes_its_height_break_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    written, terminal, heights = io.StringIO(), Terminal(), itertools.cycle([1, 5, 2, 8])
    terminal.console = _OneThreadConsole(file=written, force_terminal=True, width=80, height=24)
    monkeypatch.setattr(terminal, "render", lambda: SlowText("\n".join(["view"] * next(heights))))
    monkeypatch.setattr("codeq.execution.progress.terminal.REDRAWS_PER_S", 2000.0)
    view = _View(terminal)

    def log(thread: int) -> None:
        for number in range(50):
            sys.stdout.write(f"thread {thread} line {number}\n")

    view.begin()
    threads = [threading.Thread(target=log, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view.end()
    assert written.getvalue().count("view") > 150
    printed = [line for line in screen(written.getvalue()) if line]
    assert sorted(printed) == sorted(f"thread {thread} line {number}" for thread in range(3) for number in range(50))
