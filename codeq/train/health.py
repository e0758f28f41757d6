"""Detects diverged and collapsed runs after each epoch."""

from __future__ import annotations

import math
from typing import Literal

Health = Literal["healthy", "diverged", "collapsed"]


def diagnose(
    *,
    epoch: int,
    loss: float,
    val_acc: float,
    empty_layers: tuple[str, ...],
    majority_class_fraction: float,
    grace_epochs: int,
) -> tuple[Health, str]:
    """Return the status after an epoch and its reason (empty if healthy).

    diverged: the training loss is NaN or infinite. collapsed: a quantized layer has only zero weights, or, from
    epoch `grace_epochs` on, val_acc (percent) is no better than chance: than always answering the most frequent class,
    which has a share of `majority_class_fraction` (0..1) of the validation images.
    """
    if not math.isfinite(loss):
        return "diverged", f"loss is {loss}"
    if empty_layers:
        more = f" and {len(empty_layers) - 1} more" if len(empty_layers) > 1 else ""
        return "collapsed", f"every weight of {empty_layers[0]}{more} is zero"
    chance = 100.0 * majority_class_fraction
    if epoch >= grace_epochs and val_acc <= chance + 1e-6:
        return "collapsed", f"val_acc {val_acc:.2f} is no better than chance ({chance:.2f})"
    return "healthy", ""
