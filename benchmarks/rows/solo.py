"""One network trained by itself at 3x32x32: the loop of `codeq.train` against the literature's.

Both train on the same made-up images, batch 128, flipped and cropped, with the settings of the published example
configs, all logits learned. Figures are training images a second over the steps of one epoch, without validation.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.configs import synthetic_config
from benchmarks.options import Options
from benchmarks.profile import top_operators
from benchmarks.reference.images import training_loader
from benchmarks.reference.networks import Mlp, ResNet20
from benchmarks.reference.quantizer import attach
from benchmarks.reference.training import adamw, train_epoch
from benchmarks.row import Row, interleave
from codeq.config import RunConfig
from codeq.data import PixelSet, load_raw
from codeq.train.loop import create_train_state, fit

WORKERS = 2
AGAINST = "the literature's loop: PIL, DataLoader with 2 workers, literal quantizer, AdamW"

Measure = Callable[[], float]


def solo_mlp(options: Options) -> list[Row]:
    """The MLP 3072-120-84-10."""
    return [_row("solo training, MLP", Mlp(), "mlp", 10.0, options.rounds(9, 2), options)]


def solo_resnet20(options: Options) -> list[Row]:
    """ResNet-20."""
    return [_row("solo training, ResNet-20", ResNet20(), "resnet20", 2.3, options.rounds(5), options)]


def _row(name: str, literal: nn.Module, model: str, target: float, rounds: int, options: Options) -> Row:
    config = synthetic_config(model, ["device=cpu", f"threads={options.threads}", *options.overrides])
    ours = our_epoch(config)
    own, literature = interleave(ours, literature_epoch(literal, config), rounds)
    row = Row(name, "images/s", AGAINST, own, literature, target=target)
    row.profile.extend(top_operators(ours, times=1) if row.missed else [])
    return row


def our_epoch(config: RunConfig) -> Measure:
    """Each call trains one epoch; images a second as the loop reports them."""
    rows = fit(create_train_state(config))
    return lambda: next(rows).images_per_s


def literature_epoch(model: nn.Module, config: RunConfig) -> Measure:
    """Each call trains one epoch; images a second. The settings are those of `config`."""
    if config.quantizer is None or not config.loss_terms:
        raise ValueError("the literature's loop needs a quantizer and a loss term")
    torch.manual_seed(config.seed)
    attach(model, config.quantizer.exclude_layers, learnable_bit=True, max_bits=8)
    groups = config.optimizer.param_groups
    settings = {name: {"lr": g.lr, "weight_decay": g.weight_decay} for name, g in groups if g is not None}
    optimizer = adamw(model, **settings)
    raw = load_raw(config).train
    if not isinstance(raw, PixelSet):
        raise ValueError(f"the literature's loop needs images in memory, {config.dataset.name} has files")
    count = round((1 - config.val_fraction) * len(raw.labels))
    pixels = np.ascontiguousarray(raw.pixels[:count].transpose(0, 2, 3, 1))
    loader = training_loader(pixels, raw.labels[:count], batch_size=config.batch_size, workers=WORKERS)
    term = config.loss_terms[0]
    linear, conv = (term.lambda_ * factor for factor in (term.kwargs["lambda_linear"], term.kwargs["lambda_conv"]))

    def epoch() -> float:
        started = time.perf_counter()
        train_epoch(model, loader, optimizer, lambda_linear=linear, lambda_conv=conv)
        return len(loader) * config.batch_size / (time.perf_counter() - started)

    return epoch
