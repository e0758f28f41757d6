"""Augmentations of training images, drawn once per epoch and applied to whole batches of uint8 pixels.

An augmentation is a function of (number of images, seed, epoch, device). It returns the function for that epoch, which
takes (images, batch_slice); batch_slice is the batch's positions in the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codeq.config.run import RunConfig
from codeq.data.seeds import RandomStream, derived_seed, generator
from codeq.data.transfer import to_device

PAD = 4

# RandAugment draws this many of its 14 operations (most in two directions) per batch. A larger number is slower.
OPERATIONS = 24

EpochAugment = Callable[[Tensor, slice], Tensor]
Augment = Callable[[int, int, int, torch.device], EpochAugment]


def flip_and_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Pad by PAD black pixels on every side, cut out the original size at (top, left), mirror where `flip`.

    images: (B, C, H, W) uint8. flip: (B,) bool. top, left: (B,) int64 in 0 .. 2 PAD, counted in the padded
    image. One gather for the whole batch; the host does not wait for the device.
    """
    batch, channels, height, width = images.shape
    padded = F.pad(images, (PAD, PAD, PAD, PAD))  # (B, C, H + 2 PAD, W + 2 PAD)
    rows = torch.arange(height, device=images.device) + top[:, None]  # (B, H)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flip[:, None], columns.flip(0), columns) + left[:, None]  # (B, W)
    pixel = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (B, H, W)
    index = pixel.view(batch, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view(images.shape)


def unchanged(images: Tensor, batch_slice: slice) -> Tensor:
    """Return `images`."""
    return images


def none(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """No augmentation."""
    return unchanged


@dataclass(frozen=True)
class FlipAndCrop:
    """The random draws of an epoch, (n,) each."""

    flip: Tensor
    top: Tensor
    left: Tensor

    def __call__(self, images: Tensor, batch_slice: slice) -> Tensor:
        flip, top, left = (draws[batch_slice] for draws in (self.flip, self.top, self.left))
        return flip_and_crop(images, flip, top, left)


def standard(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """Horizontal flip with probability 1/2 and a random crop after padding by 4 pixels (He et al. 2015)."""
    draws = generator(seed, epoch, RandomStream.FLIP_AND_CROP)
    flip = torch.randint(0, 2, (num_images,), generator=draws).bool()
    corner = torch.randint(0, 2 * PAD + 1, (2, num_images), generator=draws)
    return FlipAndCrop(to_device(flip, device), *to_device(corner, device))


def randaugment(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """`standard`, then torchvision's RandAugment (arXiv 1909.13719): two operations of magnitude 9.

    OPERATIONS operations are drawn per batch, and each image gets one of them at random, twice. The distribution for
    an image is that of RandAugment, and each operation runs once, for all images that get it.
    """
    from torchvision.transforms.v2 import RandAugment

    flipped_and_cropped = standard(num_images, seed, epoch, device)
    operation = RandAugment(num_ops=1)

    def apply(images: Tensor, batch_slice: slice) -> Tensor:
        images = flipped_and_cropped(images, batch_slice)
        # RandAugment draws from torch's global CPU generator, whose state the training loop must find unchanged.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(seed, epoch, RandomStream.RANDAUGMENT, batch_slice.start))
            return _in_random_groups(operation, _in_random_groups(operation, images))

    return apply


def _in_random_groups(operation: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Split the images (B, C, H, W) randomly into OPERATIONS groups and call `operation` once for each."""
    group = torch.randint(OPERATIONS, (len(images),))
    by_group = group.argsort(stable=True)
    sizes = group.bincount().tolist()
    dealt = torch.split(images[to_device(by_group, images.device)], sizes)
    changed = torch.cat([operation(part) if len(part) else part for part in dealt])
    return changed[to_device(by_group.argsort(), images.device)]


AUGMENTS: dict[str, Augment] = {"none": none, "standard": standard, "randaugment": randaugment}

# A flip changes the meaning of digits and synthetic patterns, and a shift by 4 of 8 pixels would cut a digit in half.
# What a plug-in's images show is not known.
UNAUGMENTED_BY_DEFAULT = ("digits", "synthetic")


def augment_for(config: RunConfig) -> Augment:
    """Return the augmentation of a config; `auto` depends on the data set."""
    if config.augment != "auto":
        return AUGMENTS[config.augment]
    part = config.dataset.part
    return none if part.is_plugin or part.name in UNAUGMENTED_BY_DEFAULT else standard
