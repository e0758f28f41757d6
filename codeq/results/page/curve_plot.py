"""Accuracy, loss and sparsity of every trial, epoch by epoch, with the rungs at which trials were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codeq.config.metrics import CURVES
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import GREY, LOOKS, Figure, axis_key, figure, on_axes

MAX_POINTS = 3_000
"""Of one metric; longer sweeps show every second, third, ... epoch, besides each trial's last."""


def curve_plot(content: PageContent) -> Figure:
    """Return one row of axes for each of CURVES, one line for each trial."""
    every = 1 + content.found.trial_epochs // MAX_POINTS
    traces = []
    for status, look in LOOKS.items():
        trials = [trial for trial in content.trials if trial.record.status == status]
        if not any(content.rows[trial.record.trial] for trial in trials):
            continue
        for index, metric in enumerate(CURVES):
            numbers = [trial.record.trial for trial in trials]
            shared = {
                "type": "scatter", "name": status, "legendgroup": status,
                "hovertemplate": f"epoch %{{x}}: {metric} %{{y}}<br>{HOVER}", **on_axes(0, index),
            }  # fmt: skip
            traces.append({
                **shared, **_lines(content, numbers, metric, every), "mode": "lines", "opacity": 0.7,
                "line": {"color": look.color, "width": 1}, "showlegend": index == 0,
            })  # fmt: skip
            traces.append({
                **shared, **_ends(content, numbers, metric), "mode": "markers",
                "marker": {"color": look.color, "symbol": look.symbol, "size": 6}, "showlegend": False,
            })  # fmt: skip
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "dash": "dot"}}
    return figure(
        traces, 720,
        grid={"rows": len(CURVES), "columns": 1, "pattern": "coupled", "ygap": 0.1},
        xaxis={"title": {"text": "epoch"}},
        **{axis_key("y", index): {"title": {"text": metric}} for index, metric in enumerate(CURVES)},
        shapes=[{**line, "x0": epoch, "x1": epoch} for epoch in _rungs(content)],
        hovermode="closest",
    )  # fmt: skip


def describe_curves(content: PageContent) -> str:
    """Return the text alternative of the plot."""
    rungs = _rungs(content)
    where = f" Dotted lines mark the rungs at epochs {', '.join(map(str, rungs))}." if rungs else ""
    return f"Line plots of {', '.join(CURVES)} by epoch for {len(content.trials)} trials.{where}"


def _lines(content: PageContent, numbers: Sequence[int], metric: str, every: int) -> Figure:
    """The trials' lines as one, separated by None."""
    x: list[int | None] = []
    y: list[Any] = []
    owner: list[int | None] = []
    for number in numbers:
        rows = content.rows[number]
        kept = [row for index, row in enumerate(rows) if index % every == 0 or index == len(rows) - 1]
        x += [*(row["epoch"] for row in kept), None]
        y += [*(rounded(row.get(metric)) for row in kept), None]
        owner += [*[number] * len(kept), None]
    return {"x": x, "y": y, "customdata": owner}


def _ends(content: PageContent, numbers: Sequence[int], metric: str) -> Figure:
    """The last epochs of the trials that have not trained all theirs, and of those that have one, which has no line."""
    ended = [number for number in numbers if (rows := content.rows[number])
             and (len(rows) == 1 or rows[-1]["epoch"] < content.template.max_epochs)]  # fmt: skip
    last = [content.rows[number][-1] for number in ended]
    y = [rounded(row.get(metric)) for row in last]
    return {"x": [row["epoch"] for row in last], "y": y, "customdata": ended}


def _rungs(content: PageContent) -> tuple[int, ...]:
    scheduler = content.template.sweep.scheduler
    return scheduler.rungs(content.template.max_epochs) if scheduler.name == "asha" else ()
