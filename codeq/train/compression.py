"""Compression metrics of a model: sparsity, bits, and bit operations relative to the dense 32-bit model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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


def dense_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Multiply-accumulates per image of every conv and linear layer by name, as if all its weights were non-zero.

    Computed from the output shapes of one forward pass of a (1, *input_shape) image: a convolution counts c_in c_out
    k_h k_w m_h m_w, a transformer's linear layer is counted once per token, a layer that is not called counts 0.
    """
    macs = {name: 0 for name, _ in _arithmetic_layers(model)}

    def count(name: str) -> _Hook:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            weight: Tensor = module.weight  # type: ignore[assignment]
            macs[name] += output.numel() * weight[0].numel()

        return hook

    _run_once(model, input_shape, {module: count(name) for name, module in _arithmetic_layers(model)})
    return macs


@torch.no_grad()
def fed_channels(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Which input channels of every conv and linear layer are fed by something: (c_in,) bool by the layer's name.

    One forward pass of a (1, *input_shape) image, in which the output of each of these layers is replaced: positive
    numbers in the channels that have a weight, zeros in the others. Norms pass them on unchanged, since what they and
    the biases add to an empty channel is a constant that the next layer's bias can hold. A channel that is zero
    everywhere when it arrives at a layer is not fed. This follows any wiring (residual sums, concatenation, padding);
    what adds numbers by itself, such as a position embedding, feeds its channels, so the result errs towards fed.
    """
    fed: dict[str, Tensor] = {}

    def replace(name: str) -> _Hook:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            is_conv, arriving = isinstance(module, nn.Conv2d), inputs[0] != 0
            arrived = arriving.transpose(1, -1) if is_conv else arriving
            found = arrived.flatten(0, -2).any(0)
            fed[name] = fed[name] | found if name in fed else found
            has_weight = ~_empty_channels(module.weight)  # type: ignore[arg-type]
            # All different: equal numbers would cancel where a mean is subtracted.
            numbers = torch.arange(output.numel(), device=output.device, dtype=output.dtype).sin().add(1.5)
            return numbers.view(output.shape) * (has_weight.view(-1, 1, 1) if is_conv else has_weight)

        return hook

    def pass_on(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return inputs[0]

    hooks: dict[nn.Module, _Hook] = {module: replace(name) for name, module in _arithmetic_layers(model)}
    _run_once(model, input_shape, hooks | {module: pass_on for module in model.modules() if isinstance(module, _NORMS)})
    return fed


_Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@torch.no_grad()
def _run_once(model: nn.Module, input_shape: tuple[int, int, int], hooks: dict[nn.Module, _Hook]) -> None:
    """Forward an image of ones in evaluation mode with these forward hooks; the model stays as it was."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    training = model.training
    try:
        model.eval()(torch.ones(1, *input_shape, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()


def _arithmetic_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))


@torch.no_grad()
def measure_compression(
    model: nn.Module, macs: dict[str, int], input_shape: tuple[int, int, int]
) -> Compression:
    """Return the current compression of `model`; `macs` from `dense_macs`. One transfer from the device."""
    return compression_of(model, macs, count_weights(model, macs, input_shape).tolist())


def count_weights(model: nn.Module, macs: dict[str, int], input_shape: tuple[int, int, int]) -> Tensor:
    """The counts of each measured layer, the input of `compression_of`: (layers, 7) int64."""
    quantizers, modules, fed = _quantizers(model), dict(model.named_modules()), fed_channels(model, input_shape)
    return torch.stack(
        [_counts(modules[name], quantizers.get(name), fed.get(name)) for name in _measured(quantizers, macs)]
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


def _counts(module: nn.Module, quantizer: nn.Module | None, fed: Tensor | None) -> Tensor:
    """(7,) int64: weights, zeros, output channels, all-zero output channels, bits, connected pairs of an input and an
    output channel, and the pairs of a fed input channel and an output channel with a weight.

    fed: the input channels that are fed; None for a norm, or a layer that the forward pass does not reach.
    """
    weight: Tensor = module.weight  # type: ignore[assignment]
    empty = _empty_channels(weight)
    groups = int(getattr(module, "groups", 1))
    inputs = weight.shape[1] if weight.dim() > 1 else 1  # of each output channel
    has_weight = (~empty).view(groups, -1).sum(1)
    pairs_left = has_weight.sum() * inputs if fed is None else (has_weight * fed.view(groups, -1).sum(1)).sum()
    bits = FULL_BITS if quantizer is None else quantizer.get_bitwidth()  # type: ignore[operator]
    constants = torch.tensor([weight.numel(), len(weight), len(weight) * inputs], device=weight.device)
    counts = (
        constants[0], (weight == 0).sum(), constants[1], empty.sum(), torch.as_tensor(bits, device=weight.device),
        constants[2], pairs_left,
    )  # fmt: skip
    return torch.stack([count.to(torch.int64) for count in counts])


def _empty_channels(weight: Tensor) -> Tensor:
    """(c_out,) bool: the output channels whose weights are all zero; of a norm each weight is a channel."""
    return (weight == 0).reshape(len(weight), -1).all(1)


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty
