"""Which scheduler a template gets, that ours is ASHA for one objective, and what the median rule ranks by."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from codeq.config import Template
from codeq.config.decisions import decision_epochs
from codeq.config.objectives import Objectives
from codeq.config.sweep import Scheduler
from codeq.execution.schedulers import MedianOfScores, NoStopping, ParetoASHA, build_scheduler, stopping_score
from codeq.search.rungs import Rungs

ROW = {"val_acc": 90.0, "sparsity": 0.5, "rel_bops": 0.1, "mean_bits": 4.0, "loss": 0.3}
BOTH: Objectives = {"val_acc": "max", "sparsity": "max"}
Load = Callable[..., Template]


@pytest.fixture
def load(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Load:
    """A template of so many epochs with this sweep section."""
    return lambda epochs, **sweep: Template.load(write_yaml({**tiny, "epochs": epochs, "sweep": sweep}))


CONTROLLER: Any = SimpleNamespace(get_live_trials=list)


@cache
def trial(number: int) -> Any:
    """As much of Tune's trial as a scheduler sees, the same object every time."""
    return type("Trial", (), {"trial_id": f"id{number}", "config": {"trial": number}})()


def report(epoch: int, status: str = "running", **metrics: float) -> dict[str, Any]:
    return {**ROW, "epoch": epoch, "status": status, "reason": "", **metrics}


def stops(scheduler: Any, number: int, result: dict[str, Any]) -> bool:
    return scheduler.on_trial_result(CONTROLLER, trial(number), result) == TrialScheduler.STOP


@pytest.mark.parametrize(
    ("epochs", "scheduler", "expected"),
    [
        (30, {"name": "asha"}, ParetoASHA),
        (5, {"name": "asha", "grace_epochs": 5}, ParetoASHA),
        (30, {"name": "median"}, MedianOfScores),
        (30, {"name": "none"}, NoStopping),
    ],
)
def test_the_template_names_the_scheduler(
    load: Load, epochs: int, scheduler: dict[str, Any], expected: type
) -> None:
    built: Any = build_scheduler(load(epochs, scheduler=scheduler))
    assert type(built) is expected


@pytest.mark.parametrize("name", ["asha", "median", "none"])
def test_no_trial_is_given_the_process_of_another_while_its_own_starts(load: Load, name: str) -> None:
    """Tune would kill the process that is starting."""
    starting = [SimpleNamespace(status="PENDING", placement_group_factory=None) for _ in range(2)]
    controller: Any = SimpleNamespace(get_trials=lambda: starting, search_alg=None)
    assert build_scheduler(load(30, scheduler={"name": name})).choose_trial_to_run(controller) is None


def test_the_median_rule_pauses_nobody_for_a_trial_that_waits(load: Load) -> None:
    """Tune would save what it pauses, and trials save themselves."""
    waiting: Any = SimpleNamespace(get_live_trials=lambda: [SimpleNamespace(status="PENDING")])
    scheduler: Any = build_scheduler(load(30, scheduler={"name": "median", "grace_epochs": 2}))
    decisions = {scheduler.on_trial_result(waiting, trial(0), report(epoch)) for epoch in range(1, 12)}
    assert decisions == {TrialScheduler.CONTINUE}


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize(("grace", "factor", "epochs"), [(1, 3, 30), (5, 3, 45), (2, 2, 33), (3, 4, 50)])
def test_with_one_objective_every_decision_is_that_of_rays_asha(
    direction: Any, grace: int, factor: int, epochs: int
) -> None:
    rng, stopped = np.random.default_rng(epochs), 0
    scheduler = Scheduler(grace_epochs=grace, reduction_factor=factor)
    ours = ParetoASHA(Rungs(scheduler, {"loss": direction}, {}, epochs))
    rays = ASHAScheduler("epoch", "loss", direction, max_t=epochs, grace_period=grace, reduction_factor=factor)
    for number in range(200):
        rays.on_trial_add(CONTROLLER, trial(number))
    running = dict.fromkeys(range(200), 0)
    while running:
        number = int(rng.choice(list(running)[:8]))  # eight at a time
        epoch = running[number] = running[number] + 1
        # With ties after the hundredth trial.
        result = report(epoch, loss=rng.random() if number < 100 else round(rng.random(), 1))
        ends = epoch == epochs or stops(rays, number, result)
        if epoch < epochs:  # Tune asks nobody about a last row
            assert stops(ours, number, result) is ends
        if ends:
            stopped += epoch < epochs
            del running[number]
            for either in (ours, rays):
                either.on_trial_complete(CONTROLLER, trial(number), result)
    assert 80 < stopped < 200


@pytest.mark.parametrize(("grace", "factor", "epochs"), [(5, 3, 30), (1, 4, 64), (3, 3, 100), (2, 2, 5), (5, 3, 15)])
def test_decision_epochs_are_those_where_asha_stops_somebody(
    load: Load, grace: int, factor: int, epochs: int
) -> None:
    template = load(epochs, scheduler={"grace_epochs": grace, "reduction_factor": factor})
    rays = ASHAScheduler("epoch", "loss", "min", max_t=epochs, grace_period=grace, reduction_factor=factor)
    scheduler = build_scheduler(template, [(-n, [report(epoch) for epoch in range(1, epochs)]) for n in (1, 2, 3)])
    worse = {"val_acc": 10.0, "sparsity": 0.0}
    assert decision_epochs(template) == {n for n in range(1, epochs) if stops(scheduler, n, report(n, **worse))}
    assert decision_epochs(template) == {rung for rung, _ in rays._brackets[0]._rungs if rung < epochs}


def test_trials_of_different_lengths_meet_at_the_rungs_that_they_reach(load: Load) -> None:
    scheduler = build_scheduler(load({"distribution": "int", "low": 3, "high": 40}))
    scheduler.on_trial_complete(CONTROLLER, trial(0), report(3, "finished", val_acc=99.0))
    assert not stops(scheduler, 1, report(15, val_acc=80.0))
    scheduler.on_trial_complete(CONTROLLER, trial(2), report(5, "finished"))
    assert stops(scheduler, 3, report(5, val_acc=80.0))
    assert stops(scheduler, 4, report(15, val_acc=70.0))


def test_a_trial_that_tune_ends_before_its_first_row_leaves_no_trace(load: Load) -> None:
    scheduler = build_scheduler(load(30))
    scheduler.on_trial_complete(CONTROLLER, trial(0), {})
    assert not stops(scheduler, 1, report(5, val_acc=1.0))


def test_recorded_rows_stand_at_the_rungs_and_are_not_judged_again(load: Load) -> None:
    recorded = [(n, [report(epoch, val_acc=90.0 - n) for epoch in range(1, 7)]) for n in range(3)]
    scheduler = build_scheduler(load(30), recorded)
    assert not stops(scheduler, 2, report(5, val_acc=1.0))
    assert stops(scheduler, 3, report(5, val_acc=88.5))
    assert not stops(build_scheduler(load(30)), 3, report(5, val_acc=88.5))


@pytest.mark.parametrize(("name", "expected"), [("median", None), ("none", frozenset())])
def test_other_schedulers_decide_at_any_epoch_or_never(
    load: Load, name: str, expected: frozenset[int] | None
) -> None:
    assert decision_epochs(load(9, scheduler={"name": name, "grace_epochs": 2})) == expected


def test_the_default_score_is_accuracy_over_100_plus_sparsity() -> None:
    assert stopping_score(ROW, BOTH) == pytest.approx(1.4)


def test_what_is_to_be_small_counts_against() -> None:
    assert stopping_score(ROW, {"val_acc": "max", "rel_bops": "min"}) == pytest.approx(0.8)
    assert stopping_score(ROW, {"mean_bits": "min"}) == pytest.approx(-0.125)


def test_a_sparse_trial_outranks_a_slightly_more_accurate_dense_one() -> None:
    sparse, dense = {**ROW, "val_acc": 92.0, "sparsity": 0.9}, {**ROW, "val_acc": 96.0, "sparsity": 0.0}
    assert stopping_score(sparse, BOTH) > stopping_score(dense, BOTH)
    assert stopping_score(sparse, {"val_acc": "max"}) < stopping_score(dense, {"val_acc": "max"})


def median_after(load: Load, others: list[dict[str, Any]]) -> Any:
    scheduler = build_scheduler(load(30, scheduler={"name": "median", "grace_epochs": 2}))
    for number, result in enumerate(others):
        if result["status"] == "running":
            assert not stops(scheduler, number, result)
        else:
            scheduler.on_trial_complete(CONTROLLER, trial(number), result)
    return scheduler


def test_the_median_rule_stops_what_is_below_the_median_sum(load: Load) -> None:
    scheduler = median_after(load, [report(2, val_acc=90.0, sparsity=s) for s in (0.1, 0.5, 0.9)])
    assert stops(scheduler, 3, report(2, val_acc=92.0, sparsity=0.4))
    assert not stops(scheduler, 4, report(2, val_acc=80.0, sparsity=0.7))


def test_the_median_rule_holds_no_collapsed_trial_against_anybody(load: Load) -> None:
    collapsed = [report(2, "collapsed", val_acc=10.0, sparsity=1.0) for _ in range(5)]
    scheduler = median_after(load, [*collapsed, *(report(2, sparsity=s) for s in (0.1, 0.2, 0.3))])
    assert not stops(scheduler, 8, report(2, sparsity=0.25))
    assert math.isnan(scheduler._scored(collapsed[0])["stopping_score"])


def test_tune_does_not_look_for_the_score_among_what_trials_report(load: Load) -> None:
    assert build_scheduler(load(30, scheduler={"name": "median"})).metric is None
