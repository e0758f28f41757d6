"""Plots the hypervolume that is still missing against the trial-epochs."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.options import ROOT
from benchmarks.search_quality.summary import SHARE, Summary

PICTURE = ROOT / "benchmarks" / "results" / "search_quality.svg"
SMALLEST_GAP = 1e-4


def plot(summary: Summary, path: Path = PICTURE) -> None:
    """Plot the mean gap of each search on a logarithmic scale, with the 10 % to 90 % range of its seeds."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "codeq"  # makes the file depend only on the figures
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name in summary.curves:
        gaps = np.maximum(1.0 - summary.shares(name), SMALLEST_GAP)
        low, high = np.quantile(gaps, [0.1, 0.9], axis=0)
        (line,) = axes.plot(summary.budgets, gaps.mean(axis=0), label=name)
        axes.fill_between(summary.budgets, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.axhline(1.0 - SHARE, color="grey", linewidth=0.8, linestyle=":")
    axes.set(yscale="log", xlabel="trial-epochs", ylabel="hypervolume still missing (share)")
    axes.set_title(f"{summary.trials} recorded digits trials, mean of {len(next(iter(summary.curves.values())))} seeds")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
