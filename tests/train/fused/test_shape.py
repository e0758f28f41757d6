"""Which configs can train together."""

from __future__ import annotations

from typing import Any

import pytest

from codeq.train.fused import fusion_key
from tests.train.fused.conftest import changed

BASE = "optimizer.param_groups.base"


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7},
        {"epochs": 9, "lr_scheduler": "constant"},
        {f"{BASE}.lr": 0.5, f"{BASE}.weight_decay": 1.0, f"{BASE}.betas": [0.5, 0.6], f"{BASE}.eps": 1e-3},
        {"loss_terms.0.lambda": 3.0, "loss_terms.0.kwargs.lambda_conv": 0.0},
        {"quantizer.kwargs.fixed_bit_val": 8, "quantizer.kwargs.init_deadzone_logit": 1.0},
        {"wandb_project": "x", "workers": 9, "save_dir": "elsewhere"},
    ],
)
def test_numbers_of_a_runs_own_do_not_matter(tiny: dict[str, Any], changes: dict[str, Any]) -> None:
    assert fusion_key(changed(tiny, changes)) == fusion_key(changed(tiny, {}))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "resnet20"},
        {"batch_size": 64},
        {"dataset": "synthetic"},
        {"val_fraction": 0.3},
        {"img_size": 16},
        {"augment": "standard"},
        {"quantizer": None},
        {"quantizer": {"name": "uniform", "kwargs": {"bitwidth": 4}}},
        {"quantizer.kwargs.learnable_bit": True},
        {"quantizer.exclude_layers": ["fc3"]},
        {"optimizer.type": "adam"},
        {f"{BASE}.amsgrad": True},
        {"optimizer.param_groups.dz": None},
        {"loss_terms": []},
        {"threads": 2},
        {"use_compile": 1},
    ],
)
def test_another_computation_is_another_shape(tiny: dict[str, Any], changes: dict[str, Any]) -> None:
    assert fusion_key(changed(tiny, changes)) != fusion_key(changed(tiny, {}))


def test_uniform_quantizers_of_other_bits_do_not_train_together(tiny: dict[str, Any]) -> None:
    shapes = {
        fusion_key(changed(tiny, {"quantizer": {"name": "uniform", "kwargs": {"bitwidth": bits}}})) for bits in (4, 8)
    }
    assert len(shapes) == 2
