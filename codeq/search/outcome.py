"""How a trial ended: what is said of it to people, to the stored study, and to the sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from codeq.config.objectives import violations
from codeq.config.sweep import LARGEST, METRICS, Scheduler, SweepConfig
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialStatus


@dataclass(frozen=True)
class TrialEnd:
    """row: the trial's last one, `EMPTY_METRICS` if it never reported."""

    status: TrialStatus
    reason: str
    row: Row

    @property
    def attributes(self) -> dict[str, Any]:
        """What the stored study keeps of it as user attributes: enough to tell a sampler once more."""
        # JSON has no NaN: a browser would refuse the whole study.
        metrics = {name: self.row[name] for name in ("epoch", *METRICS) if math.isfinite(self.row[name])}
        return {"status": self.status, **({"reason": self.reason} if self.reason else {}), "metrics": metrics}

    @classmethod
    def of_stored(cls, trial: FrozenTrial) -> TrialEnd | None:
        """The end that was stored with the trial; None if it is not one of ours."""
        kept = trial.user_attrs
        if "status" not in kept:
            return None
        return cls(kept["status"], kept.get("reason", ""), {**EMPTY_METRICS, **kept.get("metrics", {})})


def trial_end(row: Row | None, scheduler: Scheduler) -> TrialEnd:
    """The end of a trial whose last row is `row`: None if its process died, still running if it was stopped."""
    if row is None:
        return TrialEnd("failed", "its process died", EMPTY_METRICS)
    if row["status"] == "running":
        return TrialEnd("stopped", f"{scheduler.name} at epoch {row['epoch']}", row)
    return TrialEnd(row["status"], row["reason"], row)


@dataclass(frozen=True)
class StudyReport:
    """What an Optuna study is told of a trial. constraints: violated above 0."""

    state: TrialState
    values: list[float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)


Rule = Callable[[TrialEnd, SweepConfig], StudyReport]

FAILED = StudyReport(TrialState.FAIL)


def for_study(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """What happened. Only a trial that trained all its epochs is COMPLETE and may be among the study's best."""
    if end.status == "finished":
        return _with_values(end, sweep)
    return StudyReport(TrialState.PRUNED) if end.status == "stopped" else FAILED


def for_sampler(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """What the sampler learns most from: PRUNED, which is ranked behind all that is COMPLETE, for what was stopped.

    What diverged or collapsed is PRUNED too, or the sampler would go on proposing its like; a crash says nothing of the
    config.
    """
    if end.status not in ("stopped", "diverged", "collapsed"):
        report = for_study(end, sweep)
        # Optuna adds up what is missed: a point of accuracy must not weigh as much as all of sparsity.
        scaled = {name: missed / LARGEST.get(name, 1.0) for name, missed in report.constraints.items()}
        return replace(report, constraints=scaled)
    # TPE takes what has no constraints for feasible, and so for better than all that is COMPLETE and infeasible.
    return StudyReport(TrialState.PRUNED, constraints=dict.fromkeys(sweep.constraints, math.inf))


def _with_values(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """COMPLETE, or FAIL where a number is missing, which Optuna would take for the best of all."""
    values = [float(end.row[name]) for name in sweep.objectives]
    constraints = dict(zip(sweep.constraints, violations(end.row, sweep.constraints), strict=True))
    if not all(map(math.isfinite, (*values, *constraints.values()))):
        return FAILED
    return StudyReport(TrialState.COMPLETE, values, constraints)
