"""Detects diverged and collapsed runs after each epoch."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

Health = Literal["healthy", "diverged", "collapsed"]


def diagnose(
    *,
    epoch: int,
    loss: float,
    val_acc: float,
    empty_layers: tuple[str, ...],
    zero_at_start: Collection[str],
    majority_class_fraction: float,
    grace_epochs: int,
) -> tuple[Health, str]:
    """Return the status after an epoch and its reason (empty if healthy).

    diverged: the training loss is NaN or infinite. collapsed: a quantized layer has only zero weights (from epoch
    `grace_epochs` on if it is one of `zero_at_start`, which had only zeros before training), or, from epoch
    `grace_epochs` on, val_acc (percent) is no better than chance: than always answering the most frequent class, which
    has a share of `majority_class_fraction` (0..1) of the validation images.
    """
    if not math.isfinite(loss):
        return "diverged", f"loss is {loss}"
    collapsed = [name for name in empty_layers if name not in zero_at_start or epoch >= grace_epochs]
    if collapsed:
        more = f" and {len(collapsed) - 1} more" if len(collapsed) > 1 else ""
        return "collapsed", f"every weight of {collapsed[0]}{more} is zero"
    chance = 100.0 * majority_class_fraction
    if epoch >= grace_epochs and val_acc <= chance + 1e-6:
        return "collapsed", f"val_acc {val_acc:.2f} is no better than chance ({chance:.2f})"
    return "healthy", ""
