"""How a trial ended: what is said of it to people, to the stored study, and to the sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from codeq.config.objectives import violations
from codeq.config.sweep import LARGEST, METRICS, Scheduler, SweepConfig
from codeq.storage.trial_folder import NO_ROW, Outcome, Row


@dataclass(frozen=True)
class Ending:
    """row: the trial's last one, `NO_ROW` if it never reported."""

    status: Outcome
    reason: str
    row: Row

    @property
    def attributes(self) -> dict[str, Any]:
        """What the stored study keeps of it as user attributes: enough to tell a sampler once more."""
        # JSON has no NaN: a browser would refuse the whole study.
        metrics = {name: self.row[name] for name in ("epoch", *METRICS) if math.isfinite(self.row[name])}
        return {"status": self.status, **({"reason": self.reason} if self.reason else {}), "metrics": metrics}

    @classmethod
    def of_stored(cls, trial: FrozenTrial) -> Ending | None:
        """The ending that was stored with the trial; None if it is not one of ours."""
        kept = trial.user_attrs
        if "status" not in kept:
            return None
        return cls(kept["status"], kept.get("reason", ""), {**NO_ROW, **kept.get("metrics", {})})


def ending(row: Row | None, scheduler: Scheduler) -> Ending:
    """The ending of a trial whose last row is `row`: None if its process died, still running if it was stopped."""
    if row is None:
        return Ending("failed", "its process died", NO_ROW)
    if row["status"] == "running":
        return Ending("stopped", f"{scheduler.name} at epoch {row['epoch']}", row)
    return Ending(row["status"], row["reason"], row)


@dataclass(frozen=True)
class Told:
    """What an Optuna study is told of a trial. constraints: violated above 0."""

    state: TrialState
    values: list[float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)


Rule = Callable[[Ending, SweepConfig], Told]

FAILED = Told(TrialState.FAIL)


def for_study(ending: Ending, sweep: SweepConfig) -> Told:
    """What happened. Only a trial that trained all its epochs is COMPLETE and may be among the study's best."""
    if ending.status == "finished":
        return _with_values(ending, sweep)
    return Told(TrialState.PRUNED) if ending.status == "stopped" else FAILED


def for_sampler(ending: Ending, sweep: SweepConfig) -> Told:
    """What the sampler learns most from: PRUNED, which is ranked behind all that is COMPLETE, for what was stopped.

    What diverged or collapsed is PRUNED too, or the sampler would go on proposing its like; a crash says nothing of the
    config.
    """
    if ending.status not in ("stopped", "diverged", "collapsed"):
        told = for_study(ending, sweep)
        # Optuna adds up what is missed: a point of accuracy must not weigh as much as all of sparsity.
        scaled = {name: missed / LARGEST.get(name, 1.0) for name, missed in told.constraints.items()}
        return replace(told, constraints=scaled)
    # TPE takes what has no constraints for feasible, and so for better than all that is COMPLETE and infeasible.
    return Told(TrialState.PRUNED, constraints=dict.fromkeys(sweep.constraints, math.inf))


def _with_values(ending: Ending, sweep: SweepConfig) -> Told:
    """COMPLETE, or FAIL where a number is missing, which Optuna would take for the best of all."""
    values = [float(ending.row[name]) for name in sweep.objectives]
    constraints = dict(zip(sweep.constraints, violations(ending.row, sweep.constraints), strict=True))
    if not all(map(math.isfinite, (*values, *constraints.values()))):
        return FAILED
    return Told(TrialState.COMPLETE, values, constraints)
