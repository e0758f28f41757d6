"""Images to measure on: those that are there, or made-up ones, never downloaded ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torchvision

from codeq.data import DataUnavailable, PixelSet, dataset_info, load_or_fake, load_raw
from codeq.data.sources import SHAPES, cifar, fashion_mnist
from codeq.data.sources.download import no_downloads

CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}


@pytest.fixture
def no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*arguments: Any, **options: Any) -> None:
        raise AssertionError("something was to be downloaded")

    for name in CLASSES.values():
        monkeypatch.setattr(torchvision.datasets, name, fetch)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("cifar10", (50_000, *cifar.SHAPE), cifar.CIFAR10.num_classes),
        ("cifar100", (50_000, *cifar.SHAPE), cifar.CIFAR100.num_classes),
        ("fashion_mnist", (60_000, 1, 28, 28), fashion_mnist.NUM_CLASSES),
    ],
)
def test_a_data_set_that_is_not_there_is_made_up_in_its_shape_and_nothing_is_fetched_or_written(
    name: str, shape: tuple[int, ...], classes: int, tmp_path: Path, make_config: Callable[..., Any], no_fetching: None
) -> None:
    raw, is_fake = load_or_fake(make_config(dataset=name, data_dir=str(tmp_path / "data")))
    assert is_fake and (raw.name, raw.num_classes) == (name, classes)
    assert isinstance(raw.train, PixelSet) and isinstance(raw.test, PixelSet)
    assert raw.train.pixels.shape == shape and len(raw.test.labels) == 10_000
    assert set(raw.train.labels) == set(range(classes))
    assert not (tmp_path / "data").exists()


def test_images_that_are_there_are_taken(
    tmp_path: Path, make_config: Callable[..., Any], write_cifar: Callable[..., None], no_fetching: None
) -> None:
    write_cifar(tmp_path / "cifar-10-batches-py", count=100, fine=False)
    raw, is_fake = load_or_fake(make_config(dataset="cifar10", data_dir=str(tmp_path)))
    assert not is_fake
    assert len(raw.train.labels) < 50_000


def test_image_folders_cannot_be_made_up(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    with pytest.raises(DataUnavailable, match="imagefolder cannot read"):
        load_or_fake(make_config(dataset="imagefolder", data_dir=str(tmp_path / "nothing")))


def test_downloads_are_forbidden_only_inside(
    tmp_path: Path, make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", lambda *args, **options: fetched.append(args))
    config = make_config(dataset="cifar10", data_dir=str(tmp_path))
    with no_downloads(), pytest.raises(DataUnavailable, match=f"cifar10 is not in {tmp_path}"):
        load_raw(config)
    assert not fetched
    with pytest.raises(DataUnavailable, match="the download was not complete"):
        load_raw(config)
    assert fetched


@pytest.mark.parametrize("name", ["digits", "synthetic", *CLASSES])
def test_the_sizes_of_a_data_set_are_known_before_it_is_loaded(
    name: str, tmp_path: Path, make_config: Callable[..., Any], no_fetching: None
) -> None:
    config = make_config(dataset=name, data_dir=str(tmp_path))
    raw, _ = load_or_fake(config)
    known = dataset_info(config)
    assert known == dataset_info(config, raw)
    assert known is not None and known.img_size == raw.train.img_size  # type: ignore[union-attr]
    assert (SHAPES[name].num_train, SHAPES[name].num_test) == (len(raw.train.labels), len(raw.test.labels))


def test_the_sizes_of_an_image_folder_are_known_before_it_is_loaded(make_config: Callable[..., Any]) -> None:
    found = [dataset_info(make_config(dataset="imagefolder", img_size=size)) for size in (None, 64)]
    assert [info and info.shape for info in found] == [(3, 224, 224), (3, 64, 64)]
