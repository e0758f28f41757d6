"""Resizing 8-bit images to a square."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_BYTES = 1 << 26


def resize(images: Tensor, size: int) -> Tensor:
    """Resize bilinearly with antialiasing. images: (N, C, H, W) uint8. Returns (N, C, size, size) uint8."""
    if images.shape[-2:] == (size, size):
        return images
    from torchvision.transforms.v2 import functional  # The import takes a second.

    resized: Tensor = functional.resize(images, [size, size], antialias=True)
    return resized


def resize_all(images: Tensor, size: int) -> Tensor:
    """`resize` for many images, in chunks: the intermediate floats take some ten megabytes."""
    if images.shape[-2:] == (size, size):
        return images
    chunk = max(1, _CHUNK_BYTES // (4 * images.shape[1] * size * size))
    return torch.cat([resize(part, size) for part in torch.split(images, chunk)])
