"""RunConfig: the field's existing configs, the range of every key, names and the way back to plain data."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from codeq.config.run import RunConfig
from codeq.registry import MODELS
from tests.conftest import ROOT

BASELINE: dict[str, Any] = {
    "model": "resnet20",
    "optimizer": {"type": "sgd", "param_groups": {"base": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}}},
}
DEADZONE: dict[str, Any] = {
    "model": "resnet20",
    "dataset": "cifar10",
    "data_dir": "data",
    "epochs": 300,
    "batch_size": 128,
    "img_size": 32,
    "device": "auto",
    "wandb_project": "CoDeQ experiments",
    "workers": 4,
    "use_compile": 0,
    "save_dir": "save_temp",
    "seed": 0,
    "lr_scheduler": "cosine",
    "quantizer": {
        "name": "deadzone",
        "kwargs": {
            "fixed_bit_val": 8, "max_bits": 8, "init_deadzone_logit": 3.0, "init_bit_logit": 3.0,
            "learnable_bit": True, "learnable_deadzone": True,
        },
        "exclude_layers": ["bn"],
    },
    "optimizer": {
        "type": "adamw",
        "param_groups": {
            "base": {"lr": 0.001, "weight_decay": 0.0},
            "dz": {"lr": 0.001, "weight_decay": 2.5},
            "bit": {"lr": 0.001, "weight_decay": 0.0},
        },
    },
    "loss_terms": [{"name": "group_lasso", "lambda": 1.0, "kwargs": {"lambda_linear": 0.1, "lambda_conv": 0.1}}],
}  # fmt: skip


def changed(path: str, value: Any, data: dict[str, Any] = DEADZONE) -> dict[str, Any]:
    """A copy of `data` with one dotted key set."""
    data = copy.deepcopy(data)
    *steps, last = path.split(".")
    inner: Any = data
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    inner[last] = value
    return data


def accepts(data: dict[str, Any]) -> bool:
    try:
        RunConfig.model_validate(data)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("data", [BASELINE, DEADZONE])
def test_existing_configs_load_as_they_are(data: dict[str, Any]) -> None:
    config = RunConfig.model_validate(data)
    assert config.dataset.name == "cifar10"
    assert (config.quantizer is None) == ("quantizer" not in data)


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("epochs", [1, 10**6], [0, -1, 1.0, "1", True, None, 2**31]),
        ("batch_size", [1], [0]),
        ("img_size", [4, 1024, None], [3, 1025, 32.0]),
        ("val_fraction", [0, 0.0, 0.999], [1.0, -0.1, math.nan]),
        ("workers", [0], [-1]),
        ("seed", [0, 2**31 - 1], [-1, 2**31]),
        ("threads", [1, None], [0]),
        ("use_compile", [0, 1, True, False, "auto"], [2, -1, "1", "Auto", None]),
        ("pretrained", [False], [True, 1, "yes", None]),  # the config's network has no published weights
        ("device", ["auto", "cpu", "mps", "cuda", "cuda:3"], ["gpu", "cuda:", "cuda:x", "", "cuda:-1"]),
        ("model", [*MODELS.names(), "timm/vit_tiny.a"], ["resnet21", "timm/", "timm/a/b", "", "timm/a b", None]),
        ("dataset", ["digits", "synthetic"], ["mnist", "", None]),
        ("data_dir", ["data", "/a b/ü"], ["", "a\nb", "a\0b", "\ud800", 3, None]),
        ("wandb_project", [None, "x", "team/CoDeQ experiments", "x" * 128],
         ["", "a\x1b[31m", "/x", "team/", "a/b/c", "a:b", "te#am/x", "x" * 129]),
        ("lr_scheduler", ["cosine", "constant", "warmup_cosine"], ["step"]),
        ("quantizer.kwargs.max_bits", [2, 16], [1, 17, 8.0]),
        ("quantizer.kwargs.fixed_bit_val", [2, 16], [1, 17]),
        ("quantizer.kwargs.init_deadzone_logit", [-5.0, 0, 3], [math.inf, math.nan, "3"]),
        ("quantizer.exclude_layers", [[], ["bn", "fc"]], ["bn", [""], [3], None]),
        ("optimizer.param_groups.base.lr", [0, 0.0, 1, 1e300], [-1e-9, math.inf, math.nan, "1e-3", None]),
        ("optimizer.param_groups.base.betas", [[0.9, 0.99]], [[0.9], [0.9, 1.0], [0.9, 0.9, 0.9], 0.9]),
        ("optimizer.param_groups.base.eps", [1e-12], [0.0, -1.0]),
        ("optimizer.param_groups.dz", [None], [[], 3]),
        ("optimizer.param_groups.base", [], [None, {}]),
        ("loss_terms.0.lambda", [0.0, 5], [-0.1, math.inf]),
        ("loss_terms.0.name", [], ["lasso", None]),
        ("loss_terms.0.kwargs.lambda_conv", [0.0], [-1.0]),
        ("nothing", [], [1]),
    ],
)
def test_every_key_takes_its_range_and_nothing_else(path: str, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not accepts(changed(path, value))] == []
    assert [value for value in bad if accepts(changed(path, value))] == []


def test_keys_of_another_kind_are_refused() -> None:
    assert not accepts(changed("optimizer.param_groups.base.momentum", 0.9))
    assert not accepts(changed("optimizer.param_groups.base.betas", [0.9, 0.99], BASELINE))
    assert not accepts(changed("quantizer", {"name": "uniform", "kwargs": {"max_bits": 8}}))


def test_nesterov_needs_momentum_and_no_dampening() -> None:
    group = {"lr": 0.1, "nesterov": True, "momentum": 0.9, "dampening": 0.0}
    assert accepts(changed("optimizer.param_groups.base", group, BASELINE))
    assert not accepts(changed("optimizer.param_groups.base", {**group, "momentum": 0.0}, BASELINE))
    assert not accepts(changed("optimizer.param_groups.base", {**group, "dampening": 0.1}, BASELINE))


def test_a_loss_term_stands_in_the_list_once() -> None:
    assert not accepts(changed("loss_terms", [{"name": "group_lasso"}, {"name": "group_lasso", "lambda": 2.0}]))


@pytest.mark.parametrize("data", [BASELINE, DEADZONE, changed("use_compile", True), changed("quantizer", None)])
def test_a_config_as_plain_data_reads_back_equal(data: dict[str, Any]) -> None:
    config = RunConfig.model_validate(data)
    assert RunConfig.model_validate(config.as_dict()) == config
    assert "'lambda_':" not in str(config.as_dict())


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (BASELINE, "resnet20_baseline_e300_lr0.1"),
        (DEADZONE, "resnet20_deadzone8b_e300_lr0.001"),
        (changed("quantizer.kwargs.learnable_bit", False), "resnet20_deadzone8b_e300_lr0.001"),
        (changed("quantizer.kwargs", {"learnable_bit": False, "fixed_bit_val": 4}), "resnet20_deadzone4b_e300_lr0.001"),
        (changed("quantizer", {"name": "uniform", "kwargs": {"bitwidth": 6}}), "resnet20_uniform6b_e300_lr0.001"),
        (changed("model", "timm/vit_tiny"), "timm-vit_tiny_deadzone8b_e300_lr0.001"),
        (changed("optimizer.param_groups.base.lr", 3e-5), "resnet20_deadzone8b_e300_lr3e-05"),
    ],
)
def test_a_run_is_named_after_model_quantizer_epochs_and_rate(data: dict[str, Any], name: str) -> None:
    assert RunConfig.model_validate(data).run_name == name


@pytest.mark.parametrize(
    ("path", "value", "same"),
    [
        ("seed", 9, True),
        ("data_dir", "elsewhere", True),
        ("threads", 7, True),
        ("use_compile", 1, True),
        ("wandb_project", "p", True),
        ("epochs", 301, False),
        ("optimizer.param_groups.base.lr", 0.0010001, False),
        ("val_fraction", 0.25, False),
    ],
)
def test_configs_that_train_the_same_thing_share_their_hash(path: str, value: Any, same: bool) -> None:
    hashes = {RunConfig.model_validate(data).config_hash for data in (DEADZONE, changed(path, value))}
    assert len(hashes) == (1 if same else 2)
    assert all(re.fullmatch("[0-9a-f]{12}", text) for text in hashes)


def test_a_hash_is_the_same_in_every_process_and_for_the_config_as_written() -> None:
    config = RunConfig.model_validate(DEADZONE)
    assert RunConfig.model_validate(config.as_dict()).config_hash == config.config_hash
    command = "import sys, json; from codeq.config import RunConfig; "
    command += "print(RunConfig.model_validate(json.loads(sys.argv[1])).config_hash)"
    arguments = [sys.executable, "-c", command, json.dumps(DEADZONE)]
    assert subprocess.check_output(arguments, cwd=ROOT, text=True).strip() == config.config_hash
