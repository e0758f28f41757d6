"""What only building a network can tell, told once before a sweep starts and with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from codeq.config import ConfigError, Template
from codeq.models import build_model
from codeq.train import check_parts as module
from codeq.train import network
from codeq.train.check_parts import check_parts

Check = Callable[..., list[str]]


@pytest.fixture
def check(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The lines about a template of digits with these keys, each in a line of its own: notes, or problems."""
    monkeypatch.chdir(tmp_path)

    def check(*, model: str = "mlp", exclude: str = "[]", fetch_weights: bool = False, more: str = "") -> list[str]:
        text = f"model: {model}\ndataset: digits\n"
        text += f"quantizer:\n  name: uniform\n  exclude_layers: {exclude}\n"
        text += f"optimizer: {{type: sgd, param_groups: {{base: {{lr: 0.1}}}}}}\n{more}"
        Path("t.yaml").write_text(text)
        template = Template.load("t.yaml")
        try:
            notes = check_parts(template.boundary_configs, template.problem, fetch_weights=fetch_weights)
        except ConfigError as error:
            return [f"refused: {line}" for line in str(error).splitlines()]
        return [str(note) for note in notes]

    return check


def choice(*names: str) -> str:
    return f"{{distribution: choice, choices: [{', '.join(names)}]}}"


def test_networks_that_can_be_trained_pass_without_a_word(check: Check) -> None:
    assert check(model=choice("mlp", "timm/test_resnet"), exclude="[bn, fc1]") == []


def test_every_misspelt_timm_name_is_told_with_the_nearest(check: Check) -> None:
    lines = check(model=choice("timm/resnet18x", "mlp", "timm/test_vitt", "timm/test_resnet"))
    assert [line.split(", must be")[0] for line in lines] == [
        "refused: t.yaml:1: model: unknown timm model 'resnet18x'",
        "refused: t.yaml:1: model: unknown timm model 'test_vitt'",
    ]
    assert "did you mean timm/resnet18" in lines[0] and "timm/test_vit" in lines[1]


def test_a_name_is_told_however_many_networks_are_searched(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHECKED", 0)
    (line,) = check(model=choice("timm/test_vit", "timm/no_such_model"))  # of which none is built
    assert line.startswith("refused: t.yaml:1: model: unknown timm model 'no_such_model', must be a name that timm")


def test_an_image_size_that_the_network_does_not_take_is_told(check: Check) -> None:
    lines = check(model=choice("vit", "timm/test_vit", "timm/test_resnet"))
    assert [line.partition(" does not take 1x8x8 images: ")[0] for line in lines] == [
        f"refused: t.yaml:1: model: timm/{name}"
        for name in ("test_vit", "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    ]
    assert all(line.endswith("; img_size: N resizes images to NxN") for line in lines)
    assert check(model="timm/test_vit", more="img_size: 32\n") == []


def test_a_batch_of_one_image_that_no_trial_can_train_is_told(check: Check) -> None:
    (line,) = check(model="timm/resnet18", more="batch_size: 1\n")
    assert line.startswith("refused: t.yaml:7: batch_size: the network cannot train on one image at a time: ")
    assert line.endswith("; write 2 or more")
    assert check(model="timm/resnet18", more="batch_size: 2\n") == []


def test_the_size_of_a_data_set_that_is_not_there_is_known(check: Check) -> None:
    """CIFAR-10 is 3x32x32, and nothing is read or fetched for it."""
    assert len(check(model="timm/test_vit")) == 1
    text = Path("t.yaml").read_text().replace("digits", "cifar10")
    Path("t.yaml").write_text(text + "data_dir: nowhere\n")
    template = Template.load("t.yaml")
    assert check_parts(template.boundary_configs, template.problem) == []
    assert not Path("nowhere").exists()


def test_an_entry_that_names_no_layer_is_told_with_the_nearest_name(check: Check) -> None:
    assert check(exclude="[fcc, fc1]") == [
        "t.yaml:5: quantizer.exclude_layers: fcc is in no layer's name of mlp; did you mean fc3?"
    ]
    assert check(exclude="[xyz]") == [
        "t.yaml:5: quantizer.exclude_layers: xyz is in no layer's name of mlp: fc1, fc2, fc3"
    ]


def test_an_entry_that_names_a_layer_of_one_network_is_right_for_the_others(check: Check) -> None:
    assert check(model=choice("mlp", "resnet20"), exclude="[bn]") == []
    (line,) = check(model=choice("mlp", "resnet20"), exclude="[norm]")
    assert line.startswith("t.yaml:5: quantizer.exclude_layers: norm is in no layer's name of ")


def test_excluding_every_layer_is_refused(check: Check) -> None:
    assert check(exclude="[fc]") == [
        "refused: t.yaml:5: quantizer.exclude_layers: leaves no layer of mlp to quantize (fc1, fc2, fc3); quantizer: "
        "null trains in full precision"
    ]
    (line,) = check(model="resnet20", exclude="[conv, linear]")
    assert "leaves no layer of resnet20 to quantize (conv1, layer1.0.conv1, layer1.0.conv2," in line
    assert line.endswith(
        "and 12 more); quantize_norms: true quantizes its norms too; quantizer: null trains in full precision"
    )


def test_a_network_that_needs_its_numbers_while_it_is_built_is_built_with_numbers(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: Any, **options: Any) -> nn.Module:
        net = build_model(*arguments, **options)
        assert float(next(net.parameters()).sum()) != 0
        return net

    monkeypatch.setattr(network, "build_model", build)
    assert check(exclude="[fc1]") == []


def test_published_weights_are_fetched_only_when_asked_for(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    more = "img_size: 32\npretrained: true\n"
    assert check(model="timm/test_vit", more=more) == []
    (line,) = check(model="timm/test_vit", more=more, fetch_weights=True)
    assert line.startswith("refused: t.yaml:8: pretrained: published weights of timm/test_vit cannot be loaded")


def test_arguments_that_a_network_does_not_take_are_told(check: Check) -> None:
    (line,) = check(model="{name: timm/test_vit, kwargs: {depht: 2}}", more="img_size: 32\n")
    assert line.startswith("refused: t.yaml:1: model: timm/test_vit cannot be built for 1x32x32 images: ")
    assert "depht" in line


def test_a_batch_of_one_image_on_which_batch_norm_cannot_train_is_told(check: Check) -> None:
    sizes = "img_size: 32\nbatch_size: {distribution: choice, choices: [2, 1]}\n"
    (line,) = check(model="timm/resnet18", more=sizes)
    assert line.startswith(
        "refused: t.yaml:8: batch_size: the network cannot train on one image at a time: Expected more than 1 value "
        "per channel when training"
    )
    assert line.endswith("; write 2 or more")
    assert check(model=choice("mlp", "timm/test_vit"), more=sizes) == []
