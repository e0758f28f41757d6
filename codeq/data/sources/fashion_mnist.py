"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 70,000 images of clothes, 1x28x28, 10 classes."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import torch
from torch import Tensor

from codeq.config.text import one_line
from codeq.data.errors import DataDamaged
from codeq.data.raw import PixelSet, RawImages
from codeq.data.sources.download import Download

NUM_CLASSES = 10
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
TORCHVISION_FOLDER = Path("FashionMNIST", "raw")


def fashion_mnist(data_dir: str) -> RawImages:
    """The four idx files in data_dir or in torchvision's subfolder, plain or gzipped; downloaded if missing."""
    files = FASHION_MNIST.find_or_fetch(data_dir)
    return RawImages("fashion_mnist", NUM_CLASSES, _read_part(*files[:2]), _read_part(*files[2:]))


def _locate(folder: Path) -> list[Path] | None:
    """Return the four paths in the order of FILES."""
    for place in (folder, folder / TORCHVISION_FOLDER):
        files = [_plain_or_gzipped(place / name) for name in FILES]
        if all(path.is_file() for path in files):
            return files
    return None


def _plain_or_gzipped(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def _fetch(folder: str) -> None:
    from torchvision.datasets import FashionMNIST

    FashionMNIST(folder, download=True)


FASHION_MNIST = Download(
    "fashion_mnist", wanted=f"{', '.join(FILES)} (each plain or .gz)", locate=_locate, fetch=_fetch
)


def _read_part(image_file: Path, label_file: Path) -> PixelSet:
    images, labels = _read_idx(image_file, dims=3), _read_idx(label_file, dims=1)
    if images.shape[1] != images.shape[2]:
        raise DataDamaged(f"{image_file}: images of {images.shape[1]}x{images.shape[2]} are not square")
    if len(images) != len(labels):
        raise DataDamaged(f"{label_file}: {len(labels)} labels for the {len(images)} images of {image_file}")
    if int(labels.max()) >= NUM_CLASSES:
        raise DataDamaged(f"{label_file}: label {int(labels.max())} is outside 0..{NUM_CLASSES - 1}")
    return PixelSet(images.numpy()[:, None], labels.numpy().astype(np.int64))


def _read_idx(path: Path, *, dims: int) -> Tensor:
    """Read a non-empty idx file with `dims` dimensions. Raises DataDamaged for any other file."""
    try:
        array = _read_gzipped(path) if path.suffix == ".gz" else _read_plain(path)
    # torchvision's reader raises AssertionError and the errors of lookups, conversions and views.
    except (OSError, EOFError, AssertionError, KeyError, RuntimeError, ValueError) as error:
        raise DataDamaged(f"{path}: damaged or cut short ({one_line(error)})") from error
    if array.dtype != torch.uint8 or array.ndim != dims or not array.numel():
        raise DataDamaged(f"{path}: holds {array.dtype} of shape {tuple(array.shape)}, not {dims}-d bytes")
    return array


def _read_gzipped(path: Path) -> Tensor:
    # torchvision's reader needs a path, and the data folder may be read-only.
    with gzip.open(path) as compressed, NamedTemporaryFile() as plain:
        shutil.copyfileobj(compressed, plain)
        plain.flush()
        return _read_plain(Path(plain.name))


def _read_plain(path: Path) -> Tensor:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    array: Tensor = read_sn3_pascalvincent_tensor(str(path))
    return array
