"""How much a running sweep has left to train: its plan, corrected by what its trials have trained so far."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codeq.config import Template
from codeq.config.epoch_budget import (
    decision_epochs,
    expected_epochs,
    expected_trials_per_rung,
    simulated_p10_p90,
)

PLAN_WEIGHT = 5.0
"""Number of trials that the plan counts for beside the measured ones: it knows nothing of samplers that learn."""
P90 = 1.2816
"""The 90th percentile of the normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Remaining:
    """Trial-epochs that are left. expected, p10_p90: None if the stopping rule allows no forecast. most: if no trial is
    stopped. longest: of the running trial that has the most left.
    """

    expected: float | None
    p10_p90: tuple[float, float] | None
    most: float
    longest: float


class EpochPlan:
    """The trial-epochs of a sweep as planned (`codeq.config.epoch_budget`), for any number of its trials."""

    def __init__(self, trials: int, epochs: int, rungs: Collection[int] | None, reduction_factor: int = 3) -> None:
        """epochs: of the longest trial. rungs: where trials may be stopped; None: anywhere."""
        self.trials, self._epochs, self._reduction_factor = trials, epochs, reduction_factor
        self._stages = None if rungs is None else (*sorted(rungs), epochs)
        if self._stages:
            self._arrivals = expected_trials_per_rung(trials, self._stages, reduction_factor)
            low, high = simulated_p10_p90(trials, self._stages, reduction_factor)
            self._variance = ((high - low) / (2 * P90)) ** 2 / trials  # of one trial's epochs

    @classmethod
    def of(cls, template: Template) -> EpochPlan:
        """The plan of the template's search."""
        sweep = template.sweep
        factor = sweep.scheduler.reduction_factor
        return cls(int(sweep.trials or 1), template.max_epochs, decision_epochs(template), factor)

    def remaining(self, ended: int, ended_epochs: int, running: Sequence[tuple[int, int]]) -> Remaining:
        """What is left. ended: trials that have ended. ended_epochs: that they have trained in all.

        running: the completed epochs and all epochs of each running trial.
        """
        begun = ended + len(running)
        to_begin = max(0, self.trials - begun)
        most = float(to_begin * self._epochs + sum(epochs - epoch for epoch, epochs in running))
        if self._stages is None:
            return Remaining(None, None, most, max((float(epochs - epoch) for epoch, epochs in running), default=0.0))
        left = [min(self._expected_after(epoch), epochs - epoch) for epoch, epochs in running]
        measured = ended_epochs + sum(epoch for epoch, _ in running) + sum(left)
        planned = _expected_epochs(begun, self._stages, self._reduction_factor)
        all_planned = _expected_epochs(self.trials, self._stages, self._reduction_factor)
        prior = PLAN_WEIGHT * all_planned / self.trials
        of_new = max(0.0, all_planned - planned) * (prior + measured) / (prior + planned)
        expected = min(of_new + sum(left), most)
        # Each trial differs from the mean, and the mean is known from the trials that have begun.
        deviation = math.sqrt(self._variance * (to_begin + len(running) + to_begin**2 / (PLAN_WEIGHT + begun)))
        least = min(expected, to_begin * self._stages[0])
        spread = max(least, expected - P90 * deviation), min(most, expected + P90 * deviation)
        return Remaining(expected, spread, most, max(left, default=0.0))

    def _expected_after(self, epoch: int) -> float:
        """The expected number of further epochs of a trial that goes on after `epoch`."""
        ahead = [(rung, arrivals) for rung, arrivals in self._arrivals.items() if rung > epoch]
        expected, before = 0.0, epoch
        for rung, arrivals in ahead:
            expected += (rung - before) * arrivals / ahead[0][1]
            before = rung
        return expected


@lru_cache
def _expected_epochs(trials: int, stages: tuple[int, ...], reduction_factor: int) -> float:
    return expected_epochs(expected_trials_per_rung(trials, stages, reduction_factor))
