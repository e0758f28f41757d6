"""How a trial ended, and what of it is reported to the stored study and to the sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from codeq.config.metrics import METRICS, finite_metrics
from codeq.config.objectives import violations
from codeq.config.sweep import Scheduler, SweepConfig
from codeq.storage.trial_folder import EMPTY_METRICS, Row, TrialFolder, TrialStatus


@dataclass(frozen=True)
class TrialEnd:
    """The end of a trial. row: its last row, `EMPTY_METRICS` if it never reported one.

    The driver computes it once and records it in the trial's folder. Then it tells the study, the sampler and W&B.
    """

    status: TrialStatus
    reason: str
    row: Row

    @property
    def attributes(self) -> dict[str, Any]:
        """User attributes for the stored study, from which `of_stored` restores this object."""
        # JSON has no NaN: the dashboard in the browser could not read the study.
        metrics = {"epoch": self.row["epoch"], **finite_metrics(self.row)}
        return {"status": self.status, **({"reason": self.reason} if self.reason else {}), "metrics": metrics}

    @classmethod
    def recorded(cls, folder: TrialFolder) -> TrialEnd | None:
        """The end that the trial's folder has recorded; None if the trial has not ended."""
        record = folder.read_record()
        if record is None or record.status == "running":
            return None
        return cls(record.status, record.reason, {**EMPTY_METRICS, **(record.last_row or folder.last_row())})

    @classmethod
    def of_stored(cls, trial: FrozenTrial) -> TrialEnd | None:
        """The end that was stored with the trial; None if none was stored."""
        kept = trial.user_attrs
        if "status" not in kept:
            return None
        return cls(kept["status"], kept.get("reason", ""), {**EMPTY_METRICS, **kept.get("metrics", {})})


def trial_end(row: Row, scheduler: Scheduler) -> TrialEnd:
    """The end of a trial whose last report is `row`; a status of running means that the scheduler stopped the trial."""
    if row["status"] == "running":
        return TrialEnd("stopped", f"{scheduler.name} at epoch {row['epoch']}", row)
    return TrialEnd(row["status"], row["reason"], row)


@dataclass(frozen=True)
class StudyReport:
    """What an Optuna study is told about a trial. constraints: positive values are violations."""

    state: TrialState
    values: list[float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)


Rule = Callable[[TrialEnd, SweepConfig], StudyReport]

FAILED = StudyReport(TrialState.FAIL)


def for_study(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """The report for the stored study: only a trial that trained all its epochs is COMPLETE and may be a best one."""
    if end.status == "finished":
        return _with_values(end, sweep)
    return StudyReport(TrialState.PRUNED) if end.status == "stopped" else FAILED


def for_sampler(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """The report for the sampler: stopped trials are PRUNED, which samplers rank behind all COMPLETE ones.

    Diverged and collapsed trials are PRUNED too, so that the sampler avoids similar configs. A crash is FAIL: it says
    nothing about the config.
    """
    if end.status not in ("stopped", "diverged", "collapsed"):
        report = for_study(end, sweep)
        # Optuna sums the violations, so each is scaled to the range of its metric.
        scaled = {name: missed / METRICS[name].scale for name, missed in report.constraints.items()}
        return replace(report, constraints=scaled)
    # TPE takes a trial without constraints for feasible, and so for better than all infeasible COMPLETE trials.
    return StudyReport(TrialState.PRUNED, constraints=dict.fromkeys(sweep.constraints, math.inf))


def _with_values(end: TrialEnd, sweep: SweepConfig) -> StudyReport:
    """COMPLETE, or FAIL if a number is not finite: Optuna would rank it as the best."""
    values = [float(end.row[name]) for name in sweep.objectives]
    constraints = dict(zip(sweep.constraints, violations(end.row, sweep.constraints), strict=True))
    if not all(map(math.isfinite, (*values, *constraints.values()))):
        return FAILED
    return StudyReport(TrialState.COMPLETE, values, constraints)
