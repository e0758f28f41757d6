"""A trial's newest metrics as Prometheus gauges, which every node of Ray exports; `grafana.json` draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

from codeq.config.metrics import EXPORTED, METRICS

GAUGES: Mapping[str, str] = {
    "epoch": "completed epochs",
    **{name: METRICS[name].description for name in EXPORTED},
}
"""What is exported, as `ray_codeq_NAME`, and its description."""


class TrialGauges:
    """The gauges of one trial, which are labelled with its sweep's name and its own."""

    def __init__(self, sweep: str, trial: str) -> None:
        labels = {"sweep": sweep, "trial": trial}
        self._gauges = {
            name: Gauge(f"codeq_{name}", meaning, tuple(labels)).set_default_tags(labels)
            for name, meaning in GAUGES.items()
        }

    def set(self, row: Mapping[str, Any]) -> None:
        """Export the row's values; those that are not finite keep the last one."""
        for name, gauge in self._gauges.items():
            if math.isfinite(row[name]):
                gauge.set(row[name])
