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
from codeq.data.seeds import Draw, derived_seed, generator
from codeq.data.stores import ImageStore, ResidentStore, Windows
from codeq.data.transfer import to_device


@dataclass(frozen=True)
class Recipe:
    """How pixels become batches.

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
    """One split of a data set. `len()` is the number of batches an epoch, `num_images` of images an epoch."""

    def __init__(self, store: ImageStore, labels: Labels, indices: Indices, recipe: Recipe) -> None:
        """labels: of the whole image set in `store`. indices: which of its images this split holds."""
        self._store, self._recipe = store, recipe
        self._labels = torch.tensor(labels)
        self._indices = torch.tensor(indices)
        self._windows = _windows(len(indices), recipe.batch_size, drop_last=recipe.training)

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def num_images(self) -> int:
        last: int = self._windows[-1].stop
        return last

    @property
    def batch_size(self) -> int:
        """Images a batch; the last may hold fewer."""
        return self._recipe.batch_size

    @property
    def is_resident(self) -> bool:
        """Whether the images live on the device, where any number of runs can read them at once."""
        return isinstance(self._store, ResidentStore)

    def with_seed(self, seed: int) -> Batches:
        """The same split of the same images in memory, shuffled and augmented by another seed."""
        other = copy(self)
        other._recipe = replace(self._recipe, seed=seed)
        return other

    def first(self, batches: int) -> Batches:
        """The same split, whose epochs end after so many batches."""
        other = copy(self)
        other._windows = self._windows[:batches]
        return other

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, S, S) float32 and labels (B,) int64, on the device.

        A pure function of the config's seed and `epoch`; without training the same in every epoch. Raises
        DataDamaged at an image file that cannot be decoded.
        """
        recipe, order = self._recipe, self._order(epoch)
        augment = self._augment(epoch)
        labels = to_device(self._labels[order], recipe.device)
        pixels = self._store.batches(order, self._windows, seed=derived_seed(recipe.seed, epoch, Draw.LOADER))
        for window, images in zip(self._windows, pixels, strict=True):
            images = augment(resize(images, recipe.img_size), window)
            yield recipe.normalize(images), labels[window]

    def _augment(self, epoch: int) -> EpochAugment:
        recipe = self._recipe
        return recipe.augment(len(self._indices), recipe.seed, epoch, recipe.device)

    def _order(self, epoch: int) -> Tensor:
        if not self._recipe.training:
            return self._indices
        draws = generator(self._recipe.seed, epoch, Draw.ORDER)
        return self._indices[torch.randperm(len(self._indices), generator=draws)]


def epochs_together(runs: Sequence[Batches], epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of K runs side by side: images (K, B, C, S, S) float32 and labels (K, B) int64, on the device.

    runs: of the same images, `with_seed` of one another; run k is in its epoch `epochs[k]` and gets what
    `runs[k].epoch(epochs[k])` would give it.
    """
    first, recipe = runs[0], runs[0]._recipe
    orders = torch.stack([run._order(epoch) for run, epoch in zip(runs, epochs, strict=True)])  # (K, n)
    labels = to_device(first._labels[orders], recipe.device)
    augment = together([run._augment(epoch) for run, epoch in zip(runs, epochs, strict=True)])
    side_by_side = torch.cat([orders[:, window].flatten() for window in first._windows])
    windows = [slice(len(runs) * window.start, len(runs) * window.stop) for window in first._windows]
    for window, images in zip(first._windows, first._store.batches(side_by_side, windows, seed=0), strict=True):
        images = recipe.normalize(augment(resize(images, recipe.img_size), window))
        yield images.unflatten(0, (len(runs), -1)), labels[:, window]


def _windows(num_images: int, batch_size: int, *, drop_last: bool) -> Windows:
    """Consecutive slices of `batch_size`; the last may be shorter, and stays if it is the only one."""
    end = num_images - num_images % batch_size if drop_last and num_images >= batch_size else num_images
    return [slice(start, min(start + batch_size, end)) for start in range(0, end, batch_size)]
