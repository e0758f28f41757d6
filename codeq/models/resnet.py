"""ResNets for small images: He et al. 2015 (arXiv 1512.03385), section 4.2.

6n + 2 layers in three stages of n blocks, 16, 32 and 64 channels wide. Shortcuts that change shape take every
second pixel and pad the new channels with zeros ("option A"), so they have no parameters. Submodule names and
initialisation are those of the literature's CIFAR scripts, whose state dicts load as they are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)


def shortcut_a(x: Tensor, *, stride: int, channels: int) -> Tensor:
    """Option A: (B, C, H, W) to (B, channels, H / stride, W / stride); zeros on both sides of C."""
    new = channels - x.shape[1]
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first one may halve the resolution."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.channels = stride, channels
        self.changes_shape = stride != 1 or in_channels != channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.changes_shape:
            x = shortcut_a(x, stride=self.stride, channels=self.channels)
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """The whole network: 3x3 stem, three stages, global average, `linear` classifier."""

    def __init__(self, blocks_per_stage: int, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks_per_stage, stride=1)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks_per_stage, stride=2)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks_per_stage, stride=2)
        self.linear = nn.Linear(WIDTHS[2], num_classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))  # (B, 16, S, S)
        out = self.layer3(self.layer2(self.layer1(out)))  # (B, 64, S / 4, S / 4)
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(in_channels: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)

