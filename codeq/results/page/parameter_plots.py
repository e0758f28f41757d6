"""What the parameters did: importances, parallel coordinates, and a slice for each parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, Uniform
from codeq.config.metrics import METRICS, format_metric
from codeq.config.template import Parameter
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import BLUE, GREY, LOOKS, Figure, axis_key, figure, on_axes
from codeq.results.tables import short_names
from codeq.results.trials import TrialResult

FIFTHS = ("#00224e", "#35456c", "#7d7c78", "#bcaf6f", "#fde737")
"""Colours of the palette Cividis, from the lowest fifth to the highest."""


def importance_plot(content: PageContent) -> Figure | None:
    """Return bars of the importances that chance does not explain, by objective; None where there are none."""
    found = content.advice.importances if content.advice else {}
    by_objective = {objective: shares for objective, shares in found.items() if shares}
    if not by_objective:
        return None
    traces, axes = [], {}
    for index, (objective, shares) in enumerate(by_objective.items()):
        names = list(shares)[::-1]
        traces.append({
            "type": "bar", "orientation": "h", "x": [shares[name] for name in names], "y": short_names(names),
            "marker": {"color": BLUE}, "showlegend": False, "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
            **on_axes(index, index),
        })  # fmt: skip
        axes[axis_key("x", index)] = {"title": {"text": f"for {objective}"}, "range": [0, 1], "tickformat": ".0%"}
    grid = {"rows": len(traces), "columns": 1, "pattern": "independent", "ygap": 0.4}
    return figure(traces, 90 + 130 * len(traces), grid=grid, **axes)


def parallel_plot(content: PageContent, metric: str) -> Figure | None:
    """Return parallel coordinates of all healthy trials: every parameter and objective an axis, a line for each trial.

    The colour says in which fifth of the trials `metric` is. Trials of one colour are one trace: a trace for each of
    1,000 trials takes a browser many seconds. None for fewer than two trials.
    """
    trials = sorted(_healthy(content), key=lambda trial: float(trial.row[metric]))
    if len(trials) < 2 or not content.parameters:
        return None
    axes = [_parameter_axis(parameter) for parameter in content.template.parameters]
    axes += [_metric_axis(name, trials) for name in content.template.sweep.objectives]
    traces = []
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
        traces.append({
            "type": "scatter", "mode": "lines", "x": x, "y": y, "customdata": owner, "name": name,
            "line": {"color": color, "width": 1}, "hovertemplate": HOVER,
        })  # fmt: skip
    ends = [
        {"x": place, "y": end, "text": label, "showarrow": False, "yshift": 12 if end else -12}
        for place, axis in enumerate(axes)
        for end, label in ((0, axis.low), (1, axis.high))
    ]
    names = short_names([axis.name for axis in axes])
    return figure(
        traces, 440,
        annotations=ends,
        xaxis={"tickvals": list(range(len(axes))), "ticktext": names, "gridwidth": 2, "side": "top"},
        yaxis={"visible": False, "range": [-0.1, 1.1]},
        legend={"orientation": "h", "yanchor": "top", "y": -0.02, "x": 0},
        margin={"l": 50, "r": 50, "t": 50, "b": 40},
        hovermode="closest",
    )  # fmt: skip


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


def slice_plot(content: PageContent, metric: str) -> Figure | None:
    """Return `metric` against each parameter, with the ends of its range as lines; None without a parameter."""
    trials = [trial for trial in content.trials if trial.row and math.isfinite(trial.row.get(metric, math.nan))]
    if not trials or not content.parameters:
        return None
    columns = min(2, len(content.parameters))
    rows = math.ceil(len(content.parameters) / columns)
    traces, shapes, layout = [], [], {}
    for index, parameter in enumerate(content.template.parameters):
        name, place = parameter.name, on_axes(index, index)
        for status, look in LOOKS.items():
            drawn = [t for t in trials if t.record.status == status and name in t.record.parameters]
            if drawn:
                traces.append({
                    "type": "scatter", "mode": "markers", "name": status, "legendgroup": status,
                    "showlegend": index == 0, "marker": {"color": look.color, "symbol": look.symbol, "size": 6},
                    "x": [_as_axis(t.record.parameters[name], parameter.distribution) for t in drawn],
                    "y": [rounded(t.row[metric]) for t in drawn],
                    "customdata": [t.record.trial for t in drawn], "hovertemplate": HOVER, **place,
                })  # fmt: skip
        match parameter.distribution:
            case Choice(labels=labels):
                axis = {"type": "category", "categoryarray": [str(label) for label in labels]}
            case Uniform(low=low, high=high) | LogUniform(low=low, high=high) | Int(low=low, high=high):
                axis = _log_axis(low, high) if _is_log(parameter.distribution) else {"type": "linear"}
                shapes += [
                    {
                        "type": "line", "x0": end, "x1": end, "xref": place["xaxis"],
                        "y0": 0, "y1": 1, "yref": f"{place['yaxis']} domain",
                        "line": {"color": GREY, "dash": "dash", "width": 1},
                    }
                    for end in (low, high)
                ]  # fmt: skip
        layout[axis_key("x", index)] = {**axis, "title": {"text": name, "standoff": 4}}
        layout[axis_key("y", index)] = {"title": {"text": metric}}
    grid = {"rows": rows, "columns": columns, "pattern": "independent", "ygap": 0.3, "xgap": 0.15}
    return figure(traces, 70 + 260 * rows, grid=grid, shapes=shapes, hovermode="closest", **layout)


def describe_slices(content: PageContent, metric: str) -> str:
    """Return the text alternative of the slice plots."""
    unit = f" in {METRICS[metric].unit}" if METRICS[metric].unit else ""
    ranges = "; ".join(f"{p.name} {p.distribution}" for p in content.template.parameters)
    return f"Scatter plots of {metric}{unit} against each parameter. Dashed lines are the ends of the ranges: {ranges}."


def _healthy(content: PageContent) -> list[TrialResult]:
    return [trial for trial in content.trials if trial.record.status in ("finished", "stopped") and trial.row]


def _log_axis(low: float, high: float) -> Figure:
    """A logarithmic axis, labelled at both ends of the range and at the powers of ten that are not near them."""
    decades = math.log10(high / low)
    every = math.ceil(decades / 5)
    powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.ceil(math.log10(high)), every or 1)]
    inner = [power for power in powers if min(power / low, high / power) > 10 ** (decades / 8)]
    ticks = [low, *inner, high]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _as_axis(value: Any, distribution: Distribution) -> Any:
    return str(value) if isinstance(distribution, Choice) else rounded(value)
