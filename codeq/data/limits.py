"""Limits on the memory for images."""

from __future__ import annotations

# Pixels of one image set (uint8) that are kept on the device, resized; larger sets are resized or decoded
# batch by batch. CIFAR in its original size takes 150 MB, so that several trials can share one GPU.
RESIDENT_BYTES = 1 << 30

# Float pixels of one evaluation batch: 1,000 images of 3x32x32.
EVAL_PIXELS = 1000 * 3 * 32 * 32


def fits_in_memory(num_images: int, channels: int, size: int) -> bool:
    """Whether `num_images` uint8 images of channels x size x size stay under RESIDENT_BYTES."""
    return num_images * channels * size * size <= RESIDENT_BYTES


def eval_batch_size(train_batch_size: int, channels: int, size: int) -> int:
    """Images per evaluation batch: at most 1,000, at least a training batch, which is known to fit."""
    return max(train_batch_size, min(1000, EVAL_PIXELS // (channels * size * size)))
