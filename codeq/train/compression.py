"""Compression metrics of a model: sparsity, bits, and bit operations relative to the dense 32-bit model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from codeq.quant import quantized_layers
from codeq.train.fed_channels import empty_channels, fed_channels
from codeq.train.weight_use import product_weights

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
    """

    sparsity: float
    structured_sparsity: float
    rel_bops: float
    structured_bops: float
    mean_bits: float
    empty_layers: tuple[str, ...]


@torch.no_grad()
def measure_compression(
    model: nn.Module, macs: dict[str, int], input_shape: tuple[int, int, int]
) -> Compression:
    """Return the current compression of `model`; `macs` from `dense_macs`. One transfer from the device."""
    return compression_of(model, macs, count_weights(model, macs, input_shape).tolist())


def count_weights(model: nn.Module, macs: dict[str, int], input_shape: tuple[int, int, int]) -> Tensor:
    """The counts of each measured layer, the input of `compression_of`: (layers, 7) int64."""
    with parametrize.cached():
        weights = product_weights(model) | {name: layer.weight for name, layer, _ in quantized_layers(model)}
        quantizers, fed = _quantizers(model), fed_channels(model, input_shape)
    return torch.stack(
        [_counts(weights[name], quantizers.get(name), fed.get(name)) for name in _measured(quantizers, macs)]
    )


def compression_of(model: nn.Module, macs: dict[str, int], counts: list[list[int]]) -> Compression:
    """Return the compression of `model` from the result of `count_weights`."""
    quantizers = _quantizers(model)
    table = {name: _Layer(*row) for name, row in zip(_measured(quantizers, macs), counts, strict=True)}
    quantized = [table[name] for name in quantizers]
    with_channels = [table[name] for name in quantizers if name in macs]
    bops = sum(macs[name] * table[name].density * table[name].bits for name in macs)
    structured_bops = sum(macs[name] * table[name].used_pairs * table[name].bits for name in macs)
    return Compression(
        sparsity=_ratio(sum(layer.zeros for layer in quantized), sum(layer.weights for layer in quantized)),
        structured_sparsity=_ratio(
            sum(layer.empty_channels for layer in with_channels), sum(layer.channels for layer in with_channels)
        ),
        rel_bops=_ratio(bops, FULL_BITS * sum(macs.values())),
        structured_bops=_ratio(structured_bops, FULL_BITS * sum(macs.values())),
        mean_bits=_ratio(
            sum(layer.bits * layer.weights for layer in quantized),
            sum(layer.weights for layer in quantized),
            empty=FULL_BITS,
        ),
        empty_layers=tuple(name for name in quantizers if table[name].zeros == table[name].weights),
    )


def _quantizers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: quantizer for name, _, quantizer in quantized_layers(model)}


def _measured(quantizers: dict[str, nn.Module], macs: dict[str, int]) -> list[str]:
    return list(dict.fromkeys([*quantizers, *macs]))


@dataclass(frozen=True)
class _Layer:
    weights: float
    zeros: float
    channels: float
    empty_channels: float
    bits: float
    pairs: float
    pairs_left: float

    @property
    def density(self) -> float:
        return 1.0 - self.zeros / self.weights

    @property
    def used_pairs(self) -> float:
        """The share of pairs of an input and an output channel that remain: (1 - p_in) (1 - p_out) without groups."""
        return self.pairs_left / self.pairs


def _counts(weight: Tensor, quantizer: nn.Module | None, fed: Tensor | None) -> Tensor:
    """(7,) int64: weights, zeros, output channels, all-zero output channels, bits, connected pairs of an input and an
    output channel, and the pairs of a fed input channel and an output channel with a weight.

    fed: the input channels that are fed; None for a norm, or a layer that the forward pass does not reach.
    """
    empty = empty_channels(weight)
    inputs = weight.shape[1] if weight.dim() > 1 else 1  # of each output channel
    fed = weight.new_ones(inputs, dtype=torch.bool) if fed is None else fed
    by_group = fed.view(-1, inputs)
    pairs_left = ((~empty).view(len(by_group), -1).sum(1) * by_group.sum(1)).sum()
    bits = FULL_BITS if quantizer is None else quantizer.get_bitwidth()  # type: ignore[operator]
    constants = torch.tensor([weight.numel(), len(weight), len(weight) * inputs], device=weight.device)
    counts = (
        constants[0], (weight == 0).sum(), constants[1], empty.sum(), torch.as_tensor(bits, device=weight.device),
        constants[2], pairs_left,
    )  # fmt: skip
    return torch.stack([count.to(torch.int64) for count in counts])


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty
