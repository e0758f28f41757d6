"""The hypervolume of a front, between fixed bounds, so that sweeps can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from codeq.config.metrics import METRICS
from codeq.config.objectives import Objectives, Row


@dataclass(frozen=True)
class HypervolumeBounds:
    """The box of the hypervolume. reference, ideal: the worst and the best value of each objective."""

    reference: dict[str, float]
    ideal: dict[str, float]

    def __str__(self) -> str:
        """`val_acc 0, sparsity 0 to val_acc 100, sparsity 1`."""
        ends = (self.reference, self.ideal)
        return " to ".join(", ".join(f"{name} {value:g}" for name, value in end.items()) for end in ends)


def hypervolume_bounds(finished: Sequence[Row], objectives: Objectives) -> HypervolumeBounds:
    """From the worst to the best possible value of each objective.

    For a metric without an upper bound (a loss, a time) the largest value of the `finished` trials is taken, for one
    without a lower bound the least of them or 0, and the hypervolumes of two sweeps cannot be compared.
    """
    ends = {name: _range(finished, name) for name in objectives}
    return HypervolumeBounds(
        reference={name: ends[name][0 if objectives[name] == "max" else 1] for name in objectives},
        ideal={name: ends[name][1 if objectives[name] == "max" else 0] for name in objectives},
    )


def _range(finished: Sequence[Row], name: str) -> tuple[float, float]:
    metric, values = METRICS[name], [value for row in finished if math.isfinite(value := float(row[name]))]
    low = min([0.0, *values]) if metric.low is None else metric.low
    high = max(values, default=low) if metric.high is None else metric.high
    return low, high if high > low else low + 1.0


def hypervolume(rows: Sequence[Row], bounds: HypervolumeBounds) -> float:
    """The share of the box between `bounds` that the rows equal or beat, 0..1."""
    if not rows:
        return 0.0
    names = list(bounds.reference)
    reference, ideal = (np.array([end[name] for name in names]) for end in (bounds.reference, bounds.ideal))
    points = np.array([[float(row[name]) for name in names] for row in rows])
    return float(moocore.hypervolume((points - reference) / (ideal - reference), ref=0, maximise=True))
