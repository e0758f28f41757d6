"""Resizing, at once and in parts."""

import pytest
import torch

from codeq.data import resize as module
from codeq.data.resize import resize, resize_all


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (30, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [4, 8, 20])
def test_images_become_squares_of_8_bit_pixels(images: torch.Tensor, size: int) -> None:
    out = resize(images, size)
    assert out.shape == (30, 3, size, size) and out.dtype == torch.uint8


def test_the_right_size_is_left_as_it_is(images: torch.Tensor) -> None:
    assert resize(images, 8) is images and resize_all(images, 8) is images


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    # Two bright columns in eight, at the very points that sampling every eighth pixel would look at.
    stripes = torch.tensor([0, 0, 0, 200, 200, 0, 0, 0], dtype=torch.uint8).repeat(4).expand(1, 1, 32, 32)
    assert (resize(stripes, 4) < 100).all()


@pytest.mark.parametrize("size", [4, 20])
def test_resizing_in_parts_gives_the_same_pixels(
    images: torch.Tensor, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4 * 3 * size * size * 7)  # 7 images a part
    assert torch.equal(resize_all(images, size), resize(images, size))
