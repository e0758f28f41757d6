"""A multilayer perceptron with LeNet's fully connected layers: pixels, 120, 84, classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from codeq.models.registry import register
from codeq.models.spec import ModelSpec


class MLP(nn.Module):
    """Three linear layers with ReLU between; 379,560 MACs for 3x32x32 images and 10 classes."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.fc3(F.relu(self.fc2(hidden)))
        return logits


@register("mlp")
def build_mlp(spec: ModelSpec) -> MLP:
    """The MLP for images of the given shape."""
    return MLP(spec.in_channels * spec.img_size**2, spec.num_classes)
