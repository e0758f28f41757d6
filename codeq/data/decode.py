"""Decodes image files."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from codeq.config.text import one_line
from codeq.data.errors import DataDamaged
from codeq.data.raw import FileSet


def decode(path: str, size: int) -> NDArray[np.uint8]:
    """Decode an image: shorter side resized to `size` (bilinear, antialiased), then a centre crop.

    Returns (3, size, size) uint8. Raises DataDamaged for a file that is not a complete image.
    """
    from PIL import Image
    from torchvision.transforms.v2 import functional

    try:
        with Image.open(path) as image:
            square = functional.center_crop(functional.resize(image.convert("RGB"), [size]), [size])
    # Pillow's decoders raise several types: SyntaxError for a PNG, DecompressionBombError, ...
    except Exception as error:
        raise DataDamaged(f"{path}: not a readable image ({one_line(error)})") from error
    return np.array(square).transpose(2, 0, 1)


class DecodedFiles(Dataset[Tensor]):
    """The images of a FileSet, for a DataLoader that asks for whole batches."""

    def __init__(self, files: FileSet) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files.paths)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(decode(self.files.paths[index], self.files.img_size))

    def __getitems__(self, indices: list[int]) -> Tensor | DataDamaged:
        """(B, 3, S, S) uint8, or the error as a value: a worker would wrap a raised error in its traceback."""
        try:
            return torch.stack([self[index] for index in indices])
        except DataDamaged as error:
            return error
