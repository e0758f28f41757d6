"""The Tune callback that reports a sweep's events: to its progress, and as lines to the log."""

from __future__ import annotations

import logging
import time
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from upath import UPath

from codeq.config.metrics import MAIN, describe_metrics
from codeq.execution.progress.draw import pack_line
from codeq.execution.progress.state import SweepProgress
from codeq.execution.progress.terminal import Terminal
from codeq.execution.trial import folder_name
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import Row, TrialFolder

log = logging.getLogger(__name__)


class ProgressFeed(Callback):
    """Logs a line per ended trial, and per epoch if the terminal is verbose."""

    def __init__(self, progress: SweepProgress, terminal: Terminal) -> None:
        self._progress, self._terminal = progress, terminal

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks into an unused snapshot, and locks cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial has a process."""
        epochs = TrialFolder(UPath(trial.config["folder"])).read_config().epochs
        self._progress.start(folder_name(trial.config), epochs)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Row, **info: Any
    ) -> None:
        """The trial has completed an epoch; a trial that fails repeats its last row."""
        name = folder_name(trial.config)
        if self._progress.report(name, result, time.monotonic()) and self._terminal.verbosity == "verbose":
            self._log([f"trial {name}", f"epoch {result['epoch']:<4}", *self._metrics(result)])

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process has died, and it waits for a new one."""
        log.warning("trial %s: its process has died, it goes on from its checkpoint", folder_name(trial.config))

    def end(self, name: str, end: TrialEnd, duration_s: float, epochs: int) -> None:
        """The trial has ended and its end is recorded."""
        self._progress.end(name, end, epochs)
        epoch = f"{end.row['epoch']}/{epochs}"
        parts = [f"trial {name}", f"{end.status:<9}", f"epoch {epoch:<7}"]
        if end.row["epoch"]:
            parts += self._metrics(end.row)
        parts.append(f"{duration_s:5.1f} s")
        if end.status not in ("finished", "stopped"):
            parts.append(end.reason)
        self._log(parts)

    def _metrics(self, row: Row) -> list[str]:
        """The metrics of a line: on a terminal, whose lines are short, the objectives."""
        is_short = self._terminal.line_width is not None and self._progress.objectives
        return describe_metrics(row, self._progress.objectives if is_short else MAIN)

    def _log(self, parts: list[str]) -> None:
        log.info("%s", pack_line(parts, self._terminal.line_width))
