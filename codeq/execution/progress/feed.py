"""The Tune callback that reports a sweep's events: to its progress, and as lines to the log."""

from __future__ import annotations

import logging
import time
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from codeq.execution.progress.draw import ended_line, epoch_line
from codeq.execution.progress.state import SweepProgress
from codeq.execution.progress.terminal import Terminal
from codeq.execution.trial import folder_name
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import Row

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
        self._progress.start(folder_name(trial.config), trial.config["epochs"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Row, **info: Any
    ) -> None:
        """The trial has completed an epoch; a trial that fails repeats its last row."""
        name, objectives = folder_name(trial.config), self._progress.objectives
        if self._progress.report(name, result, time.monotonic()) and self._terminal.verbosity == "verbose":
            log.info("%s", epoch_line(name, result, objectives, self._terminal.line_width))

    def end(self, name: str, end: TrialEnd, duration_s: float, epochs: int) -> None:
        """The trial has ended and its end is recorded."""
        self._progress.end(name, end, epochs)
        width = self._terminal.line_width
        log.info("%s", ended_line(name, end, duration_s, epochs, self._progress.objectives, width))
