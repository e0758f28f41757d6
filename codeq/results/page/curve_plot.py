"""Accuracy, loss and sparsity of every trial, epoch by epoch, with the rungs at which trials were stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from codeq.config.metrics import CURVES
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import LOOKS, finish

MAX_POINTS = 3_000
"""Of one metric; longer sweeps show every second, third, ... epoch, besides each trial's last."""


def curve_plot(content: PageContent) -> go.Figure:
    """Return one row of axes for each of CURVES, one line for each trial."""
    figure = make_subplots(rows=len(CURVES), cols=1, shared_xaxes=True, vertical_spacing=0.04)
    every = 1 + content.found.trial_epochs // MAX_POINTS
    for status, look in LOOKS.items():
        trials = [trial for trial in content.trials if trial.record.status == status]
        if not any(content.rows[trial.record.trial] for trial in trials):
            continue
        for row_of_axes, metric in enumerate(CURVES, start=1):
            x, y, owner = _lines(content, [trial.record.trial for trial in trials], metric, every)
            figure.add_trace(
                go.Scatter(
                    x=x, y=y, customdata=owner, mode="lines", name=status, legendgroup=status,
                    showlegend=row_of_axes == 1, line={"color": look.color, "width": 1}, opacity=0.7,
                    hovertemplate=f"epoch %{{x}}: {metric} %{{y}}<br>{HOVER}",
                ),
                row=row_of_axes, col=1,
            )  # fmt: skip
    for row_of_axes, metric in enumerate(CURVES, start=1):
        figure.update_yaxes(title=metric, row=row_of_axes, col=1)
    for epoch in _rungs(content):
        figure.add_vline(epoch, line={"color": "#8a8a8a", "dash": "dot"})
    figure.update_xaxes(title="epoch", row=len(CURVES), col=1)
    return finish(figure, 720, hovermode="closest")


def describe_curves(content: PageContent) -> str:
    """Return the text alternative of the plot."""
    rungs = _rungs(content)
    where = f" Dotted lines mark the rungs at epochs {', '.join(map(str, rungs))}." if rungs else ""
    return f"Line plots of {', '.join(CURVES)} by epoch for {len(content.trials)} trials.{where}"


def _lines(
    content: PageContent, numbers: Sequence[int], metric: str, every: int
) -> tuple[list[int | None], list[Any], list[int | None]]:
    """The trials' lines as one, separated by None: x, y and the trial of each point."""
    x: list[int | None] = []
    y: list[Any] = []
    owner: list[int | None] = []
    for number in numbers:
        rows = content.rows[number]
        kept = [row for index, row in enumerate(rows) if index % every == 0 or index == len(rows) - 1]
        x += [*(row["epoch"] for row in kept), None]
        y += [*(rounded(row.get(metric)) for row in kept), None]
        owner += [*[number] * len(kept), None]
    return x, y, owner


def _rungs(content: PageContent) -> tuple[int, ...]:
    scheduler = content.template.sweep.scheduler
    return scheduler.rungs(content.template.max_epochs) if scheduler.name == "asha" else ()
