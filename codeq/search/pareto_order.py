"""The order in which halving keeps trials with several objectives: front by front, spread out within a front.

Vectors are rows of objectives, signed so that more is better (`maximized_values`). Non-dominated sorting puts them
into fronts, farthest-point selection (an epsilon net) puts a front in order, so that the first few of any front cover
its whole length: Schmucker et al., arXiv 2106.12639.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import moocore
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]


def front_numbers(values: Vectors, violations: Vectors) -> NDArray[np.int64]:
    """The front of each of n vectors, from 0, the best: the feasible ones' by dominance, then the others' by violation.

    values: (n, objectives), finite. violations: (n, constraints), positive where a constraint is missed, perhaps
    infinite. Infeasible trials are ranked by the sum of their violations, each divided by the largest in the rung.
    """
    missed = _summed(violations)
    feasible = missed == 0
    fronts = np.empty(len(values), dtype=np.int64)
    fronts[feasible] = moocore.pareto_rank(-values[feasible])
    first = fronts[feasible].max(initial=-1) + 1
    fronts[~feasible] = first + np.unique(missed[~feasible], return_inverse=True)[1]
    return fronts


def farthest_point_order(points: Vectors) -> Iterator[int]:
    """The indices of the points (n, d): the first one, then repeatedly the one farthest from all before it.

    Among equally distant points the lowest index comes first.
    """
    columns = np.ascontiguousarray(points.T)  # contiguous columns are faster to sum than short rows
    distance = np.full(len(points), np.inf)  # squared distance to the nearest chosen point
    chosen = 0
    for _ in range(len(points)):
        yield chosen
        np.minimum(distance, np.square(columns - columns[:, [chosen]]).sum(axis=0), out=distance)
        distance[chosen] = -1.0
        chosen = int(distance.argmax())


def is_last_in_top(values: Vectors, violations: Vectors, count: int) -> bool:
    """Whether the last vector comes after at most `count` of the others.

    values, violations: see `front_numbers`. A front starts with its best in the objective in which the last vector is
    strongest; strength and distances are taken with every objective scaled to 0..1 over all vectors. Among equals the
    last vector comes first.
    """
    fronts = front_numbers(values, violations)
    left = count - int((fronts < fronts[-1]).sum())
    front = np.flatnonzero(fronts == fronts[-1])
    if left < 0 or len(front) <= left + 1:
        return left >= 0
    low, high = values.min(axis=0), values.max(axis=0)
    points = (values[front] - low) / np.where(high > low, high - low, 1.0)
    points = np.roll(points, -int(points[-1].argmax()), axis=1)
    # Sorted by value, so that the result does not depend on the order of arrival.
    order = np.lexsort((front < len(values) - 1, *-points.T[::-1]))
    last = int(order.argmax())
    return last in islice(farthest_point_order(points[order]), left + 1)


def _summed(violations: Vectors) -> Vectors:
    missed = violations.clip(min=0.0)
    worst = np.where(np.isfinite(missed), missed, 0.0).max(axis=0, initial=0.0)
    summed: Vectors = (missed / np.where(worst > 0, worst, 1.0)).sum(axis=1)
    return summed
