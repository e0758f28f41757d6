"""The front: accuracy against what compression saves, every trial as it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from codeq.config.metrics import format_metric
from codeq.config.sweep import parse_bound
from codeq.results.advice.ties import ACCURACY, noise
from codeq.results.front import ranked
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import GREEN, LOOKS, RED, axis_title, new_figure
from codeq.results.trials import TrialResult

HEIGHT = 520


def front_plot(content: PageContent) -> go.Figure:
    """Return the scatter plot; buttons switch its x axis among `content.compared`."""
    figure = new_figure(HEIGHT, hovermode="closest")
    columns: list[list[list[Any]]] = []  # the x values of each trace, by metric

    def add(trace: go.Scatter, trials: Sequence[TrialResult]) -> None:
        columns.append([[rounded(trial.row.get(name)) for trial in trials] for name in content.compared])
        figure.add_trace(trace.update(x=columns[-1][0], y=[rounded(trial.row.get(ACCURACY)) for trial in trials]))

    for status, look in LOOKS.items():
        trials = [trial for trial in content.trials if trial.record.status == status and trial.row]
        if trials:
            marker = {"color": look.color, "symbol": look.symbol, "size": 8}
            hover = {"customdata": [trial.record.trial for trial in trials], "hovertemplate": HOVER}
            add(go.Scatter(mode="markers", name=f"{status} ({len(trials)})", marker=marker, **hover), trials)
    front = content.found.front
    add(go.Scatter(mode="lines", name="front", line={"color": GREEN, "dash": "dot"}, hoverinfo="skip"), front)
    for name, symbol, trial in _marked(content):
        marker = {"symbol": symbol, "size": 17, "color": GREEN, "line": {"width": 2, "color": GREEN}}
        add(go.Scatter(mode="markers", name=name, marker=marker, hoverinfo="skip"), [trial])
    spread = _add_confirmed(figure, content)
    x_of_spread = [[[point[name][0] for point in spread] for name in content.compared]] if spread else []
    figure.update_layout(
        xaxis={"title": axis_title(content.compared[0])},
        yaxis={"title": axis_title(ACCURACY)},
        shapes=_shapes(content, content.compared[0]),
        updatemenus=[
            {
                "type": "buttons",
                "buttons": [
                    {
                        "label": name,
                        "method": "update",
                        "args": [
                            {
                                "x": [by_metric[index] for by_metric in [*columns, *x_of_spread]],
                                **({"error_x.array": [*[None] * len(columns), [p[name][1] for p in spread]]} if spread
                                   else {}),
                            },
                            {"xaxis.title.text": axis_title(name), "shapes": _shapes(content, name)},
                        ],
                    }
                    for index, name in enumerate(content.compared)
                ],
            }
        ],
        legend={"itemsizing": "constant"},
    )  # fmt: skip
    return figure


def describe_front(content: PageContent) -> str:
    """Return the text alternative of the plot."""
    front, x = content.found.front, content.compared[0]
    if not front:
        return f"Scatter plot of {len(content.trials)} trials. None has finished, so there is no front."
    points = ", ".join(
        f"trial {trial.record.trial:04d} {format_metric(ACCURACY, trial.row.get(ACCURACY))} percent at {x} "
        f"{format_metric(x, trial.row.get(x))}"
        for trial in front[:12]
    )
    return f"Scatter plot of {ACCURACY} against {x} of {len(content.trials)} trials. The front: {points}."


def _marked(content: PageContent) -> list[tuple[str, str, TrialResult]]:
    """The winner and the knee: name, symbol and trial."""
    found, objectives = content.found, content.template.sweep.objectives
    if found.winner is None:
        return []
    (knee, *_) = ranked(found.ranking, objectives, objectives)
    if knee is found.winner:
        return [("winner, the knee", "star", knee)]
    return [("winner", "star", found.winner), ("knee", "diamond-open", knee)]


def _add_confirmed(figure: go.Figure, content: PageContent) -> list[dict[str, tuple[float, float]]]:
    """Add the means of the runs with fresh seeds, with error bars; return mean and deviation of each by metric."""
    names = [ACCURACY, *content.compared]
    points = []
    for confirmed in content.found.confirmed:
        spreads = {name: spread for name in names if (spread := confirmed.mean_std(name)) is not None}
        if spreads:
            points.append({name: (spread.mean, spread.std or 0.0) for name, spread in spreads.items()})
    if points:
        figure.add_trace(
            go.Scatter(
                mode="markers",
                name="trained again, mean ± std",
                x=[point[content.compared[0]][0] for point in points],
                y=[point[ACCURACY][0] for point in points],
                error_x={"array": [point[content.compared[0]][1] for point in points]},
                error_y={"array": [point[ACCURACY][1] for point in points]},
                marker={"symbol": "cross-thin-open", "size": 10, "color": RED},
            )
        )
    return points


def _shapes(content: PageContent, x: str) -> list[dict[str, Any]]:
    """The constraints as lines, the noise of the best accuracy of the front as a band."""
    shapes: list[dict[str, Any]] = []
    for name, bound in content.template.sweep.constraints.items():
        value = parse_bound(bound)[1]
        line = {"type": "line", "line": {"color": RED, "dash": "dash"}, "label": {"text": f"{name} {bound}"}}
        if name == ACCURACY:
            shapes.append({**line, "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value})
        elif name == x:
            shapes.append({**line, "yref": "paper", "y0": 0, "y1": 1, "x0": value, "x1": value})
    scored = [trial for trial in content.found.front if trial.row.get("val_images") and ACCURACY in trial.row]
    if scored:
        best = max(scored, key=lambda trial: float(trial.row[ACCURACY]))
        width = noise(best.row[ACCURACY], best.row["val_images"])
        top = float(best.row[ACCURACY])
        text = f"noise of {best.row['val_images']:,} images"
        label = {"text": text, "textposition": "top left", "font": {"size": 11}}
        shapes.append({
            "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": top - width, "y1": min(100.0, top + width),
            "fillcolor": GREEN, "opacity": 0.18, "line": {"width": 0}, "layer": "below", "label": label,
        })  # fmt: skip
    return shapes

