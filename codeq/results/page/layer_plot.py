"""A winner layer by layer: what is left of its weights, bits and bit operations (figure 3 of the CoDeQ paper)."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from codeq.results.page.style import BLUE, GREEN, GREY, finish
from codeq.storage.trial_folder import Layer


def layer_plot(layers: Sequence[Layer]) -> go.Figure:
    """Return bars for each layer: sparsity, bits, and its share of the bit operations, dense and compressed."""
    names = [layer.name for layer in layers]
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.07,
        subplot_titles=["sparsity", "bits per weight", "share of the dense network's bit operations"],
    )  # fmt: skip
    figure.add_trace(
        go.Bar(x=names, y=[layer.sparsity for layer in layers], marker={"color": BLUE}, showlegend=False), row=1, col=1
    )
    figure.add_trace(
        go.Bar(x=names, y=[layer.bits for layer in layers], marker={"color": BLUE}, showlegend=False), row=2, col=1
    )
    dense, left = [layer.dense_bops for layer in layers], [layer.bops for layer in layers]
    for name, shares, color in (("dense, 32 bits", dense, GREY), ("this network", left, GREEN)):
        figure.add_trace(go.Bar(x=names, y=shares, name=name, marker={"color": color}), row=3, col=1)
    figure.update_yaxes(range=[0, 1], row=1, col=1)
    figure.update_yaxes(tickformat=".2~p", row=3, col=1)
    figure.update_xaxes(tickangle=-60, automargin=True, row=3, col=1)
    finish(figure, 680, barmode="group")
    figure.update_layout(legend={"y": 0.28, "x": 1, "xanchor": "right", "orientation": "v"})
    return figure


def describe_layers(layers: Sequence[Layer]) -> str:
    """Return the text alternative of the plot."""
    told = "; ".join(f"{layer.name} {layer.sparsity:.0%} zeros, {layer.bits:g} bits" for layer in layers[:60])
    return f"Bar plots of {len(layers)} layers: {told}."
