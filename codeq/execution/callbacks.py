"""Tune callbacks of the driver: record how trials end, free memory, call a function now and then."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from upath import UPath

from codeq.config.sweep import SweepConfig
from codeq.execution.trial import FAILED, folder_name
from codeq.search.outcome import TrialEnd, trial_end
from codeq.storage.machine_fault import MachineFault
from codeq.storage.out_of_memory import describe_out_of_memory
from codeq.storage.trial_folder import ROW_KEYS, TrialFolder

log = logging.getLogger(__name__)

_KILLED_FOR_MEMORY = re.compile(r"node running low on memory(?:\. Memory on the node .*? was (.+?) \()?")
"""What Ray says of a process that its memory monitor has killed; the group is how much was used."""


class TrialRecorder(Callback):
    """Determines how each trial ended, records it in the trial's folder, shows it, and tells the search.

    It must come before callbacks that read the record. Tune calls the searcher before its callbacks, so the search
    hears of the end from here.
    """

    def __init__(
        self,
        sweep: SweepConfig,
        show: Callable[[str, TrialEnd, float, int], None],
        on_fault: Callable[[str], object],
        tell: Callable[[str, TrialEnd], None] | None = None,
    ) -> None:
        """show, tell: called once the end is recorded; show with the trial's name, its end, its duration in seconds and
        the epochs that it was to train, tell with its Tune id and its end. on_fault: called with one line for a fault
        of the machine that lasts, after which no trial can go on now.
        """
        self._sweep, self._show, self._on_fault, self._tell = sweep, show, on_fault, tell
        self._started: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks into an unused snapshot, and a study's database cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Start the clock; it continues over a restart after a lost process."""
        self._started.setdefault(trial.config["folder"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Say why a trial did not go on from its newest checkpoint."""
        if result["status"] == "running" and result["reason"]:
            log.warning("trial %s: %s", folder_name(trial.config), result["reason"])

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say why a trial goes on in another process. One that was killed for its memory ends instead: Tune always
        starts another process, which is told not to train."""
        report, name = _report(trial), folder_name(trial.config)
        if reason := _killed_for_memory(report):
            trial.config[FAILED] = reason
        elif fault := _fault(report):
            log.warning("trial %s: %s; it is tried again", name, fault)
        else:
            log.warning("trial %s: its process has died, it goes on from its checkpoint", name)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record how the trial ended; Tune calls this for stopped trials too."""
        self._end(trial, trial_end(trial.last_result, self._sweep.scheduler))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record a trial whose process died more often than max_failures allows; one that met a fault of the machine
        stays unfinished, so that --resume continues it."""
        text = _report(trial)
        folder = TrialFolder(UPath(trial.config["folder"]))
        if fault := _fault(text):
            self._on_fault(fault)
            return
        if text:
            folder.write_error(text)
        # The process may have died after it wrote a row and before it reported it.
        reason = _killed_for_memory(text) or _first_sentence(text)
        self._end(trial, TrialEnd("failed", reason, folder.last_row()))

    def _end(self, trial: Trial, end: TrialEnd) -> None:
        folder = TrialFolder(UPath(trial.config["folder"]))
        if known := folder.read_record():
            duration = time.monotonic() - self._started.get(trial.config["folder"], time.monotonic())
            duration_s = known.duration_s + round(duration, 3)
            # Tune adds its own keys to a report, such as the trial's config.
            row = {key: end.row[key] for key in ROW_KEYS if key in end.row} if end.row["epoch"] else None
            known = replace(known, status=end.status, reason=end.reason, duration_s=duration_s, last_row=row)
            folder.write_record(known)
            if self._sweep.keep_checkpoints != "all":
                folder.remove_checkpoints(keep_newest=end.status == "finished")
            self._show(folder_name(trial.config), end, duration_s, trial.config["epochs"])
        if self._tell:
            self._tell(trial.trial_id, end)


def _report(trial: Trial) -> str:
    """What Tune has written in its scratch folder about the failures of the trial's processes; may be empty."""
    path = Path(str(trial.local_path)) / "error.txt"
    return path.read_text("utf-8", "replace") if path.exists() else ""


def _last_failure(report: str) -> str:
    return re.split(r"^Failure # \d+ .*$", report, flags=re.MULTILINE)[-1]


def _fault(report: str) -> str | None:
    """The line about the machine's fault that is the last failure in Tune's report."""
    found = re.findall(rf"{MachineFault.__name__}: (.+)", _last_failure(report))
    return found[-1] if found else None


def _killed_for_memory(report: str) -> str | None:
    """The reason to end the trial if the last failure in Tune's report is that Ray killed its process for memory."""
    killed = _KILLED_FOR_MEMORY.search(_last_failure(report))
    if killed is None:
        return None
    return describe_out_of_memory("Ray killed its process" + (f" at {killed[1]}" if killed[1] else ""))


def _first_sentence(report: str) -> str:
    """The sentence of Tune's report that says what killed the process."""
    found = re.search(r"Error: (.+)|^(The actor .+?)(?:\.|$)", report, re.MULTILINE)
    return (found[1] or found[2]) if found else "its process died"


class FreeStatistics(Callback):
    """Frees what Tune keeps of each metric of a trial (extremes, moving averages) when the trial has ended: 40 KB that
    are not used here, and that Tune would keep until the end of the sweep."""

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Free the statistics; the last report stays."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The same for a trial whose process died."""
        self.on_trial_complete(iteration, trials, trial)


class Periodically(Callback):
    """Calls a function while trials train, in a thread, so that training does not wait for it."""

    REST = 20
    """A call is followed by at least this many times its duration without one: it shares the processors with trials."""

    def __init__(self, action: Callable[[], object], every_s: float) -> None:
        """every_s: seconds from one call to the next, at least."""
        self._action, self._every_s = action, every_s
        self._next = time.monotonic() + every_s
        self._thread: threading.Thread | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks into an unused snapshot, and threads cannot be pickled."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Call the function if it is time."""
        is_busy = self._thread is not None and self._thread.is_alive()
        if time.monotonic() >= self._next and not is_busy:
            self._thread = threading.Thread(target=self._call, daemon=True)
            self._thread.start()

    def _call(self) -> None:
        began = time.monotonic()
        self._action()
        took = time.monotonic() - began
        self._next = began + max(self._every_s, self.REST * took)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Wait for the last call."""
        if self._thread is not None:
            self._thread.join()
