"""Holding images out by label."""

import numpy as np
import pytest

from codeq.data.split import stratified_split

LABELS = np.array([0] * 100 + [1] * 40 + [2] * 7 + [3] * 2)


def test_the_two_sides_are_disjoint_and_complete() -> None:
    kept, held = stratified_split(LABELS, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(len(LABELS)))


def test_each_class_gives_its_rounded_share_and_at_least_one() -> None:
    _, held = stratified_split(LABELS, 0.1, seed=0)
    assert np.bincount(LABELS[held]).tolist() == [10, 4, 1, 1]


def test_each_class_keeps_at_least_one_image() -> None:
    kept, _ = stratified_split(LABELS, 0.99, seed=0)
    assert np.bincount(LABELS[kept]).tolist() == [1, 1, 1, 1]


def test_a_class_of_one_image_is_kept_for_training() -> None:
    kept, held = stratified_split(np.array([0, 0, 0, 1]), 0.5, seed=0)
    assert 3 in kept and len(held) == 2


def test_the_seed_decides_which_images() -> None:
    first, again, other = (stratified_split(LABELS, 0.1, seed=seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_the_chosen_images_never_change() -> None:
    # A changed split would make results of different versions incomparable without a word.
    assert stratified_split(np.arange(20) % 2, 0.3, seed=2512)[1].tolist() == [0, 2, 3, 7, 10, 15]


def test_labels_of_which_none_can_be_spared_are_refused() -> None:
    with pytest.raises(ValueError, match="no class has the two images"):
        stratified_split(np.arange(5), 0.5, seed=0)
