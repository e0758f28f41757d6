"""Generators that are a pure function of (seed, epoch): a resumed run needs no stored generator state."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class RandomStream(IntEnum):
    """The purposes of random numbers. Each has its own stream, so using one does not change another."""

    ORDER = 0
    FLIP_AND_CROP = 1
    RANDAUGMENT = 2
    LOADER = 3


def derived_seed(seed: int, epoch: int, stream: RandomStream, position: int = 0) -> int:
    """A 32-bit seed (torch's CPU generator uses no more) for one purpose in one epoch."""
    return int(np.random.SeedSequence((seed, epoch, stream, position)).generate_state(1)[0])


def generator(seed: int, epoch: int, stream: RandomStream) -> torch.Generator:
    """A fresh CPU generator. All draws are made on the CPU, so every device sees the same epoch."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, stream))
