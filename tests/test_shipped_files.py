"""Every file in sweeps/ loads, says what it is for, and has the settings it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from codeq.config import Template
from codeq.config.document import read_document
from codeq.config.json_schema import template_schema
from tests.conftest import ROOT

FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
DEADZONE = {
    "name": "deadzone",
    "kwargs": {
        "fixed_bit_val": 8, "max_bits": 8, "init_deadzone_logit": 3.0, "init_bit_logit": 3.0,
        "learnable_bit": True, "learnable_deadzone": True,
    },
}  # fmt: skip
NEEDED = {
    "dz_wd", "lambdas", "learning_rates", "resnet20_cifar10", "vit_cifar10",
    "baseline_resnet20", "deadzone_resnet20", "deadzone_vit", "deadzone_mlp",
}  # fmt: skip


def plain(name: str) -> dict[str, Any]:
    return Template.load(ROOT / "sweeps" / f"{name}.yaml").run_config().as_dict()


def groups(config: dict[str, Any]) -> dict[str, tuple[float, float]]:
    found = config["optimizer"]["param_groups"]
    return {name: (group["lr"], group["weight_decay"]) for name, group in found.items() if group}


def test_all_promised_files_are_there() -> None:
    assert {path.stem for path in FILES} == NEEDED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_loads_and_opens_with_schema_question_command_and_cost(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../codeq/config/template.schema.json"
    header = [line for line in lines[1:] if line.startswith("#")]
    assert "?" in " ".join(header)
    searched = bool(Template.load(path).parameters)
    command = f"python tune_main.py sweeps/{path.name}" if searched else f"python -m codeq.train sweeps/{path.name}"
    assert f"#   {command}" in header
    assert any(line.startswith("# Cost: ") and any(c.isdigit() for c in line) for line in header)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_agrees_with_the_schema_that_it_names(path: Path) -> None:
    jsonschema.validate(read_document(path).data, template_schema())


def test_the_baseline_has_the_literatures_settings() -> None:
    config = plain("baseline_resnet20")
    group = config["optimizer"]["param_groups"]["base"]
    assert (config["model"], config["epochs"], config["batch_size"]) == ("resnet20", 300, 128)
    assert config["optimizer"]["type"] == "sgd" and config["quantizer"] is None
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-4)


@pytest.mark.parametrize(
    ("name", "epochs", "base", "exclude", "lambdas"),
    [
        ("resnet20", 300, (1e-3, 0.0), ["bn"], (0.1, 0.1)),
        ("vit", 200, (3e-4, 0.01), ["norm"], (0.1, 0.0)),
        ("mlp", 100, (1e-3, 0.0), [], (0.1, 0.0)),
    ],
)
def test_the_dead_zone_configs_have_the_published_settings(
    name: str, epochs: int, base: tuple[float, float], exclude: list[str], lambdas: tuple[float, float]
) -> None:
    config = plain(f"deadzone_{name}")
    assert (config["model"], config["epochs"], config["batch_size"]) == (name, epochs, 128)
    assert config["img_size"] == (224 if name == "vit" else None)
    assert config["quantizer"] == {**DEADZONE, "exclude_layers": exclude, "quantize_norms": False}
    assert config["optimizer"]["type"] == "adamw"
    assert groups(config) == {"base": base, "dz": (1e-3, 2.5), "bit": (1e-3, 0.0)}
    (term,) = config["loss_terms"]
    kwargs = {"lambda_linear": lambdas[0], "lambda_conv": lambdas[1]}
    assert (term["name"], term["lambda"], term["kwargs"]) == ("group_lasso", 1.0, kwargs)


@pytest.mark.parametrize("name", [name for name in sorted(NEEDED) if name.startswith(("baseline", "deadzone"))])
def test_a_plain_config_is_a_one_trial_sweep(name: str) -> None:
    template = Template.load(ROOT / "sweeps" / f"{name}.yaml")
    assert (template.parameters, template.sweep.trials, template.sweep.name) == ((), 1, name)


def test_the_main_sweep_searches_what_it_promises() -> None:
    template = Template.load(ROOT / "sweeps" / "dz_wd.yaml")
    assert {parameter.name for parameter in template.parameters} == {
        "optimizer.param_groups.base.lr", "optimizer.param_groups.dz.lr",
        "optimizer.param_groups.dz.weight_decay", "loss_terms.group_lasso.lambda",
    }  # fmt: skip


def test_the_papers_setting_is_a_choice_of_four_bits_and_mixed_precision() -> None:
    template = Template.load(ROOT / "sweeps" / "resnet20_cifar10.yaml")
    kwargs = [config.quantizer.kwargs for config in template.boundary_configs if config.quantizer]
    assert {
        (k["learnable_bit"], k["max_bits" if k["learnable_bit"] else "fixed_bit_val"]) for k in kwargs
    } == {
        (False, 4), (True, 8),
    }  # fmt: skip
    assert {(config.batch_size, config.epochs) for config in template.boundary_configs} == {(512, 300)}
