"""Runs a search over the table: trials read their recorded rows instead of training, several at a time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_quality.searchers import SearchRun
from benchmarks.search_quality.table import RecordedTrial, Table

WORKERS = 8
"""Number of concurrent trials."""
BUDGET = 6_000
"""Maximum trial-epochs of a replay."""
JITTER = 0.1
"""Standard deviation of the logarithm of an epoch's time, so that concurrent trials do not stay in step."""


@dataclass
class Curve:
    """The hypervolume found, a step function. spent: trial-epochs, ascending, the last is that of the whole replay.
    hypervolume: the value from there on, as a share of the table's."""

    spent: list[int] = field(default_factory=lambda: [0])
    hypervolume: list[float] = field(default_factory=lambda: [0.0])

    def at(self, epochs: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share after each of these numbers of trial-epochs."""
        return np.array(self.hypervolume)[np.searchsorted(self.spent, epochs, side="right") - 1]

    def reaching(self, share: float) -> int | None:
        """Return the trial-epochs after which the share was reached, or None."""
        reached = (spent for spent, found in zip(self.spent, self.hypervolume, strict=True) if found >= share)
        return next(reached, None)


def replay(
    table: Table, contestant: SearchRun, seed: int, workers: int = WORKERS, budget: int = BUDGET
) -> Curve:
    """Search until the table or the budget is used up. Only trials that train all their epochs count."""
    randomness = np.random.default_rng(seed)
    unused = np.ones(len(table.trials), dtype=bool)
    curve, found, spent = Curve(), [], 0
    running: list[tuple[float, int]] = []  # time of the next row, and its trial
    epochs: dict[int, int] = {}

    def next_row(now: float, index: int) -> None:
        heapq.heappush(running, (now + randomness.lognormal(sigma=JITTER), index))

    def start(now: float) -> None:
        if unused.any():
            index = contestant.suggest(unused)
            unused[index] = False
            epochs[index] = 0
            next_row(now, index)

    for _ in range(workers):
        start(0.0)
    while running and spent < budget:
        now, index = heapq.heappop(running)
        trial, epoch, spent = table.trials[index], epochs[index], spent + 1
        epochs[index] += 1
        if contestant.goes_on(index, trial.rows[epoch], is_last=_is_last(trial, epoch)):
            next_row(now, index)
            continue
        if trial.finished and _is_last(trial, epoch):
            found.append(index)
            curve.spent.append(spent)
            curve.hypervolume.append(table.hypervolume_of(found) / table.hypervolume)
        start(now)
    curve.spent.append(spent)
    curve.hypervolume.append(curve.hypervolume[-1])
    return curve


def _is_last(trial: RecordedTrial, epoch: int) -> bool:
    return epoch + 1 == len(trial.rows)
