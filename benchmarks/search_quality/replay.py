"""Run a search over the table: trials that "train" by reading their recorded rows, several at a time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_quality.searchers import SearchRun
from benchmarks.search_quality.table import RecordedTrial, Table

WORKERS = 8
"""Trials that run at a time."""
BUDGET = 6_000
"""Trial-epochs that a replay may spend."""
JITTER = 0.1
"""How much an epoch's time differs from another's, standard deviation of its logarithm: trials get out of step."""


@dataclass
class Curve:
    """How good what was found is, in steps. spent: trial-epochs, ascending, the last those of the whole replay;
    hypervolume: from there on, as a share of the table's."""

    spent: list[int] = field(default_factory=lambda: [0])
    hypervolume: list[float] = field(default_factory=lambda: [0.0])

    def at(self, epochs: NDArray[np.int64]) -> NDArray[np.float64]:
        """The share after each of these numbers of trial-epochs."""
        return np.array(self.hypervolume)[np.searchsorted(self.spent, epochs, side="right") - 1]

    def reaching(self, share: float) -> int | None:
        """After how many trial-epochs the share was reached; None: never."""
        reached = (spent for spent, found in zip(self.spent, self.hypervolume, strict=True) if found >= share)
        return next(reached, None)


def replay(
    table: Table, contestant: SearchRun, seed: int, workers: int = WORKERS, budget: int = BUDGET
) -> Curve:
    """Search until the table is used up or the budget spent. Only trials that train all their epochs count as found."""
    randomness = np.random.default_rng(seed)
    unused = np.ones(len(table.trials), dtype=bool)
    curve, found, spent = Curve(), [], 0
    running: list[tuple[float, int]] = []  # when the next row comes, of which trial
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
