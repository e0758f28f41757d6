"""Loss terms added to the cross-entropy: `lambda * term(model, **kwargs)`, from a closed registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from codeq.config.run import GroupLasso
from codeq.quant import is_transformed

LossTerm = Callable[..., Tensor]
_TERMS: dict[str, LossTerm] = {}


def loss_term(name: str) -> Callable[[LossTerm], LossTerm]:
    """Register a loss term, a function of (model, **kwargs) that returns a scalar, under its YAML name."""

    def register(term: LossTerm) -> LossTerm:
        if name in _TERMS:
            raise ValueError(f"a loss term called {name} is registered already")
        _TERMS[name] = term
        return term

    return register


def loss_term_names() -> list[str]:
    """The registered names, sorted."""
    return sorted(_TERMS)


def get_loss_term(name: str) -> LossTerm:
    """The term registered under `name`; raises ValueError, listing the names, if there is none."""
    if name not in _TERMS:
        raise ValueError(f"no loss term is called {name}; there are {', '.join(loss_term_names())}")
    return _TERMS[name]


Coefficient = float | Tensor
"""A coefficient of a loss: a number, or a scalar tensor where several runs with their own numbers train together."""


@loss_term("group_lasso")
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
    arguments: Mapping[str, Coefficient]


def weighted_terms(terms: Sequence[GroupLasso]) -> list[WeightedTerm]:
    """The configured terms with their numbers."""
    return [WeightedTerm(term.name, term.lambda_, term.kwargs.model_dump(by_alias=True)) for term in terms]


def added_loss(model: nn.Module, terms: Sequence[WeightedTerm]) -> Tensor | float:
    """What the terms add to the cross-entropy: the sum of coefficient * term(model, **arguments)."""
    at_work = [term for term in terms if not _is_zero(term.coefficient)]
    return sum((term.coefficient * get_loss_term(term.name)(model, **term.arguments) for term in at_work), start=0.0)


def _is_zero(coefficient: Coefficient) -> bool:
    """Whether a number is 0. A tensor never is: looking at it would make the host wait for the device."""
    return not isinstance(coefficient, Tensor) and coefficient == 0
