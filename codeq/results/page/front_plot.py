"""The front: accuracy against what compression saves, every trial as it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codeq.config.metrics import format_metric
from codeq.config.sweep import parse_bound
from codeq.results.advice.ties import ACCURACY, noise
from codeq.results.front import ranked
from codeq.results.page.content import HOVER, PageContent, rounded
from codeq.results.page.style import GREEN, LOOKS, RED, Figure, axis_title, figure
from codeq.results.trials import TrialResult


def front_plot(content: PageContent) -> Figure:
    """Return the scatter plot; buttons, which the page turns into a select, switch its x axis."""
    scatters = [*_by_status(content), _front(content), *_marked(content), *_confirmed(content)]
    shown, *_ = content.compared
    return figure(
        [scatter.trace(shown) for scatter in scatters], 520,
        xaxis={"title": {"text": axis_title(shown)}},
        yaxis={"title": {"text": axis_title(ACCURACY)}},
        shapes=_shapes(content, shown),
        updatemenus=[{"type": "buttons", "buttons": [_button(content, scatters, name) for name in content.compared]}],
        hovermode="closest",
    )  # fmt: skip


@dataclass(frozen=True)
class Scatter:
    """A trace of the front without its x values. at: its points' values of a metric. spread: the half-lengths of its
    error bars, where it has some."""

    look: Figure
    at: Callable[[str], list[Any]]
    spread: Callable[[str], list[Any]] | None = None

    def trace(self, x: str) -> Figure:
        """Return the trace over the metric `x`."""
        bars = {f"error_{side}": {"array": self.spread(name)} for side, name in (("x", x), ("y", ACCURACY))} \
            if self.spread else {}  # fmt: skip
        return {"type": "scatter", "x": self.at(x), "y": self.at(ACCURACY), **self.look, **bars}


def _button(content: PageContent, scatters: Sequence[Scatter], x: str) -> Figure:
    """Return what makes `x` the x axis: new values for every trace, and the axis' title and shapes."""
    traces: Figure = {"x": [scatter.at(x) for scatter in scatters]}
    if any(scatter.spread for scatter in scatters):
        traces["error_x.array"] = [scatter.spread and scatter.spread(x) for scatter in scatters]
    layout = {"xaxis.title.text": axis_title(x), "shapes": _shapes(content, x)}
    return {"label": x, "method": "update", "args": [traces, layout]}


def _by_status(content: PageContent) -> Iterator[Scatter]:
    for status, look in LOOKS.items():
        trials = [trial for trial in content.trials if trial.record.status == status and trial.row]
        if trials:
            marker = {"color": look.color, "symbol": look.symbol, "size": 8}
            hover = {"customdata": [trial.record.trial for trial in trials], "hovertemplate": HOVER}
            yield _scatter(trials, mode="markers", name=f"{status} ({len(trials)})", marker=marker, **hover)


def _front(content: PageContent) -> Scatter:
    line = {"color": GREEN, "dash": "dot"}
    return _scatter(content.found.front, mode="lines", name="front", line=line, hoverinfo="skip")


def _scatter(trials: Sequence[TrialResult], **look: Any) -> Scatter:
    return Scatter(look, lambda metric: [rounded(trial.row.get(metric)) for trial in trials])


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


def _marked(content: PageContent) -> list[Scatter]:
    """The winner and the knee."""
    found, objectives = content.found, content.template.sweep.objectives
    if found.winner is None:
        return []
    (knee, *_) = ranked(found.ranking, objectives, objectives)
    marked = [("winner", "star", found.winner), ("knee", "diamond-open", knee)]
    if knee is found.winner:
        marked = [("winner, the knee", "star", knee)]
    return [
        _scatter(
            [trial], mode="markers", name=name, hoverinfo="skip",
            marker={"symbol": symbol, "size": 17, "color": GREEN, "line": {"width": 2, "color": GREEN}},
        )
        for name, symbol, trial in marked
    ]  # fmt: skip


def _confirmed(content: PageContent) -> list[Scatter]:
    """The means of the runs with fresh seeds, with their standard deviations as error bars."""
    points = [confirmed for confirmed in content.found.confirmed if confirmed.mean_std(ACCURACY) is not None]
    if not points:
        return []

    def means(metric: str) -> list[Any]:
        return [rounded(spread.mean) if (spread := point.mean_std(metric)) else None for point in points]

    def deviations(metric: str) -> list[Any]:
        return [rounded(spread.std) if (spread := point.mean_std(metric)) else None for point in points]

    marker = {"symbol": "cross-thin-open", "size": 10, "color": RED}
    return [Scatter({"mode": "markers", "name": "trained again, mean ± std", "marker": marker}, means, deviations)]


def _shapes(content: PageContent, x: str) -> list[Figure]:
    """The constraints as lines, the noise of the best accuracy of the front as a band."""
    shapes: list[Figure] = []
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

