"""Loss terms added to the cross-entropy: `lambda * term(model, **kwargs)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codeq.config.errors import format_value
from codeq.config.run import LossTermConfig
from codeq.registry import Part


def group_lasso(model: nn.Module, lambda_linear: float = 1e-4, lambda_conv: float = 1e-4) -> Tensor:
    """Return the sum of the L2 norms of the weight columns, a scalar >= 0; it drives whole columns to zero.

    Columns of a linear layer's [out, in] weight are its input features; a convolution's weight is viewed as
    [out, in * kH * kW]. The quantized weight is used. The gradient of an all-zero column is 0.
    """
    coefficients = ((nn.Linear, lambda_linear), (nn.Conv2d, lambda_conv))
    weighted = [
        (coefficient, module.weight)
        for module in model.modules()
        for kind, coefficient in coefficients
        if isinstance(module, kind) and coefficient
    ]
    if not weighted:
        return torch.zeros((), device=next(model.parameters()).device)
    return torch.stack([coefficient * column_norms(w).sum() for coefficient, w in weighted]).sum()


def column_norms(w: Tensor) -> Tensor:
    """The L2 norms of the columns of `w` [rows, ...] -> one for each place in `...`; a zero column's gradient is 0."""
    norms: Tensor = torch.linalg.vector_norm(w.flatten(1), dim=0)
    return norms


@dataclass(frozen=True)
class WeightedTerm:
    """`coefficient * part(model, **arguments)`."""

    part: Part
    coefficient: float
    arguments: Mapping[str, Any]


def weighted_terms(terms: Sequence[LossTermConfig]) -> list[WeightedTerm]:
    """The configured terms with their coefficients."""
    return [WeightedTerm(term.part, term.lambda_, term.part.arguments(term.kwargs)) for term in terms]


def added_loss(model: nn.Module, terms: Sequence[WeightedTerm]) -> Tensor | float:
    """Return the sum of coefficient * part(model, **arguments), which is added to the cross-entropy.

    Raises PluginError if a plug-in's term raises or does not return a scalar tensor.
    """
    return sum((term.coefficient * _value(term, model) for term in terms if term.coefficient), start=0.0)


def _value(term: WeightedTerm, model: nn.Module) -> Tensor:
    value = term.part(model, **term.arguments)
    if not isinstance(value, Tensor) or value.shape != ():
        given = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else format_value(value)
        raise term.part.error(f"gives {given}, must give a scalar tensor")
    return value
