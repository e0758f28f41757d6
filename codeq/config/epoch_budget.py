"""How many epochs a sweep will train, over all its trials: at most, and as expected under asynchronous halving."""

from __future__ import annotations

import math
import random
from bisect import bisect, insort
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

from codeq.config.decisions import decision_epochs
from codeq.config.template import Template

SIMULATED_TRIALS = 20_000
"""Total number of simulated trials, which takes 0.02 s."""
FEWEST_SWEEPS = 10
"""Least number of simulated sweeps; with many trials the epochs of a sweep vary little, so few are enough."""


@dataclass(frozen=True)
class EpochBudget:
    """Trial-epochs of a sweep, every trial counted with the most epochs that one may train.

    worst: if every trial trains to the end. expected: if every order of arrival at a rung is equally likely. p10_p90:
    the 10th and the 90th percentile if trials keep their rank from rung to rung. trials_per_rung: the expected number
    of trials that train to each rung and, last, to the end, by epoch.
    """

    worst: int
    expected: float
    p10_p90: tuple[float, float]
    trials_per_rung: dict[int, float]


def epoch_budget(template: Template) -> EpochBudget | None:
    """The trial-epochs of the template's sweep; None where the stopping rule allows no forecast.

    Three effects are not modelled. With several objectives a front is ordered from the new trial's best objective,
    which keeps a few percent more trials. A sampler that learns, or bad configs enqueued first, make later trials
    better than earlier ones, so more continue. Trials that diverge or collapse end by themselves.
    """
    trials, last = int(template.sweep.trials or 1), template.max_epochs
    decisions, factor = decision_epochs(template), template.sweep.scheduler.reduction_factor
    if decisions is None:
        return None
    epochs = (*sorted(decisions), last)
    trials_per_rung = expected_trials_per_rung(trials, epochs, factor)
    simulated = simulated_epochs(trials, epochs, factor)
    deciles = quantiles(simulated, n=10, method="inclusive")
    return EpochBudget(trials * last, expected_epochs(trials_per_rung), (deciles[0], deciles[-1]), trials_per_rung)


def expected_trials_per_rung(trials: int, epochs: tuple[int, ...], reduction_factor: int) -> dict[int, float]:
    """The expected number of trials that train to each of `epochs`: the rungs, ascending, and the last epoch."""
    trials_per_rung, arrivals = {}, float(trials)
    for epoch in epochs:
        trials_per_rung[epoch] = arrivals
        arrivals = expected_survivors(arrivals, reduction_factor)
    return trials_per_rung


def expected_epochs(trials_per_rung: dict[int, float]) -> float:
    """The trial-epochs that `trials_per_rung` amounts to."""
    stretches = [epoch - before for before, epoch in pairwise((0, *trials_per_rung))]
    return sum(arrivals * stretch for arrivals, stretch in zip(trials_per_rung.values(), stretches, strict=True))


def expected_survivors(arrivals: float, reduction_factor: int) -> float:
    """The expected number of trials that continue of those that arrive at a rung one after the other.

    The n-th trial to arrive continues with rank 0 .. n / eta among the n that have arrived (MO-ASHA, arXiv 2106.12639;
    0 is the best). If every order of arrival is equally likely, its rank is uniform whatever came before, so

        E(m) = sum over n = 1 .. m of (floor(n / eta) + 1) / n  ~  m / eta + (eta + 1) / (2 eta) ln m

    and more continue than one in eta, most of all at the start. With one objective the cut is interpolated between two
    ranks and keeps about one trial fewer. arrivals: m; of an expected number, which need not be whole, the sum is
    interpolated.
    """
    whole = math.floor(arrivals)
    survivors = sum(_surviving_ranks(n, reduction_factor) / n for n in range(1, whole + 1))
    return survivors + (arrivals - whole) * _surviving_ranks(whole + 1, reduction_factor) / (whole + 1)


def simulated_epochs(trials: int, epochs: tuple[int, ...], reduction_factor: int) -> list[int]:
    """The trial-epochs of simulated sweeps whose trials keep their rank from rung to rung; the same every time.

    epochs: as for `expected_trials_per_rung`. The survivors of a rung are then not exchangeable at the next rung: the
    later ones passed a harder comparison, are better, and continue more often.
    """
    draws, found = random.Random(0), []
    for _ in range(max(FEWEST_SWEEPS, SIMULATED_TRIALS // trials)):
        arrived: list[list[float]] = [[] for _ in epochs]  # losses at each rung, ascending
        losses = [draws.random() for _ in range(trials)]
        found.append(sum(_epochs_of_trial(loss, arrived, epochs, reduction_factor) for loss in losses))
    return found


def _epochs_of_trial(loss: float, arrived: list[list[float]], epochs: tuple[int, ...], reduction_factor: int) -> int:
    for before, epoch in zip(arrived[:-1], epochs[:-1], strict=True):
        rank = bisect(before, loss)
        insort(before, loss)
        if rank >= _surviving_ranks(len(before), reduction_factor):
            return epoch
    return epochs[-1]


def _surviving_ranks(arrivals: int, reduction_factor: int) -> int:
    """The number of ranks with which the n-th trial to arrive continues."""
    return min(arrivals, arrivals // reduction_factor + 1)
