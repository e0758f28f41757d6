"""Loss terms added to the cross-entropy: `lambda * term(model, **kwargs)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from codeq.config.errors import format_value
from codeq.config.run import LossTermConfig
from codeq.quant import is_transformed
from codeq.registry import LOSS_TERMS

Coefficient = float | Tensor
"""A coefficient of a loss: a number, or a scalar tensor where several runs with their own numbers train together."""


def group_lasso(model: nn.Module, lambda_linear: Coefficient = 1e-4, lambda_conv: Coefficient = 1e-4) -> Tensor:
    """Sum of the L2 norms of the weight columns, which pulls whole columns to zero; a scalar >= 0.

    Columns of a linear layer's [out, in] weight are its input features; a convolution's weight is viewed as
    [out, in * kH * kW]. The weight read is the quantized one. The gradient of an all-zero column is 0.
    """
    coefficients = ((nn.Linear, lambda_linear), (nn.Conv2d, lambda_conv))
    weighted = [
        (coefficient, module.weight)
        for module in model.modules()
        for kind, coefficient in coefficients
        if isinstance(module, kind) and not _is_zero(coefficient)
    ]
    if not weighted:
        return torch.zeros((), device=next(model.parameters()).device)
    return _weighted_norms(*zip(*weighted, strict=True))


def _weighted_norms(coefficients: Sequence[Coefficient], weights: Sequence[Tensor]) -> Tensor:
    """The sum over `weights` [rows, ...] of a coefficient times the sum of the norms of the weight's columns."""
    if is_transformed():
        pairs = zip(coefficients, weights, strict=True)
        norms = [coefficient * column_norms(w.flatten(1)).sum() for coefficient, w in pairs]
        return torch.stack(norms).sum()
    return cast(Tensor, _WeightedNorms.apply(coefficients, *weights))


class _WeightedNorms(torch.autograd.Function):
    """All norms at once, without knowing of transforms: a small layer's time goes into autograd's bookkeeping.

    Differentiable in the weights only.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Sequence[Coefficient], *weights: Tensor) -> Tensor:
        norms = [_norms(w.flatten(1)) for w in weights]
        ctx.coefficients = coefficients
        ctx.save_for_backward(*weights, *norms)
        pairs = zip(coefficients, norms, strict=True)
        return torch.stack([coefficient * norm.sum() for coefficient, norm in pairs]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers = len(ctx.coefficients)
        weights, norms = ctx.saved_tensors[:layers], ctx.saved_tensors[layers:]
        columns = (
            _norms_backward(grad * coefficient, w.flatten(1), norm)
            for coefficient, w, norm in zip(ctx.coefficients, weights, norms, strict=True)
        )
        return None, *(slope.view(w.shape) for slope, w in zip(columns, weights, strict=True))


def column_norms(w: Tensor) -> Tensor:
    """The L2 norms of the columns of `w` [..., rows, columns] -> [..., columns]; an all-zero column's gradient is 0."""
    return cast(Tensor, _ColumnNorms.apply(w))


def _norms(w: Tensor) -> Tensor:
    """torch.linalg.vector_norm in half its passes over the matrix; a sum of squares in float32 is what it takes too."""
    return w.square().sum(-2).sqrt()


def _norms_backward(grad: Tensor, w: Tensor, norms: Tensor) -> Tensor:
    """The gradient of `w` [..., rows, columns]; grad: as `norms` [..., columns], or one for all."""
    return w * torch.where(norms == 0, 0.0, grad / norms).unsqueeze(-2)


class _ColumnNorms(torch.autograd.Function):
    """`column_norms` for vmap."""

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        return _norms(w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _norms_backward(grad, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], w: Tensor) -> tuple[Tensor, int]:
        return column_norms(w.movedim(in_dims[0], 0)), 0


@dataclass(frozen=True)
class WeightedTerm:
    """`coefficient * term(model, **arguments)`, the term by its YAML name."""

    name: str
    coefficient: Coefficient
    arguments: Mapping[str, Any]


def weighted_terms(terms: Sequence[LossTermConfig]) -> list[WeightedTerm]:
    """The configured terms with their numbers."""
    return [WeightedTerm(term.name, term.lambda_, term.part.arguments(term.kwargs)) for term in terms]


def added_loss(model: nn.Module, terms: Sequence[WeightedTerm]) -> Tensor | float:
    """What the terms add to the cross-entropy: the sum of coefficient * term(model, **arguments).

    Raises PluginError if a plug-in's term raises or gives anything but a scalar tensor.
    """
    in_use = [term for term in terms if not _is_zero(term.coefficient)]
    return sum((term.coefficient * _value(term, model) for term in in_use), start=0.0)


def _value(term: WeightedTerm, model: nn.Module) -> Tensor:
    part = LOSS_TERMS[term.name]
    value = part(model, **term.arguments)
    if not isinstance(value, Tensor) or value.shape != ():
        given = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else format_value(value)
        raise part.error(f"gives {given}, must give a scalar tensor")
    return value


def _is_zero(coefficient: Coefficient) -> bool:
    """Whether a number is 0. A tensor never is: looking at it would make the host wait for the device."""
    return not isinstance(coefficient, Tensor) and coefficient == 0
