"""compare.html: the fronts of several sweeps over each other."""

from __future__ import annotations

from html import escape
from pathlib import Path

from upath import UPath

from codeq.config.text import join_and
from codeq.results.comparison import Comparison
from codeq.results.page.content import HOVER, describe_trial, rounded
from codeq.results.page.html import Plot, render
from codeq.results.page.style import BLUE, GREEN, GREY, ORANGE, PINK, RED, Figure, axis_title, figure
from codeq.storage.atomic_files import write_atomically

_LOOKS = [
    (BLUE, "circle"), (ORANGE, "square"), (GREEN, "diamond"), (PINK, "triangle-up"), (RED, "x"), (GREY, "cross"),
]  # fmt: skip


def write_comparison(path: UPath | Path, found: Comparison) -> UPath | Path:
    """Write the page to `path`, replacing it; returns the path."""
    rows = [
        {
            "label": compared.label,
            "trials": compared.sweep.found.describe_trials(),
            "front": len(compared.sweep.found.front),
            "common": len(compared.on_common_front),
            "hypervolume": f"{compared.hypervolume:.4f}",
            "trial_epochs": f"{compared.sweep.found.trial_epochs:,}",
            "hours": f"{compared.sweep.hours:.2f}",
        }
        for compared in found.sweeps
    ]
    title = f"{join_and(compared.label for compared in found.sweeps)}"
    plot = Plot(_front_plot(found), _describe(found))
    write_atomically(path, render("compare.html.jinja", title=title, rows=rows, plot_of_fronts=plot, found=found))
    return path


def _axes(found: Comparison) -> tuple[str, str]:
    """The metrics of the x and the y axis: the second and the first objective, sparsity if there is only one."""
    first, *others = found.objectives
    return (others[0] if others else "sparsity"), first


def _front_plot(found: Comparison) -> Figure:
    x, y = _axes(found)
    traces = []
    for index, compared in enumerate(found.sweeps):
        color, symbol = _LOOKS[index % len(_LOOKS)]
        common = {trial.record.trial for trial in compared.on_common_front}
        front = sorted(compared.sweep.found.front, key=lambda trial: float(trial.row[x]))
        sizes = [13 if trial.record.trial in common else 7 for trial in front]
        traces.append({
            "type": "scatter",
            "mode": "lines+markers",
            "name": compared.label,
            "x": [rounded(trial.row[x]) for trial in front],
            "y": [rounded(trial.row[y]) for trial in front],
            "line": {"color": color, "dash": "dot", "width": 1},
            "marker": {"color": color, "symbol": symbol, "size": sizes, "opacity": 1, "line": {"width": 0}},
            "text": [
                "<br>".join([escape(compared.label), *describe_trial(trial, list(trial.record.parameters))])
                for trial in front
            ],
            "hovertemplate": HOVER,
        })  # fmt: skip
    axes = {"xaxis": {"title": {"text": axis_title(x)}}, "yaxis": {"title": {"text": axis_title(y)}}}
    return figure(traces, 560, hovermode="closest", **axes)


def _describe(found: Comparison) -> str:
    x, y = _axes(found)
    told = "; ".join(
        f"{compared.label}: {len(compared.sweep.found.front)} trials, {len(compared.on_common_front)} of them on the "
        f"common front, hypervolume {compared.hypervolume:.4f}"
        for compared in found.sweeps
    )
    return f"The fronts in {y} against {x}. {told}. Large markers are on the common front."
