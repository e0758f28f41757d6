"""Compression metrics of a model: sparsity, bits, and bit operations relative to the dense 32-bit model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq.quant import quantized_layers
from codeq.storage.trial_folder import Layer
from codeq.train.fed_channels import FedChannels, empty_channels
from codeq.train.weight_use import product_weights, weight_of

FULL_BITS = 32
"""Bits of an unquantized weight, and of every activation: activations are not quantized."""


@dataclass(frozen=True)
class Compression:
    """Metrics of one model, as each epoch reports them.

    sparsity: zero weights over all weights of the quantized layers, 0..1.
    structured_sparsity: all-zero output channels over all output channels of the quantized conv and linear layers.
    rel_bops: bit operations over those of the dense 32-bit model, all layers with multiply-accumulates, 0..1.
    structured_bops: the same if only whole channels can be left out: output channels whose weights are all zero, and
    input channels that nothing feeds (`fed_channels`).
    mean_bits: bit-width of the quantized layers, weighted by their number of weights.
    empty_layers: the quantized layers whose weights are all zero.
    layers: each layer with multiply-accumulates.
    """

    sparsity: float
    structured_sparsity: float
    rel_bops: float
    structured_bops: float
    mean_bits: float
    empty_layers: tuple[str, ...]
    layers: tuple[Layer, ...]


@torch.no_grad()
def measure_compression(model: nn.Module, macs: Mapping[str, int], fed_channels: FedChannels) -> Compression:
    """Return the current compression of `model`. macs: see `dense_macs`."""
    quantizers = {name: quantizer for name, _, quantizer in quantized_layers(model)}
    names = list(dict.fromkeys([*quantizers, *macs]))
    with parametrize.cached():
        weights = product_weights(model) | {name: weight_of(layer) for name, layer, _ in quantized_layers(model)}
        fed = fed_channels(model, [weights[name] for name in names])
        counts = [_counts(weights[name], fed.get(name)) for name in names]
    bits = [torch.as_tensor(quantizer.get_bitwidth(), dtype=torch.float32) for quantizer in quantizers.values()]
    bits_of = dict(zip(quantizers, torch.stack(bits).tolist() if bits else [], strict=True))
    rows = torch.stack(counts).tolist() if counts else []
    table = {name: _Counts(bits_of.get(name, FULL_BITS), *row) for name, row in zip(names, rows, strict=True)}
    return _compression(table, list(quantizers), macs)


def _compression(table: Mapping[str, _Counts], quantized: Sequence[str], macs: Mapping[str, int]) -> Compression:
    """The metrics of the layers of `table`, of which some are quantized."""
    layers = [table[name] for name in quantized]
    with_channels = [table[name] for name in quantized if name in macs]
    dense = FULL_BITS * sum(macs.values())
    bops = {name: macs[name] * table[name].density * table[name].bits for name in macs}
    structured_bops = sum(macs[name] * table[name].used_pairs * table[name].bits for name in macs)
    return Compression(
        sparsity=_ratio(sum(layer.zeros for layer in layers), sum(layer.weights for layer in layers)),
        structured_sparsity=_ratio(
            sum(layer.empty_channels for layer in with_channels), sum(layer.channels for layer in with_channels)
        ),
        rel_bops=_ratio(sum(bops.values()), dense),
        structured_bops=_ratio(structured_bops, dense),
        mean_bits=_ratio(
            sum(layer.bits * layer.weights for layer in layers),
            sum(layer.weights for layer in layers),
            empty=FULL_BITS,
        ),
        empty_layers=tuple(name for name in quantized if table[name].zeros == table[name].weights),
        layers=tuple(
            Layer(
                name=name,
                sparsity=1.0 - table[name].density,
                bits=table[name].bits,
                dense_bops=_ratio(FULL_BITS * macs[name], dense),
                bops=_ratio(bops[name], dense),
            )
            for name in macs
        ),
    )


@dataclass(frozen=True)
class _Counts:
    """bits: of each weight. The others: see `_counts`."""

    bits: float
    weights: int
    zeros: int
    channels: int
    empty_channels: int
    pairs: int
    pairs_left: int

    @property
    def density(self) -> float:
        return 1.0 - self.zeros / self.weights

    @property
    def used_pairs(self) -> float:
        """The share of pairs of an input and an output channel that remain: (1 - p_in) (1 - p_out) without groups."""
        return self.pairs_left / self.pairs


def _counts(weight: Tensor, fed: Tensor | None) -> Tensor:
    """(6,) int64: weights, zeros, output channels, all-zero output channels, connected pairs of an input and an output
    channel, and the pairs of a fed input channel and an output channel with a weight.

    fed: the input channels that are fed; None for a norm, or a layer that the forward pass does not reach.
    """
    empty = empty_channels(weight)
    inputs = weight.shape[1] if weight.dim() > 1 else 1  # of each output channel
    fed = weight.new_ones(inputs, dtype=torch.bool) if fed is None else fed
    by_group = fed.view(-1, inputs)
    pairs_left = ((~empty).view(len(by_group), -1).sum(1) * by_group.sum(1)).sum()
    constants = torch.tensor([weight.numel(), len(weight), len(weight) * inputs], device=weight.device)
    return torch.stack(
        [constants[0], (weight == 0).sum(), constants[1], empty.sum(), constants[2], pairs_left]
    )


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty
