"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 training and 10,000 test images of 3x32x32."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeq.config.text import one_line
from codeq.data.errors import DataDamaged
from codeq.data.raw import PixelSet, RawImages
from codeq.data.sources.download import Download

SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Cifar:
    """The published layout: Python pickles of {"data": (n, 3072) uint8, label_key: n integers}."""

    name: str
    num_classes: int
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    label_key: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test)


CIFAR10 = Cifar(
    name="cifar10",
    num_classes=10,
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test="test_batch",
    label_key="labels",
)
CIFAR100 = Cifar(
    name="cifar100",
    num_classes=100,
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test="test",
    label_key="fine_labels",
)


def cifar10(data_dir: str) -> RawImages:
    """CIFAR-10 from batch files in data_dir or their usual subfolder, or from the published archive."""
    return _read(CIFAR10, data_dir, _fetch_cifar10)


def cifar100(data_dir: str) -> RawImages:
    """As `cifar10`, with the 100 fine labels."""
    return _read(CIFAR100, data_dir, _fetch_cifar100)


def _fetch_cifar10(folder: str) -> None:
    from torchvision.datasets import CIFAR10 as Torchvision

    Torchvision(folder, download=True)


def _fetch_cifar100(folder: str) -> None:
    from torchvision.datasets import CIFAR100 as Torchvision

    Torchvision(folder, download=True)


def _read(cifar: Cifar, data_dir: str, fetch: Callable[[str], object]) -> RawImages:
    wanted = f"{cifar.archive} or the folder {cifar.folder} out of it"
    place = Download(cifar.name, wanted, lambda folder: _locate(cifar, folder), fetch).find_or_fetch(data_dir)
    contents = _archived(cifar, place) if place.is_file() else _unpacked(cifar, place)
    parts = {name: _parse(cifar, place / name, contents[name]) for name in cifar.files}
    return RawImages(cifar.name, cifar.num_classes, _join([parts[n] for n in cifar.train]), parts[cifar.test])


def _locate(cifar: Cifar, folder: Path) -> Path | None:
    """Return the folder that contains all batch files, or the archive."""
    for place in (folder / cifar.folder, folder):
        if all((place / name).is_file() for name in cifar.files):
            return place
    archive = folder / cifar.archive
    return archive if archive.is_file() else None


def _unpacked(cifar: Cifar, folder: Path) -> Mapping[str, bytes]:
    return {name: (folder / name).read_bytes() for name in cifar.files}


def _archived(cifar: Cifar, archive: Path) -> Mapping[str, bytes]:
    """Read the batch files from the archive without extracting it to disk."""
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None and Path(member.name).name in cifar.files:
                    contents[Path(member.name).name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataDamaged(f"{archive}: damaged or cut short ({one_line(error)})") from error
    missing = ", ".join(name for name in cifar.files if name not in contents)
    if missing:
        raise DataDamaged(f"{archive}: does not contain {missing}")
    return contents


def _parse(cifar: Cifar, path: Path, content: bytes) -> PixelSet:
    """Read one batch file. Raises DataDamaged with `path` if it does not match the layout."""
    try:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        pixels = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, *SHAPE)
        labels = np.asarray(batch[cifar.label_key], dtype=np.int64)
    # Damaged pickles raise many types.
    except Exception as error:
        raise DataDamaged(f"{path}: damaged or cut short ({one_line(error)})") from error
    if labels.shape != pixels.shape[:1] or not len(labels):
        raise DataDamaged(f"{path}: {labels.size} labels for {len(pixels)} images")
    if labels.min() < 0 or labels.max() >= cifar.num_classes:
        raise DataDamaged(f"{path}: a label is outside 0..{cifar.num_classes - 1}")
    return PixelSet(pixels, labels)


class _ArrayUnpickler(pickle.Unpickler):
    """Loads numpy arrays and plain containers; any other name in the file is rejected, so that no code runs."""

    _RECONSTRUCT = np.empty(0).__reduce__()[0]
    _ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The function's name in NumPy 1, which wrote the published files, and in NumPy 2.
        ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} does not belong into a data file")
        return self._ALLOWED[module, name]


def _join(parts: list[PixelSet]) -> PixelSet:
    pixels = np.concatenate([part.pixels for part in parts])
    return PixelSet(pixels, np.concatenate([part.labels for part in parts]))
