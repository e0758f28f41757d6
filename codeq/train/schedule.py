"""The learning-rate schedule, stepped once per epoch."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from codeq.config.run import RunConfig


def build_schedule(config: RunConfig, optimizer: Optimizer) -> LRScheduler:
    """cosine: from lr to 0 over all epochs; constant; warmup_cosine: linear up over warmup_epochs, then cosine."""
    match config.lr_scheduler:
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=config.epochs)
        case "constant":
            return ConstantLR(optimizer, factor=1.0)
        case "warmup_cosine":
            return _warmup_cosine(optimizer, config.epochs, min(config.warmup_epochs, config.epochs - 1))


def _warmup_cosine(optimizer: Optimizer, epochs: int, warmup: int) -> LRScheduler:
    if warmup == 0:
        return CosineAnnealingLR(optimizer, T_max=epochs)
    up = LinearLR(optimizer, start_factor=1.0 / (warmup + 1), total_iters=warmup)
    down = CosineAnnealingLR(optimizer, T_max=epochs - warmup)
    return SequentialLR(optimizer, [up, down], milestones=[warmup])
