"""Loads a config's data set: split, normalized, as batches on a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from codeq.config.run import RunConfig
from codeq.data.augment import augment_for, none
from codeq.data.batches import BatchConfig, Batches
from codeq.data.limits import eval_batch_size
from codeq.data.normalize import Normalizer
from codeq.data.raw import ImageSet, Indices, Labels, PixelSet, RawImages
from codeq.data.sources import DEFAULT_IMG_SIZE, SHAPES, load_raw
from codeq.data.split import stratified_split
from codeq.data.stores import as_tensor, decode_all, store_for

# The validation images do not depend on a run's seed, so that trials are comparable.
VAL_SPLIT_SEED = 2512

# Number of files that are decoded to estimate mean and standard deviation; decoding all would take too long.
STATISTICS_FILES = 1024


@dataclass(frozen=True)
class DatasetInfo:
    """The input and output sizes of the network. img_size: side of the square images in training."""

    name: str
    channels: int
    img_size: int
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, S, S) of one image."""
        return self.channels, self.img_size, self.img_size


@dataclass(frozen=True)
class DataSplits:
    """train: augmented. val: used for all decisions; equal to the test split if val_fraction is 0.

    majority_class_fraction: share of the most frequent class in `val` (0..1), the accuracy of a constant prediction.
    """

    info: DatasetInfo
    train: Batches
    val: Batches
    test: Batches
    majority_class_fraction: float

    def first(self, batches: int) -> DataSplits:
        """Return the same splits with training epochs of `batches` batches."""
        return replace(self, train=self.train.first(batches))


def dataset_info(config: RunConfig, raw: RawImages | None = None) -> DatasetInfo | None:
    """Return the sizes of the config's images: those of `raw`, if they are loaded, else as published.

    None for a plug-in's data set that is not loaded. An image folder that is not loaded counts as one of 1,000 classes.
    """
    if raw is not None:
        return DatasetInfo(raw.name, raw.train.channels, config.img_size or raw.train.img_size, raw.num_classes)
    name = config.dataset.name
    if name == "imagefolder":
        return DatasetInfo(name, 3, config.img_size or DEFAULT_IMG_SIZE, 1000)
    if (shape := SHAPES.get(name)) is None:
        return None
    return DatasetInfo(name, shape.channels, config.img_size or shape.size, shape.num_classes)


def load_data(config: RunConfig, device: torch.device, raw: RawImages | None = None) -> DataSplits:
    """Load the data set of `config` on `device`. raw: its images, if they are loaded already.

    Raises DataUnavailable (DataDamaged for a broken file) with one line that says what to do, and ValueError
    if `raw` is another data set.
    """
    raw = load_raw(config) if raw is None else raw
    if raw.name != config.dataset.name:
        raise ValueError(f"raw images are those of {raw.name}, the config asks for {config.dataset.name}")
    train_indices, val_indices = _split(raw.train.labels, config.val_fraction)
    info = DatasetInfo(raw.name, raw.train.channels, config.img_size or raw.train.img_size, raw.num_classes)
    training = _training_config(raw.train, train_indices, info, config, device)
    eval_size = eval_batch_size(training.batch_size, info.channels, info.img_size)
    evaluation = replace(training, batch_size=eval_size, training=False, augment=none)

    train_store = store_for(raw.train, img_size=info.img_size, device=device, workers=config.workers)
    test_store = store_for(raw.test, img_size=info.img_size, device=device, workers=config.workers)
    train = Batches(train_store, raw.train.labels, train_indices, training)
    test = Batches(test_store, raw.test.labels, np.arange(len(raw.test.labels)), evaluation)
    if not len(val_indices):
        return DataSplits(info, train, test, test, _majority_class_fraction(raw.test.labels))
    val = Batches(train_store, raw.train.labels, val_indices, evaluation)
    return DataSplits(info, train, val, test, _majority_class_fraction(raw.train.labels[val_indices]))


def _split(labels: Labels, val_fraction: float) -> tuple[Indices, Indices]:
    if val_fraction == 0:
        return np.arange(len(labels)), np.arange(0)
    return stratified_split(labels, val_fraction, seed=VAL_SPLIT_SEED)


def _training_config(
    images: ImageSet, indices: Indices, info: DatasetInfo, config: RunConfig, device: torch.device
) -> BatchConfig:
    return BatchConfig(
        batch_size=config.batch_size,
        training=True,
        augment=augment_for(config),
        seed=config.seed,
        img_size=info.img_size,
        normalize=Normalizer.from_batches(_statistics_pixels(images, indices, config.workers)).to(device),
        device=device,
    )


def _statistics_pixels(images: ImageSet, indices: Indices, workers: int) -> Iterator[Tensor]:
    """Yield the pixels for the normalization statistics: all at `indices`, or of evenly spaced files if there are many.

    Pixels have their stored size, so that the statistics, like the literature's, do not depend on img_size.
    """
    if not isinstance(images, PixelSet):
        count = min(len(indices), STATISTICS_FILES)
        spaced = np.linspace(0, len(indices) - 1, count).round().astype(np.int64)
        images, indices = decode_all(images.subset(indices[spaced]), workers), np.arange(count)
    pixels = as_tensor(images)
    for part in torch.split(torch.tensor(indices), 1000):
        yield pixels.index_select(0, part)


def _majority_class_fraction(labels: Labels) -> float:
    return float(np.bincount(labels).max() / len(labels))
