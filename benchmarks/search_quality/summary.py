"""Statistics over several seeds: the cost of finding the front, and mean and spread at every budget."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.options import ROOT
from benchmarks.search_quality.replay import BUDGET, Curve

SHARE = 0.995
"""Share of the table's hypervolume at which a search counts as having found the front."""
SHARES = (0.98, 0.99, SHARE)
"""Shares for which costs are reported."""
POINTS = 200
RESULT = ROOT / "benchmarks" / "results" / "search_quality.json"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """curves: of each search, one replay per seed. baseline: the search that costs are compared with. trials: in the
    table. budget: maximum trial-epochs of a replay."""

    curves: Mapping[str, Sequence[Curve]]
    baseline: str
    trials: int
    budget: int = BUDGET

    @property
    def budgets(self) -> NDArray[np.int64]:
        """Return evenly spaced trial-epochs from 0 to those of the longest replay."""
        most = max(curve.spent[-1] for curves in self.curves.values() for curve in curves)
        return np.linspace(0, most, POINTS, dtype=np.int64)

    def shares(self, name: str) -> Floats:
        """Return the search's share of the hypervolume, (seeds, budgets)."""
        return self._shares(name, self.budgets)

    def costs(self, name: str, share: float = SHARE) -> list[int]:
        """Return the trial-epochs to this share, for the seeds that reached it."""
        return [cost for curve in self.curves[name] if (cost := curve.reaching(share)) is not None]

    def cost(self, name: str, share: float = SHARE) -> float:
        """Return the median cost over all seeds; infinite if half of them never reached the share."""
        costs = [float(cost) for cost in self.costs(name, share)]
        return statistics.median(costs + [float("inf")] * (len(self.curves[name]) - len(costs)))

    def behind(self, name: str, other: str) -> float:
        """Return how far the mean share of `name` is below that of `other` at the worst budget, at least 0."""
        budgets = np.unique([spent for which in (name, other) for curve in self.curves[which] for spent in curve.spent])
        difference = self._shares(other, budgets).mean(axis=0) - self._shares(name, budgets).mean(axis=0)
        return float(max(0.0, difference.max()))

    def _shares(self, name: str, budgets: NDArray[np.int64]) -> Floats:
        return np.array([curve.at(budgets) for curve in self.curves[name]])


def markdown(summary: Summary) -> str:
    """Return a Markdown row per search; its costs are followed by their ratio to the baseline's in brackets."""
    header = (
        "search",
        *(f"trial-epochs to {100 * share:g} %, median" for share in SHARES),
        f"min to max, to {100 * SHARE:g} %",
        f"got to {100 * SHARE:g} %",
        "in the end, mean ± std %",
        f"trial-epochs in all, mean (at most {summary.budget:,})",
    )
    lines = [header, ("---",) * len(header), *(_cells(summary, name) for name in summary.curves)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(summary: Summary, name: str) -> tuple[str, ...]:
    curves, costs = summary.curves[name], summary.costs(name)
    final = [100 * curve.hypervolume[-1] for curve in curves]
    return (
        name,
        *(_cost(summary, name, share) for share in SHARES),
        f"{min(costs):,} to {max(costs):,}" if costs else "",
        f"{len(costs)} of {len(curves)}",
        f"{statistics.mean(final):.2f} ± {statistics.pstdev(final):.2f}",
        f"{statistics.mean(curve.spent[-1] for curve in curves):,.0f}",
    )


def _cost(summary: Summary, name: str, share: float) -> str:
    """Return the median and its ratio to the baseline's."""
    cost, baseline = summary.cost(name, share), summary.cost(summary.baseline, share)
    if not math.isfinite(cost):
        return "most never" if summary.costs(name, share) else "never"
    compares = 0 < baseline < math.inf and name != summary.baseline
    return f"{cost:,.0f} ({cost / baseline:.2f})" if compares else f"{cost:,.0f}"


def write_json(summary: Summary, behind: Mapping[str, Mapping[str, float]], path: Path = RESULT) -> None:
    """Store the figures, and every search's mean and standard deviation at some budgets.

    behind: the largest difference by which a search is behind another at any budget.
    """
    chosen = slice(None, None, POINTS // 20)
    searches = {
        name: {
            "median_costs": {str(share): _finite(summary.cost(name, share)) for share in SHARES},
            "costs": summary.costs(name),
            "share_mean": [round(float(x), 5) for x in summary.shares(name).mean(axis=0)[chosen]],
            "share_std": [round(float(x), 5) for x in summary.shares(name).std(axis=0)[chosen]],
        }
        for name in summary.curves
    }
    seeds = len(summary.curves[summary.baseline])
    kept = {"machine": describe(), "share": SHARE, "budget": summary.budget, "trials": summary.trials, "seeds": seeds,
            "budgets": summary.budgets[chosen].tolist(), "behind": behind, "searches": searches}  # fmt: skip
    path.write_text(json.dumps(kept, indent=1) + "\n")


def _finite(cost: float) -> float | None:
    return cost if math.isfinite(cost) else None
