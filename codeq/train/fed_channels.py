"""The input channels of each layer that something feeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from codeq.quant import is_norm
from codeq.train.weight_use import WeightUse, image_of_ones, watch_weights


def fed_channels(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """Which input channels of every conv and linear layer are fed by something: (c_in,) bool by the layer's name.

    One forward pass of a (1, *input_shape) image, in which the output of each of these layers is replaced: positive
    numbers in the channels that have a weight, zeros in the others. Norms pass them on unchanged, since what they and
    the biases add to an empty channel is a constant that the next layer's bias can hold. A channel that is zero
    everywhere when it arrives at a layer is not fed. This follows any wiring (residual sums, concatenation, padding);
    what adds numbers by itself, such as a position embedding, feeds its channels, so the result errs towards fed.
    """
    norms = [module.register_forward_hook(_pass_on) for module in model.modules() if is_norm(module)]
    try:
        with watch_weights(model) as use, _ChannelMarker(use) as marker:
            model(image_of_ones(model, input_shape))
    finally:
        for hook in norms:
            hook.remove()
    fed: dict[str, Tensor] = marker.fed
    return fed


class FedChannels:
    """`fed_channels` of a model, computed again only when other channels are empty than at the last call."""

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        """input_shape: (C, S, S) of an image."""
        self._input_shape = input_shape
        self._empty: bytes | None = None
        self._fed: dict[str, Tensor] = {}

    def __call__(self, model: nn.Module, weights: Iterable[Tensor]) -> dict[str, Tensor]:
        """weights: those of the model that are measured, always the same ones. One transfer from the device."""
        masks = [empty_channels(weight) for weight in weights]
        empty = bytes(torch.cat(masks).tolist()) if masks else b""
        if empty != self._empty:
            self._empty, self._fed = empty, fed_channels(model, self._input_shape)
        return self._fed


def empty_channels(weight: Tensor) -> Tensor:
    """(c_out,) bool: the output channels whose weights are all zero; of a norm each weight is a channel."""
    return (weight == 0).reshape(len(weight), -1).all(1)


def _pass_on(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return inputs[0]


class _ChannelMarker(TorchFunctionMode):
    """Records what arrives at each layer and replaces its output, also if only the layer's weight is read."""

    def __init__(self, use: WeightUse) -> None:
        super().__init__()
        self.fed: dict[str, Tensor] = {}
        self._use = use

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func not in (F.linear, F.conv1d, F.conv2d, F.conv3d):
            return out
        x, weight = _operands(*args, **kwargs)
        name = self._use.name(weight)
        if name is None or weight.shape[1:2] != self._use.weights[name].shape[1:2]:
            return out  # a fixed filter, such as that of a smoothing layer, or another use of a weight
        dim = -1 if func == F.linear else 1
        arrived = (x != 0).transpose(dim, -1).reshape(-1, x.shape[dim]).any(0)
        self.fed[name] = self.fed[name] | arrived if name in self.fed else arrived
        # All different: equal numbers would cancel where a mean is subtracted.
        numbers = torch.arange(out.numel(), device=out.device, dtype=out.dtype).sin().add(1.5).view(out.shape)
        return (numbers.transpose(dim, -1) * ~empty_channels(weight)).transpose(dim, -1)


def _operands(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """The first two parameters of linear and of the convolutions, under their names."""
    return input, weight
