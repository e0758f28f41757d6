"""What the parameters did: importances, parallel coordinates, and a slice for each parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, Uniform
from codeq.config.metrics import METRICS, format_metric
from codeq.config.template import Parameter
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import BLUE, GREY, LOOKS, finish
from codeq.results.tables import short_names
from codeq.results.trials import TrialResult

FIFTHS = ("#00224e", "#35456c", "#7d7c78", "#bcaf6f", "#fde737")
"""Colours of the palette Cividis, from the lowest fifth to the highest."""


def importance_plot(content: PageContent) -> go.Figure | None:
    """Return bars of the importances that chance does not explain, by objective; None where there are none."""
    found = content.advice.importances if content.advice else {}
    by_objective = {objective: shares for objective, shares in found.items() if shares}
    if not by_objective:
        return None
    titles = [f"for {objective}" for objective in by_objective]
    figure = make_subplots(rows=len(by_objective), cols=1, subplot_titles=titles, vertical_spacing=0.35)
    for index, shares in enumerate(by_objective.values(), start=1):
        names = list(shares)[::-1]
        bars = go.Bar(
            x=[shares[name] for name in names], y=names, orientation="h", marker={"color": BLUE}, showlegend=False,
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )  # fmt: skip
        figure.add_trace(bars, row=index, col=1)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(automargin=True)
    return finish(figure, 90 + 130 * len(by_objective))


def parallel_plot(content: PageContent, metric: str) -> go.Figure | None:
    """Return parallel coordinates of all healthy trials: every parameter and objective an axis, a line for each trial.

    The colour says in which fifth of the trials `metric` is. Trials of one colour are one trace: a trace for each of
    1,000 trials takes a browser many seconds. None for fewer than two trials.
    """
    trials = sorted(_healthy(content), key=lambda trial: float(trial.row[metric]))
    if len(trials) < 2 or not content.parameters:
        return None
    axes = [_parameter_axis(parameter) for parameter in content.template.parameters]
    axes += [_metric_axis(name, trials) for name in content.template.sweep.objectives]
    figure = go.Figure()
    fifths = len(FIFTHS)
    for index, color in enumerate(FIFTHS):
        chosen = trials[len(trials) * index // fifths : len(trials) * (index + 1) // fifths]
        if not chosen:
            continue
        x: list[int | None] = []
        y: list[float | None] = []
        owner: list[int | None] = []
        for trial in chosen:
            x += [*range(len(axes)), None]
            y += [*(rounded(axis.place(trial)) for axis in axes), None]
            owner += [*[trial.record.trial] * len(axes), None]
        low, high = chosen[0].row[metric], chosen[-1].row[metric]
        name = f"{metric} {format_metric(metric, low)} to {format_metric(metric, high)}"
        line = {"color": color, "width": 1}
        figure.add_trace(
            go.Scatter(x=x, y=y, customdata=owner, mode="lines", name=name, line=line, hovertemplate=HOVER)
        )
    for place, axis in enumerate(axes):
        for end, label in ((0, axis.low), (1, axis.high)):
            figure.add_annotation(x=place, y=end, text=label, showarrow=False, yshift=12 if end else -12)
    names = short_names([axis.name for axis in axes])
    figure.update_xaxes(tickvals=list(range(len(axes))), ticktext=names, gridwidth=2, side="top")
    figure.update_yaxes(visible=False, range=[-0.1, 1.1])
    legend = {"orientation": "h", "yanchor": "top", "y": -0.02, "x": 0}
    return finish(figure, 440, hovermode="closest", legend=legend, margin={"l": 50, "r": 50, "t": 50, "b": 40})


@dataclass(frozen=True)
class Axis:
    """An axis of the parallel coordinates. low, high: the labels of its ends. place: a trial's place, 0..1 or None."""

    name: str
    low: str
    high: str
    place: Callable[[TrialResult], float | None]


def _parameter_axis(parameter: Parameter) -> Axis:
    name, distribution = parameter.name, parameter.distribution
    if isinstance(distribution, Choice):
        labels = [str(label) for label in distribution.labels]

        def place_label(trial: TrialResult) -> float | None:
            value = trial.record.parameters.get(name)
            return labels.index(str(value)) / max(1, len(labels) - 1) if str(value) in labels else None

        return Axis(name, labels[0], labels[-1], place_label)
    low, high = distribution.low, distribution.high
    scale = math.log if _is_log(distribution) else float

    def place(trial: TrialResult) -> float | None:
        value = trial.record.parameters.get(name)
        return None if value is None else (scale(value) - scale(low)) / ((scale(high) - scale(low)) or 1.0)

    return Axis(name, f"{low:g}", f"{high:g}", place)


def _metric_axis(name: str, trials: Sequence[TrialResult]) -> Axis:
    values = [float(trial.row[name]) for trial in trials]
    low, high = min(values), max(values)

    def place(trial: TrialResult) -> float | None:
        return (float(trial.row[name]) - low) / ((high - low) or 1.0)

    return Axis(name, format_metric(name, low), format_metric(name, high), place)


def _is_log(distribution: Distribution) -> bool:
    return isinstance(distribution, LogUniform) or bool(getattr(distribution, "log", False))


def describe_parallel(content: PageContent, metric: str) -> str:
    """Return the text alternative of the parallel coordinates."""
    return f"Parallel coordinates of {len(_healthy(content))} healthy trials, coloured by {metric}."


def slice_plot(content: PageContent, metric: str) -> go.Figure | None:
    """Return `metric` against each parameter, with the ends of its range as lines; None without a parameter."""
    trials = [trial for trial in content.trials if trial.row and math.isfinite(trial.row.get(metric, math.nan))]
    if not trials or not content.parameters:
        return None
    columns = min(2, len(content.parameters))
    rows = math.ceil(len(content.parameters) / columns)
    figure = make_subplots(rows=rows, cols=columns, vertical_spacing=0.28 / rows, horizontal_spacing=0.1)
    for index, parameter in enumerate(content.template.parameters):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for status, look in LOOKS.items():
            drawn = [t for t in trials if t.record.status == status and parameter.name in t.record.parameters]
            if drawn:
                points = go.Scatter(
                    x=[_as_axis(t.record.parameters[parameter.name]) for t in drawn],
                    y=[rounded(t.row[metric]) for t in drawn],
                    mode="markers", name=status, legendgroup=status, showlegend=index == 0,
                    marker={"color": look.color, "symbol": look.symbol, "size": 6},
                    customdata=[t.record.trial for t in drawn], hovertemplate=HOVER,
                )  # fmt: skip
                figure.add_trace(points, **place)
        match parameter.distribution:
            case Uniform(low=low, high=high) | LogUniform(low=low, high=high) | Int(low=low, high=high):
                for end in (low, high):
                    figure.add_vline(end, line={"color": GREY, "dash": "dash", "width": 1}, **place)
                figure.update_xaxes(type="log" if _is_log(parameter.distribution) else "linear", **place)
            case Choice():
                figure.update_xaxes(type="category", **place)
        figure.update_xaxes(title={"text": parameter.name, "standoff": 4}, **place)
        if place["col"] == 1:
            figure.update_yaxes(title=metric, **place)
    return finish(figure, 70 + 260 * rows, hovermode="closest")


def describe_slices(content: PageContent, metric: str) -> str:
    """Return the text alternative of the slice plots."""
    unit = f" in {METRICS[metric].unit}" if METRICS[metric].unit else ""
    ranges = "; ".join(f"{p.name} {p.distribution}" for p in content.template.parameters)
    return f"Scatter plots of {metric}{unit} against each parameter. Dashed lines are the ends of the ranges: {ranges}."


def _healthy(content: PageContent) -> list[TrialResult]:
    return [trial for trial in content.trials if trial.record.status in ("finished", "stopped") and trial.row]


def _as_axis(value: object) -> object:
    return rounded(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
