"""What a sweep has done so far: events of its trials in, a snapshot of numbers out. No Ray, no terminal, no clock."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codeq.config.objectives import Constraints, Objectives, Row, is_feasible, maximized_values
from codeq.execution.progress.remaining import EpochPlan

if TYPE_CHECKING:
    from codeq.search.outcome import TrialEnd  # imports Optuna, which takes a second

RATE_WINDOW = 500
"""Number of the last epochs over which the speed is measured."""


@dataclass(frozen=True)
class TrialProgress:
    """A trial with its newest row, whose `epoch` is 0 before the first one. epochs: to train. name: of its folder."""

    name: str
    epochs: int
    row: Row


@dataclass(frozen=True)
class TimeLeft:
    """Seconds to the end of the search, 10th and 90th percentile beside it; only `most` if there is no forecast."""

    most: float
    expected: float | None = None
    p10_p90: tuple[float, float] | None = None


@dataclass(frozen=True)
class Snapshot:
    """The numbers of one moment. counts: ended trials by status. finished: in the order of their ends. front: of the
    finished trials that satisfy the constraints, of all if none does, best in the first objective first.
    epochs_per_s: trial-epochs per second; None before there are two.
    """

    title: str
    trials: int
    objectives: Objectives
    counts: Mapping[str, int]
    running: Sequence[TrialProgress]
    finished: Sequence[TrialProgress]
    front: Sequence[TrialProgress]
    has_begun: bool
    epochs_per_s: float | None
    left: TimeLeft | None

    @property
    def ended(self) -> int:
        """The number of trials that have ended."""
        return sum(self.counts.values())


class SweepProgress:
    """The trials of a sweep, or of its confirmation. Threads may call it at the same time. Times are in seconds."""

    def __init__(
        self, title: str, plan: EpochPlan, objectives: Objectives | None = None, constraints: Constraints | None = None
    ) -> None:
        """objectives: of the front; None: there is none."""
        self._title, self._plan = title, plan
        self.objectives, self._constraints = objectives or {}, constraints or {}
        self._counts: Counter[str] = Counter()
        self._running: dict[str, TrialProgress] = {}
        self._finished: list[TrialProgress] = []
        self._fronts: dict[bool, Sequence[TrialProgress]] = {True: [], False: []}  # of feasible trials, of all
        self._ended_epochs, self._at_once = 0, 1
        self._reports: deque[float] = deque(maxlen=RATE_WINDOW)
        self._lock = threading.Lock()

    def start(self, name: str, epochs: int) -> None:
        """A trial has a process; again after its process was lost."""
        with self._lock:
            self._running.setdefault(name, TrialProgress(name, epochs, {"epoch": 0}))
            self._at_once = max(self._at_once, len(self._running))

    def report(self, name: str, row: Row, now: float) -> bool:
        """A trial has reported a row; returns whether it is of an epoch that was not reported before."""
        with self._lock:
            trial = self._running.get(name)
            is_new = trial is not None and row["epoch"] > trial.row["epoch"]
            if trial and is_new:
                self._running[name] = replace(trial, row=row)
                self._reports.append(now)
            return is_new

    def end(self, name: str, end: TrialEnd, epochs: int) -> None:
        """A trial has ended, in this run of the command or before it."""
        with self._lock:
            self._running.pop(name, None)
            self._counts[end.status] += 1
            self._ended_epochs += int(end.row["epoch"])
            if end.status == "finished" and all(map(math.isfinite, maximized_values(end.row, self.objectives))):
                self._finish(TrialProgress(name, epochs, end.row))

    def _finish(self, trial: TrialProgress) -> None:
        self._finished.append(trial)
        for feasible, front in self._fronts.items():
            if is_feasible(trial.row, self._constraints) or not feasible:
                self._fronts[feasible] = with_trial(front, trial, self.objectives)

    def snapshot(self, now: float) -> Snapshot:
        """The numbers of this moment."""
        with self._lock:
            rate = None
            if len(self._reports) > 1 and now > self._reports[0]:
                rate = (len(self._reports) - 1) / (now - self._reports[0])
            return Snapshot(
                title=self._title,
                trials=self._plan.trials,
                objectives=self.objectives,
                counts=dict(self._counts),
                running=list(self._running.values()),
                finished=list(self._finished),
                front=self._fronts[True] or self._fronts[False],
                has_begun=bool(self._reports),
                epochs_per_s=rate,
                left=self._time_left(rate) if rate else None,
            )

    def _time_left(self, epochs_per_s: float) -> TimeLeft:
        running = [(int(trial.row["epoch"]), trial.epochs) for trial in self._running.values()]
        left = self._plan.remaining(self._counts.total(), self._ended_epochs, running)

        def seconds(epochs: float) -> float:
            """At least those of the longest trial, which does not get faster when others end."""
            return max(epochs, left.longest * self._at_once) / epochs_per_s

        if left.expected is None or left.p10_p90 is None:
            return TimeLeft(seconds(left.most))
        low, high = map(seconds, left.p10_p90)
        return TimeLeft(seconds(left.most), seconds(left.expected), (low, high))


def with_trial(
    front: Sequence[TrialProgress], trial: TrialProgress, objectives: Objectives
) -> Sequence[TrialProgress]:
    """The front with another trial: those that no other equals or beats in every objective and beats in one, best in
    the first objective first. front: such trials, in this order."""
    if not objectives:
        return []
    new = maximized_values(trial.row, objectives)
    values = [maximized_values(each.row, objectives) for each in front]
    if any(_dominates(value, new) for value in values):
        return front
    kept = [(value, each) for value, each in zip(values, front, strict=True) if not _dominates(new, value)]
    return [each for _, each in sorted([*kept, (new, trial)], key=lambda pair: pair[0], reverse=True)]


def _dominates(better: Sequence[float], worse: Sequence[float]) -> bool:
    return better != worse and all(b >= w for b, w in zip(better, worse, strict=True))
