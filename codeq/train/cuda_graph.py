"""A training step's forward and backward pass as two CUDA graphs: two launches instead of thousands.

A small network keeps a GPU waiting for the host, which launches some 4,000 kernels for a step of ResNet-20 with
quantizers. A graph is recorded once and replayed on the same memory: parameters and buffers must stay where they are.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor

from codeq.train.training_loss import Loss


def can_capture(device: torch.device) -> bool:
    """Whether `device` has graphs to replay."""
    return device.type == "cuda"


class CapturedLoss:
    """A loss that is replayed; a batch of another size, the smaller last one, is computed as before."""

    def __init__(self, loss: Loss, images: Tensor, labels: Tensor) -> None:
        """Record the pass over a batch of this size. Changes buffers and random numbers as training steps do.

        Raises RuntimeError where the pass does what a graph cannot hold, such as waiting for the device.
        """
        self._loss, self._shape = loss, images.shape
        batch = images.clone(), labels.clone()  # later batches are copied into them
        recorded = copy.copy(loss)  # PyTorch replaces its forward method
        with torch.cuda.device_of(images):
            self._replay = torch.cuda.make_graphed_callables(recorded, batch, allow_unused_input=True)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See `codeq.train.training_loss.Loss`."""
        loss = self._replay if images.shape == self._shape else self._loss
        return cast("tuple[Tensor, Tensor]", loss(images, labels))
