"""One epoch of K runs at once: the solo loop's model, quantizers and loss terms under `torch.func.vmap`."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrize

from codeq.data import epochs_together
from codeq.quant import bake, quantize_stacked
from codeq.train.compression import compression_of, count_weights
from codeq.train.fused.optimizer import RunByRunOptimizer, StackedOptimizer, stack_optimizer
from codeq.train.fused.run_by_run import PerRunOps
from codeq.train.fused.stack import Stack, stack_runs, unstack_runs
from codeq.train.loop import EpochMetrics, Measured, TrainState, complete_epoch
from codeq.train.losses import WeightedTerm, added_loss, weighted_terms

Optimizers = StackedOptimizer | RunByRunOptimizer


def train_together(states: Sequence[TrainState], grace_epochs: int) -> list[EpochMetrics]:
    """Train each run one epoch further, all of them at once; afterwards each is ready to be saved, as after `fit`.

    states: of configs with one `fusion_key`, their images resident on one device, with the data of one of them
    (`DataSplits.with_seed`). They may be in different epochs. Returns their rows in order; a row's times are the
    run's share of the epoch's.

    Raises RuntimeError if the model draws random numbers (dropout): under vmap they would not be the run's own.
    """
    started = time.perf_counter()
    stack = stack_runs(states)
    optimizers = _stack_optimizers(stack, states)
    losses, train_accs = _train(stack, optimizers, states)
    trained = time.perf_counter()
    val_accs = _evaluate(stack, states)
    counts = _count(stack, states[0])
    # Only now, so that an epoch that fails half way (out of memory) leaves every run as it was.
    unstack_runs(stack, states)
    for optimizer in optimizers:
        optimizer.write_back()
    train_s, epoch_s = ((now - started) / len(states) for now in (trained, time.perf_counter()))
    rows = []
    with warnings.catch_warnings():
        # The schedules have not seen their own optimizers step.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        for k, state in enumerate(states):
            compression = compression_of(state.model, state.macs, counts[k])
            measured = Measured(losses[k], train_accs[k], val_accs[k], compression, train_s, epoch_s)
            rows.append(complete_epoch(state, measured, grace_epochs))
    return rows


def train_steps_together(states: Sequence[TrainState]) -> None:
    """The training steps of `train_together` for their time only: no run is changed."""
    stack = stack_runs(states)
    _train(stack, _stack_optimizers(stack, states), states)


def _stack_optimizers(stack: Stack, states: Sequence[TrainState]) -> list[Optimizers]:
    optimizers = [state.optimizer for state in states]
    return [stack_optimizer(group, optimizers, len(states[0].data.train)) for group in stack.groups]


def _train(
    stack: Stack, optimizers: Sequence[Optimizers], states: Sequence[TrainState]
) -> tuple[list[float], list[float]]:
    """One pass of every run over its training batches: mean losses, and accuracies in percent."""
    model, runs, device = states[0].model.train(), len(states), states[0].device
    forward = _forward_with_added_loss(model, stack, states)
    loss_sum, correct, images_seen = torch.zeros(runs, device=device), torch.zeros(runs, device=device), 0
    epochs = [state.epoch for state in states]
    for images, labels in epochs_together([state.data.train for state in states], epochs):
        logits, added = forward(images)  # (K, B, classes), (K,)
        loss = _cross_entropies(logits, labels) + added
        loss.sum().backward()
        with torch.no_grad():
            for optimizer in optimizers:
                optimizer.step()
            images_seen += labels.shape[1]
            loss_sum += loss * labels.shape[1]
            correct += (logits.argmax(2) == labels).sum(1)
    return [total / images_seen for total in loss_sum.tolist()], _percent(correct, images_seen)


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Each run's mean cross-entropy (K,), on a CPU by the very sum that a run alone takes. logits: (K, B, classes)."""
    if logits.device.type == "cpu":
        return torch.stack([F.cross_entropy(*of_run) for of_run in zip(logits, labels, strict=True)])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(1)


def _percent(correct: Tensor, images: int) -> list[float]:
    return [100.0 * count / images for count in correct.tolist()]


def _forward_with_added_loss(
    model: nn.Module, stack: Stack, states: Sequence[TrainState]
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """From images (K, B, C, S, S) to logits (K, B, classes) and what the loss terms add (K,)."""
    plain = bake(model)
    fixed, numbers = _stacked_terms(states)

    def one(tensors: dict[str, Tensor], images: Tensor, numbers: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor]:
        terms = [_term(term, values) for term, values in zip(fixed, numbers, strict=True)]

        def forward(inner: nn.Module) -> tuple[Tensor, Tensor]:
            logits: Tensor = inner(images)
            return logits, logits.new_zeros(()) + added_loss(inner, terms)

        found: tuple[Tensor, Tensor] = _call(plain, tensors, forward)
        return found

    stacked = vmap(one)
    return lambda images: stacked(_plain_tensors(model, stack), images, numbers)


def _plain_tensors(model: nn.Module, stack: Stack) -> dict[str, Tensor]:
    """What the layers compute with, by its name in the model without parametrizations, (K, *shape) each."""
    tensors = stack.tensors
    plain = {name: tensor for name, tensor in tensors.items() if ".parametrizations." not in name}
    for name, weight in quantize_stacked(model, tensors).items():
        plain[name.replace(".parametrizations.", ".").removesuffix(".original")] = weight
    return plain


def _stacked_terms(states: Sequence[TrainState]) -> tuple[list[WeightedTerm], list[dict[str, Tensor]]]:
    """The loss terms of the first run, and of each the coefficient (under "") and the floats among its arguments, (K,)
    each. Terms off in every run are left out."""
    by_run = [weighted_terms(state.config.loss_terms) for state in states]
    fixed, numbers = [], []
    for terms in zip(*by_run, strict=True):
        if any(term.coefficient for term in terms):
            fixed.append(terms[0])
            values = [{"": term.coefficient, **term.arguments} for term in terms]
            floats = [key for key, value in values[0].items() if isinstance(value, float)]
            device = states[0].device
            numbers.append({key: torch.tensor([value[key] for value in values], device=device) for key in floats})
    return fixed, numbers


def _term(fixed: WeightedTerm, numbers: dict[str, Tensor]) -> WeightedTerm:
    """A run's own term: what is the same in all runs, and its own numbers."""
    own = {key: value for key, value in numbers.items() if key}
    return WeightedTerm(fixed.name, numbers[""], {**fixed.arguments, **own})



class _Call(nn.Module):
    """Runs a function of a model inside `functional_call`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        on_cpu = next(model.parameters()).device.type == "cpu"
        self._mode: contextlib.AbstractContextManager[Any] = PerRunOps() if on_cpu else contextlib.nullcontext()

    def forward(self, function: Callable[[nn.Module], Any]) -> Any:
        with parametrize.cached(), self._mode:
            return function(self.model)


def _call(model: nn.Module, tensors: dict[str, Tensor], function: Callable[[nn.Module], Any]) -> Any:
    """`function(model)` while the model's parameters and buffers are `tensors`."""
    return functional_call(_Call(model), {f"model.{name}": tensor for name, tensor in tensors.items()}, (function,))


@torch.no_grad()
def _evaluate(stack: Stack, states: Sequence[TrainState]) -> list[float]:
    """Each run's accuracy on the validation images, in percent."""
    model, val = states[0].model.eval(), states[0].data.val
    plain, tensors = bake(model), _plain_tensors(model, stack)
    correct = torch.zeros(len(states), device=states[0].device)

    def one(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = _call(plain, tensors, lambda inner: inner(images))
        return logits

    for images, labels in _parts(val.epoch(0), len(states), val.batch_size):
        logits = vmap(one, in_dims=(0, None))(tensors, images)  # (K, B, classes)
        correct += (logits.argmax(2) == labels).sum(1)
    return _percent(correct, val.num_images)


def _parts(batches: Iterator[tuple[Tensor, Tensor]], runs: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, small enough that the runs' activations together take no more room than one run's."""
    for images, labels in batches:
        size = max(1, batch_size // runs)
        yield from zip(images.split(size), labels.split(size), strict=True)


@torch.no_grad()
def _count(stack: Stack, state: TrainState) -> list[list[list[int]]]:
    """Each run's counts of `count_weights`, in one transfer from the device."""

    def one(tensors: dict[str, Tensor]) -> Tensor:
        counts: Tensor = _call(state.model, tensors, lambda inner: count_weights(inner, state.macs))
        return counts

    found: list[list[list[int]]] = vmap(one)(stack.tensors).tolist()
    return found
