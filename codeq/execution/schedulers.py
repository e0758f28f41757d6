"""Early stopping as Tune schedulers: Pareto-aware successive halving, the median rule, or none."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from codeq.config import Template
from codeq.config.metrics import METRICS
from codeq.config.objectives import Objectives, maximized_values
from codeq.search.rungs import HEALTHY, Rungs
from codeq.search.shared_study import SharedStudy
from codeq.search.study import StudyUnavailable
from codeq.storage.atomic_files import warn_once
from codeq.storage.trial_folder import Row

log = logging.getLogger(__name__)

SCORE = "stopping_score"
"""The key of the value that the median rule compares; more is better."""


class NoStopping(FIFOScheduler):
    """Stops no trial and starts every trial that is proposed; the base of the other schedulers here."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """None: the searcher proposes no more trials than fit.

        Tune would give the chosen trial the process of one that has just ended, and kill the process that is starting
        for it. With None it gives that process to the trial that is proposed next.
        """
        return None


class ParetoASHA(NoStopping):
    """ASHA in its stopping variant, with any number of objectives and constraints: see `codeq.search.rungs`.

    Trials are identified by their number, which they keep over --resume.
    """

    def __init__(self, rungs: Rungs, shared: SharedStudy | None = None) -> None:
        """shared: the study of several drivers, which compare their trials with one another's."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._rungs, self._shared = rungs, shared

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles schedulers into an unused snapshot, and a study's database cannot be pickled."""
        return {}

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: Row) -> str:
        """Stop or continue after an epoch."""
        self._exchange(trial, result)
        stops = self._rungs.stops(trial.config["trial"], result)
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Row) -> None:
        """Add a trial whose last epoch is a rung to that rung."""
        self._exchange(trial, result)
        self._rungs.record(trial.config["trial"], result)

    def _exchange(self, trial: Trial, result: Row) -> None:
        """Tell the other drivers of a trial at a rung, and hear of theirs."""
        if self._shared is None or not self._rungs.is_rung(result):
            return
        try:
            theirs = self._shared.exchange(trial.config["trial"], result, self._rungs.metrics)
        except StudyUnavailable as error:
            warn_once(log, f"the study cannot be used now; this trial is compared with those known before: {error}")
            return
        for number, row in theirs:
            self._rungs.record(number, row)


class MedianOfScores(NoStopping, MedianStoppingRule):
    """Ray's median rule, over the sum of the objectives."""

    metric = None  # Tune must not look for the score in the reported rows

    def __init__(self, objectives: Objectives, grace_epochs: int) -> None:
        # A finite time slice would pause trials, for which Tune needs checkpoints that it does not have.
        super().__init__(
            time_attr="epoch", metric=SCORE, mode="max", grace_period=grace_epochs,
            min_time_slice=math.inf,  # type: ignore[arg-type]
        )  # fmt: skip
        self._objectives = objectives

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: Row) -> str:
        """Stop or continue after an epoch."""
        return str(super().on_trial_result(tune_controller, trial, self._scored(result)))

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Row) -> None:
        """Keep the last row for later medians."""
        super().on_trial_complete(tune_controller, trial, self._scored(result))

    def _scored(self, row: Row) -> Row:
        # A collapsed trial has maximal sparsity: its score must not enter the medians.
        return {**row, SCORE: stopping_score(row, self._objectives) if row.get("status") in HEALTHY else math.nan}


def stopping_score(row: Row, objectives: Objectives) -> float:
    """The sum of the objectives, each on a scale of 1 and signed so that more is better.

    Ranking by accuracy alone would stop the sparse trials. With the default objectives it is val_acc / 100 + sparsity.
    """
    values = zip(objectives, maximized_values(row, objectives), strict=True)
    return sum(value / METRICS[name].scale for name, value in values)


def build_scheduler(
    template: Template, recorded: Iterable[tuple[int, Iterable[Row]]] = (), shared: SharedStudy | None = None
) -> NoStopping:
    """The configured Tune scheduler, which counts in epochs; no trial is stopped before grace_epochs.

    recorded: the numbers and rows of earlier trials, which are added to ASHA's rungs: a resumed trial is not compared
    there again. shared: see `ParetoASHA`; the median rule compares the trials of its own driver.
    """
    sweep = template.sweep
    match sweep.scheduler.name:
        case "none":
            return NoStopping()  # type: ignore[no-untyped-call]
        case "median":
            return MedianOfScores(sweep.objectives, sweep.scheduler.grace_epochs)
    rungs = Rungs(sweep.scheduler, sweep.objectives, sweep.constraints, template.max_epochs)
    for trial, rows in recorded:
        for row in rows:
            rungs.record(trial, row)
    return ParetoASHA(rungs, shared)
