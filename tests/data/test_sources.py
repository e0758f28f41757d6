"""What every data set promises, whatever it is made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeq.data import PixelSet, RawImages, load_raw
from codeq.registry import DATASETS

CHANNELS_SIZE_CLASSES = {
    "cifar10": (3, 32, 10),
    "cifar100": (3, 32, 100),
    "fashion_mnist": (1, 28, 10),
    "digits": (1, 8, 10),
    "synthetic": (3, 32, 10),
    "imagefolder": (3, 12, 2),
}


@pytest.fixture
def raw_of(
    tmp_path: Path,
    make_config: Callable[..., Any],
    write_cifar: Callable[..., None],
    write_fashion: Callable[..., None],
    write_images: Callable[..., None],
) -> Callable[[str], RawImages]:
    """Any data set by name, from tiny files where it needs some."""

    def load(name: str) -> RawImages:
        match name:
            case "cifar10" | "cifar100":
                write_cifar(tmp_path, count=100, fine=name == "cifar100")
            case "fashion_mnist":
                write_fashion(tmp_path, gzipped=False)
            case "imagefolder":
                write_images(tmp_path / "train", ("cat", "dog"), 6)
        img_size = 12 if name == "imagefolder" else None
        return load_raw(make_config(dataset=name, data_dir=str(tmp_path), img_size=img_size))

    return load


@pytest.mark.parametrize("name", DATASETS.names())
def test_pixels_are_square_8_bit_images_in_arrays_that_processes_can_share(
    name: str, raw_of: Callable[[str], RawImages]
) -> None:
    raw = raw_of(name)
    channels, size, classes = CHANNELS_SIZE_CLASSES[name]
    assert (raw.name, raw.num_classes) == (name, classes)
    for images in (raw.train, raw.test):
        assert isinstance(images, PixelSet)
        assert type(images.pixels) is np.ndarray and images.pixels.dtype == np.uint8
        assert images.pixels.shape == (len(images.labels), channels, size, size)
        assert images.labels.dtype == np.int64


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_class_is_in_training_and_test(name: str, raw_of: Callable[[str], RawImages]) -> None:
    raw = raw_of(name)
    classes = list(range(raw.num_classes))
    assert np.unique(raw.train.labels).tolist() == classes == np.unique(raw.test.labels).tolist()


@pytest.mark.parametrize("name", DATASETS.names())
def test_a_data_set_is_the_same_every_time(name: str, raw_of: Callable[[str], RawImages]) -> None:
    first, again = raw_of(name), raw_of(name)
    for a, b in ((first.train, again.train), (first.test, again.test)):
        assert isinstance(a, PixelSet) and isinstance(b, PixelSet)
        assert np.array_equal(a.pixels, b.pixels) and np.array_equal(a.labels, b.labels)


def test_digits_keep_all_17_levels_in_proportion(raw_of: Callable[[str], RawImages]) -> None:
    from sklearn.datasets import load_digits

    raw = raw_of("digits")
    ours = np.concatenate([raw.train.pixels, raw.test.pixels])[:, 0]  # type: ignore[union-attr]
    theirs = load_digits().images
    assert sorted(map(bytes, ours // 15)) == sorted(map(bytes, theirs.astype(np.uint8)))
    assert not (ours % 15).any()


def test_a_fifth_of_the_digits_of_each_class_is_the_test_set(raw_of: Callable[[str], RawImages]) -> None:
    raw = raw_of("digits")
    test, train = np.bincount(raw.test.labels), np.bincount(raw.train.labels)
    assert np.abs(test - 0.2 * (test + train)).max() <= 0.5


def test_synthetic_patterns_can_be_learned_and_are_not_trivial(raw_of: Callable[[str], RawImages]) -> None:
    raw = raw_of("synthetic")
    train, test = (s.pixels.reshape(len(s.labels), -1).astype(np.float32) for s in (raw.train, raw.test))  # type: ignore[union-attr]
    means = np.stack([train[raw.train.labels == c].mean(0) for c in range(10)])
    distance = ((test[:, None] - means) ** 2).sum(2)
    assert (distance.argmin(1) == raw.test.labels).mean() > 0.9
    brightness = train.mean(1)
    assert np.ptp([brightness[raw.train.labels == c].mean() for c in range(10)]) < brightness.std() * 5
