"""The forecast of trial-epochs, held against simulated sweeps."""

from __future__ import annotations

import math
import random
import time
from statistics import mean

import pytest

from codeq.config.epoch_budget import (
    epoch_budget,
    expected_epochs,
    expected_survivors,
    expected_trials_per_rung,
    simulated_epochs,
    simulated_p10_p90,
)
from tests.config.texts import edited, load

SWEEPS = [(24, (5, 15, 20), 3), (48, (20, 60, 180, 300), 3), (340, (3, 9, 27, 30), 3), (10, (1, 2, 4, 8, 16), 2)]
SEARCHED = edited(("{lr: 0.001}", "{lr: {distribution: loguniform, low: 1e-4, high: 1e-2}}"))


def with_sweep(text: str) -> str:
    return f"{SEARCHED}sweep: {text}\n"


def halving(trials: int, epochs: tuple[int, ...], reduction_factor: int, draws: random.Random) -> int:
    """The trial-epochs of a sweep whose trials have another rank at every rung, straight from the definition."""
    rungs: list[list[float]] = [[] for _ in epochs[:-1]]
    total = 0
    for _ in range(trials):
        trained = epochs[-1]
        for rung, epoch in zip(rungs, epochs[:-1], strict=True):
            rung.append(draws.random())
            if sorted(rung).index(rung[-1]) / len(rung) > 1 / reduction_factor:
                trained = epoch
                break
        total += trained
    return total


@pytest.mark.parametrize(("trials", "epochs", "factor"), SWEEPS)
def test_the_expectation_is_the_mean_of_simulated_sweeps(
    trials: int, epochs: tuple[int, ...], factor: int
) -> None:
    draws = random.Random(1)
    sweeps = [halving(trials, epochs, factor, draws) for _ in range(20_000 // trials)]
    assert expected_epochs(expected_trials_per_rung(trials, epochs, factor)) == pytest.approx(mean(sweeps), rel=0.02)


def test_the_first_trials_of_a_rung_go_on_more_often_than_one_in_eta() -> None:
    assert expected_survivors(1, 3) == 1
    assert expected_survivors(2, 3) == pytest.approx(1 + 1 / 2)
    assert expected_survivors(3, 3) == pytest.approx(1 + 1 / 2 + 2 / 3)
    assert expected_survivors(2.5, 3) == pytest.approx(1 + 1 / 2 + 1 / 3)
    assert expected_survivors(3000, 3) / 3000 == pytest.approx(1 / 3, abs=0.003)


@pytest.mark.parametrize("factor", [2, 3, 4, 50])
@pytest.mark.parametrize("arrivals", [1, 19, 20, 999, 3001, 20_000])
def test_many_trials_are_expected_to_go_on_as_one_by_one(arrivals: int, factor: int) -> None:
    """The closed form against the sum of its definition."""
    one_by_one = math.fsum((n // factor + 1) / n for n in range(1, arrivals + 1))
    assert expected_survivors(arrivals, factor) == pytest.approx(one_by_one, abs=1e-3)


def test_the_range_of_a_large_sweep_is_that_of_its_simulation() -> None:
    """The largest simulated number of trials is 1000; 4000 are simulated here."""
    epochs = (5, 15, 20)
    low, high = simulated_p10_p90(4000, epochs, 3)
    sweeps = simulated_epochs(4000, epochs, 3)
    assert len(sweeps) == 5
    assert low < mean(sweeps) < high
    assert 4000 * 20 > high > low > 4000 * 5
    spread_of_1000 = simulated_p10_p90(1000, epochs, 3)
    assert high - low == pytest.approx(2 * (spread_of_1000[1] - spread_of_1000[0]))


def test_the_range_lies_between_the_first_rung_and_the_worst_case_around_the_expectation() -> None:
    trials, epochs = 1_000_000, (1, 3, 9, 27, 1_000_000)
    low, high = simulated_p10_p90(trials, epochs, 3)
    expected = expected_epochs(expected_trials_per_rung(trials, epochs, 3))
    assert trials <= low <= expected <= high <= trials * 1_000_000


def test_a_plan_costs_nothing_and_agrees_with_smaller_ones_whatever_its_size() -> None:
    shares, started = [], time.process_time()
    for trials in (100, 1000, 100_000, 1_000_000, 2**31 - 1):
        planned = epoch_budget(load(with_sweep(f"{{trials: {trials}, scheduler: {{grace_epochs: 2}}}}")))
        assert planned is not None and planned.worst == trials * 10
        low, high = planned.p10_p90
        assert low < planned.expected < high
        shares.append((low / trials, planned.expected / trials, high / trials))
    assert time.process_time() - started < 5
    lows, expected, highs = zip(*shares, strict=True)
    # More trials: a smaller share of them goes on, towards one in three, and the range narrows around it.
    assert list(lows) == sorted(lows)
    assert list(expected) == sorted(expected, reverse=True) and list(highs) == sorted(highs, reverse=True)
    limit = 2 + 4 / 3 + 4 / 9  # epochs per trial: rungs at 2 and 6 of 10 epochs
    assert expected[1:] == pytest.approx([limit] * 4, rel=0.02)
    assert shares[-1] == pytest.approx([limit] * 3, rel=1e-3)


def test_trials_that_keep_their_rank_go_on_more_often_and_the_simulation_repeats() -> None:
    epochs = (20, 60, 180, 300)
    kept = simulated_epochs(48, epochs, 3)
    assert kept == simulated_epochs(48, epochs, 3)
    assert mean(kept) > 1.1 * expected_epochs(expected_trials_per_rung(48, epochs, 3))
    assert all(48 * 20 <= total <= 48 * 300 for total in kept)


def test_the_expectation_lies_between_the_first_rung_and_the_worst_case() -> None:
    planned = epoch_budget(load(with_sweep("{trials: 9, scheduler: {grace_epochs: 2}}")))
    assert planned is not None
    assert (planned.worst, list(planned.trials_per_rung)) == (90, [2, 6, 10])
    assert 18 < planned.p10_p90[0] < planned.expected < planned.p10_p90[1] < 90


@pytest.mark.parametrize("scheduler", ["{name: none}", "{grace_epochs: 10}"])
def test_where_nobody_stops_a_trial_every_epoch_is_trained(scheduler: str) -> None:
    planned = epoch_budget(load(with_sweep(f"{{trials: 9, scheduler: {scheduler}}}")))
    assert planned is not None
    assert planned.expected == planned.worst == 90
    assert planned.p10_p90 == (90, 90)


def test_the_median_rule_allows_no_forecast() -> None:
    template = load(with_sweep("{trials: 9, scheduler: {name: median, grace_epochs: 2}}"))
    assert epoch_budget(template) is None
