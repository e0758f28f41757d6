"""A template with ranges of every scale, and trials made from a few numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from codeq.config import Template
from codeq.results.trials import TrialResult
from codeq.storage.trial_folder import TrialFolder, TrialRecord, trial_folder

LR = "optimizer.param_groups.base.lr"
DECAY = "optimizer.param_groups.dz.weight_decay"
BATCH = "batch_size"
SIZE = "img_size"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Template:
    tiny["batch_size"] = {"distribution": "int", "low": 1, "high": 256, "log": True}
    tiny["img_size"] = {"distribution": "int", "low": 4, "high": 12, "step": 2}
    groups = tiny["optimizer"]["param_groups"]
    groups["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-2}
    groups["dz"]["weight_decay"] = {"distribution": "uniform", "low": 0.0, "high": 10.0}
    return Template.load(write_yaml({**tiny, "sweep": {"name": "s"}}))


@pytest.fixture
def make_trial(tmp_path: Path) -> Callable[..., TrialResult]:
    """A trial in the middle of every range, 4 epochs long; keyword arguments are metrics of its last row."""

    def make(
        number: int,
        parameters: dict[str, Any] | None = None,
        status: Any = "finished",
        epochs: int = 4,
        **metrics: float,
    ) -> TrialResult:
        middle = {BATCH: 16, SIZE: 8, LR: 1e-3, DECAY: 5.0, **(parameters or {})}
        record = TrialRecord(number, "run", 0, middle, status=status)
        folder: TrialFolder = trial_folder(UPath(tmp_path), number)
        last = {"val_acc": 90.0, "sparsity": 0.5, "val_images": 400, **metrics}
        for epoch in range(1, epochs + 1):
            folder.append_row({**last, "epoch": epoch, "sparsity": last["sparsity"] * epoch / epochs})
        return TrialResult(record, folder, {**last, "epoch": epochs} if epochs else {})

    return make
