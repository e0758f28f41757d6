"""Colours, symbols and the layout that all plots of the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeq.config.metrics import METRICS

Figure = dict[str, Any]
"""A figure of Plotly as plain data: the list `data` of traces and their `layout`, as Plotly's reference names the keys.

Plotly's classes check every key that is set: for a page that takes longer than all else. The tests check them."""


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


def figure(traces: Sequence[Figure], height: int, **layout: Any) -> Figure:
    """Return a figure of `traces` with the layout of all plots; the page sets their colours. height: in pixels."""
    shared: Figure = {
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 40, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "hoverlabel": {"align": "left"},
    }
    return {"data": traces, "layout": shared | layout}


def axis_key(letter: str, index: int) -> str:
    """Return what a layout calls the axis `letter` (x or y) of the plot at `index`, from 0, of a grid; traces call it
    the same without "axis": xaxis, xaxis2 and x, x2."""
    return f"{letter}axis{index + 1 if index else ''}"


def on_axes(x: int, y: int) -> dict[str, str]:
    """Return the keys that put a trace on the axes at the indices `x` and `y`."""
    return {"xaxis": axis_key("x", x).replace("axis", ""), "yaxis": axis_key("y", y).replace("axis", "")}
