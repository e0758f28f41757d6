"""Who stops hopeless trials: asynchronous successive halving, the median rule, or nobody."""

from __future__ import annotations

from typing import Any, Literal

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from codeq.config import Template

SCORE = "stopping_score"
"""The key of a row under which the scheduler finds what it ranks by; more is better."""

_SCALE = {"train_acc": 100.0, "val_acc": 100.0, "mean_bits": 32.0}


def stopping_score(row: dict[str, Any], objectives: dict[str, Literal["max", "min"]]) -> float:
    """The sum of the objectives, each on a scale of 1 and signed so that more is better.

    Ranking by accuracy alone would stop the sparse trials, the very ones wanted. With the default objectives it is
    val_acc / 100 + sparsity.
    """
    signs = {"max": 1.0, "min": -1.0}
    return sum(signs[direction] * float(row[name]) / _SCALE.get(name, 1.0) for name, direction in objectives.items())


def build_scheduler(template: Template) -> TrialScheduler:
    """The configured Tune scheduler, which counts in epochs; no trial is stopped before grace_epochs."""
    scheduler = template.sweep.scheduler
    if scheduler.name == "none" or template.max_epochs <= scheduler.grace_epochs:
        return FIFOScheduler()
    if scheduler.name == "median":
        return MedianStoppingRule(time_attr="epoch", metric=SCORE, mode="max", grace_period=scheduler.grace_epochs)
    return ASHAScheduler(
        time_attr="epoch",
        metric=SCORE,
        mode="max",
        max_t=template.max_epochs,
        grace_period=scheduler.grace_epochs,
        reduction_factor=scheduler.reduction_factor,
    )
