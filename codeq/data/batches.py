"""Epochs of normalized batches."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from codeq.data.augment import Augment, EpochAugment
from codeq.data.normalize import Normalizer
from codeq.data.raw import Indices, Labels
from codeq.data.resize import resize
from codeq.data.seeds import RandomStream, derived_seed, generator
from codeq.data.stores import BatchSlices, ImageStore, ResidentStore
from codeq.data.transfer import to_device


@dataclass(frozen=True)
class BatchConfig:
    """The settings that turn pixels into batches.

    training: shuffle, and drop the last partial batch so that every step has the same shape. img_size: images
    of another size are resized. normalize: runs on `device`.
    """

    batch_size: int
    training: bool
    augment: Augment
    seed: int
    img_size: int
    normalize: Normalizer
    device: torch.device


class Batches:
    """One split of a data set. `len()` is the number of batches per epoch, `num_images` the number of images."""

    def __init__(self, store: ImageStore, labels: Labels, indices: Indices, config: BatchConfig) -> None:
        """labels: of all images in `store`. indices: of the images that belong to this split."""
        self._store, self._config = store, config
        self._labels = torch.tensor(labels)
        self._indices = torch.tensor(indices)
        self._batch_slices = _batch_slices(len(indices), config.batch_size, drop_last=config.training)

    def __len__(self) -> int:
        return len(self._batch_slices)

    @property
    def num_images(self) -> int:
        last: int = self._batch_slices[-1].stop
        return last

    @property
    def batch_size(self) -> int:
        """Images per batch; the last may hold fewer."""
        return self._config.batch_size

    @property
    def is_resident(self) -> bool:
        """Whether the images are stored on the device."""
        return isinstance(self._store, ResidentStore)

    def first(self, batches: int) -> Batches:
        """Return the same split with epochs of `batches` batches."""
        other = copy(self)
        other._batch_slices = self._batch_slices[:batches]
        return other

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, C, S, S) float32 and labels (B,) int64, on the device.

        A pure function of the config's seed and `epoch`; an evaluation split yields the same in every epoch. Raises
        DataDamaged for an image file that cannot be decoded.
        """
        config, order = self._config, self._order(epoch)
        augment = self._augment(epoch)
        labels = to_device(self._labels[order], config.device)
        loader_seed = derived_seed(config.seed, epoch, RandomStream.LOADER)
        pixels = self._store.batches(order, self._batch_slices, seed=loader_seed)
        for batch_slice, images in zip(self._batch_slices, pixels, strict=True):
            images = augment(resize(images, config.img_size), batch_slice)
            yield config.normalize(images), labels[batch_slice]

    def _augment(self, epoch: int) -> EpochAugment:
        config = self._config
        return config.augment(len(self._indices), config.seed, epoch, config.device)

    def _order(self, epoch: int) -> Tensor:
        if not self._config.training:
            return self._indices
        draws = generator(self._config.seed, epoch, RandomStream.ORDER)
        return self._indices[torch.randperm(len(self._indices), generator=draws)]


def _batch_slices(num_images: int, batch_size: int, *, drop_last: bool) -> BatchSlices:
    """Consecutive slices of `batch_size`; the last may be shorter; `drop_last` keeps it if it is the only one."""
    end = num_images - num_images % batch_size if drop_last and num_images >= batch_size else num_images
    return [slice(start, min(start + batch_size, end)) for start in range(0, end, batch_size)]
