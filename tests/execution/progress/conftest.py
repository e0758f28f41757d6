"""A sweep in the middle: two trials run, four have finished, two were stopped and one failed."""

from __future__ import annotations

import pytest

from codeq.config.metrics import REPORTED
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.search.outcome import TrialEnd
from codeq.storage.trial_folder import EMPTY_METRICS, Row

OBJECTIVES = {"val_acc": "max", "sparsity": "max"}

PLAN = EpochPlan(24, 20, rungs=(5, 15))


def row(epoch: int, val_acc: float, sparsity: float) -> Row:
    others = {**dict.fromkeys(REPORTED, 0.0), "rel_bops": 0.0512, "mean_bits": 4.0}
    return {**others, "epoch": epoch, "val_acc": val_acc, "sparsity": sparsity}


@pytest.fixture
def progress() -> SweepProgress:
    progress = SweepProgress("dz_wd", PLAN, OBJECTIVES)  # type: ignore[arg-type]
    ends = [
        ("0000", TrialEnd("finished", "", row(20, 97.47, 0.9596))),
        ("0001", TrialEnd("stopped", "asha at epoch 5", row(5, 60.13, 0.1234))),
        ("0002", TrialEnd("finished", "", row(20, 94.93, 0.9825))),
        ("0003", TrialEnd("failed", "CUDA error", EMPTY_METRICS)),
        ("0004", TrialEnd("finished", "", row(20, 97.70, 0.2058))),
        ("0005", TrialEnd("stopped", "asha at epoch 15", row(15, 88.02, 0.5021))),
        ("0006", TrialEnd("finished", "", row(20, 93.21, 0.4021))),
    ]
    for name, end in ends:
        progress.start(name, 20)
        progress.end(name, end, 20)
    for name in ("0007", "0008"):
        progress.start(name, 20)
    for epoch in range(1, 8):
        progress.report("0007", row(epoch, 90.0 + epoch / 100, 0.7654), float(epoch))
    return progress
