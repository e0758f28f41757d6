"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels (UCI ML repository), inside the package."""

from __future__ import annotations

import numpy as np

from codeq.config.run import RunConfig
from codeq.data.raw import PixelSet, RawImages
from codeq.data.sources.registry import source
from codeq.data.split import stratified_split

TEST_FRACTION = 0.2
TEST_SPLIT_SEED = 1797

# The levels 0 .. 16 become 0 .. 240: exactly proportional, and normalization takes the factor out again.
LEVEL = 15


@source("digits")
def digits(config: RunConfig) -> RawImages:
    """10 classes, 1x8x8; a fixed stratified fifth is the test set, as the package has none."""
    from sklearn.datasets import load_digits  # Takes most of a second to import.

    bunch = load_digits()
    pixels = (bunch.images * LEVEL).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    images = PixelSet(pixels, bunch.target.astype(np.int64))
    train, test = stratified_split(images.labels, TEST_FRACTION, seed=TEST_SPLIT_SEED)
    return RawImages("digits", 10, images.subset(train), images.subset(test))
