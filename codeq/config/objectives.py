"""A metrics row against the sweep's goals: objectives signed so that more is better, and constraint violations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codeq.config.metrics import Direction
from codeq.config.sweep import parse_bound

Objectives = Mapping[str, Direction]
Constraints = Mapping[str, str]
Row = Mapping[str, Any]


def maximized_values(row: Row, objectives: Objectives) -> tuple[float, ...]:
    """The row's objectives in their order, signed so that more is better."""
    signs = {"max": 1.0, "min": -1.0}
    return tuple(signs[direction] * float(row[name]) for name, direction in objectives.items())


def violations(row: Row, constraints: Constraints) -> tuple[float, ...]:
    """By how much the row misses each constraint, in the metric's unit; zero or less where it is met.

    A value that is not a number misses by infinity.
    """
    return tuple(_violation(float(row[name]), bound) for name, bound in constraints.items())


def is_feasible(row: Row, constraints: Constraints) -> bool:
    """Whether the row meets every constraint."""
    return all(violation <= 0 for violation in violations(row, constraints))


def describe_constraints(constraints: Constraints) -> str:
    """The constraints in words: `val_acc >= 90 and rel_bops <= 0.1`."""
    return " and ".join(f"{name} {bound}" for name, bound in constraints.items())


def _violation(value: float, text: str) -> float:
    relation, bound = parse_bound(text)
    violation = bound - value if relation == ">=" else value - bound
    return violation if violation == violation else float("inf")
