"""The vision transformer of the literature's CIFAR experiments: timm's ViT-Tiny with 16-pixel patches."""

from __future__ import annotations

from torch import nn

from codeq.models.registry import register
from codeq.models.spec import ModelSpec
from codeq.models.timm_models import build_timm

TIMM_NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@register("vit", has_published_weights=True)
def build_vit(spec: ModelSpec) -> nn.Module:
    """ViT-Tiny for the given image size; its position embedding is resampled when weights are pretrained."""
    return build_timm(TIMM_NAME, spec)
