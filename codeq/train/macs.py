"""Multiply-accumulates of each layer of a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from codeq.train.weight_use import LAYERS, WeightUse, image_of_ones, watch_weights


def dense_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Multiply-accumulates per image of every layer by name, as if all its weights were non-zero.

    Every product that one forward pass of a (1, *input_shape) image computes counts for the layer whose weight it uses,
    whether the layer is called or only its weight is read: a convolution c_in c_out k_h k_w m_h m_w, a transformer's
    linear layer once per token. Conv and linear layers of which nothing is computed count 0. Another parameter that a
    product uses is a layer of its own name. Products of activations (attention) and fixed filters are not counted.
    """
    with watch_weights(model) as use, _MacCounter(use) as counter:
        model(image_of_ones(model, input_shape))
    uncomputed = {name: 0 for name, module in model.named_modules() if isinstance(module, LAYERS)}
    return {**uncomputed, **counter.macs}


class _MacCounter(TorchDispatchMode):
    """Adds the products of all operators, also of those that are called by other operators."""

    def __init__(self, use: WeightUse) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[str] = Counter()
        self._use = use

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: what keeps `torch.compile` out of this class imports it, 2 s and 70 MB for each process."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        flops = flop_registry.get(func._overloadpacket)
        if flops is None:
            with self:  # some devices have one kernel for an operator that consists of products
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        name = self._use.name(*args) if flops else None
        if flops and name:
            self.macs[name] += flops(*args, **kwargs, out_val=out) // 2
        return out
