"""The hypervolume, against its definition, and the box that it is measured in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq.results.hypervolume import HypervolumeBounds, hypervolume, hypervolume_bounds

BOTH = {"val_acc": "max", "rel_bops": "min"}


def row(val_acc: float, rel_bops: float, loss: float = 1.0) -> dict[str, float]:
    return {"val_acc": val_acc, "rel_bops": rel_bops, "loss": loss}


def test_percent_and_shares_are_measured_from_their_own_ends_whatever_was_found() -> None:
    for found in ([], [row(98, 0.01)], [row(98, 0.01), row(3, 0.99)]):
        expected = HypervolumeBounds({"val_acc": 0, "rel_bops": 1}, {"val_acc": 100, "rel_bops": 0})
        assert hypervolume_bounds(found, BOTH) == expected
    assert hypervolume_bounds([], {"mean_bits": "min"}) == HypervolumeBounds({"mean_bits": 32}, {"mean_bits": 0})


def test_a_metric_without_an_upper_end_takes_the_largest_of_the_finished_trials() -> None:
    found = [row(1, 1, loss=math.nan), row(1, 1, loss=0.5), row(1, 1, loss=2.5)]
    assert hypervolume_bounds(found, {"loss": "min"}) == HypervolumeBounds({"loss": 2.5}, {"loss": 0})
    assert hypervolume_bounds([], {"loss": "min"}).reference == {"loss": 1}
    negative = [row(1, 1, loss=-0.5), row(1, 1, loss=-0.5)]  # a plugged-in loss term may be negative
    assert hypervolume_bounds(negative, {"loss": "min"}) == HypervolumeBounds({"loss": 0.5}, {"loss": -0.5})


def test_one_trial_dominates_the_product_of_its_shares() -> None:
    assert hypervolume([row(90, 0.2)], hypervolume_bounds([], BOTH)) == pytest.approx(0.9 * 0.8)


def test_one_objective_gives_the_share_of_the_best_trial() -> None:
    assert hypervolume([row(40, 0), row(90, 0)], hypervolume_bounds([], {"val_acc": "max"})) == pytest.approx(0.9)


def test_no_trial_dominates_nothing_and_an_ideal_one_everything() -> None:
    assert hypervolume([], hypervolume_bounds([], BOTH)) == 0
    assert hypervolume([row(100, 0)], hypervolume_bounds([], BOTH)) == 1


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=6))
def test_it_is_the_share_of_the_boxes_points_that_some_trial_equals_or_beats(points: list[tuple[int, int]]) -> None:
    rows = [row(10.0 * a, b / 10) for a, b in points]
    middles = (np.arange(10) + 0.5) / 10
    beaten = np.zeros((10, 10), dtype=bool)
    for a, b in points:
        beaten |= (middles[:, None] < a / 10) & (middles[None, :] > b / 10)
    assert hypervolume(rows, hypervolume_bounds(rows, BOTH)) == pytest.approx(beaten.mean())


def test_a_box_says_where_it_begins_and_ends() -> None:
    assert str(hypervolume_bounds([], BOTH)) == "val_acc 0, rel_bops 1 to val_acc 100, rel_bops 0"
