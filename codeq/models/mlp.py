"""A multilayer perceptron; by default with LeNet's fully connected layers: pixels, 120, 84, classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers `fc1`, `fc2`, ... with ReLU between; 379,560 MACs for 3x32x32 images, (120, 84) and 10 classes."""

    def __init__(self, in_features: int, hidden: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.depth = len(hidden) + 1
        for index, (before, after) in enumerate(pairwise((in_features, *hidden, num_classes)), start=1):
            self.add_module(f"fc{index}", nn.Linear(before, after))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) images to (B, num_classes) logits."""
        x = x.flatten(1)
        for index in range(1, self.depth):
            x = F.relu(getattr(self, f"fc{index}")(x))
        logits: Tensor = getattr(self, f"fc{self.depth}")(x)
        return logits
