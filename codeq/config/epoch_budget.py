"""How many epochs a sweep will train, over all its trials: at most, and as expected under asynchronous halving."""

from __future__ import annotations

import math
import random
from bisect import bisect, insort
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, quantiles

from codeq.config.template import Template

EULER_GAMMA = 0.5772156649015329
SIMULATED_TRIALS = 20_000
"""Total number of simulated trials, which takes 0.02 s."""
LARGEST_SIMULATED = 1000
"""Largest number of trials of a simulated sweep; the epochs of larger ones are extrapolated."""
SUMMED_BLOCKS = 1000
"""Number of terms of an expectation that are summed; the rest has a closed form."""


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
    p10_p90 = simulated_p10_p90(trials, epochs, factor)
    return EpochBudget(trials * last, expected_epochs(trials_per_rung), p10_p90, trials_per_rung)


def decision_epochs(template: Template) -> frozenset[int] | None:
    """The epochs after which the scheduler may stop a healthy trial: ASHA's rungs, none at all, or any (None)."""
    scheduler, max_epochs = template.sweep.scheduler, template.max_epochs
    if scheduler.name == "none" or max_epochs <= scheduler.grace_epochs:
        return frozenset()
    return None if scheduler.name == "median" else frozenset(scheduler.rungs(max_epochs))


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

    The sum is taken over blocks of eta arrivals with one numerator k: k (H(k eta - 1) - H((k - 1) eta - 1)) with the
    harmonic numbers H; behind SUMMED_BLOCKS blocks the asymptotic form is off by less than 0.001.
    """
    whole = math.floor(arrivals)
    blocks = min(whole // reduction_factor, SUMMED_BLOCKS)
    ends = [0, *(k * reduction_factor - 1 for k in range(1, blocks + 1))]  # the last arrival of each block
    survivors = sum(k * (_harmonic(end) - _harmonic(begin)) for k, (begin, end) in enumerate(pairwise(ends), start=1))
    if whole // reduction_factor == blocks:
        survivors += (blocks + 1) * (_harmonic(whole) - _harmonic(ends[-1]))
    else:
        slope = (reduction_factor + 1) / (2 * reduction_factor)
        survivors += (whole - ends[-1]) / reduction_factor + slope * math.log(whole / ends[-1])
    return survivors + (arrivals - whole) * _surviving_ranks(whole + 1, reduction_factor) / (whole + 1)


def _harmonic(n: int) -> float:
    """1 + 1/2 + ... + 1/n, from n = 20 on by its asymptotic series, which is exact to 1e-10."""
    if n < 20:
        return sum(1 / i for i in range(1, n + 1))
    return math.log(n) + EULER_GAMMA + 1 / (2 * n) - 1 / (12 * n**2) + 1 / (120 * n**4)


def simulated_p10_p90(trials: int, epochs: tuple[int, ...], reduction_factor: int) -> tuple[float, float]:
    """The 10th and the 90th percentile of the trial-epochs of simulated sweeps.

    Sweeps of more than LARGEST_SIMULATED trials are extrapolated: the ranks of further trials hardly depend on earlier
    ones, so the mean grows by the expectation and the deviations by the square root of the number of trials.
    """
    size = min(trials, LARGEST_SIMULATED)
    simulated = simulated_epochs(size, epochs, reduction_factor)
    deciles = quantiles(simulated, n=10, method="inclusive")
    expected, of_simulated = (
        expected_epochs(expected_trials_per_rung(n, epochs, reduction_factor)) for n in (trials, size)
    )
    low, high = (
        fmean(simulated) + expected - of_simulated + (decile - fmean(simulated)) * math.sqrt(trials / size)
        for decile in (deciles[0], deciles[-1])
    )
    # Where few trials train nearly all epochs the deviations are far from normal.
    least, most = trials * epochs[0], trials * epochs[-1]
    return min(max(low, least), expected), max(min(high, most), expected)


def simulated_epochs(trials: int, epochs: tuple[int, ...], reduction_factor: int) -> list[int]:
    """The trial-epochs of simulated sweeps whose trials keep their rank from rung to rung; the same every time.

    epochs: as for `expected_trials_per_rung`. The survivors of a rung are then not exchangeable at the next rung: the
    later ones passed a harder comparison, are better, and continue more often.
    """
    draws, found = random.Random(0), []
    for _ in range(SIMULATED_TRIALS // trials):
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
