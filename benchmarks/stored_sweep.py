"""Sweeps written to disk without training: for the tests and benchmarks of what reads them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from upath import UPath

from codeq.config import RunConfig, Template
from codeq.storage.trial_folder import Layer, TrialRecord, confirm_folder, trial_folder

STATUSES = ("finished", "stopped", "finished", "stopped", "collapsed", "diverged", "failed", "finished")


def store_sweep(folder: Path, template: Template, trials: int, epochs: int = 4) -> None:
    """Write a sweep of `trials` trials with every status, layers of the finished ones, and one confirmed trial."""
    draw, root = random.Random(0), UPath(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / "template.yaml").write_text(template.to_yaml())
    config = template.boundary_configs[0]
    for number in range(trials):
        status = STATUSES[number % len(STATUSES)]
        parameters = {p.name: _drawn(p.distribution, draw) for p in template.parameters}
        _store(root, number, config, status, parameters, epochs if status == "finished" else max(1, epochs // 2), draw)
    fresh = confirm_folder(root, 0, 1)
    fresh.write_config(config)
    fresh.write_record(TrialRecord(0, "run", 1, {}, status="finished", duration_s=1.0, test_acc=91.0))
    fresh.append_row(_row(epochs, 91.0, 0.5, "finished"))


def _store(
    root: UPath,
    number: int,
    config: RunConfig,
    status: Any,
    parameters: dict[str, Any],
    epochs: int,
    draw: random.Random,
) -> None:
    folder = trial_folder(root, number)
    folder.write_config(config)
    reason = "" if status == "finished" else f"because it {status} <b>&</b>"
    folder.write_record(TrialRecord(number, "run", 0, parameters, status=status, reason=reason, duration_s=2.0))
    sparsity = draw.uniform(0.05, 0.99)
    accuracy = 97 - 20 * sparsity**6 - draw.uniform(0, 5)
    rows = [
        _row(epoch, accuracy * (1 - 0.5**epoch), sparsity * epoch / epochs, "running") for epoch in range(1, epochs)
    ] + [_row(epochs, accuracy, sparsity, status, reason)]
    if status == "diverged":
        rows[-1]["loss"] = math.nan
    (folder.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if status == "finished":
        folder.write_layers([Layer("fc1", sparsity, 4, 0.7, 0.1), Layer("fc2", 0.1, 8, 0.3, 0.2)])


def _row(epoch: int, accuracy: float, sparsity: float, status: str, reason: str = "") -> dict[str, Any]:
    return {
        "epoch": epoch, "loss": 3.0 / epoch, "train_acc": accuracy, "val_acc": accuracy, "sparsity": sparsity,
        "structured_sparsity": sparsity / 2, "rel_bops": (1 - sparsity) / 8, "structured_bops": (1 - sparsity / 2) / 8,
        "mean_bits": 4.0, "lr": 0.01, "epoch_s": 0.1, "images_per_s": 1e4, "val_images": 400, "status": status,
        "reason": reason,
    }  # fmt: skip


def _drawn(distribution: Any, draw: random.Random) -> Any:
    if labels := getattr(distribution, "labels", None):
        return draw.choice(labels)
    value = draw.uniform(distribution.low, distribution.high)
    return round(value) if isinstance(distribution.low, int) else value
