"""What the scheduler ranks by, and which scheduler a template gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

from codeq.config import Template
from codeq.sweep.early_stopping import build_scheduler, stopping_score

ROW = {"val_acc": 90.0, "sparsity": 0.5, "rel_bops": 0.1, "mean_bits": 4.0, "loss": 0.3}


def test_the_default_score_is_accuracy_over_100_plus_sparsity() -> None:
    assert stopping_score(ROW, {"val_acc": "max", "sparsity": "max"}) == pytest.approx(1.4)


def test_what_is_to_be_small_counts_against() -> None:
    assert stopping_score(ROW, {"val_acc": "max", "rel_bops": "min"}) == pytest.approx(0.8)
    assert stopping_score(ROW, {"mean_bits": "min"}) == pytest.approx(-0.125)


def test_a_sparse_trial_outranks_a_slightly_more_accurate_dense_one() -> None:
    both: Any = {"val_acc": "max", "sparsity": "max"}
    sparse, dense = {**ROW, "val_acc": 92.0, "sparsity": 0.9}, {**ROW, "val_acc": 96.0, "sparsity": 0.0}
    assert stopping_score(sparse, both) > stopping_score(dense, both)
    assert stopping_score(sparse, {"val_acc": "max"}) < stopping_score(dense, {"val_acc": "max"})


@pytest.mark.parametrize(
    ("epochs", "scheduler", "expected"),
    [
        (30, {"name": "asha"}, ASHAScheduler),
        (30, {"name": "median"}, MedianStoppingRule),
        (30, {"name": "none"}, FIFOScheduler),
        (5, {"name": "asha", "grace_epochs": 5}, FIFOScheduler),
    ],
)
def test_the_template_names_the_scheduler(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], epochs: int, scheduler: dict[str, Any], expected: type
) -> None:
    template = Template.load(write_yaml({**tiny, "epochs": epochs, "sweep": {"scheduler": scheduler}}))
    assert type(build_scheduler(template)) is expected
