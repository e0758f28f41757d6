"""What the sampler is told of a trial, where that is not what happened."""

from __future__ import annotations

import math
from typing import Any

import pytest
from optuna.trial import TrialState

from codeq.config.sweep import SweepConfig
from codeq.search.outcome import StudyReport, for_sampler, for_study, trial_end
from tests.search.conftest import row

SWEEP = SweepConfig.model_validate(
    {"objectives": {"rel_bops": "min", "val_acc": "max"}, "constraints": {"loss": "<= 0.4"}}
)


def told(values: dict[str, Any]) -> StudyReport:
    return for_sampler(trial_end(row(**values), SWEEP.scheduler), SWEEP)


def test_the_sampler_learns_the_objectives_and_constraints_of_a_finished_trial() -> None:
    learned = told({"rel_bops": 0.25})
    assert (learned.state, learned.values) == (TrialState.COMPLETE, [0.25, 90.0])
    assert learned.constraints == {"loss": pytest.approx(0.1)}


def test_constraints_in_percent_weigh_as_much_as_shares_for_the_sampler() -> None:
    constraints = {"val_acc": ">= 95", "rel_bops": "<= 0.1", "loss": "<= 0.4"}
    sweep = SWEEP.model_copy(update={"constraints": constraints})
    ended = trial_end(row(val_acc=90.0, rel_bops=0.3, loss=0.5), sweep.scheduler)
    assert for_study(ended, sweep).constraints == pytest.approx({"val_acc": 5.0, "rel_bops": 0.2, "loss": 0.1})
    assert for_sampler(ended, sweep).constraints == pytest.approx({"val_acc": 0.05, "rel_bops": 0.2, "loss": 0.1})


@pytest.mark.parametrize("status", ["running", "diverged", "collapsed"])
def test_what_was_stopped_or_broke_down_counts_as_bad_for_the_sampler(status: str) -> None:
    assert told({"status": status}) == StudyReport(TrialState.PRUNED, constraints={"loss": math.inf})


@pytest.mark.parametrize("values", [{"status": "failed"}, {"val_acc": float("inf")}, {"loss": float("nan")}])
def test_a_crash_or_a_missing_number_teaches_nothing(values: dict[str, Any]) -> None:
    assert told(values) == StudyReport(TrialState.FAIL)


def test_a_stopped_trial_is_named_for_who_stopped_it_and_when() -> None:
    ended = trial_end(row(status="running", epoch=9), SWEEP.scheduler)
    assert (ended.status, ended.reason) == ("stopped", "asha at epoch 9")
    assert for_study(ended, SWEEP).state is TrialState.PRUNED
