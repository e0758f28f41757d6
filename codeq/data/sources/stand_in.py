"""Made-up images in the shape of a data set that would have to be downloaded: as quick to train on as the real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeq.config.run import RunConfig
from codeq.data.errors import DataDamaged, DataUnavailable
from codeq.data.raw import PixelSet, RawImages
from codeq.data.sources.download import no_downloads
from codeq.data.sources.load_raw import load_raw


@dataclass(frozen=True)
class _Shape:
    """As published; square images of `size` pixels."""

    num_classes: int
    channels: int
    size: int
    num_train: int
    num_test: int


_SHAPES = {
    "cifar10": _Shape(10, 3, 32, 50_000, 10_000),
    "cifar100": _Shape(100, 3, 32, 50_000, 10_000),
    "fashion_mnist": _Shape(10, 1, 28, 60_000, 10_000),
}


def load_or_make_up(config: RunConfig) -> tuple[RawImages, bool]:
    """The images of `config.dataset`, and whether they are made up: nothing is downloaded.

    Raises DataUnavailable (DataDamaged for a broken file) where they are not there and their shape is not known.
    """
    try:
        with no_downloads():
            return load_raw(config), False
    except DataDamaged:
        raise
    except DataUnavailable:
        if config.dataset.name not in _SHAPES:
            raise
        return _made_up(config.dataset.name, _SHAPES[config.dataset.name]), True


def _made_up(name: str, shape: _Shape) -> RawImages:
    return RawImages(name, shape.num_classes, _pixels(shape, shape.num_train), _pixels(shape, shape.num_test))


def _pixels(shape: _Shape, count: int) -> PixelSet:
    """Noise, the same thousand images again and again; the classes take turns."""
    noise = np.random.RandomState(0).randint(0, 256, (1000, shape.channels, shape.size, shape.size), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % shape.num_classes
    return PixelSet(np.resize(noise, (count, *noise.shape[1:])), labels)
