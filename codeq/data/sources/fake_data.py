"""The shapes of the built-in data sets, and fake images in the shape of one that is not downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeq.config.run import RunConfig
from codeq.data.errors import DataDamaged, DataUnavailable
from codeq.data.raw import PixelSet, RawImages
from codeq.data.sources.download import no_downloads
from codeq.data.sources.load_raw import load_raw


@dataclass(frozen=True)
class Shape:
    """The shape of a data set; square images of `size` pixels."""

    num_classes: int
    channels: int
    size: int
    num_train: int
    num_test: int


SHAPES = {
    "cifar10": Shape(10, 3, 32, 50_000, 10_000),
    "cifar100": Shape(100, 3, 32, 50_000, 10_000),
    "fashion_mnist": Shape(10, 1, 28, 60_000, 10_000),
    "digits": Shape(10, 1, 8, 1_438, 359),
    "synthetic": Shape(10, 3, 32, 5_120, 1_000),
}


def load_or_fake(config: RunConfig) -> tuple[RawImages, bool]:
    """Return the images of `config.dataset` and whether they are fake. Nothing is downloaded.

    Raises DataUnavailable (DataDamaged for a broken file) if they are missing and their shape is not known.
    """
    try:
        with no_downloads():
            return load_raw(config), False
    except DataDamaged:
        raise
    except DataUnavailable:
        if config.dataset.name not in SHAPES:
            raise
        shape = SHAPES[config.dataset.name]
        train, test = _pixels(shape, shape.num_train), _pixels(shape, shape.num_test)
        return RawImages(config.dataset.name, shape.num_classes, train, test), True


def _pixels(shape: Shape, count: int) -> PixelSet:
    """Return noise: a thousand images, repeated; the classes alternate."""
    noise = np.random.RandomState(0).randint(0, 256, (1000, shape.channels, shape.size, shape.size), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % shape.num_classes
    return PixelSet(np.resize(noise, (count, *noise.shape[1:])), labels)
