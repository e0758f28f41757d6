"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels (UCI ML repository), inside the package."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from codeq.data.raw import PixelSet, RawImages
from codeq.data.split import stratified_split

TEST_FRACTION = 0.2
TEST_SPLIT_SEED = 1797

# The levels 0 .. 16 become 0 .. 240: exactly proportional, and normalization takes the factor out again.
LEVEL = 15


def digits() -> RawImages:
    """10 classes, 1x8x8; a fixed stratified fifth is the test set, as the package has none."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)  # (1797, 65): 64 levels and the digit
    pixels = (table[:, :64] * LEVEL).astype(np.uint8).reshape(-1, 1, 8, 8)
    images = PixelSet(pixels, table[:, 64])
    train, test = stratified_split(images.labels, TEST_FRACTION, seed=TEST_SPLIT_SEED)
    return RawImages("digits", 10, images.subset(train), images.subset(test))


def _file() -> Path:
    """What `sklearn.datasets.load_digits` reads. Importing scikit-learn for it would take every process a second."""
    return Path(str(distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
