"""The training loop of the method's scripts: three parameter groups, group lasso, one epoch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

Batch = tuple[Tensor, Tensor]


def adamw(model: nn.Module, *, base: dict[str, Any], dz: dict[str, Any], bit: dict[str, Any]) -> torch.optim.AdamW:
    """Return AdamW with groups for network, dead-zone logits and bit logits, each with lr and weight_decay."""
    named = list(model.named_parameters())
    dz_logits = [p for name, p in named if name.endswith("logit_dz")]
    bit_logits = [p for name, p in named if name.endswith("logit_bit")]
    weights = [p for name, p in named if not name.endswith(("logit_dz", "logit_bit"))]
    groups = [{"params": weights, **base}, {"params": dz_logits, **dz}, {"params": bit_logits, **bit}]
    return torch.optim.AdamW([group for group in groups if group["params"]])


def group_lasso(model: nn.Module, lambda_linear: float, lambda_conv: float) -> Tensor:
    """Sum the L2 norms of the quantized weights' columns; reading `module.weight` quantizes again."""
    total = torch.zeros(())
    for module in model.modules():
        if isinstance(module, nn.Linear):
            total = total + lambda_linear * torch.norm(module.weight, dim=0).sum()
        elif isinstance(module, nn.Conv2d):
            total = total + lambda_conv * torch.norm(module.weight.flatten(1), dim=0).sum()
    return total


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    lambda_linear: float,
    lambda_conv: float,
) -> tuple[float, float]:
    """Train one epoch; returns (mean loss, accuracy in percent)."""
    model.train()
    loss_sum = correct = seen = 0.0
    for images, labels in batches:
        logits = model(images)
        loss = F.cross_entropy(logits, labels) + group_lasso(model, lambda_linear, lambda_conv)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    return loss_sum / seen, 100 * correct / seen


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> float:
    """Return the accuracy in percent."""
    model.eval()
    correct = seen = 0.0
    for images, labels in batches:
        correct += (model(images).argmax(1) == labels).sum().item()
        seen += len(labels)
    return 100 * correct / seen


@torch.no_grad()
def sparsity(model: nn.Module) -> float:
    """Return the share of zeros among the quantized weights, 0..1."""
    layers: list[Any] = [module for module in model.modules() if parametrize.is_parametrized(module, "weight")]
    zeros = torch.cat([(layer.weight == 0).flatten() for layer in layers])
    return float(zeros.float().mean())
