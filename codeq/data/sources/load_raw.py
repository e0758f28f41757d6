"""Read the images of a data set by its registered name."""

from __future__ import annotations

from typing import Any

import numpy as np

from codeq.config.run import RunConfig
from codeq.data.raw import PixelSet, RawImages
from codeq.registry import Part


def load_raw(config: RunConfig) -> RawImages:
    """The images of `config.dataset` as published; one copy can serve every process of a machine.

    Raises DataUnavailable if they are not there nor to be had, DataDamaged for a broken file, PluginError if a plug-in
    raises or gives what is no data set.
    """
    part = config.dataset.part
    found = part(
        data_dir=config.data_dir,
        img_size=config.img_size,
        workers=config.workers,
        **part.arguments(config.dataset.kwargs),
    )
    return found if isinstance(found, RawImages) else _checked(part, found)


def _checked(part: Part, found: Any) -> RawImages:
    """What a plug-in returned as raw images; there are as many classes as the largest training label says."""
    try:
        (train_images, train_labels), (test_images, test_labels) = found
    except (TypeError, ValueError):
        form = "((images, labels), (images, labels)), the training and the test set"
        raise part.error(f"returned {type(found).__name__}, must return {form}") from None
    train = _pixels(part, "training", train_images, train_labels)
    test = _pixels(part, "test", test_images, test_labels)
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        shapes = f"{list(train.pixels.shape[1:])} and {list(test.pixels.shape[1:])}"
        raise part.error(f"training and test images are {shapes}, must be alike")
    classes = int(train.labels.max()) + 1
    if int(test.labels.max()) >= classes:
        raise part.error(f"a test label is {test.labels.max()}, the largest training label is {classes - 1}")
    if classes < 2:
        raise part.error("all training labels are 0, must be of two classes or more")
    return RawImages(part.name, classes, train, test)


def _pixels(part: Part, which: str, images: Any, labels: Any) -> PixelSet:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise part.error(f"{which} images are {images.dtype} {list(images.shape)}, must be uint8 [N, C, S, S]")
    if not images.size:
        raise part.error(f"{which} images are {list(images.shape)}, must be some")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        given = f"{labels.dtype} {list(labels.shape)}"
        raise part.error(f"{which} labels are {given}, must be integers [{len(images)}], one for each image")
    if int(labels.min()) < 0:
        raise part.error(f"a {which} label is {labels.min()}, must be 0 or more")
    return PixelSet(np.ascontiguousarray(images), labels.astype(np.int64))
