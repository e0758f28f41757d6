"""Attaching the config's quantizers: which layers are left, and what is said about those that are excluded."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from codeq.config import RunConfig
from codeq.models import build_model
from codeq.quant import quantized_layers
from codeq.train.loop import create_train_state
from codeq.train.network import NothingQuantized, attach_quantizers


def config(tiny: dict[str, Any], exclude: list[str]) -> RunConfig:
    return RunConfig.model_validate({**tiny, "quantizer": {"name": "deadzone", "exclude_layers": exclude}})


@pytest.fixture
def mlp() -> nn.Module:
    return build_model("mlp", in_channels=1, img_size=8, num_classes=10)


def test_all_layers_but_the_excluded_ones_are_quantized(tiny: dict[str, Any], mlp: nn.Module) -> None:
    assert attach_quantizers(mlp, config(tiny, ["fc1"])) == {}
    assert [name for name, _, _ in quantized_layers(mlp)] == ["fc2", "fc3"]


def test_without_a_quantizer_there_is_nothing_to_attach(tiny: dict[str, Any], mlp: nn.Module) -> None:
    assert attach_quantizers(mlp, RunConfig.model_validate({**tiny, "quantizer": None})) == {}
    assert list(quantized_layers(mlp)) == []


def test_an_entry_that_is_in_no_name_comes_back(tiny: dict[str, Any], mlp: nn.Module) -> None:
    assert attach_quantizers(mlp, config(tiny, ["fc2", "fcc"])) == {
        "fcc": "fcc is in no layer's name of mlp; did you mean fc3?"
    }


def test_a_run_whose_layers_are_all_excluded_is_refused(tiny: dict[str, Any], mlp: nn.Module) -> None:
    with pytest.raises(NothingQuantized, match=r"leaves no layer of mlp to quantize \(fc1, fc2, fc3\)"):
        attach_quantizers(mlp, config(tiny, ["fc"]))


def test_a_single_run_logs_an_entry_that_is_in_no_name(
    tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        create_train_state(config(tiny, ["fcc"]))
    said = "quantizer.exclude_layers: fcc is in no layer's name of mlp; did you mean fc3?"
    assert said in caplog.messages
