"""Under vmap on a CPU: the operators that sum, run by run, by the very kernels that a run alone would call.

A batched product is no quicker there than its parts one after the other, and it rounds differently. Quantizers and Adam
make jumps of a difference in the last bit. What has no sum in it gives the same bits batched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _conv2d(images: Tensor, weight: Tensor, *args: Any) -> Tensor:
    """The convolution in the memory format that a run alone has."""
    images, weight = (x.to(memory_format=torch.channels_last) for x in (images, weight))
    return torch.conv2d(images, weight, *args)


_SUMMING: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.linear: F.linear,
    torch.conv2d: _conv2d,
    F.batch_norm: F.batch_norm,
    F.layer_norm: F.layer_norm,
    F.scaled_dot_product_attention: F.scaled_dot_product_attention,
}
"""Those of the MLP, the ResNets and the vision transformer; what other networks sum besides may round differently."""


class PerRunOps(TorchFunctionMode):
    """While it is active, the summing operators treat each run of a vmapped call by itself."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _SUMMING:
            return _PerRunOp.apply(_SUMMING[func], tuple(named), *args, *named.values())
        return func(*args, **named)


class _PerRunOp(torch.autograd.Function):
    """Exists for its vmap rule; what that calls is recorded by autograd as usual. names: of the last arguments."""

    @staticmethod
    def forward(func: Callable[..., Tensor], names: tuple[str, ...], *args: Any) -> Tensor:
        return _call(func, names, args)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], func: Callable[..., Tensor], names: tuple[str, ...], *args: Any
    ) -> tuple[Tensor, int]:
        by_run = [
            [arg] * info.batch_size if dim is None or not isinstance(arg, Tensor) else arg.unbind(dim)
            for arg, dim in zip(args, in_dims[2:], strict=True)
        ]
        return _stack([_call(func, names, of_run) for of_run in zip(*by_run, strict=True)]), 0


def _call(func: Callable[..., Tensor], names: tuple[str, ...], args: Sequence[Any]) -> Tensor:
    positional = len(args) - len(names)
    return func(*args[:positional], **dict(zip(names, args[positional:], strict=True)))


def _stack(tensors: list[Tensor]) -> Tensor:
    """torch.stack, whose slices have the memory format of `tensors`."""
    if tensors[0].dim() == 4 and tensors[0].is_contiguous(memory_format=torch.channels_last):
        return torch.stack([tensor.permute(0, 2, 3, 1) for tensor in tensors]).permute(0, 1, 4, 2, 3)
    return torch.stack(tensors)
