"""Models out of timm: transformers, convnets, wrong names, weights that cannot be had."""

from pathlib import Path

import pytest
import torch
from torch import nn

from codeq.models import WeightsUnavailable, build_model
from codeq.models.timm_models import VIT


def build(name: str, **changes: object) -> nn.Module:
    return build_model(name, **{"in_channels": 3, "img_size": 32, "num_classes": 10, **changes})


def test_vit_is_timms_tiny_vit_for_the_image_size_of_the_data() -> None:
    vit, named = build("vit"), build(f"timm/{VIT}")
    shapes = {name: p.shape for name, p in vit.named_parameters()}
    assert shapes == {name: p.shape for name, p in named.named_parameters()}
    assert shapes["pos_embed"] == (1, 1 + (32 // 16) ** 2, 192)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_resnet", "timm/test_efficientnet"])
def test_models_with_and_without_an_image_size_take_any_shape(name: str) -> None:
    model = build(name, in_channels=1, img_size=48, num_classes=7)
    assert model(torch.randn(2, 1, 48, 48)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "near"),
    [("vit_tiny_patch16_225", "timm/vit_tiny_patch16_224"), ("resnet18.a1_in1kk", "timm/resnet18.a1_in1k")],
)
def test_an_unknown_timm_name_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(ValueError, match="unknown timm model") as caught:
        build(f"timm/{name}")
    assert near in str(caught.value) and "\n" not in str(caught.value)


def test_an_image_smaller_than_a_patch_is_refused_when_the_model_is_built() -> None:
    with pytest.raises(ValueError, match="does not take 3x8x8 images") as caught:
        build("vit", img_size=8)
    assert "\n" not in str(caught.value)


def test_trying_a_model_out_leaves_its_batch_norms_untouched() -> None:
    counts = [b for name, b in build("timm/test_resnet").named_buffers() if "num_batches" in name]
    assert counts and not any(int(count) for count in counts)


def test_weights_out_of_reach_come_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"test_vit.* set pretrained: false") as caught:
        build("timm/test_vit", pretrained=True)
    assert "\n" not in str(caught.value)
