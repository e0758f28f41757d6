"""Normalization by counted pixels."""

import pytest
import torch

from codeq.data.normalize import Normalizer, pixel_counts


def test_counts_are_by_channel() -> None:
    images = torch.tensor([[[[0, 0], [7, 255]], [[1, 1], [1, 1]]]], dtype=torch.uint8)
    counts = pixel_counts(images)
    assert counts.shape == (2, 256) and counts.sum().item() == 8
    assert (counts[0, 0], counts[0, 7], counts[0, 255], counts[1, 1]) == (2, 1, 1, 4)


def test_each_channel_gets_mean_0_and_deviation_1_over_all_batches() -> None:
    torch.manual_seed(0)
    images = torch.cat([torch.randint(0, 200, (50, 1, 6, 6)), torch.randint(90, 100, (50, 1, 6, 6))], 1)
    images = images.to(torch.uint8)
    out = Normalizer.from_batches(torch.split(images, 7))(images)
    assert out.dtype == torch.float32
    assert out.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert out.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_it_is_the_literatures_formula() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 5, 5)).to(torch.uint8)
    unit = images.double() / 255
    mean, std = (
        f(unit.transpose(0, 1).flatten(1)) for f in (lambda x: x.mean(1), lambda x: x.std(1, correction=0))
    )
    expected = (unit - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(Normalizer.from_batches([images])(images), expected.float())


def test_a_constant_channel_becomes_zero() -> None:
    images = torch.full((4, 1, 3, 3), 17, dtype=torch.uint8)
    assert Normalizer.from_batches([images])(images).abs().max() < 1e-5
