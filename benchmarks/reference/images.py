"""The image pipeline of the method's scripts: PIL images, torchvision transforms, a DataLoader with workers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class PilImages(Dataset[tuple[Tensor, int]]):
    """Like torchvision's CIFAR10: creates a PIL image for each index, then applies the transform."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], transform: Any) -> None:
        """pixels: (N, 32, 32, 3). labels: (N,)."""
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.pixels[index])
        return self.transform(image), int(self.labels[index])


def training_loader(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, batch_size: int, workers: int
) -> DataLoader[Any]:
    """Shuffled batches, flipped and cropped. The workers persist between epochs."""
    transform = transforms.Compose([
        transforms.RandomHorizontalFlip(),
        transforms.RandomCrop(32, padding=4),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    ])  # fmt: skip
    return DataLoader(
        PilImages(pixels, labels, transform), batch_size, shuffle=True, drop_last=True,
        num_workers=workers, persistent_workers=workers > 0,
    )  # fmt: skip
