"""Epochs of normalized batches, of one run or of several that read the same images together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codeq.data.augment import Augment, EpochAugment, together
from codeq.data.normalize import Normalizer
from codeq.data.raw import Indices, Labels
from codeq.data.resize import resize
from codeq.data.seeds import RandomStream, derived_seed, generator
from codeq.data.stores import BatchSlices, ImageStore, ResidentStore
from codeq.data.transfer import to_device


@dataclass(frozen=True)
class BatchConfig:
    """The settings by which pixels become batches.

    training: shuffle, and drop the last partial batch so that every step has the same shape. img_size: pixels
    of another size are resized. normalize: on `device`.
    """

    batch_size: int
    training: bool
    augment: Augment
    seed: int
    img_size: int
    normalize: Normalizer
    device: torch.device


class Batches:
    """One split of a data set. `len()` is the number of batches per epoch, `num_images` that of images."""

    def __init__(self, store: ImageStore, labels: Labels, indices: Indices, config: BatchConfig) -> None:
        """labels: of the whole image set in `store`. indices: which of its images this split holds."""
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
        """Whether the images live on the device, where any number of runs can read them at once."""
        return isinstance(self._store, ResidentStore)

    def with_seed(self, seed: int) -> Batches:
        """The same split of the same images in memory, shuffled and augmented by another seed."""
        other = copy(self)
        other._config = replace(self._config, seed=seed)
        return other

    def first(self, batches: int) -> Batches:
        """The same split with epochs of `batches` batches."""
        other = copy(self)
        other._batch_slices = self._batch_slices[:batches]
        return other

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, S, S) float32 and labels (B,) int64, on the device.

        A pure function of the config's seed and `epoch`; without training the same in every epoch. Raises
        DataDamaged at an image file that cannot be decoded.
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


def epochs_together(runs: Sequence[Batches], epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of K runs side by side: images (K, B, C, S, S) float32 and labels (K, B) int64, on the device.

    runs: of the same images, `with_seed` of one another; run k is in its epoch `epochs[k]` and gets what
    `runs[k].epoch(epochs[k])` would give it.
    """
    first, config = runs[0], runs[0]._config
    orders = torch.stack([run._order(epoch) for run, epoch in zip(runs, epochs, strict=True)])  # (K, n)
    labels = to_device(first._labels[orders], config.device)
    augment = together([run._augment(epoch) for run, epoch in zip(runs, epochs, strict=True)])
    own_slices = first._batch_slices
    side_by_side = torch.cat([orders[:, batch_slice].flatten() for batch_slice in own_slices])
    all_slices = [slice(len(runs) * one.start, len(runs) * one.stop) for one in own_slices]
    for batch_slice, images in zip(own_slices, first._store.batches(side_by_side, all_slices, seed=0), strict=True):
        images = config.normalize(augment(resize(images, config.img_size), batch_slice))
        yield images.unflatten(0, (len(runs), -1)), labels[:, batch_slice]


def _batch_slices(num_images: int, batch_size: int, *, drop_last: bool) -> BatchSlices:
    """Consecutive slices of `batch_size`; the last may be shorter; `drop_last` keeps it if it is the only one."""
    end = num_images - num_images % batch_size if drop_last and num_images >= batch_size else num_images
    return [slice(start, min(start + batch_size, end)) for start in range(0, end, batch_size)]
