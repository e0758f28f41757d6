"""Loss terms added to the cross-entropy: `lambda * term(model, **kwargs)`, from a closed registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeq.config.run import GroupLasso

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


Factor = float | Tensor
"""A factor of a loss: a number, or a scalar tensor where several runs with their own numbers train together."""


@loss_term("group_lasso")
def group_lasso(model: nn.Module, lambda_linear: Factor = 1e-4, lambda_conv: Factor = 1e-4) -> Tensor:
    """Sum of the L2 norms of the weight columns, which pulls whole columns to zero; a scalar >= 0.

    Columns of a linear layer's [out, in] weight are its input features; a convolution's weight is viewed as
    [out, in * kH * kW]. The weight read is the quantized one. The gradient of an all-zero column is 0.
    """
    factors = ((nn.Linear, lambda_linear), (nn.Conv2d, lambda_conv))
    weighted = [
        (factor, module.weight)
        for module in model.modules()
        for kind, factor in factors
        if isinstance(module, kind) and not _is_zero(factor)
    ]
    if not weighted:
        return torch.zeros((), device=next(model.parameters()).device)
    return torch.stack([factor * column_norms(w).sum() for factor, w in weighted]).sum()


def column_norms(w: Tensor) -> Tensor:
    """The L2 norms of the columns of `w` [rows, ...] -> one for each place in `...`; a zero column's gradient is 0."""
    norms: Tensor = torch.linalg.vector_norm(w.flatten(1), dim=0)
    return norms


@dataclass(frozen=True)
class WeightedTerm:
    """`factor * term(model, **arguments)`, the term by its YAML name."""

    name: str
    factor: Factor
    arguments: Mapping[str, Factor]


def weighted_terms(terms: Sequence[GroupLasso]) -> list[WeightedTerm]:
    """The configured terms with their numbers."""
    return [WeightedTerm(term.name, term.lambda_, term.kwargs.model_dump(by_alias=True)) for term in terms]


def added_loss(model: nn.Module, terms: Sequence[WeightedTerm]) -> Tensor | float:
    """What the terms add to the cross-entropy: the sum of factor * term(model, **arguments)."""
    at_work = [term for term in terms if not _is_zero(term.factor)]
    return sum((term.factor * get_loss_term(term.name)(model, **term.arguments) for term in at_work), start=0.0)


def _is_zero(factor: Factor) -> bool:
    """Whether a number is 0. A tensor never is: looking at it would make the host wait for the device."""
    return not isinstance(factor, Tensor) and factor == 0
