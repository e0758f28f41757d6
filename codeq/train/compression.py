"""Compression metrics of a model: sparsity, bits, and bit operations relative to the dense 32-bit model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeq.quant import quantized_layers

FULL_BITS = 32
"""Bits of an unquantized weight, and of every activation: activations are not quantized."""


@dataclass(frozen=True)
class Compression:
    """Metrics of one model, as each epoch reports them.

    sparsity: zero weights over all weights of the quantized layers, 0..1.
    structured_sparsity: all-zero output channels over all output channels of the quantized conv and linear layers.
    rel_bops: bit operations over those of the dense 32-bit model, all conv and linear layers, 0..1.
    mean_bits: bit-width of the quantized layers, weighted by their number of weights.
    empty_layers: the quantized layers whose weights are all zero.
    """

    sparsity: float
    structured_sparsity: float
    rel_bops: float
    mean_bits: float
    empty_layers: tuple[str, ...]


def dense_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Multiply-accumulates per image of every conv and linear layer by name, as if all its weights were non-zero.

    Computed from the output shapes of one forward pass of a (1, *input_shape) image: a convolution counts c_in c_out
    k_h k_w m_h m_w, a transformer's linear layer is counted once per token, a layer that is not called counts 0.
    """
    macs = {name: 0 for name, _ in _arithmetic_layers(model)}

    def count(name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            weight: Tensor = module.weight  # type: ignore[assignment]
            macs[name] += output.numel() * weight[0].numel()

        return hook

    handles = [module.register_forward_hook(count(name)) for name, module in _arithmetic_layers(model)]  # type: ignore[arg-type]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return macs


def _arithmetic_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))


@torch.no_grad()
def measure_compression(model: nn.Module, macs: dict[str, int]) -> Compression:
    """Return the current compression of `model`; `macs` from `dense_macs`. One transfer from the device."""
    return compression_of(model, macs, count_weights(model, macs).tolist())


def count_weights(model: nn.Module, macs: dict[str, int]) -> Tensor:
    """The counts of each measured layer, the input of `compression_of`: (layers, 5) int64. Works under vmap."""
    quantizers, modules = _quantizers(model), dict(model.named_modules())
    return torch.stack([_counts(modules[name].weight, quantizers.get(name)) for name in _measured(quantizers, macs)])


def compression_of(model: nn.Module, macs: dict[str, int], counts: list[list[int]]) -> Compression:
    """Return the compression of `model` from the result of `count_weights`."""
    quantizers = _quantizers(model)
    table = {name: _Layer(*row) for name, row in zip(_measured(quantizers, macs), counts, strict=True)}
    quantized = [table[name] for name in quantizers]
    with_channels = [table[name] for name in quantizers if name in macs]
    bops = sum(macs[name] * table[name].density * table[name].bits for name in macs)
    return Compression(
        sparsity=_ratio(sum(layer.zeros for layer in quantized), sum(layer.weights for layer in quantized)),
        structured_sparsity=_ratio(
            sum(layer.empty_channels for layer in with_channels), sum(layer.channels for layer in with_channels)
        ),
        rel_bops=_ratio(bops, FULL_BITS * sum(macs.values())),
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

    @property
    def density(self) -> float:
        return 1.0 - self.zeros / self.weights


def _counts(weight: Tensor, quantizer: nn.Module | None) -> Tensor:
    """(5,) int64: weights, zeros, output channels, all-zero output channels, bits."""
    zero = weight == 0
    empty_channels = zero.flatten(1).all(1).sum() if weight.dim() > 1 else zero.sum()
    bits = FULL_BITS if quantizer is None else quantizer.get_bitwidth()  # type: ignore[operator]
    constants = torch.tensor([weight.numel(), len(weight)], device=weight.device)
    counts = (constants[0], zero.sum(), constants[1], empty_channels, torch.as_tensor(bits, device=weight.device))
    return torch.stack([count.to(torch.int64) for count in counts])


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty
