"""A winner layer by layer: what is left of its weights, bits and bit operations (figure 3 of the CoDeQ paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codeq.results.page.content import rounded
from codeq.results.page.style import BLUE, GREEN, GREY, Figure, figure, on_axes
from codeq.storage.trial_folder import Layer


def layer_plot(layers: Sequence[Layer]) -> Figure:
    """Return bars for each layer: sparsity, bits, and its share of the bit operations, dense and compressed."""
    return figure(
        [
            _bars(layers, 0, "sparsity", BLUE, lambda layer: layer.sparsity),
            _bars(layers, 1, "bits", BLUE, lambda layer: layer.bits),
            _bars(layers, 2, "dense, 32 bits", GREY, lambda layer: layer.dense_bops),
            _bars(layers, 2, "this network", GREEN, lambda layer: layer.bops),
        ],
        680,
        grid={"rows": 3, "columns": 1, "pattern": "coupled", "ygap": 0.15},
        xaxis={"tickangle": -60, "automargin": True},
        yaxis={"title": {"text": "sparsity"}, "range": [0, 1]},
        yaxis2={"title": {"text": "bits per weight"}},
        yaxis3={"title": {"text": "share of dense bops"}, "tickformat": ".2~p"},
        barmode="group",
        legend={"y": 0.28, "x": 1, "xanchor": "right"},
    )


def _bars(layers: Sequence[Layer], row: int, name: str, color: str, value: Callable[[Layer], float]) -> Figure:
    return {
        "type": "bar", "x": [layer.name for layer in layers], "y": [rounded(value(layer)) for layer in layers],
        "name": name, "showlegend": row == 2, "marker": {"color": color}, **on_axes(0, row),
    }  # fmt: skip


def describe_layers(layers: Sequence[Layer]) -> str:
    """Return the text alternative of the plot."""
    told = "; ".join(f"{layer.name} {layer.sparsity:.0%} zeros, {layer.bits:g} bits" for layer in layers[:60])
    return f"Bar plots of {len(layers)} layers: {told}."
