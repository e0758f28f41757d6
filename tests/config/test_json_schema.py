"""The JSON Schema that editors check templates with: current, valid, and of the template's own opinion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import codeq.config
from codeq.config.document import parse_document
from codeq.config.json_schema import schema_text, template_schema
from tests.config.test_template import EVERYTHING, SWEEP, TWO_DEEP
from tests.config.texts import PLAIN, QUANTIZER, edited, problems, with_quantizer

COMMITTED = Path(codeq.config.__file__).with_name("template.schema.json")


def accepts(text: str) -> bool:
    validator: Any = jsonschema.Draft202012Validator(template_schema())
    return bool(validator.is_valid(parse_document(text, "t.yaml").data))


def test_the_committed_schema_is_current() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema_text(), "run: make schema"


def test_the_schema_is_a_json_schema() -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_is_described() -> None:
    schema = template_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = [(s.get("title"), k, v) for s in sections for k, v in s.get("properties", {}).items()]
    kinds = {"name", "type", "distribution", "same_as", "kwargs", "param_groups", "optimizer", "sweep"}
    sections_of_sweep = {"search", "scheduler", "resources"}
    undescribed = [k for _, k, v in keys if "description" not in v and k not in kinds | sections_of_sweep]
    assert undescribed == []


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        EVERYTHING,
        TWO_DEEP,
        PLAIN + SWEEP,
        with_quantizer("null"),
        with_quantizer("{name: {distribution: choice, choices: [deadzone, uniform]}}"),
        with_quantizer("{same_as: something.else}"),
        edited(("model: resnet20", "model: {name: mlp, kwargs: {hidden: [{distribution: int, low: 1, high: 8}]}}")),
        edited(("[bn]", "[bn, {distribution: choice, choices: [fc, conv1]}]")),
        edited(("  - name: group_lasso", "  - distribution: choice\n    choices: [{name: group_lasso}]"),
               ("    lambda: 1.0\n", "")),
        edited(("epochs: 10", "epochs: {same_as: batch_size}\nbatch_size: {distribution: int, low: 1, high: 8}")),
    ],
)  # fmt: skip
def test_a_good_template_is_accepted(text: str) -> None:
    assert accepts(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model: resnet20", "model: mine"),
        ("model: resnet20", "model: {name: mine, kwargs: {width: {distribution: int, low: 1, high: 8}}}"),
        ("model: resnet20", "model: {name: timm/vit_tiny, kwargs: {drop_path_rate: 0.1}}"),
        ("name: group_lasso", "name: mine"),
        (QUANTIZER, "quantizer: {name: mine, kwargs: {a: 1}}\n"),
        ("epochs: 10", "dataset: {name: mine, kwargs: {a: 1}}"),
    ],
)
def test_a_name_that_does_not_ship_is_accepted_as_it_may_be_a_plugins(old: str, new: str) -> None:
    assert accepts(edited((old, new)))


@pytest.mark.parametrize(
    "text",
    [
        "extends: base.yaml\nepochs: 3\n",
        "extends: base.yaml\noptimizer: {param_groups: {dz: {lr: 1.0}}}\n",
        "extends: base.yaml\nquantizer: {exclude_layers: [bn]}\n",
    ],
)
def test_a_file_may_leave_keys_to_the_one_it_extends(text: str) -> None:
    assert accepts(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 10", "epoch: 10"),
        ("epochs: 10", "epochs: 0"),
        ("epochs: 10", "epochs: ten"),
        ("epochs: 10", "epochs: {distribution: int, low: 1}"),
        ("epochs: 10", "epochs: {distribution: integer, low: 1, high: 3}"),
        ("epochs: 10", "epochs: {distribution: int, low: 1, high: 3, steps: 1}"),
        ("epochs: 10", "epochs: {same_as: 3}"),
        ("max_bits", "max_bit"),
        ("max_bits: 8", "max_bits: 17"),
        ("name: deadzone", "nam: deadzone"),
        ("[bn]", "bn"),
        ("type: adamw", "type: rmsprop"),
        ("type: adamw", "tipe: adamw"),
        ("dz:", "dzz:"),
        ("lr: 0.001}", "lr: -1}"),
        ("lr: 0.001}", "lr: 0.001, momentum: 0.9}"),
        ("model: resnet20", "model: {name: resnet20, kwarg: {}}"),
        ("model: resnet20", "model: {name: mlp, kwargs: {hidden: [0]}}"),
        ("model: resnet20", "model: {name: resnet20, kwargs: {hidden: [4]}}"),
        ("lambda: 1.0", "lamda: 1.0"),
        ("epochs: 10", "sweep: {trial: 3}"),
        ("epochs: 10", "sweep: {trials: 0}"),
        ("epochs: 10", "sweep: {trials: {distribution: int, low: 1, high: 3}}"),
        ("epochs: 10", "sweep: {objectives: {val_acc: maximize}}"),
        ("epochs: 10", "sweep: {objectives: {val_ac: max}}"),
        ("epochs: 10", "sweep: {objectives: {test_acc: max}}"),
        ("epochs: 10", "sweep: {constraints: {bops: '<= 0.1'}}"),
        ("epochs: 10", "extends: [a.yaml]"),
        ("epochs: 10", "device: {distribution: choice, choices: [cpu, mps]}"),
        (QUANTIZER, "quantizer: {distribution: choice, choice: [null]}\n"),
        (QUANTIZER, "quantizer: deadzone\n"),
    ],
)
def test_a_misspelt_key_or_a_bad_value_is_refused_as_the_template_refuses_it(old: str, new: str) -> None:
    text = edited((old, new))
    assert not accepts(text)
    assert problems(text) != []
