"""The training loop, shared by single runs and sweep trials: `for row in fit(create_train_state(config)): ...`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from codeq.config.run import RunConfig
from codeq.config.sweep import Scheduler
from codeq.data import Batches, DataSplits, load_data
from codeq.quant import all_layers_quantized, quantized_layers
from codeq.train.batch_of_one import check_batch_of_one
from codeq.train.compression import Compression, measure_compression
from codeq.train.device import prepare_device
from codeq.train.fed_channels import FedChannels
from codeq.train.health import diagnose
from codeq.train.loss_terms import weighted_terms
from codeq.train.macs import dense_macs
from codeq.train.network import build_network
from codeq.train.optimizer import build_optimizer
from codeq.train.precision import Precision, autocast, set_precision
from codeq.train.schedule import build_schedule
from codeq.train.step import GraphedStep, TrainStep
from codeq.train.torch_compile import check_compiler, choose_loss
from codeq.train.training_loss import TrainingLoss, memory_format
from codeq.train.weight_use import weight_of

log = logging.getLogger(__name__)

GRACE_EPOCHS: int = Scheduler.model_fields["grace_epochs"].default

Status = Literal["running", "finished", "diverged", "collapsed"]


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch reports. Units and meanings: `codeq.config.metrics`.

    epoch: completed epochs, from 1. loss: mean training loss, added terms included. train_acc: over the epoch's
    augmented batches. val_acc: on the validation split, after the epoch. lr: of the base group during the epoch.
    images_per_s: training images over the time of the training steps alone. val_images: those that val_acc counts.
    """

    epoch: int
    loss: float
    train_acc: float
    val_acc: float
    sparsity: float
    structured_sparsity: float
    rel_bops: float
    structured_bops: float
    mean_bits: float
    lr: float
    epoch_s: float
    images_per_s: float
    val_images: int
    status: Status = "running"
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return asdict(self)


@dataclass
class TrainState:
    """Everything that training changes, and what a step needs.

    macs: see `dense_macs`. zero_at_start: the quantized layers that have only zeros before training. epoch: completed
    epochs. compression: after the last of them.
    """

    config: RunConfig
    device: torch.device
    data: DataSplits
    model: nn.Module
    loss: TrainingLoss
    step: TrainStep
    precision: Precision
    optimizer: Optimizer
    scheduler: LRScheduler
    macs: dict[str, int]
    fed_channels: FedChannels
    zero_at_start: frozenset[str]
    epoch: int = 0
    best_val_acc: float = 0.0
    compression: Compression | None = None


def create_train_state(config: RunConfig, data: DataSplits | None = None) -> TrainState:
    """Create the data, the model with attached quantizers, the optimizer and the schedule of a run at epoch 0.

    data: the config's data, if this process has it on the device already. Seeds PyTorch's global generators. Raises
    ValueError for a model, device or compiler that is not available and a network that cannot train on `batch_size`
    images, `codeq.data.DataUnavailable` if files of the data set are missing.
    """
    device = prepare_device(config.device, config.threads)
    check_compiler(config.use_compile, device)
    torch.manual_seed(config.seed)
    data = load_data(config, device) if data is None else data
    info = data.info
    model, unmatched = build_network(config, info, pretrained=config.pretrained)
    for reason in unmatched.values():
        log.info("quantizer.exclude_layers: %s", reason)
    model.to(device).to(memory_format=memory_format(model))
    if min(data.train.batch_size, data.train.num_images) == 1:
        check_batch_of_one(model, info.shape)
    optimizer = build_optimizer(config.optimizer, model)
    precision = set_precision(config.precision, device)
    loss = TrainingLoss(model, weighted_terms(config.loss_terms), precision)
    step = GraphedStep if device.type == "cuda" else TrainStep
    return TrainState(
        config=config,
        device=device,
        data=data,
        model=model,
        loss=loss,
        step=step(loss, optimizer, device),
        precision=precision,
        optimizer=optimizer,
        scheduler=build_schedule(config, optimizer),
        macs=dense_macs(model, info.shape),
        fed_channels=FedChannels(info.shape),
        zero_at_start=frozenset(name for name, layer, _ in quantized_layers(model) if not weight_of(layer).any()),
    )


def fit(state: TrainState, grace_epochs: int = GRACE_EPOCHS) -> Iterator[EpochMetrics]:
    """Train from `state.epoch` on; after each epoch one row is yielded, and `state` can then be saved.

    The last row has a status other than running: finished, or diverged or collapsed with a reason, which ends the
    run. A network at chance counts as collapsed from epoch `grace_epochs` on, and after the last epoch in any case.
    """
    if state.config.use_compile and state.epoch < state.config.epochs:
        batch = next(iter(state.data.train.epoch(state.epoch)))
        steps_left = (state.config.epochs - state.epoch) * len(state.data.train)
        state.step.loss = choose_loss(state.loss, state.config.use_compile, batch, steps_left)
    while state.epoch < state.config.epochs:
        row = _epoch(state, grace_epochs)
        yield row
        if row.status != "running":
            return


def _epoch(state: TrainState, grace_epochs: int) -> EpochMetrics:
    """Train and evaluate one epoch, step the schedule and check the run's health."""
    started = time.perf_counter()
    loss, train_acc = train_steps(state)
    trained = time.perf_counter()
    with parametrize.cached():
        val_acc = evaluate(state, state.data.val)
        compression = measure_compression(state.model, state.macs, state.fed_channels)
    epoch_s = time.perf_counter() - started
    lr = float(state.scheduler.get_last_lr()[0])
    state.scheduler.step()
    state.epoch += 1
    state.best_val_acc = max(state.best_val_acc, val_acc)
    state.compression = compression
    health, reason = diagnose(
        epoch=state.epoch,
        loss=loss,
        val_acc=val_acc,
        empty_layers=compression.empty_layers,
        zero_at_start=state.zero_at_start,
        majority_class_fraction=state.data.majority_class_fraction,
        grace_epochs=min(grace_epochs, state.config.epochs),  # at its end no trial is in its grace period
    )
    status: Status = "finished" if state.epoch == state.config.epochs else "running"
    return EpochMetrics(
        epoch=state.epoch,
        loss=loss,
        train_acc=train_acc,
        val_acc=val_acc,
        sparsity=compression.sparsity,
        structured_sparsity=compression.structured_sparsity,
        rel_bops=compression.rel_bops,
        structured_bops=compression.structured_bops,
        mean_bits=compression.mean_bits,
        lr=lr,
        epoch_s=epoch_s,
        images_per_s=state.data.train.num_images / (trained - started),
        val_images=state.data.val.num_images,
        status=status if health == "healthy" else health,
        reason=reason,
    )


def train_steps(state: TrainState) -> tuple[float, float]:
    """Train one epoch; returns (mean loss, accuracy in percent). The host waits for the device only at the end."""
    state.model.train()
    state.step.begin_epoch()
    images_seen = 0
    for images, labels in state.data.train.epoch(state.epoch):
        state.step(images, labels)
        images_seen += len(labels)
    loss_sum, correct = state.step.sums()
    return loss_sum / images_seen, 100.0 * correct / images_seen


@torch.no_grad()
def evaluate(state: TrainState, batches: Batches) -> float:
    """Return the accuracy in percent on `batches`, in evaluation mode, with the precision used in training."""
    state.model.eval()
    correct = torch.zeros((), device=state.device)
    layout = memory_format(state.model)
    with parametrize.cached(), all_layers_quantized(state.model):
        for images, labels in batches.epoch(0):
            with autocast(state.device, state.precision):
                logits = state.model(images.to(memory_format=layout))
            correct += (logits.float().argmax(1) == labels).sum()
    return 100.0 * correct.item() / batches.num_images
