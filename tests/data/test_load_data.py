"""From a config to batches: splits, normalization, order, sizes."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from codeq.data import Batches, PixelSet, RawImages, limits, load_data, load_raw

MakeConfig = Callable[..., Any]
EMBEDDED = ["digits", "synthetic"]


@pytest.fixture(scope="module")
def numbered() -> RawImages:
    """60 training and 20 test images of 2x4x4; every pixel of image i holds i (plus 100 in the test set)."""

    def images(first: int, count: int) -> PixelSet:
        values = np.arange(first, first + count, dtype=np.uint8)
        return PixelSet(np.tile(values[:, None, None, None], (1, 2, 4, 4)), np.arange(count) % 3)

    return RawImages("digits", 3, images(0, 60), images(100, 20))


def collected(batches: Batches, epoch: int = 0) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(images), torch.cat(labels)


def ranks(*parts: Tensor) -> list[list[int]]:
    """Which image each one is, recovered from normalized pixels: normalizing keeps their order."""
    values = torch.cat(parts)[:, 0, 0, 0]
    _, inverse = values.unique(return_inverse=True)
    return [part.tolist() for part in torch.split(inverse, [len(p) for p in parts])]


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_batches_are_normalized_images_with_their_labels(
    dataset: str, cpu: torch.device, make_config: MakeConfig
) -> None:
    data = load_data(make_config(dataset=dataset), cpu)
    assert data.info.name == dataset
    for split in (data.train, data.val, data.test):
        images, labels = next(split.epoch(0))
        assert images.shape[1:] == (data.info.channels, data.info.img_size, data.info.img_size)
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        assert len(images) == len(labels) and labels.max() < data.info.num_classes


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_lengths_are_what_an_epoch_yields(dataset: str, cpu: torch.device, make_config: MakeConfig) -> None:
    data = load_data(make_config(dataset=dataset), cpu)
    for split in (data.train, data.val, data.test):
        sizes = [len(labels) for _, labels in split.epoch(0)]
        assert (len(split), split.num_images) == (len(sizes), sum(sizes))


def test_training_drops_the_last_partial_batch_and_evaluation_does_not(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVAL_PIXELS", 8 * 2 * 4 * 4)
    data = load_data(make_config(batch_size=8, val_fraction=0), cpu, numbered)
    assert [len(y) for _, y in data.train.epoch(0)] == [8] * 7
    assert [len(y) for _, y in data.test.epoch(0)] == [8, 8, 4]


def test_a_set_smaller_than_a_batch_is_one_batch(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    data = load_data(make_config(batch_size=512), cpu, numbered)
    assert [len(y) for _, y in data.train.epoch(0)] == [54]


@pytest.mark.parametrize(
    ("train", "size", "batch"), [(32, 8, 1000), (32, 32, 1000), (32, 224, 32), (2000, 8, 2000)]
)
def test_evaluation_batches_are_large_while_images_are_small(train: int, size: int, batch: int) -> None:
    assert limits.eval_batch_size(train, 3, size) == batch


def test_the_splits_share_no_image_and_lose_none(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    data = load_data(make_config(batch_size=6), cpu, numbered)
    train, val, test = ranks(*(collected(s)[0] for s in (data.train, data.val, data.test)))
    assert (len(train), len(val), len(test)) == (54, 6, 20)
    assert sorted(train + val + test) == list(range(80))


def test_labels_stay_with_their_images(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    data = load_data(make_config(batch_size=6, val_fraction=0), cpu, numbered)
    images, labels = collected(data.train)
    (order,) = ranks(images)
    assert labels.tolist() == [i % 3 for i in order]


def test_validation_images_are_the_same_under_every_seed(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    val = [collected(load_data(make_config(seed=seed), cpu, numbered).val)[0] for seed in (0, 1)]
    assert torch.equal(*val)


def test_validation_images_are_stratified(cpu: torch.device, make_config: MakeConfig) -> None:
    raw = load_raw(make_config())
    _, labels = collected(load_data(make_config(), cpu, raw).val)
    share = torch.bincount(labels) / np.bincount(raw.train.labels)
    assert share.min() > 0.095 and share.max() < 0.105


def test_without_a_val_fraction_the_test_split_decides(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    data = load_data(make_config(val_fraction=0, batch_size=6), cpu, numbered)
    assert data.val is data.test and data.train.num_images == 60


def test_majority_share_is_the_accuracy_of_the_most_frequent_class(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    assert load_data(make_config(val_fraction=0), cpu, numbered).majority_class_fraction == 7 / 20
    mostly_zero = replace(numbered, train=PixelSet(numbered.train.pixels, np.array([0] * 45 + [1] * 15)))  # type: ignore[union-attr]
    assert load_data(make_config(), cpu, mostly_zero).majority_class_fraction == 4 / 6


@pytest.mark.parametrize("dataset", EMBEDDED)
def test_training_pixels_have_mean_0_and_deviation_1(
    dataset: str, cpu: torch.device, make_config: MakeConfig
) -> None:
    data = load_data(make_config(dataset=dataset, batch_size=1, val_fraction=0.5), cpu)
    images, _ = collected(data.train)
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_normalization_does_not_look_at_validation_or_test_images(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    config = make_config(batch_size=6, augment="none")
    before = load_data(config, cpu, numbered)
    (order,) = ranks(torch.cat([collected(before.train)[0], collected(before.val)[0]]))
    pixels = numbered.train.pixels.copy()  # type: ignore[union-attr]
    pixels[order[-before.val.num_images :]] = 255
    changed = replace(numbered, train=PixelSet(pixels, numbered.train.labels), test=numbered.train)
    after = load_data(config, cpu, changed)
    assert torch.equal(collected(before.train)[0], collected(after.train)[0])


@pytest.mark.parametrize("augment", ["none", "standard", "randaugment"])
def test_seed_and_epoch_decide_every_batch(augment: str, cpu: torch.device, make_config: MakeConfig) -> None:
    raw = load_raw(make_config())

    def epoch(seed: int, number: int) -> tuple[Tensor, Tensor]:
        return collected(load_data(make_config(seed=seed, augment=augment), cpu, raw).train, number)

    first = epoch(0, 3)
    torch.manual_seed(123)
    assert all(map(torch.equal, first, epoch(0, 3)))
    assert not torch.equal(first[1], epoch(0, 4)[1]) and not torch.equal(first[1], epoch(1, 3)[1])


def test_epochs_can_be_read_in_any_order_and_at_once(cpu: torch.device, make_config: MakeConfig) -> None:
    train = load_data(make_config(augment="standard"), cpu).train
    alone = [collected(train, epoch) for epoch in (0, 1)]
    pairs = list(zip(train.epoch(1), train.epoch(0), strict=True))
    for which, (images, labels) in ((1, alone[0]), (0, alone[1])):
        assert torch.equal(torch.cat([pair[which][0] for pair in pairs]), images)
        assert torch.equal(torch.cat([pair[which][1] for pair in pairs]), labels)


def test_evaluation_is_the_same_in_every_epoch_and_under_every_augmentation(
    cpu: torch.device, make_config: MakeConfig
) -> None:
    plain, augmented = (load_data(make_config(augment=a), cpu) for a in ("none", "standard"))
    first = collected(plain.val, 0)
    assert all(map(torch.equal, first, collected(plain.val, 7)))
    assert all(map(torch.equal, first, collected(augmented.val, 0)))


def test_cropped_borders_are_black_before_normalization(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    bright = replace(numbered, train=numbered.test)  # 100..119, no black pixel
    config = make_config(augment="standard", val_fraction=0, batch_size=20)
    images, _ = collected(load_data(config, cpu, bright).train)
    mean, deviation = 109.5, np.arange(100, 120).std()
    assert images.min().item() == pytest.approx((0 - mean) / deviation, rel=1e-5)
    assert images.max().item() <= (119 - mean) / deviation + 1e-5


@pytest.mark.parametrize("augment", ["none", "standard", "randaugment"])
def test_resizing_once_and_by_the_batch_give_the_same_pixels(
    augment: str, cpu: torch.device, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(img_size=12, augment=augment)
    raw = load_raw(config)
    once = load_data(config, cpu, raw)
    expected = [collected(split)[0] for split in (once.train, once.val, once.test)]
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    by_batch = load_data(config, cpu, raw)
    for images, split in zip(expected, (by_batch.train, by_batch.val, by_batch.test), strict=True):
        assert images.shape[1:] == (1, 12, 12)
        assert torch.equal(images, collected(split)[0])


def test_the_data_sets_own_size_is_used_when_none_is_asked_for(
    cpu: torch.device, make_config: MakeConfig
) -> None:
    assert load_data(make_config(), cpu).info.img_size == 8
    assert load_data(make_config(img_size=10), cpu).info.img_size == 10


def test_pixels_shared_by_other_processes_are_read_in_place(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    from codeq.data.stores import as_tensor

    pixels = numbered.train.pixels.copy()  # type: ignore[union-attr]
    pixels.setflags(write=False)  # As Ray's object store hands arrays out.
    shared = PixelSet(pixels, numbered.train.labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collected(load_data(make_config(), cpu, replace(numbered, train=shared)).train)
        assert as_tensor(shared).data_ptr() == pixels.ctypes.data


def test_raw_images_of_another_data_set_are_refused(
    cpu: torch.device, numbered: RawImages, make_config: MakeConfig
) -> None:
    with pytest.raises(ValueError, match="those of digits, the config asks for synthetic"):
        load_data(make_config(dataset="synthetic"), cpu, numbered)


def test_a_class_too_small_to_split_is_reported(cpu: torch.device, make_config: MakeConfig) -> None:
    lonely = PixelSet(np.zeros((2, 1, 4, 4), dtype=np.uint8), np.arange(2))
    with pytest.raises(ValueError, match="no class has the two images"):
        load_data(make_config(), cpu, RawImages("digits", 2, lonely, lonely))


def test_debians_fashion_mnist_is_read_where_it_lies(cpu: torch.device, make_config: MakeConfig) -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    data = load_data(make_config(dataset="fashion_mnist", data_dir=str(folder)), cpu)
    assert (data.train.num_images, data.val.num_images, data.test.num_images) == (53984, 6000, 10000)
    assert data.majority_class_fraction == 0.1
