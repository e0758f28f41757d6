"""What a network must fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    """Square images of `in_channels` x `img_size` x `img_size` pixels in, `num_classes` logits out."""

    in_channels: int
    img_size: int
    num_classes: int
    pretrained: bool = False

    def __str__(self) -> str:
        return f"{self.in_channels}x{self.img_size}x{self.img_size} images"
