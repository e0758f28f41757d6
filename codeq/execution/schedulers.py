"""Who stops hopeless trials: Pareto-aware successive halving, the median rule, or nobody."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler

from codeq.config import Template
from codeq.config.objectives import Objectives, maximized_values
from codeq.config.sweep import LARGEST
from codeq.search.rungs import HEALTHY, Rungs
from codeq.storage.trial_folder import Row

SCORE = "stopping_score"
"""The key under which the median rule finds what it ranks by; more is better."""


class NoStopping(FIFOScheduler):
    """Stops nobody, and lets every trial that there is start; the others here add whom they stop."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """None: the searcher proposes no more trials than there is room for.

        Tune gives the trial that is named here the process of one that has just ended, and kills the process that was
        starting for it. Left alone, it gives it to the trial that is proposed next.
        """
        return None


class ParetoASHA(NoStopping):
    """ASHA in its stopping variant, with as many objectives and constraints as there are: see `codeq.search.rungs`.

    Trials go by their own number, which they keep when a sweep goes on.
    """

    def __init__(self, rungs: Rungs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rungs = rungs

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: Row) -> str:
        """Stop or continue after an epoch."""
        stops = self._rungs.stops(trial.config["trial"], result)
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Row) -> None:
        """Hold a trial whose last epoch is a rung against those that come there later."""
        self._rungs.record(trial.config["trial"], result)


class MedianOfScores(NoStopping, MedianStoppingRule):
    """Ray's median rule, over the sum of the objectives."""

    metric = None  # Tune is not to look for the score among what trials report

    def __init__(self, objectives: Objectives, grace_epochs: int) -> None:
        # Without a time slice it would pause trials to let others start, which takes checkpoints that Tune never gets.
        super().__init__(
            time_attr="epoch", metric=SCORE, mode="max", grace_period=grace_epochs,
            min_time_slice=math.inf,  # type: ignore[arg-type]
        )  # fmt: skip
        self._objectives = objectives

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: Row) -> str:
        """Stop or continue after an epoch."""
        return str(super().on_trial_result(tune_controller, trial, self._scored(result)))

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: Row) -> None:
        """Keep the last row for the medians to come."""
        super().on_trial_complete(tune_controller, trial, self._scored(result))

    def _scored(self, row: Row) -> Row:
        # A collapsed trial is as sparse as can be: its score must not raise the bar for the others.
        return {**row, SCORE: stopping_score(row, self._objectives) if row.get("status") in HEALTHY else math.nan}


def stopping_score(row: Row, objectives: Objectives) -> float:
    """The sum of the objectives, each on a scale of 1 and signed so that more is better.

    Ranking by accuracy alone would stop the sparse trials, the very ones wanted. With the default objectives it is
    val_acc / 100 + sparsity.
    """
    values = zip(objectives, maximized_values(row, objectives), strict=True)
    return sum(value / LARGEST.get(name, 1.0) for name, value in values)


def build_scheduler(template: Template, recorded: Iterable[tuple[int, Iterable[Row]]] = ()) -> NoStopping:
    """The configured Tune scheduler, which counts in epochs; no trial is stopped before grace_epochs.

    recorded: the numbers and rows of earlier trials, which stand at ASHA's rungs already: a trial that goes on is not
    judged there again.
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
    return ParetoASHA(rungs)
