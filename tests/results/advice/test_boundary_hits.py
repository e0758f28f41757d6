"""Which ends of ranges are to be widened."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import optuna
import pytest

from codeq.config import Template
from codeq.config.distributions import Int, LogUniform, Uniform
from codeq.results.advice.boundary_hits import BoundaryHit, End, Range, _by_chance, _is_near, boundary_hits, position
from codeq.results.trials import TrialResult
from codeq.search.samplers import suggest
from tests.results.advice.conftest import BATCH, DECAY, LR, SIZE

Make = Callable[..., TrialResult]


def test_a_place_in_a_range_is_measured_in_its_own_scale() -> None:
    assert position(0.01, LogUniform(distribution="loguniform", low=1e-4, high=1.0)) == pytest.approx(0.5)
    assert position(25, Uniform(distribution="uniform", low=0, high=100)) == 0.25
    assert position(4, Int(distribution="int", low=1, high=16, log=True)) == pytest.approx(0.5)
    assert position(4, Int(distribution="int", low=0, high=16)) == 0.25


@pytest.mark.parametrize(
    ("name", "value", "end", "bound"),
    [
        (LR, 1.2e-4, "low", 1e-4),  # 4 % of the decades, though 0.2 % of the width
        (LR, 8.2e-3, "high", 1e-2),  # 4 % of the decades, though 18 % of the width
        (DECAY, 9.6, "high", 10.0),
        (BATCH, 256, "high", 256),
    ],
)
def test_winners_within_a_twentieth_of_an_end_say_to_widen_it(
    template: Template, make_trial: Make, name: str, value: float, end: str, bound: float
) -> None:
    front = [make_trial(0, {name: value}), make_trial(3, {name: value}), make_trial(5)]
    assert boundary_hits(front, template, {}) == [BoundaryHit(name, end, bound, (0, 3), 3)]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1.3e-4, 7.8e-3])
def test_winners_further_in_say_nothing(template: Template, make_trial: Make, value: float) -> None:
    assert boundary_hits([make_trial(i, {LR: value}) for i in range(3)], template, {}) == []


def test_what_chance_would_put_at_an_end_says_nothing(template: Template, make_trial: Make) -> None:
    one_of_three = [make_trial(0, {LR: 1e-2}), make_trial(1), make_trial(2)]
    assert boundary_hits(one_of_three, template, {}) == []
    two_of_nine = [make_trial(i, {LR: 1e-2} if i < 2 else {}) for i in range(9)]
    assert boundary_hits(two_of_nine, template, {}) == []
    three_of_nine = [make_trial(i, {LR: 1e-2} if i < 3 else {}) for i in range(9)]
    assert [hit.trials for hit in boundary_hits(three_of_nine, template, {})] == [(0, 1, 2)]


def test_few_values_put_more_trials_at_their_ends_by_chance(template: Template, make_trial: Make) -> None:
    """A fifth of the draws have the largest image size of five."""
    assert boundary_hits([make_trial(i, {SIZE: 12}) for i in range(2)], template, {}) == []
    hits = boundary_hits([make_trial(i, {SIZE: 12}) for i in range(3)], template, {})
    assert [hit.parameter for hit in hits] == [SIZE]


@pytest.mark.parametrize(
    "searched",
    [
        Int(distribution="int", low=0, high=20),  # 0 and 1 are near the low end: two of 21
        Int(distribution="int", low=1, high=256, log=True),  # a sixth of the draws are 1
        Int(distribution="int", low=10, high=1000, log=True),
        Uniform(distribution="uniform", low=0, high=1, step=0.2),
        LogUniform(distribution="loguniform", low=1e-4, high=1.0),
    ],
)
def test_the_share_near_an_end_by_chance_is_that_of_random_draws(searched: Range) -> None:
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [suggest(drawn.ask(), "x", searched) for _ in range(2000)]
    for end in get_args(End):
        near = sum(_is_near(value, searched, end) for value in values) / len(values)
        assert _by_chance(searched, end) == pytest.approx(near, abs=0.025)


def test_the_best_in_an_objective_is_enough_where_the_parameter_matters_for_it(
    template: Template, make_trial: Make
) -> None:
    front = [
        make_trial(0, val_acc=99, sparsity=0.1),
        make_trial(1, val_acc=95, sparsity=0.5),
        make_trial(2, {DECAY: 9.9, LR: 1e-2}, val_acc=90, sparsity=0.9),
    ]
    expected = BoundaryHit(DECAY, "high", 10.0, (2,), 3, "sparsity")
    assert boundary_hits(front, template, {"sparsity": {DECAY: 0.8}}) == [expected]
    assert boundary_hits(front, template, {"val_acc": {DECAY: 0.8}}) == []


def test_an_end_that_the_config_cannot_go_beyond_is_not_to_be_widened(template: Template, make_trial: Make) -> None:
    """A weight decay below 0 and a batch of no images are refused."""
    assert boundary_hits([make_trial(i, {DECAY: 0.0, BATCH: 1}) for i in range(3)], template, {}) == []


def test_only_winners_that_drew_a_parameter_are_asked(template: Template, make_trial: Make) -> None:
    without = make_trial(7)
    del without.record.parameters[LR]
    front = [make_trial(0, {LR: 1e-2}), make_trial(1, {LR: 1e-2}), without]
    assert boundary_hits(front, template, {}) == [BoundaryHit(LR, "high", 1e-2, (0, 1), 2)]
    assert boundary_hits([], template, {}) == []
