"""Decodes image files."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from codeq.config.text import one_line
from codeq.data.errors import DataDamaged
from codeq.data.raw import FileSet

if TYPE_CHECKING:
    from PIL import Image

SIXTEEN_BITS = 2**16 - 1


def decode(path: str, size: int) -> NDArray[np.uint8]:
    """Decode an image: shorter side resized to `size` (bilinear, antialiased), then a centre crop.

    Returns (3, size, size) uint8. Raises DataDamaged for a file that is not a complete image.
    """
    from torchvision.transforms.v2 import functional

    square = functional.center_crop(functional.resize(open_rgb(path), [size]), [size])
    return np.array(square).transpose(2, 0, 1)


def open_rgb(path: str) -> Image.Image:
    """Return the image in RGB with 8 bits a channel, turned upright as its EXIF data say.

    Raises DataDamaged for a file that is not a complete image, or whose numbers have no known range.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:  # the error says what is damaged
            opened.load()
            return _eight_bits(ImageOps.exif_transpose(opened)).convert("RGB")
    # Pillow's decoders raise several types: SyntaxError for a PNG, DecompressionBombError, ...
    except Exception as error:
        raise DataDamaged(f"{path}: not a readable image ({one_line(error)})") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: Pillow's own conversion of 16 bits sets all values above 255 to 255."""
    from PIL import Image

    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > SIXTEEN_BITS:
        raise ValueError(f"pixels of mode {image.mode} have no range of 8 or 16 bits; convert the file")
    return Image.fromarray((pixels // 257).astype(np.uint8))  # 65535 / 255 = 257


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
