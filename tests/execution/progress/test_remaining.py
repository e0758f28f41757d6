"""What a running sweep has left to train."""

from __future__ import annotations

import random

import pytest

from codeq.config.epoch_budget import _epochs_of_trial, expected_epochs, expected_trials_per_rung
from codeq.execution.progress.remaining import EpochPlan

STAGES = (5, 15, 20)
TRIALS = 24


def simulated_sweep(draw: random.Random) -> list[int]:
    """The epochs of each trial under halving by 3, where trials keep their rank from rung to rung."""
    arrived: list[list[float]] = [[] for _ in STAGES]
    return [_epochs_of_trial(draw.random(), arrived, STAGES, 3) for _ in range(TRIALS)]


def test_before_the_first_trial_the_forecast_is_the_plan() -> None:
    left = EpochPlan(TRIALS, 20, rungs=(5, 15)).remaining(0, 0, [])
    assert left.expected == pytest.approx(expected_epochs(expected_trials_per_rung(TRIALS, STAGES, 3)))
    assert left.most == 24 * 20


def test_after_the_last_trial_nothing_is_left() -> None:
    left = EpochPlan(2, 20, rungs=(5, 15)).remaining(2, 25, [])
    assert (left.expected, left.p10_p90, left.most, left.longest) == (0.0, (0.0, 0.0), 0.0, 0.0)


def test_a_trial_that_has_passed_the_last_rung_trains_to_its_end() -> None:
    left = EpochPlan(1, 20, rungs=(5, 15)).remaining(0, 0, [(16, 20)])
    assert left.expected == left.longest == pytest.approx(4.0)


def test_a_trial_with_fewer_epochs_than_others_has_fewer_left() -> None:
    assert EpochPlan(1, 20, rungs=()).remaining(0, 0, [(3, 10)]).expected == pytest.approx(7.0)


def test_trials_that_train_twice_as_long_as_planned_move_the_forecast_towards_it() -> None:
    plan = EpochPlan(TRIALS, 20, rungs=(5, 15))
    planned = expected_epochs(expected_trials_per_rung(12, STAGES, 3))
    as_planned, twice = plan.remaining(12, round(planned), []), plan.remaining(12, 240, [])
    assert as_planned.expected is not None and twice.expected is not None
    assert 1.2 < twice.expected / as_planned.expected < 240 / planned


@pytest.mark.parametrize("ended", [6, 12, 18])
def test_four_sweeps_in_five_train_what_the_spread_says(ended: int) -> None:
    plan, draw, sweeps = EpochPlan(TRIALS, 20, rungs=(5, 15)), random.Random(1), 400
    within = 0
    for _ in range(sweeps):
        epochs = simulated_sweep(draw)
        spread = plan.remaining(ended, sum(epochs[:ended]), []).p10_p90
        assert spread is not None
        within += spread[0] <= sum(epochs[ended:]) <= spread[1]
    assert 0.7 < within / sweeps < 0.95


def test_the_spread_narrows_as_trials_end() -> None:
    plan, epochs = EpochPlan(TRIALS, 20, rungs=(5, 15)), simulated_sweep(random.Random(2))
    spreads = [plan.remaining(ended, sum(epochs[:ended]), []).p10_p90 for ended in (0, 8, 16, 23)]
    widths = [spread[1] - spread[0] for spread in spreads if spread]
    assert widths == sorted(widths, reverse=True) and len(set(widths)) == 4
