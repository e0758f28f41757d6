"""The advice after a sweep, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codeq.config import Template
from codeq.config.objectives import is_feasible
from codeq.results.advice.boundary_hits import BoundaryHit, boundary_hits
from codeq.results.advice.failures import FailureRegion, failure_regions
from codeq.results.advice.observations import healthy, observations
from codeq.results.advice.ties import Accuracies, accuracies
from codeq.results.advice.total_failure import TotalFailure, total_failure
from codeq.results.trials import TrialResult
from codeq.search.importance import importances


@dataclass(frozen=True)
class Advice:
    """The advice that a sweep's trials support.

    importances: by objective, the share of each parameter that matters for it, most important first, as `observed`
    trials show it after `epoch`; None and no importances where these are too few. total_failure: set if no trial is
    healthy. tried_all: whether every config has been tried, and more trials than there are configs were asked for.
    """

    observed: int
    epoch: int | None
    importances: Mapping[str, Mapping[str, float]]
    boundary_hits: Sequence[BoundaryHit]
    accuracies: Accuracies | None
    failures: Sequence[FailureRegion]
    total_failure: TotalFailure | None = None
    tried_all: bool = False


def advise(template: Template, trials: Sequence[TrialResult], front: Sequence[TrialResult]) -> Advice:
    """The advice on a sweep with these trials, of which those on the front are the winners.

    Without a trial that satisfies the constraints there are no ties: nothing can be chosen.
    """
    to_choose_from = [trial for trial in front if is_feasible(trial.row, template.sweep.constraints)]
    seen = observations(trials)
    important = importances(template, seen.parameters, seen.rows) if seen else {}
    ended = sum(trial.record.status != "running" for trial in trials)
    return Advice(
        observed=len(seen.rows if seen else healthy(trials)),
        epoch=seen.epoch if seen else None,
        importances=important,
        boundary_hits=boundary_hits(front, template, important),
        accuracies=accuracies(to_choose_from, template.sweep.objectives),
        failures=failure_regions(trials, template),
        total_failure=total_failure(trials, template),
        tried_all=bool(template.missing_configs) and ended >= template.config_count,
    )
