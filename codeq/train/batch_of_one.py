"""Whether a network can train on batches of one image."""

from __future__ import annotations

import copy

import torch
from torch import nn

from codeq.config.text import first_line
from codeq.train.weight_use import image_of_ones


class BatchTooSmall(ValueError):
    """A network cannot train on one image at a time."""


def check_batch_of_one(model: nn.Module, shape: tuple[int, int, int]) -> None:
    """Raise BatchTooSmall if `model` cannot train on one (C, S, S) image, as batch norm on 1x1 features cannot."""
    image = image_of_ones(model, shape)
    with torch.no_grad(), torch.random.fork_rng([image.device] if image.is_cuda else []):
        try:
            copy.deepcopy(model).train()(image)
        except (RuntimeError, ValueError) as error:
            reason = f"the network cannot train on one image at a time: {first_line(error)}"
            raise BatchTooSmall(f"batch_size: {reason}; write 2 or more") from error
