"""Fashion-MNIST's idx files, wherever and however they lie."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq.data import DataDamaged, PixelSet, RawImages, load_raw

MakeConfig = Callable[..., Any]
WriteFashion = Callable[..., None]


@pytest.fixture
def load(make_config: MakeConfig, no_network: None) -> Callable[[Path], RawImages]:
    return lambda folder: load_raw(make_config(dataset="fashion_mnist", data_dir=str(folder)))


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"], ids=["flat", "torchvision"])
def test_files_are_used_where_they_are(
    tmp_path: Path,
    below: str,
    gzipped: bool,
    write_fashion: WriteFashion,
    load: Callable[[Path], RawImages],
    stays_as_it_was: Callable[[Path], AbstractContextManager[None]],
) -> None:
    write_fashion(tmp_path / below, gzipped=gzipped)
    with stays_as_it_was(tmp_path):
        raw = load(tmp_path)
    assert isinstance(raw.train, PixelSet) and raw.train.pixels.shape == (40, 1, 28, 28)
    assert np.array_equal(raw.train.pixels[:, 0, 3, 5], np.arange(40))
    assert np.array_equal(raw.test.labels, np.arange(20) % 10)


def test_plain_and_gzipped_files_may_be_mixed(
    tmp_path: Path, write_fashion: WriteFashion, load: Callable[[Path], RawImages]
) -> None:
    write_fashion(tmp_path, gzipped=True)
    write_fashion(tmp_path / "plain", gzipped=False)
    name = "train-labels-idx1-ubyte"
    (tmp_path / "plain" / name).rename(tmp_path / name)
    (tmp_path / f"{name}.gz").unlink()
    assert len(load(tmp_path).train.labels) == 40


@pytest.mark.parametrize("gzipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("length", [0, 3, 100, -1])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_cut_short_is_named(
    tmp_path: Path,
    name: str,
    length: int,
    gzipped: bool,
    write_fashion: WriteFashion,
    load: Callable[[Path], RawImages],
) -> None:
    write_fashion(tmp_path, gzipped=gzipped)
    path = tmp_path / (f"{name}.gz" if gzipped else name)
    content = path.read_bytes()
    path.write_bytes(content[: min(length, len(content) // 2)])
    with pytest.raises(DataDamaged) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_images_in_the_place_of_labels_are_refused(
    tmp_path: Path, write_fashion: WriteFashion, load: Callable[[Path], RawImages]
) -> None:
    write_fashion(tmp_path, gzipped=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes((tmp_path / "train-images-idx3-ubyte").read_bytes())
    with pytest.raises(DataDamaged, match="train-labels-idx1-ubyte: holds .* not 1-d bytes"):
        load(tmp_path)


def test_more_images_than_labels_are_refused(
    tmp_path: Path, write_fashion: WriteFashion, load: Callable[[Path], RawImages]
) -> None:
    write_fashion(tmp_path, gzipped=False)
    test_labels = (tmp_path / "t10k-labels-idx1-ubyte").read_bytes()
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(test_labels)
    with pytest.raises(DataDamaged, match="train-labels-idx1-ubyte: 20 labels for the 40 images"):
        load(tmp_path)


def test_a_label_outside_the_classes_is_refused(
    tmp_path: Path, write_fashion: WriteFashion, load: Callable[[Path], RawImages]
) -> None:
    write_fashion(tmp_path, gzipped=False)
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x0b")
    with pytest.raises(DataDamaged, match=r"t10k-labels-idx1-ubyte: label 11 is outside 0\.\.9"):
        load(tmp_path)
