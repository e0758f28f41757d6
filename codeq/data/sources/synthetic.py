"""Synthetic images that can be learned: a faint fixed pattern per class plus noise. Needs no file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codeq.data.raw import PixelSet, RawImages

NUM_CLASSES = 10
NUM_TRAIN, NUM_TEST = 5120, 1000
SIZE, PATTERN_SIZE = 32, 8
CONTRAST = 16


def synthetic() -> RawImages:
    """10 classes, 3x32x32, always the same images; another img_size resizes them like any data set's."""
    random = np.random.RandomState(0)
    pixel = np.ones((SIZE // PATTERN_SIZE, SIZE // PATTERN_SIZE), dtype=np.uint8)
    bits = random.randint(0, 2, (NUM_CLASSES, 3, PATTERN_SIZE, PATTERN_SIZE), dtype=np.uint8)
    patterns = np.kron(CONTRAST * bits, pixel)  # (10, 3, 32, 32), 0 or CONTRAST
    train, test = _draw(random, patterns, NUM_TRAIN), _draw(random, patterns, NUM_TEST)
    return RawImages("synthetic", NUM_CLASSES, train, test)


def _draw(random: np.random.RandomState, patterns: NDArray[np.uint8], count: int) -> PixelSet:
    """Each class's pattern on top of uniform noise, the sum within 0 .. 255."""
    noise = random.randint(0, 256 - CONTRAST, (count, *patterns.shape[1:]), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % len(patterns)
    return PixelSet(noise + patterns[labels], labels)
