"""The definitions of the order and of ASHA's rule, written down naively: what the quick code is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def dominates(a: Vector, b: Vector) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def fronts(gains: Sequence[Vector], violations: Sequence[Vector]) -> list[set[int]]:
    """Indices front by front: the feasible by repeated removal of what nothing dominates, the others by violation."""
    missed = summed_violations(violations)
    found, left = [], {i for i in range(len(gains)) if missed[i] == 0}
    while left:
        found.append({i for i in left if not any(dominates(gains[j], gains[i]) for j in left)})
        left -= found[-1]
    worse = sorted({value for value in missed if value > 0})
    return found + [{i for i, value in enumerate(missed) if value == bad} for bad in worse]


def summed_violations(violations: Sequence[Vector]) -> list[float]:
    columns = zip(*violations, strict=True)
    scales = [max((value for value in column if 0 < value < math.inf), default=1.0) for column in columns]
    return [sum(max(0.0, v) / s for v, s in zip(row, scales, strict=True)) for row in violations]


def order(gains: Sequence[Vector], violations: Sequence[Vector]) -> list[int]:
    """All indices, best first. The last vector is the newcomer, who comes first among equals and in whose strongest
    objective each front begins."""
    low = [min(column) for column in zip(*gains, strict=True)]
    spans = [max(column) - min(column) or 1.0 for column in zip(*gains, strict=True)]
    points = [[(x - a) / s for x, a, s in zip(vector, low, spans, strict=True)] for vector in gains]
    first = points[-1].index(max(points[-1]))
    points = [point[first:] + point[:first] for point in points]
    found: list[int] = []
    for front in fronts(gains, violations):
        found += farthest_first(points, sorted(front, key=lambda i: ([-x for x in points[i]], i != len(gains) - 1)))
    return found


def farthest_first(points: Sequence[Vector], left: list[int]) -> list[int]:
    """Begin with the first of `left`, then ever the one farthest from those taken."""
    taken, left = left[:1], left[1:]
    while left:
        distances = [min(squared(points[i], points[j]) for j in taken) for i in left]
        taken.append(left.pop(distances.index(max(distances))))
    return taken


def squared(a: Vector, b: Vector) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
