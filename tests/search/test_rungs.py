"""Who stops at a rung, by brute force over random sweeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from codeq.config.objectives import Constraints, Objectives, maximized_values, violations
from codeq.config.sweep import Scheduler
from codeq.search.rungs import Rung, Rungs
from codeq.storage.trial_folder import Row
from tests.search import halving_by_hand as by_hand

BOTH: Objectives = {"val_acc": "max", "sparsity": "max"}
MIXED: Objectives = {"val_acc": "max", "rel_bops": "min", "mean_bits": "min"}
CONSTRAINTS: Constraints = {"val_acc": ">= 50", "sparsity": ">= 0.3"}


def row(epoch: int = 5, status: str = "running", **metrics: float) -> Row:
    return {"epoch": epoch, "status": status, "reason": "", **metrics}


def random_row(rng: np.random.Generator, epoch: int = 5, **changes: Any) -> Row:
    """Accuracy in few steps, so that there are ties."""
    metrics = {"val_acc": float(rng.integers(0, 50)) * 2, "sparsity": rng.random(), "rel_bops": rng.random()}
    return {**row(epoch), **metrics, "mean_bits": float(rng.integers(2, 9)), **changes}


def rungs(
    objectives: Objectives = BOTH, constraints: Constraints | None = None, max_epochs: int = 50, **keys: Any
) -> Rungs:
    return Rungs(Scheduler(**keys), objectives, constraints or {}, max_epochs)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(("objectives", "constraints"), [(BOTH, {}), (MIXED, {}), (BOTH, CONSTRAINTS)])
def test_a_newcomer_stops_where_its_share_of_those_before_it_exceeds_one_in_the_reduction_factor(
    objectives: Objectives, constraints: Constraints, factor: int
) -> None:
    rng = np.random.default_rng(factor)
    for _ in range(8):
        judging, rows = rungs(objectives, constraints, reduction_factor=factor), []
        for trial in range(25):
            rows.append(random_row(rng))
            values = [maximized_values(r, objectives) for r in rows]
            order = by_hand.order(values, [violations(r, constraints) for r in rows])
            expected = order.index(trial) * factor > len(rows)
            assert judging.stops(trial, rows[-1]) is expected


def test_the_first_is_never_stopped() -> None:
    assert not rungs(constraints=CONSTRAINTS).stops(0, row(val_acc=0.0, sparsity=0.0))


@pytest.mark.parametrize("objectives", [BOTH, MIXED, {"rel_bops": "min"}])
def test_a_newcomer_that_dominates_everything_is_never_stopped(objectives: Objectives) -> None:
    rng = np.random.default_rng(0)
    for factor in (2, 3, 7):
        for count in range(60):
            judging = rungs(objectives, reduction_factor=factor)
            for trial in range(count):
                judging.stops(trial, random_row(rng))
            assert not judging.stops(count, row(val_acc=101.0, sparsity=1.1, rel_bops=-0.1, mean_bits=1.0))


def test_few_pareto_optimal_newcomers_are_stopped_and_many_by_a_single_objective() -> None:
    """Independent uniform objectives: 28 % by ASHA on one, 7 % by halving whose fronts always begin in the same
    objective, 4 % by ours, whose fronts begin where the newcomer is strongest."""
    rng = np.random.default_rng(0)
    optimal, stopped = 0, np.zeros(2)
    for _ in range(200):
        by_both, by_one = rungs(BOTH), rungs({"val_acc": "max"})
        points = rng.random((28, 2))
        for trial, (accuracy, sparsity) in enumerate(points):
            arrival = row(val_acc=accuracy, sparsity=sparsity)
            decisions = by_both.stops(trial, arrival), by_one.stops(trial, arrival)
            if not (points[:trial] >= points[trial]).all(axis=1).any():
                optimal += 1
                stopped += decisions
    of_both, of_one = stopped / optimal
    assert 0.02 < of_both < 0.06
    assert 0.26 < of_one < 0.32


@pytest.mark.parametrize("sparsity_first", [False, True])
def test_two_extremes_of_a_front_are_both_spared(sparsity_first: bool) -> None:
    dense, sparse = row(val_acc=98.0, sparsity=0.1), row(val_acc=90.0, sparsity=0.99)
    judging = rungs()
    assert not judging.stops(0, sparse if sparsity_first else dense)
    assert not judging.stops(1, dense if sparsity_first else sparse)


def test_a_feasible_newcomer_is_spared_and_an_infeasible_one_is_not() -> None:
    judging = rungs(constraints={"val_acc": ">= 90"})
    for trial, accuracy in enumerate([91.0, 92.0, 93.0, 80.0, 85.0]):
        judging.record(trial, row(val_acc=accuracy, sparsity=0.5))
    assert judging.stops(5, row(val_acc=89.9, sparsity=0.99))
    assert not judging.stops(6, row(val_acc=90.0, sparsity=0.99))


def test_where_nothing_is_feasible_the_least_violation_goes_on() -> None:
    judging = rungs(constraints={"val_acc": ">= 90"})
    for trial, accuracy in enumerate([50.0, 60.0, 70.0, 80.0]):
        judging.record(trial, row(val_acc=accuracy, sparsity=0.5))
    assert judging.stops(4, row(val_acc=60.0, sparsity=0.99))
    assert not judging.stops(5, row(val_acc=75.0, sparsity=0.1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("objectives", [BOTH, {"val_acc": "max"}])
def test_an_objective_that_is_not_finite_stops_at_once_and_stands_nowhere(
    objectives: Objectives, value: float
) -> None:
    judging = rungs(objectives)
    assert judging.stops(0, row(epoch=1, val_acc=value, sparsity=0.5))
    assert judging.stops(1, row(epoch=5, val_acc=value, sparsity=0.5))
    assert not judging.record(2, row(epoch=5, val_acc=value, sparsity=0.5))
    assert not judging.stops(3, row(epoch=5, val_acc=0.0, sparsity=0.0))  # the first there


@pytest.mark.parametrize("status", ["collapsed", "diverged", "failed"])
def test_what_collapsed_diverged_or_failed_is_not_held_against_anybody(status: str) -> None:
    judging = rungs()
    assert not judging.stops(0, row(status=status, val_acc=100.0, sparsity=1.0))
    assert not judging.stops(1, row(val_acc=1.0, sparsity=0.0))


def test_a_trial_that_ends_at_a_rung_stands_there() -> None:
    judging = rungs()
    judging.record(0, row(status="finished", val_acc=90.0, sparsity=0.9))
    assert judging.stops(1, row(val_acc=80.0, sparsity=0.5))


def test_a_trial_is_judged_once_a_rung() -> None:
    judging = rungs()
    assert not judging.stops(0, row(val_acc=50.0, sparsity=0.5))
    assert not judging.stops(1, row(val_acc=90.0, sparsity=0.9))
    assert not judging.stops(0, row(val_acc=50.0, sparsity=0.5))
    assert judging.stops(2, row(val_acc=40.0, sparsity=0.4))


def test_nobody_is_stopped_between_the_rungs() -> None:
    judging = rungs(max_epochs=45)
    for epoch in range(1, 60):
        judging.stops(0, row(epoch, val_acc=90.0, sparsity=0.9))
    stops = {epoch for epoch in range(1, 60) if judging.stops(epoch, row(epoch, val_acc=10.0, sparsity=0.1))}
    assert stops == {5, 15}


def sweep(rng: np.random.Generator, trials: int, places: int = 4) -> Iterator[tuple[int, Row]]:
    """Rows of trials of different lengths as they come in from `places` at a time."""
    waiting, running = list(range(trials)), dict[int, Iterator[Row]]()
    while waiting or running:
        while waiting and len(running) < places:
            running[waiting[0]] = trial_rows(rng, int(rng.integers(3, 50)))
            waiting.pop(0)
        trial = int(rng.choice(list(running)))
        if (reported := next(running[trial], None)) is None:
            del running[trial]
        else:
            yield trial, reported


def trial_rows(rng: np.random.Generator, epochs: int) -> Iterator[Row]:
    last = rng.choice(["finished", "finished", "collapsed"])
    for epoch in range(1, epochs + 1):
        yield random_row(rng, epoch, status=last if epoch == epochs else "running")


@pytest.mark.parametrize("objectives", [BOTH, {"sparsity": "max"}])
def test_rungs_rebuilt_from_recorded_rows_decide_as_if_nothing_had_happened(objectives: Objectives) -> None:
    rng = np.random.default_rng(1)
    whole, rows, expected = rungs(objectives, CONSTRAINTS), [], dict[int, bool]()
    for trial, reported in sweep(rng, trials=80):
        if not expected.get(trial):
            rows.append((trial, reported))
            expected[trial] = whole.stops(trial, reported)
    assert 20 < sum(expected.values()) < 70
    for cut in rng.integers(0, len(rows), 20):
        rebuilt = rungs(objectives, CONSTRAINTS)
        for arrival in rng.permutation(cut):
            rebuilt.record(*rows[arrival])
        later = {trial: rebuilt.stops(trial, reported) for trial, reported in rows[cut:]}
        assert later == {trial: expected[trial] for trial in later}


def test_one_objective_takes_no_look_at_positions_but_constraints_do() -> None:
    """Between the two values at ASHA's cut positions say less than values."""
    one, constrained = Rung({"loss": "min"}, {}, 3), Rung({"loss": "min"}, {"loss": "<= 9"}, 3)
    for trial, loss in enumerate([1.0, 0.0, 0.9]):
        for rung in (one, constrained):
            rung.add(trial, row(loss=loss))
    assert one.should_stop()
    assert not constrained.should_stop()
