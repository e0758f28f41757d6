"""A data set as published, before splitting and normalizing: NumPy arrays or file names.

Images are NumPy arrays because Ray's object store shares those between the processes of a machine without copying.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class PixelSet:
    """Square images in memory. pixels: (N, C, S, S) uint8, possibly read-only. labels: (N,) int64."""

    pixels: NDArray[np.uint8]
    labels: Labels

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def img_size(self) -> int:
        return int(self.pixels.shape[2])

    def subset(self, indices: Indices) -> PixelSet:
        """Return a copy of the images at `indices`."""
        return PixelSet(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class FileSet:
    """RGB image files, each to be decoded into 3 x img_size x img_size. labels: (N,) int64."""

    paths: tuple[str, ...]
    labels: Labels
    img_size: int
    channels: int = 3

    def subset(self, indices: Indices) -> FileSet:
        """Return the files at `indices`."""
        return FileSet(tuple(self.paths[i] for i in indices), self.labels[indices], self.img_size)


ImageSet = PixelSet | FileSet


@dataclass(frozen=True)
class RawImages:
    """A data set's training and test images; labels are 0 .. num_classes - 1."""

    name: str
    num_classes: int
    train: ImageSet
    test: ImageSet
