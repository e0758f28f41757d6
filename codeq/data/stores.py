"""Sources of pixels during training: device memory, or files that worker processes decode."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from codeq.data.decode import DecodedFiles
from codeq.data.errors import DataDamaged
from codeq.data.limits import fits_in_memory
from codeq.data.raw import FileSet, ImageSet, PixelSet
from codeq.data.resize import resize_all
from codeq.data.transfer import to_device

BatchSlices = list[slice]


class ImageStore(ABC):
    """Yields batches of uint8 pixels on the device, in any order."""

    @abstractmethod
    def batches(self, order: Tensor, batch_slices: BatchSlices, *, seed: int) -> Iterator[Tensor]:
        """Yield the images at the indices in each slice of `order`: (B, C, S, S) uint8.

        order: (n,) int64 indices into the image set, on the CPU. seed: of the loader's workers.
        """


class ResidentStore(ImageStore):
    """All pixels on the device, moved there at the first batch, and resized before if they then still fit."""

    def __init__(self, images: PixelSet, img_size: int, device: torch.device) -> None:
        self._images, self._img_size, self._device = images, img_size, device

    @cached_property
    def _pixels(self) -> Tensor:
        pixels = to_device(as_tensor(self._images), self._device)
        fits = fits_in_memory(len(pixels), self._images.channels, self._img_size)
        return resize_all(pixels, self._img_size) if fits else pixels

    def batches(self, order: Tensor, batch_slices: BatchSlices, *, seed: int) -> Iterator[Tensor]:
        order = to_device(order, self._device)  # Once per epoch.
        for batch_slice in batch_slices:
            yield self._pixels.index_select(0, order[batch_slice])


class _EpochBatchSampler:
    """The index lists of the current epoch; a DataLoader keeps one sampler for its lifetime.

    Has no reference to its store: in a reference cycle the garbage collector could end the queues before the workers
    and then wait 5 s for each worker.
    """

    def __init__(self) -> None:
        self.of_epoch: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.of_epoch)

    def __len__(self) -> int:
        return len(self.of_epoch)


class StreamedStore(ImageStore):
    """Images decoded by `workers` processes, at most one for each core, which live as long as the store. Only one
    epoch at a time."""

    def __init__(self, files: FileSet, device: torch.device, workers: int) -> None:
        self._files, self._device, self._workers = files, device, min(workers, joblib.cpu_count())
        self._sampler = _EpochBatchSampler()
        self._epochs_begun = 0

    @cached_property
    def _loader(self) -> DataLoader[Tensor]:
        return DataLoader(
            DecodedFiles(self._files),
            batch_sampler=self._sampler,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            pin_memory=self._device.type == "cuda",
            collate_fn=_as_is,
            # Without it the loader draws from torch's global generator, which must not change here.
            generator=torch.Generator(),
        )

    def batches(self, order: Tensor, batch_slices: BatchSlices, *, seed: int) -> Iterator[Tensor]:
        self._epochs_begun += 1
        this_epoch = self._epochs_begun
        self._sampler.of_epoch = [order[batch_slice].tolist() for batch_slice in batch_slices]
        self._loader.generator.manual_seed(seed)
        for batch in self._loader:
            if this_epoch != self._epochs_begun:
                raise RuntimeError("two epochs of a streamed data set cannot be read at the same time")
            if isinstance(batch, DataDamaged):
                del self._loader  # Ends the workers now and not when the traceback is freed.
                raise batch
            yield to_device(batch, self._device)


def _as_is(batch: Any) -> Any:
    return batch


def as_tensor(images: PixelSet) -> Tensor:
    """Return the pixels as a tensor that shares their memory, which must not be written."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images.pixels)


def store_for(images: ImageSet, *, img_size: int, device: torch.device, workers: int) -> ImageStore:
    """Return the store for an image set; nothing is read or moved before the first batch."""
    if isinstance(images, PixelSet):
        return ResidentStore(images, img_size, device)
    return StreamedStore(images, device, workers)


def decode_all(files: FileSet, workers: int) -> PixelSet:
    """Decode all images of a set that fits in memory."""
    count, batch = len(files.paths), 64
    batch_slices = [slice(start, min(start + batch, count)) for start in range(0, count, batch)]
    pixels = np.empty((count, files.channels, files.img_size, files.img_size), dtype=np.uint8)
    store = StreamedStore(files, torch.device("cpu"), workers)
    decoded = store.batches(torch.arange(count), batch_slices, seed=0)
    for batch_slice, images in zip(batch_slices, decoded, strict=True):
        pixels[batch_slice] = images.numpy()
    return PixelSet(pixels, files.labels)
