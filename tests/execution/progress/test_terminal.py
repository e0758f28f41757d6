"""The live view on a terminal, and lines alone where there is none."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from codeq.execution.progress.terminal import Terminal, _View
from tests.terminals import ENV, InTerminal, is_cursor_shown

DRIVER = """
import logging, sys, time, warnings
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
print("the results")
"""
LINES = [line for epoch in (1, 2, 3) for line in (f"a warning after epoch {epoch}", f"an error {epoch}")]


def start(verbosity: str = "normal", *arguments: str, **more: object) -> InTerminal:
    return InTerminal([sys.executable, "-c", DRIVER, verbosity, *arguments], columns=80, **more)  # type: ignore[arg-type]


def test_the_view_follows_the_sweep_below_what_is_printed_and_logged() -> None:
    terminal = start()
    assert terminal.wait() == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)
    assert "opening the sweep" in shown and "0000   3/20    93.00" in shown
    for line in [*LINES, "the results"]:
        assert shown.count(f"{line}\n") == 1, line
    assert shown.endswith("the results\n") and is_cursor_shown(terminal.shown)
    frames = shown.count("0 of 2 trials")
    assert 4 <= frames <= 14  # four a second, and one for each line


@pytest.mark.parametrize(
    ("verbosity", "env"), [("quiet", {}), ("normal", {"TERM": "dumb"}), ("normal", {"TTY_INTERACTIVE": "0"})]
)
def test_a_terminal_that_is_not_redrawn_gets_lines_alone(verbosity: str, env: dict[str, str]) -> None:
    terminal = start(verbosity, env=env)
    assert terminal.wait() == 0
    assert terminal.shown.splitlines() == [*LINES, "the results"]


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}])
def test_a_pipe_gets_lines_alone(env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "normal"], env={**ENV, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [*LINES[::2], "the results"]
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
    deadline = time.monotonic() + 30
    while LINES[-1] not in terminal.shown:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not is_cursor_shown(terminal.shown)
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.wait() != 0
    assert is_cursor_shown(terminal.shown)


@pytest.mark.parametrize(("width", "rows_above"), [(80, 2), (40, 4), (30, 5), (100, 2)])
def test_a_terminal_that_becomes_narrower_wraps_the_view_which_is_then_erased_whole(
    monkeypatch: pytest.MonkeyPatch, width: int, rows_above: int
) -> None:
    """Lines of 80, 30 and 41 characters take 2, 1 and 2 rows of 40: four rows are above the cursor."""
    written, terminal = io.StringIO(), Terminal()
    terminal.console = Console(file=written, force_terminal=True, width=80, height=24)
    monkeypatch.setattr(terminal, "render", lambda: Text("\n".join(["a" * 80, "b" * 30, "c" * 41])))
    view = _View(terminal)
    view.auto_refresh = False
    view.start(refresh=True)
    written.seek(0)
    written.truncate()
    terminal.console.width = width
    view.refresh()
    assert written.getvalue().count("\x1b[1A") == rows_above
    view.stop()
