"""Colours, symbols and the layout that all plots of the page share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from codeq.config.metrics import METRICS


@dataclass(frozen=True)
class Look:
    """How trials of one status are drawn. Symbols differ too, so that no plot is told by colour alone."""

    color: str
    symbol: str


# The colours of Okabe and Ito (2008), which readers with any colour vision tell apart.
BLUE, ORANGE, GREEN, PINK, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#8a8a8a"

LOOKS: Mapping[str, Look] = {
    "finished": Look(BLUE, "circle"),
    "running": Look(GREEN, "circle-open"),
    "stopped": Look(GREY, "circle-open"),
    "collapsed": Look(ORANGE, "triangle-down"),
    "diverged": Look(RED, "x-thin-open"),
    "failed": Look(PINK, "square-open"),
}
"""By status, in the order of legends."""


def axis_title(metric: str) -> str:
    """Return a metric's name with its unit."""
    unit = METRICS[metric].unit
    return f"{metric} ({unit})" if unit else metric


def new_figure(height: int, **layout: Any) -> go.Figure:
    """Return an empty figure without title and background; the page sets the colours of text and grid."""
    figure = go.Figure()
    finish(figure, height, **layout)
    return figure


def finish(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Give a figure the page's layout, also one that Optuna made. height: pixels."""
    shared: dict[str, Any] = {
        "template": "none",
        "title": None,
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 40, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "hoverlabel": {"align": "left"},
    }
    figure.update_layout(shared | layout)
    return figure
