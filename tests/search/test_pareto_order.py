"""The order of vectors, against its definition on random ones: few different values, so that there are ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq.search.pareto_order import farthest_point_order, front_numbers, is_last_in_top
from tests.search import halving_by_hand as by_hand

Rows = list[tuple[float, ...]]


@st.composite
def vectors(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Gains and violations of up to 20 trials: 1 to 4 objectives, none to two constraints."""
    count, objectives, constraints = draw(st.integers(1, 20)), draw(st.integers(1, 4)), draw(st.integers(0, 2))
    gain = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]) | st.floats(-1, 1)
    violation = st.sampled_from([-1.0, -1.0, -1.0, 0.0, 0.5, 2.0, math.inf])
    rows = [
        st.lists(st.tuples(*[kind] * width), min_size=count, max_size=count)
        for kind, width in ((gain, objectives), (violation, constraints))
    ]
    return draw(rows[0]), draw(rows[1])


def arrays(values: Rows, violations: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array(values), np.array(violations).reshape(len(values), -1)


@given(vectors())
def test_fronts_are_those_of_a_naive_non_dominated_sort(drawn: tuple[Rows, Rows]) -> None:
    found = front_numbers(*arrays(*drawn))
    expected = by_hand.fronts(*drawn)
    assert [set(np.flatnonzero(found == front)) for front in range(len(expected))] == expected


@given(vectors())
def test_the_last_is_among_the_first_when_it_is_so_in_the_naive_order(drawn: tuple[Rows, Rows]) -> None:
    position = by_hand.order(*drawn).index(len(drawn[0]) - 1)
    for count in range(len(drawn[0])):
        assert is_last_in_top(*arrays(*drawn), count) is (position <= count)


def test_an_infeasible_vector_comes_after_every_feasible_one_however_good() -> None:
    values = np.array([[9.0, 9.0], [0.0, 0.0], [1.0, 0.0]])
    assert front_numbers(values, np.array([[0.001], [-1.0], [0.0]])).tolist() == [2, 1, 0]


def test_violations_count_on_the_scale_of_their_worst() -> None:
    values, percent_and_share = np.zeros((3, 2)), np.array([[10.0, 0.0], [5.0, 0.02], [0.0, 0.04]])
    assert front_numbers(values, percent_and_share).tolist() == [0, 0, 0]
    assert front_numbers(values, np.array([[10.0, 0.0], [4.0, 0.02], [0.0, 0.04]])).tolist() == [1, 0, 1]


def test_a_violation_without_bounds_comes_last() -> None:
    assert front_numbers(np.zeros((3, 1)), np.array([[math.inf], [1e9], [1.0]])).tolist() == [2, 1, 0]


def test_farthest_points_cover_a_line_from_coarse_to_fine() -> None:
    line = np.array([[4.0], [3.0], [2.0], [1.0], [0.0]])
    assert list(farthest_point_order(line)) == [0, 4, 2, 1, 3]


def test_every_point_comes_once_duplicates_last() -> None:
    points = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert list(farthest_point_order(points)) == [0, 2, 1, 3]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_of_an_objective_does_not_matter(unit: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values, none = rng.random((15, 2)), np.empty((15, 0))
        scaled = values * [1.0, unit]
        decisions = [is_last_in_top(vectors, none, 3) for vectors in (values, scaled)]
        assert decisions[0] is decisions[1]
