"""Our search with other samplers, early stopping and rules for reports to the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from optuna.trial import TrialState

from benchmarks.search_quality.searchers import Make, ours
from codeq.config.sweep import SweepConfig
from codeq.search.outcome import Rule, StudyReport, TrialEnd, for_sampler, for_study


def stopped_as_complete(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """Report stopped trials as COMPLETE with their last values, as Ray's searcher does."""
    return for_study(replace(end, status="finished") if end.status == "stopped" else end, sweep)


def stopped_as_fail(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """Report only trials that trained all their epochs; others are FAIL."""
    report = for_study(end, sweep)
    return StudyReport(TrialState.FAIL) if report.state is TrialState.PRUNED else report


def _variant(learn: Rule = for_sampler, overrides: Sequence[str] = ()) -> Make:
    return lambda table, seed, folder: ours(table, seed, folder, learn, overrides)


def _sampler(name: str) -> Make:
    return _variant(overrides=[f"sweep.search.sampler={name}"])


VARIANTS: dict[str, Make] = {
    "as shipped": ours,
    "diverged and collapsed told as FAIL": _variant(for_study),
    "stopped told as COMPLETE": _variant(stopped_as_complete),
    "stopped told as FAIL": _variant(stopped_as_fail),
    "no early stopping": _variant(overrides=["sweep.scheduler.name=none"]),
    "grace of 3 epochs": _variant(overrides=["sweep.scheduler.grace_epochs=3"]),
    "one in 2 goes on": _variant(overrides=["sweep.scheduler.reduction_factor=2"]),
    "one in 2 goes on, grace of 3 epochs": _variant(
        overrides=["sweep.scheduler.reduction_factor=2", "sweep.scheduler.grace_epochs=3"]
    ),
    "nsga2": _sampler("nsga2"),
    "random": _sampler("random"),
}
