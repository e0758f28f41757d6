"""Tiny data sets in the files' real formats, and configs that read them."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from codeq.config.run import RunConfig

OPTIMIZER = {"type": "adamw", "param_groups": {"base": {"lr": 1e-3}}}

MakeConfig = Callable[..., RunConfig]


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")


@pytest.fixture
def make_config() -> MakeConfig:
    """A run config with small batches; keyword arguments override its keys."""

    def make(**keys: Any) -> RunConfig:
        defaults = {
            "model": "mlp",
            "dataset": "digits",
            "optimizer": OPTIMIZER,
            "workers": 0,
            "batch_size": 32,
        }
        return RunConfig.model_validate({**defaults, **keys})

    return make


def idx(array: NDArray[np.uint8]) -> bytes:
    """The idx format of MNIST's files: magic number, big-endian sizes, bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def fashion_files() -> dict[str, bytes]:
    """40 training and 20 test images of 28x28, by file name; image i is filled with the value i."""
    files = {}
    for part, count in (("train", 40), ("t10k", 20)):
        values = np.arange(count, dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(np.tile(values[:, None, None], (1, 28, 28)))
        files[f"{part}-labels-idx1-ubyte"] = idx(values % 10)
    return files


@pytest.fixture
def write_fashion(fashion_files: dict[str, bytes]) -> Callable[..., None]:
    def write(folder: Path, *, gzipped: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in fashion_files.items():
            path = folder / (f"{name}.gz" if gzipped else name)
            path.write_bytes(gzip.compress(content) if gzipped else content)

    return write


class Python2Pickler(pickle._Pickler):
    """Writes arrays and strings as the Python 2 did that wrote the published CIFAR files."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = save_bytes


def cifar_pickle(batch: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump({key.encode(): value for key, value in batch.items()})
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


@pytest.fixture
def write_cifar() -> Callable[..., None]:
    """A folder of batch files with `count` images each; CIFAR-10 unless `fine`."""

    def write(folder: Path, *, count: int = 20, fine: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        random = np.random.RandomState(0)
        for name in names:
            labels = (np.arange(count) % (100 if fine else 10)).tolist()
            data = random.randint(0, 256, (count, 3072), dtype=np.uint8)
            cifar_pickle({"data": data, "fine_labels" if fine else "labels": labels}, folder / name)

    return write


@pytest.fixture
def write_images() -> Callable[..., None]:
    """FOLDER/CLASS/N.png of noise, wider than high."""

    def write(
        folder: Path, classes: tuple[str, ...], count: int, *, size: tuple[int, int] = (24, 16)
    ) -> None:
        random = np.random.RandomState(len(str(folder)))
        for name in classes:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = random.randint(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{i}.png")

    return write


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def stays_as_it_was() -> Callable[[Path], Any]:
    """A context manager that makes a folder read-only and fails if anything in it changes."""

    @contextmanager
    def guard(folder: Path) -> Iterator[None]:
        before = contents(folder)
        folders = [folder, *(p for p in folder.rglob("*") if p.is_dir())]
        for place in folders:
            place.chmod(0o555)
        try:
            yield
        finally:
            for place in folders:
                place.chmod(0o755)
        assert contents(folder) == before

    return guard


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection fails at once, as on a machine without network."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
