"""The Pareto front and its order from the winner on, against their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from codeq.results.front import pareto_front, ranked
from codeq.results.trials import TrialResult
from codeq.storage.trial_folder import TrialFolder, TrialRecord

BOTH = {"val_acc": "max", "rel_bops": "min"}
THREE = {**BOTH, "sparsity": "max"}


def trial(
    number: int, val_acc: float, rel_bops: float, status: Any = "finished", sparsity: float = 0.0
) -> TrialResult:
    record = TrialRecord(number, "run", 0, status=status)
    row = {"val_acc": val_acc, "rel_bops": rel_bops, "sparsity": sparsity}
    return TrialResult(record, TrialFolder(UPath("unused")), row)


def numbers(trials: list[TrialResult]) -> list[int]:
    return [t.record.trial for t in trials]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    trials = [trial(i, float(a), float(b), sparsity=float(c)) for i, (a, b, c) in enumerate(points)]
    for objectives, width in ((BOTH, 2), (THREE, 3)):
        gained = [(a, -b, c)[:width] for a, b, c in points]
        expected = {
            i
            for i, point in enumerate(gained)
            if not any(other != point and all(x >= y for x, y in zip(other, point, strict=True)) for other in gained)
        }
        assert set(numbers(pareto_front(trials, objectives))) == expected


def test_trials_that_are_equal_in_every_objective_are_all_on_the_front() -> None:
    assert set(numbers(pareto_front([trial(0, 90, 0.5), trial(1, 90, 0.5), trial(2, 80, 0.6)], BOTH))) == {0, 1}


def test_the_front_is_ordered_by_the_first_objective_best_first() -> None:
    trials = [trial(0, 80, 0.1), trial(1, 95, 0.9), trial(2, 90, 0.5)]
    assert numbers(pareto_front(trials, BOTH)) == [1, 2, 0]


@pytest.mark.parametrize("status", ["stopped", "diverged", "collapsed", "failed", "running"])
def test_only_trials_that_trained_all_their_epochs_are_on_the_front(status: str) -> None:
    trials = [trial(0, 99, 0.0, status), trial(1, 50, 0.5)]
    assert numbers(pareto_front(trials, BOTH)) == [1]


def test_a_trial_with_a_nan_objective_is_never_on_the_front() -> None:
    assert numbers(pareto_front([trial(0, math.nan, 0.1), trial(1, 10, 0.9)], BOTH)) == [1]


def test_a_single_objective_gives_its_best_trial() -> None:
    trials = [trial(0, 80, 0.1), trial(1, 95, 0.9)]
    assert numbers(pareto_front(trials, {"val_acc": "max"})) == [1]


def test_without_finished_trials_there_is_an_empty_front_and_an_empty_order() -> None:
    assert pareto_front([trial(0, 99, 0.1, "failed")], BOTH) == []
    assert ranked([], BOTH, BOTH) == []


def test_the_knee_comes_first_and_the_ends_last() -> None:
    front = [trial(0, 95, 0.9), trial(1, 94, 0.2), trial(2, 93.5, 0.15), trial(3, 60, 0.1)]
    assert numbers(ranked(front, BOTH, BOTH))[:2] == [2, 1]


@given(st.floats(0.01, 1e6), st.floats(-1e3, 1e3))
def test_the_order_does_not_depend_on_the_units_of_a_metric(scale: float, shift: float) -> None:
    points = [(95.0, 0.9), (94.0, 0.2), (80.0, 0.15), (60.0, 0.1)]
    front = [trial(i, a, b) for i, (a, b) in enumerate(points)]
    scaled = [trial(i, scale * a + shift, b) for i, (a, b) in enumerate(points)]
    assert numbers(ranked(scaled, BOTH, BOTH)) == numbers(ranked(front, BOTH, BOTH))


def test_on_a_front_without_a_bulge_the_knee_is_still_no_end() -> None:
    front = [trial(0, 100, 1.0), trial(1, 45, 0.55), trial(2, 0, 0.0)]  # the middle is below the chord of the ends
    assert numbers(ranked(front, BOTH, BOTH))[0] == 1


def test_one_wanted_metric_orders_the_front_by_itself() -> None:
    front = [trial(0, 95, 0.9), trial(1, 94, 0.2), trial(2, 60, 0.1)]
    assert numbers(ranked(front, {"rel_bops": "min"}, BOTH)) == [2, 1, 0]
    assert numbers(ranked(front, {"val_acc": "max"}, BOTH)) == [0, 1, 2]


def test_equals_in_what_is_wanted_are_ordered_by_the_knee_then_by_number() -> None:
    points = [(95, 0.1), (80, 0.95), (94, 0.9), (94, 0.9)]
    front = [trial(i, val_acc, 0.2, sparsity=sparsity) for i, (val_acc, sparsity) in enumerate(points)]
    assert numbers(ranked(front, {"rel_bops": "min"}, THREE)) == [2, 3, 0, 1]
