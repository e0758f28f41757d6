"""What the command shows while it works: a live view on a terminal that can redraw, else nothing but lines."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Literal

from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from codeq.execution.progress.draw import draw, draw_waiting
from codeq.execution.progress.state import SweepProgress

Verbosity = Literal["quiet", "normal", "verbose"]
"""quiet: the results alone. normal: a line per ended trial. verbose: a line per epoch, and Ray's own lines."""

REDRAWS_PER_S = 4.0


class Terminal:
    """Standard output during a sweep: after `with Terminal() as terminal:` there is no live view any more.

    `wait` and `show` begin the view, where there may be one, and `clear` ends it. What is printed or logged meanwhile
    appears above it; another `Console` of rich would write into it.
    """

    def __init__(self, verbosity: Verbosity = "normal", waits_for: str = "") -> None:
        """waits_for: see `wait`."""
        self.verbosity = verbosity
        self.console = _OneThreadConsole(highlight=False)
        self._began = time.monotonic()
        self._waits_for, self._waits_since = waits_for, self._began
        self._progress: SweepProgress | None = None
        is_terminal = sys.stdout is not None and sys.stdout.isatty() and self.console.is_interactive
        self._is_live = is_terminal and verbosity != "quiet"
        self._view: _View | None = None
        self._when_stopped: Any = None  # the handler of SIGTSTP before

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles the session into an unused snapshot, and locks cannot be pickled."""
        return {}

    def __enter__(self) -> Terminal:
        if self._is_live and threading.current_thread() is threading.main_thread():
            self._when_stopped = signal.signal(signal.SIGTSTP, self._stop)
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()
        if self._when_stopped is not None:
            signal.signal(signal.SIGTSTP, self._when_stopped)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Show the cursor while the process is stopped (Ctrl-Z), past locks that this thread may hold."""
        output = self.console.file.fileno()
        os.write(output, b"\x1b[?25h")
        signal.raise_signal(signal.SIGSTOP)  # returns when the process goes on
        if self._view:
            os.write(output, b"\x1b[?25l")

    @property
    def line_width(self) -> int | None:
        """The width for lines above the live view; None where there is no such view."""
        return self.console.width if self._is_live else None

    def wait(self, what: str) -> None:
        """Show what the command is doing until the next call: a phrase such as `starting Ray`."""
        self._waits_for, self._waits_since, self._progress = what, time.monotonic(), None
        self._begin()

    def show(self, progress: SweepProgress) -> None:
        """Show a sweep's progress until the next call of `wait`."""
        self._progress = progress
        self._begin()

    def clear(self) -> None:
        """Erase the view."""
        if self._view:
            self._view.end()
            self._view = None

    def _begin(self) -> None:
        if self._is_live and self._view is None:
            self._view = _View(self)
            self._view.begin()

    def render(self) -> Text:
        """The view of this moment."""
        now, ascii_only, size = time.monotonic(), self.console.options.ascii_only, self.console.size
        if self._progress is None:
            return draw_waiting(self._waits_for, now - self._waits_since, ascii_only)
        view = self._progress.snapshot(now)
        return draw(view, now - self._began, size.width, size.height - 1, ascii_only)


class _OneThreadConsole(Console):
    """A console on which one thread prints at a time: else the view's height could change between the moment in which
    a line takes it to erase the view, and the moment in which it is erased.
    """

    def __init__(self, **options: Any) -> None:
        self._thread_lock = threading.RLock()
        super().__init__(**options)

    def __enter__(self) -> Console:
        self._thread_lock.acquire()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._thread_lock.release()


class _View(Live):
    """A live view that knows how many rows it takes when the terminal has become narrower and has wrapped its lines."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._text = terminal, Text()
        self._drawn_lengths, self._drawn_width = [0], 0
        self._ended = threading.Event()
        redirect_stderr = sys.stderr is not None and sys.stderr.isatty()
        super().__init__(
            console=terminal.console, auto_refresh=False, transient=True, redirect_stderr=redirect_stderr
        )

    def begin(self) -> None:
        """Draw the view now, and again and again until `end`."""
        with self.console:
            self.start(refresh=True)
        threading.Thread(target=self._redraw, daemon=True).start()

    def _redraw(self) -> None:
        while not self._ended.wait(1 / REDRAWS_PER_S):
            with self.console:  # always taken before the lock of `Live`
                if not self._ended.is_set():
                    self.refresh()

    def end(self) -> None:
        """Erase the view."""
        self._ended.set()
        with self.console:
            self.stop()

    def get_renderable(self) -> Text:
        """The text to draw."""
        self._text = self._terminal.render()
        return self._text

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase the old view, print the renderables, draw the view again."""
        width = self.console.width
        is_narrower = width < self._drawn_width
        further_rows = sum((length - 1) // width for length in self._drawn_lengths if length) if is_narrower else 0
        up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * further_rows
        self._drawn_lengths, self._drawn_width = [len(line) for line in self._text.plain.split("\n")], width
        return [Control(*up), *super().process_renderables(renderables)]
