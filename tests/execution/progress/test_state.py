"""Events of trials in, numbers out."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.results.front import pareto_front
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import EMPTY_METRICS, TrialRecord
from tests.execution.progress.conftest import OBJECTIVES, row


def names(trials: Any) -> list[str]:
    return [trial.name for trial in trials]


def test_trials_are_counted_by_how_they_ended_and_the_front_is_that_of_the_finished_ones(
    progress: SweepProgress,
) -> None:
    view = progress.snapshot(now=7.0)
    assert view.counts == {"finished": 4, "stopped": 2, "failed": 1}
    assert (view.ended, view.trials) == (7, 24)
    assert names(view.running) == ["0007", "0008"]
    assert [trial.row["epoch"] for trial in view.running] == [7, 0]
    assert names(view.finished) == ["0000", "0002", "0004", "0006"]
    assert names(view.front) == ["0004", "0000", "0002"]


def test_the_speed_is_that_of_all_trials_together() -> None:
    progress = SweepProgress("two", EpochPlan(2, 10, rungs=()), {})
    for name in ("0000", "0001"):
        progress.start(name, 10)
    assert progress.snapshot(now=5.0).epochs_per_s is None
    for epoch in range(1, 6):
        progress.report("0000", row(epoch, 90.0, 0.5), float(epoch))
        progress.report("0001", row(epoch, 90.0, 0.5), epoch + 0.5)
    assert progress.snapshot(now=5.5).epochs_per_s == pytest.approx(2.0)
    assert progress.snapshot(now=10.0).epochs_per_s == pytest.approx(1.0)  # nothing has been reported for a while


def test_a_row_that_is_repeated_counts_once_and_a_lost_process_loses_nothing(progress: SweepProgress) -> None:
    before = progress.snapshot(now=8.0)
    assert not progress.report("0007", row(7, 90.0, 0.5), 8.0)
    progress.start("0007", 20)
    assert progress.snapshot(now=8.0) == before
    assert progress.report("0007", row(8, 90.0, 0.5), 8.0)


def test_without_stopping_the_time_left_is_exact() -> None:
    """Of 4 trials of 10 epochs one has ended and one is at epoch 4: 26 epochs are left, two a second."""
    progress = SweepProgress("all", EpochPlan(4, 10, rungs=()), {})
    progress.start("0000", 10)
    progress.start("0001", 10)
    for epoch in range(1, 11):
        progress.report("0000", row(epoch, 90.0, 0.5), epoch * 0.65)
    progress.end("0000", TrialEnd("finished", "", row(10, 90.0, 0.5)), 10)
    for epoch in range(1, 5):
        progress.report("0001", row(epoch, 90.0, 0.5), 6.5)
    left = progress.snapshot(now=7.15).left
    assert left is not None and left.expected == pytest.approx(13.0)
    assert left.p10_p90 == pytest.approx((13.0, 13.0)) and left.most == pytest.approx(13.0)


def test_the_last_trial_is_not_faster_for_being_alone() -> None:
    """Two trials of 10 epochs gave two epochs a second; the one that is left gives one a second."""
    progress = SweepProgress("last", EpochPlan(2, 10, rungs=()), {})
    progress.start("0000", 10)
    progress.start("0001", 10)
    for epoch in range(1, 6):
        progress.report("0000", row(epoch, 90.0, 0.5), float(epoch))
        progress.report("0001", row(epoch, 90.0, 0.5), epoch + 0.5)
    progress.end("0000", TrialEnd("diverged", "loss is nan", row(5, 90.0, 0.5)), 10)
    left = progress.snapshot(now=5.5).left
    assert left is not None and left.expected == pytest.approx(5.0)


def test_where_any_epoch_may_be_a_trials_last_the_time_left_is_an_upper_bound() -> None:
    progress = SweepProgress("median", EpochPlan(3, 10, rungs=None), OBJECTIVES)  # type: ignore[arg-type]
    progress.start("0000", 10)
    for second in range(3):
        progress.report("0000", row(second + 1, 90.0, 0.5), float(second))
    left = progress.snapshot(now=2.0).left
    assert left is not None and (left.most, left.expected) == (pytest.approx(27.0), None)


@pytest.mark.parametrize("constraints", [{}, {"rel_bops": "<= 0.4"}, {"rel_bops": "<= -1"}])
def test_the_front_is_the_one_that_the_report_will_show(constraints: dict[str, str]) -> None:
    """Where no trial satisfies the constraints, the front is that of all."""
    draw = random.Random(0)
    objectives: Any = {"val_acc": "max", "rel_bops": "min"}
    progress = SweepProgress("random", EpochPlan(60, 20, rungs=()), objectives, constraints)
    trials: Any = []
    for number in range(60):
        values = {**row(20, draw.randint(0, 20), 0.0), "rel_bops": draw.randint(0, 20) / 20}
        progress.end(f"{number:04d}", TrialEnd("finished", "", values), 20)
        trials.append(SimpleNamespace(finished=True, row=values, record=TrialRecord(number, "", 0)))
        feasible = [trial for trial in trials if not constraints or trial.row["rel_bops"] <= float(
            constraints["rel_bops"].split()[1])]  # fmt: skip
        expected = pareto_front(feasible or trials, objectives)
        assert set(names(progress.snapshot(now=0.0).front)) == {f"{trial.record.trial:04d}" for trial in expected}


def test_a_score_that_is_no_number_is_on_no_front() -> None:
    progress = SweepProgress("nan", EpochPlan(2, 20, rungs=()), OBJECTIVES)  # type: ignore[arg-type]
    progress.end("0000", TrialEnd("finished", "", {**EMPTY_METRICS, "epoch": 20}), 20)
    view = progress.snapshot(now=0.0)
    assert (view.counts, view.front) == ({"finished": 1}, [])
