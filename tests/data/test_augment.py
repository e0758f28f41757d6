"""Flips, crops and RandAugment on whole batches."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from codeq.data.augment import AUGMENTS, PAD, augment_for, flip_and_crop, none, randaugment, standard

CPU = torch.device("cpu")
RANDOM = [name for name in AUGMENTS if name != "none"]


@pytest.fixture
def images() -> Tensor:
    return torch.randint(
        1, 256, (64, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def applied(name: str, images: Tensor, *, seed: int = 0, epoch: int = 0) -> Tensor:
    return AUGMENTS[name](len(images), seed, epoch, CPU)(images, slice(0, len(images)))


def test_flip_and_crop_equals_padding_cutting_and_mirroring_one_image_at_a_time(images: Tensor) -> None:
    draws = torch.Generator().manual_seed(1)
    flip = torch.randint(0, 2, (64,), generator=draws).bool()
    top, left = torch.randint(0, 2 * PAD + 1, (2, 64), generator=draws)
    expected = []
    for image, mirrored, y, x in zip(images, flip, top, left, strict=True):
        padded = torch.zeros(3, 12 + 2 * PAD, 12 + 2 * PAD, dtype=torch.uint8)
        padded[:, PAD:-PAD, PAD:-PAD] = image
        cut = padded[:, y : y + 12, x : x + 12]
        expected.append(cut.flip(2) if mirrored else cut)
    assert torch.equal(flip_and_crop(images, flip, top, left), torch.stack(expected))


def test_standard_draws_every_offset_and_both_directions() -> None:
    # Distinct pixels in a 9x9 image: the centre tells the offset, its neighbour the direction.
    image = torch.arange(81, dtype=torch.uint8).view(1, 1, 9, 9)
    out = applied("standard", image.expand(4000, 1, 9, 9))
    centre, right = out[:, 0, 4, 4].int(), out[:, 0, 4, 5].int()
    assert set(centre.tolist()) == set(range(81))
    inner = (centre % 9 != 0) & (centre % 9 != 8)
    steps = (right - centre)[inner]
    assert set(steps.tolist()) == {1, -1}
    assert (steps == 1).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_none_changes_nothing(images: Tensor) -> None:
    assert torch.equal(applied("none", images), images)


@pytest.mark.parametrize("name", RANDOM)
def test_seed_and_epoch_decide_everything(name: str, images: Tensor) -> None:
    first = applied(name, images, seed=3, epoch=5)
    torch.manual_seed(77)
    assert torch.equal(first, applied(name, images, seed=3, epoch=5))
    assert not torch.equal(first, applied(name, images, seed=3, epoch=6))
    assert not torch.equal(first, applied(name, images, seed=4, epoch=5))


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_global_generator_is_left_alone(name: str, images: Tensor) -> None:
    before = torch.get_rng_state()
    applied(name, images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_stay(name: str, channels: int, images: Tensor) -> None:
    out = applied(name, images[:, :channels])
    assert out.shape == (64, channels, 12, 12) and out.dtype == torch.uint8


def test_randaugment_draws_anew_for_every_batch(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeq.data.augment.standard", none)
    same = images[:1].expand(32, -1, -1, -1)
    epoch = randaugment(64, 0, 0, CPU)
    assert not torch.equal(epoch(same, slice(0, 32)), epoch(same, slice(32, 64)))


def test_a_randaugment_operation_treats_each_image_of_a_group_by_itself(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = v2.RandAugment

    class OneByOne:
        """torchvision's RandAugment on single images, with the draws it would make for the group."""

        def __init__(self, **kwargs: Any) -> None:
            self.one = real(**kwargs)

        def __call__(self, group: Tensor) -> Tensor:
            state, out = torch.get_rng_state(), []
            for image in group:
                torch.set_rng_state(state)
                out.append(self.one(image))
            return torch.stack(out)

    batched = [applied("randaugment", images, epoch=epoch) for epoch in range(5)]
    monkeypatch.setattr(v2, "RandAugment", OneByOne)
    for epoch, expected in enumerate(batched):
        assert torch.equal(applied("randaugment", images, epoch=epoch), expected)


def test_randaugment_deals_images_back_to_their_places(
    monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    monkeypatch.setattr(v2, "RandAugment", lambda **kwargs: lambda group: group)
    assert torch.equal(applied("randaugment", images), applied("standard", images))


def test_images_of_one_batch_get_different_operations() -> None:
    plain = torch.full((64, 3, 12, 12), 100, dtype=torch.uint8)
    inner = applied("randaugment", plain)[:, :, 6, 6]
    assert len(inner.unique(dim=0)) > 3


@pytest.mark.parametrize(
    ("dataset", "augment"),
    [("digits", none), ("synthetic", none), ("cifar10", standard), ("imagefolder", standard)],
)
def test_auto_spares_digits_and_synthetic(dataset: str, augment: object, make_config: Any) -> None:
    assert augment_for(make_config(dataset=dataset)) is augment


@pytest.mark.parametrize("name", AUGMENTS)
def test_a_named_augmentation_is_used_for_any_data_set(name: str, make_config: Any) -> None:
    assert augment_for(make_config(dataset="digits", augment=name)) is AUGMENTS[name]
