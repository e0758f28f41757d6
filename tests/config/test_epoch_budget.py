"""The forecast of trial-epochs, held against simulated sweeps."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from codeq.config.epoch_budget import (
    epoch_budget,
    expected_epochs,
    expected_survivors,
    expected_trials_per_rung,
    simulated_epochs,
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
