"""Asynchronous successive halving without Ray: which trials have reached which rung, and which of them stop there.

A *rung* is an epoch at which trials are compared. It keeps the metrics with which each trial first reached it. A trial
that arrives with rank p (from 0) among n trials, itself included, stops if p / n > 1 / reduction_factor. Decisions are
deterministic and depend on the set of trials at a rung, not on the order in which they arrived, so rungs can be rebuilt
from recorded rows.
"""

from __future__ import annotations

import math

import numpy as np

from codeq.config.objectives import Constraints, Objectives, Row, maximized_values, violations
from codeq.config.sweep import Scheduler
from codeq.search.pareto_order import Vectors, is_last_in_top

HEALTHY = ("running", "finished")
"""The statuses of rows that enter a rung: a collapsed trial has maximal sparsity and would dominate the others."""


class Rung:
    """The trials that have reached one epoch."""

    def __init__(self, objectives: Objectives, constraints: Constraints, reduction_factor: int) -> None:
        """reduction_factor: one trial in this many continues."""
        self._objectives, self._constraints = objectives, constraints
        self._reduction_factor = reduction_factor
        self._trials: set[int] = set()
        self._values = np.empty((0, len(objectives)))
        self._violations = np.empty((0, len(constraints)))

    def add(self, trial: int, row: Row) -> bool:
        """Add the trial with this row; returns False, and keeps the first row, if it was added before."""
        if trial in self._trials:
            return False
        self._trials.add(trial)
        self._values = np.vstack([self._values, maximized_values(row, self._objectives)])
        self._violations = np.vstack([self._violations, violations(row, self._constraints)])
        return True

    def should_stop(self) -> bool:
        """Whether the trial that was added last stops."""
        if len(self._objectives) == 1 and not self._constraints:
            return _is_below_cutoff(self._values[:, 0], self._reduction_factor)
        spared = len(self._values) // self._reduction_factor
        return not is_last_in_top(self._values, self._violations, spared)


class Rungs:
    """The rungs of a sweep, which must be given every row of every trial."""

    def __init__(
        self, scheduler: Scheduler, objectives: Objectives, constraints: Constraints, max_epochs: int
    ) -> None:
        """max_epochs: of the longest trial. metrics: what of a row is compared."""
        self._objectives = objectives
        self.metrics = tuple(dict.fromkeys((*objectives, *constraints)))
        factor = scheduler.reduction_factor
        self._rungs = {epoch: Rung(objectives, constraints, factor) for epoch in scheduler.rungs(max_epochs)}

    def is_rung(self, row: Row) -> bool:
        """Whether trials are compared at the row's epoch, and the row is one to compare."""
        return _is_healthy(row) and row["epoch"] in self._rungs and self._is_finite(row)

    def stops(self, trial: int, row: Row) -> bool:
        """Whether the trial stops after this row. It is compared once at each rung.

        An objective that is not finite stops it at once. False for trials that diverged, collapsed or failed: they end
        by themselves.
        """
        if not _is_healthy(row):
            return False
        if not self._is_finite(row):
            return True
        return self.record(trial, row) and self._rungs[row["epoch"]].should_stop()

    def record(self, trial: int, row: Row) -> bool:
        """Add the row to its rung without a decision; returns whether its epoch is a rung where the trial is new."""
        if not self.is_rung(row):
            return False
        return self._rungs[row["epoch"]].add(trial, row)

    def _is_finite(self, row: Row) -> bool:
        return all(map(math.isfinite, maximized_values(row, self._objectives)))


def _is_healthy(row: Row) -> bool:
    return row.get("status") in HEALTHY


def _is_below_cutoff(values: Vectors, reduction_factor: int) -> bool:
    """Whether the last value is below the best 1 / reduction_factor of the others.

    Exactly the rule of Ray's ASHA, which interpolates between the two values at the cut. The rule by rank differs from
    it only for a new value between these two.
    """
    others = values[:-1]
    return bool(others.size and values[-1] < np.percentile(others, (1 - 1 / reduction_factor) * 100))
