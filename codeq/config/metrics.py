"""All metrics: what each is called, which way is better, its unit, its range, and how it is printed.

A new metric is a row here and a field of `codeq.train.loop.EpochMetrics`, which computes it; everything else
(objectives, constraints, tables, dashboards) reads this table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["max", "min"]

Use = Literal["main", "score", "progress"]
"""main: a result that every table, header and progress line shows. score: a result that is averaged over seeds like the
main ones and shown on request. progress: about the training, not the result."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    direction: the better one, None if neither is. unit: empty for shares and losses. low, high: the bounds of its
    values, None if open. digits: decimals when it is printed, None: four significant digits. meaning: one line.
    reported: whether every epoch reports it; only reported metrics can be objectives, constraints or picked by.
    """

    name: str
    direction: Direction | None
    unit: str
    low: float | None
    high: float | None
    digits: int | None
    meaning: str
    use: Use = "score"
    reported: bool = True

    @property
    def scale(self) -> float:
        """The size of its range from 0, 1 if it is open: by it, different metrics can be added."""
        return self.high or 1.0

    @property
    def format_spec(self) -> str:
        """How a value is printed, for `format`."""
        return ".4g" if self.digits is None else f".{self.digits}f"

    @property
    def description(self) -> str:
        """Meaning, unit and bounds in one line: `accuracy on the validation split, percent, 0 to 100`."""
        bounds = "" if self.low is None or self.high is None else f"{self.low:g} to {self.high:g}"
        return ", ".join(part for part in (self.meaning, self.unit, bounds) if part)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # A plugged-in loss term may be negative.
        Metric("loss", "min", "", None, None, 4, "mean training loss, added terms included"),
        Metric("train_acc", "max", "percent", 0, 100, 2, "accuracy on the epoch's augmented batches"),
        Metric("val_acc", "max", "percent", 0, 100, 2, "accuracy on the validation split", "main"),
        Metric("test_acc", "max", "percent", 0, 100, 2, "winners' accuracy on the test set", "main", reported=False),
        Metric("sparsity", "max", "", 0, 1, 4, "zero weights over all weights of the quantized layers", "main"),
        Metric("structured_sparsity", "max", "", 0, 1, 4, "all-zero output channels of the quantized layers"),
        Metric("rel_bops", "min", "", 0, 1, 4, "bit operations over those of the dense 32-bit model", "main"),
        Metric("structured_bops", "min", "", 0, 1, 4, "rel_bops if only whole channels can be left out"),
        Metric("mean_bits", "min", "bits", 0, 32, 2, "bit-width of the quantized layers, weighted by weights", "main"),
        Metric("lr", None, "", 0, None, None, "learning rate of the base group", "progress"),
        Metric("epoch_s", "min", "seconds", 0, None, None, "time of an epoch, evaluation included", "progress"),
        Metric("images_per_s", "max", "images per second", 0, None, None, "speed of the training steps", "progress"),
    )
}
"""Every metric by name, in the order of all tables."""

REPORTED: tuple[str, ...] = tuple(metric.name for metric in METRICS.values() if metric.reported)
"""What each epoch reports besides `epoch`."""

MAIN: tuple[str, ...] = tuple(metric.name for metric in METRICS.values() if metric.use == "main")
"""What tables, headers and progress lines always show."""

SCORES: tuple[str, ...] = tuple(metric.name for metric in METRICS.values() if metric.use != "progress")
"""What is averaged over seeds."""

COMPRESSION: tuple[str, ...] = ("sparsity", "rel_bops", "structured_sparsity", "structured_bops")
"""What accuracy is traded for: the axes on which the report draws it."""

EXPORTED: tuple[str, ...] = ("val_acc", "sparsity", "rel_bops")
"""What a running trial exports for Prometheus."""

CURVES: tuple[str, ...] = ("val_acc", "loss", "sparsity")
"""What the report draws epoch by epoch."""


def format_metric(name: str, value: object) -> str:
    """A metric's value, a number or what formats like one, with its digits; empty for None."""
    return "" if value is None else format(value, METRICS[name].format_spec)


def describe_row(row: Mapping[str, Any], names: Iterable[str] = MAIN) -> str:
    """The named metrics that the row has, aligned over rows: `val_acc  97.50  sparsity 0.9000`."""
    return "  ".join(describe_metrics(row, names))


def describe_metrics(row: Mapping[str, Any], names: Iterable[str] = MAIN) -> list[str]:
    """The parts of `describe_row`, one for each metric."""
    return [f"{name} {_aligned(METRICS[name], row[name])}" for name in names if name in row]


def finite_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The reported metrics of a row that are finite numbers; rows of older versions lack some."""
    return {name: row[name] for name in REPORTED if math.isfinite(row.get(name, math.nan))}


def _aligned(metric: Metric, value: float) -> str:
    widest = 0 if metric.high is None else len(format(metric.high, metric.format_spec))
    return format(value, metric.format_spec).rjust(widest)
