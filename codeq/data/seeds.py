"""Random generators as a pure function of (seed, epoch), so that a resumed run needs no stored generator state."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class RandomStream(IntEnum):
    """The uses of random numbers. Each has its own stream, so that draws of one do not change another."""

    ORDER = 0
    FLIP_AND_CROP = 1
    RANDAUGMENT = 2
    LOADER = 3


def derived_seed(seed: int, epoch: int, stream: RandomStream, position: int = 0) -> int:
    """Return a 32-bit seed (torch's CPU generator uses no more bits) for one use in one epoch."""
    return int(np.random.SeedSequence((seed, epoch, stream, position)).generate_state(1)[0])


def generator(seed: int, epoch: int, stream: RandomStream) -> torch.Generator:
    """Return a new CPU generator. All draws are made on the CPU, so that epochs are equal on every device."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, stream))
