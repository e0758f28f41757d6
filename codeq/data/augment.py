"""Random changes to training images, drawn once an epoch and applied to whole batches of uint8 pixels.

An augmentation is a function of (number of images, seed, epoch, device) that returns the epoch's own function
of (images, window): `window` says which images of the epoch the batch holds. `together` makes one such function of
those of several runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codeq.config.run import RunConfig
from codeq.data.seeds import Draw, derived_seed, generator
from codeq.data.transfer import to_device

PAD = 4

# Operations a batch is dealt to by RandAugment, which knows 14, most in two directions. More is slower.
OPERATIONS = 24

EpochAugment = Callable[[Tensor, slice], Tensor]
Augment = Callable[[int, int, int, torch.device], EpochAugment]


def flip_and_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Pad by PAD black pixels on every side, cut out the original size at (top, left), mirror where `flip`.

    images: (B, C, H, W) uint8. flip: (B,) bool. top, left: (B,) int64 in 0 .. 2 PAD, counted in the padded
    image. One gather for the whole batch, without waiting for the device.
    """
    batch, channels, height, width = images.shape
    padded = F.pad(images, (PAD, PAD, PAD, PAD))  # (B, C, H + 2 PAD, W + 2 PAD)
    rows = torch.arange(height, device=images.device) + top[:, None]  # (B, H)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(flip[:, None], columns.flip(0), columns) + left[:, None]  # (B, W)
    pixel = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (B, H, W)
    index = pixel.view(batch, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, index).view(images.shape)


def unchanged(images: Tensor, window: slice) -> Tensor:
    """`images`."""
    return images


def none(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """Images as they are."""
    return unchanged


@dataclass(frozen=True)
class FlipAndCrop:
    """An epoch's draws, (n,) for one run or (K, n) for K runs, whose images then come run by run: (K * B, ...)."""

    flip: Tensor
    top: Tensor
    left: Tensor

    def __call__(self, images: Tensor, window: slice) -> Tensor:
        flip, top, left = (draws[..., window].flatten() for draws in (self.flip, self.top, self.left))
        return flip_and_crop(images, flip, top, left)


def standard(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """Horizontal flip with probability 1/2 and a random crop after padding by 4 pixels (He et al. 2015)."""
    draws = generator(seed, epoch, Draw.FLIP_AND_CROP)
    flip = torch.randint(0, 2, (num_images,), generator=draws).bool()
    corner = torch.randint(0, 2 * PAD + 1, (2, num_images), generator=draws)
    return FlipAndCrop(to_device(flip, device), *to_device(corner, device))


def randaugment(num_images: int, seed: int, epoch: int, device: torch.device) -> EpochAugment:
    """`standard`, then torchvision's RandAugment (arXiv 1909.13719): two operations of its magnitude 9.

    Each image picks one of OPERATIONS operations drawn for its batch, twice. What happens to an image has
    RandAugment's own distribution, and an operation runs once for all images that picked it.
    """
    from torchvision.transforms.v2 import RandAugment

    flipped_and_cropped = standard(num_images, seed, epoch, device)
    operation = RandAugment(num_ops=1)

    def apply(images: Tensor, window: slice) -> Tensor:
        images = flipped_and_cropped(images, window)
        # It draws from torch's global CPU generator, whose state belongs to the training loop.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(seed, epoch, Draw.RANDAUGMENT, window.start))
            return _in_random_groups(operation, _in_random_groups(operation, images))

    return apply


def _in_random_groups(operation: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Deal the images (B, C, H, W) into OPERATIONS groups and call `operation` once for each."""
    group = torch.randint(OPERATIONS, (len(images),))
    by_group = group.argsort(stable=True)
    sizes = group.bincount().tolist()
    dealt = torch.split(images[to_device(by_group, images.device)], sizes)
    changed = torch.cat([operation(part) if len(part) else part for part in dealt])
    return changed[to_device(by_group.argsort(), images.device)]


def together(augments: Sequence[EpochAugment]) -> EpochAugment:
    """What `augments` do to the images of K runs, (K * B, C, H, W) run by run; in one pass where there is a way."""
    if all(augment is unchanged for augment in augments):
        return unchanged
    crops = [augment for augment in augments if isinstance(augment, FlipAndCrop)]
    if len(crops) == len(augments):
        draws = ([crop.flip for crop in crops], [crop.top for crop in crops], [crop.left for crop in crops])
        return FlipAndCrop(*map(torch.stack, draws))

    def apply(images: Tensor, window: slice) -> Tensor:
        parts = images.chunk(len(augments))
        return torch.cat([augment(part, window) for augment, part in zip(augments, parts, strict=True)])

    return apply


AUGMENTS: dict[str, Augment] = {"none": none, "standard": standard, "randaugment": randaugment}

# Mirrored digits are other digits, a 4-pixel shift moves them half out of 8 pixels; synthetic patterns have
# no symmetry either.
UNAUGMENTED_BY_DEFAULT = ("digits", "synthetic")


def augment_for(config: RunConfig) -> Augment:
    """The augmentation a config asks for; `auto` depends on the data set."""
    if config.augment != "auto":
        return AUGMENTS[config.augment]
    return none if config.dataset.name in UNAUGMENTED_BY_DEFAULT else standard
