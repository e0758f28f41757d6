"""The Pareto front, constraints and the knee, against their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from codeq.results.front import knee, pareto_front
from codeq.results.trials import TrialResult
from codeq.train.trial_folder import TrialFolder, TrialRecord

BOTH = {"val_acc": "max", "rel_bops": "min"}


def trial(number: int, val_acc: float, rel_bops: float, status: Any = "finished") -> TrialResult:
    record = TrialRecord(number, "run", 0, status=status)
    return TrialResult(record, TrialFolder(UPath("unused")), {"val_acc": val_acc, "rel_bops": rel_bops})


def numbers(trials: list[TrialResult]) -> list[int]:
    return [t.record.trial for t in trials]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    trials = [trial(i, float(a), float(b)) for i, (a, b) in enumerate(points)]
    expected = {
        i
        for i, (a, b) in enumerate(points)
        if not any(c >= a and d <= b and (c, d) != (a, b) for c, d in points)
    }
    assert set(numbers(pareto_front(trials, BOTH))) == expected


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


def test_the_knee_is_the_balanced_trial_not_an_extreme() -> None:
    front = [trial(0, 95, 0.9), trial(1, 94, 0.2), trial(2, 60, 0.1)]
    assert knee(front, BOTH).record.trial == 1


def test_the_knee_of_one_objective_is_its_best() -> None:
    front = [trial(0, 95, 0.9), trial(1, 94, 0.2)]
    assert knee(front, {"rel_bops": "min"}).record.trial == 1
