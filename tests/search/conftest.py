"""A template with nested choices, which every sampler has to cope with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeq.config import Template
from codeq.config.metrics import REPORTED
from codeq.config.sweep import Scheduler
from codeq.search.outcome import TrialEnd, trial_end

FINITE = {
    "lr": {"distribution": "uniform", "low": 0.1, "high": 0.5, "step": 0.1},
    "epochs": {"distribution": "int", "low": 2, "high": 8, "step": 3},
}
QUANTIZERS = {
    "distribution": "choice",
    "choices": [
        {"name": "deadzone", "kwargs": {"max_bits": {"distribution": "int", "low": 4, "high": 8}}},
        {"name": "uniform"},
        None,
    ],
}


@pytest.fixture
def nested(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Callable[..., Template]:
    """Loads a template of 105 configs, with the sweep section as given."""

    def load(**sweep: Any) -> Template:
        tiny["optimizer"]["param_groups"]["base"]["lr"] = FINITE["lr"]
        return Template.load(
            write_yaml({**tiny, "epochs": FINITE["epochs"], "quantizer": QUANTIZERS, "sweep": {"name": "s", **sweep}})
        )

    return load


def row(**values: Any) -> dict[str, Any]:
    """A whole row of metrics, of a trial that has finished unless `values` say otherwise."""
    return {**dict.fromkeys(REPORTED, 0.5), "epoch": 4, "val_acc": 90.0, "status": "finished", "reason": "", **values}


def ended(**values: Any) -> TrialEnd:
    """The end of a trial with this last row."""
    return trial_end(row(**values), Scheduler())
