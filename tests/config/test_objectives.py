"""Gains and violations of a row, against their definitions."""

from __future__ import annotations

import math

import pytest

from codeq.config.objectives import is_feasible, maximized_values, violations

ROW = {"val_acc": 90.0, "rel_bops": 0.25}


def test_gains_point_upwards_for_both_directions() -> None:
    assert maximized_values(ROW, {"val_acc": "max", "rel_bops": "min"}) == (90, -0.25)


@pytest.mark.parametrize(
    ("constraint", "holds"), [(">= 90", True), (">= 90.5", False), ("<= 90", True), ("<=89", False)]
)
def test_a_constraint_includes_its_bound(constraint: str, holds: bool) -> None:
    assert is_feasible(ROW, {"val_acc": constraint}) is holds


def test_every_constraint_must_hold() -> None:
    assert not is_feasible(ROW, {"val_acc": ">= 90", "rel_bops": "<= 0.1"})


def test_a_violation_is_how_far_the_bound_is_missed() -> None:
    assert violations(ROW, {"val_acc": ">= 92", "rel_bops": "<= 0.5"}) == (2.0, -0.25)


def test_what_is_not_a_number_misses_by_infinity() -> None:
    assert violations({"val_acc": math.nan}, {"val_acc": ">= 90"}) == (math.inf,)
