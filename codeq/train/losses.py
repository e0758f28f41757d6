"""Loss terms added to the cross-entropy: `lambda * term(model, **kwargs)`, from a closed registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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


@loss_term("group_lasso")
def group_lasso(model: nn.Module, lambda_linear: float = 1e-4, lambda_conv: float = 1e-4) -> Tensor:
    """Sum of the L2 norms of the weight columns, which pulls whole columns to zero; a scalar >= 0.

    Columns of a linear layer's [out, in] weight are its input features; a convolution's weight is viewed as
    [out, in * kH * kW]. The weight read is the quantized one. The gradient of an all-zero column is 0.
    """
    factors = ((nn.Linear, lambda_linear), (nn.Conv2d, lambda_conv))
    norms = [
        factor * torch.linalg.vector_norm(module.weight.flatten(1), dim=0).sum()
        for module in model.modules()
        for kind, factor in factors
        if isinstance(module, kind) and factor
    ]
    return torch.stack(norms).sum() if norms else torch.zeros((), device=next(model.parameters()).device)


def added_loss(model: nn.Module, terms: Sequence[GroupLasso]) -> Tensor | float:
    """What the configured terms add to the cross-entropy: sum of lambda * term(model, **kwargs)."""
    return sum(
        (term.lambda_ * get_loss_term(term.name)(model, **_arguments(term)) for term in terms if term.lambda_),
        start=0.0,
    )


def _arguments(term: GroupLasso) -> dict[str, Any]:
    return term.kwargs.model_dump(by_alias=True)
