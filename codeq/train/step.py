"""How a run computes its training steps: as written, compiled, or replayed from CUDA graphs (`use_compile`)."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codeq.config.text import first_line
from codeq.train.compilation import can_compile, compiled
from codeq.train.cuda_graph import can_capture, captured
from codeq.train.device import synchronize
from codeq.train.losses import WeightedTerm
from codeq.train.optimizer import split_parameters
from codeq.train.training_loss import Forward, Loss, TrainingLoss

log = logging.getLogger(__name__)

MIN_COMPILE_S = 600.0
"""With less training left a run is not compiled untried: to compile takes up to a minute (ResNet-20, one CPU core)."""

LATER_COMPILES = 2
"""What is compiled once more after the first step: evaluation mode, and its smaller last batch."""

MIN_CAPTURE_STEPS = 100
"""With fewer steps left no CUDA graphs are recorded: to record and to check them takes some twenty."""

PROBE_STEPS = 5

TOLERANCE = 0.01
"""How far a replay's gradients may be from those of the step that was recorded, relative to their norm, by group."""


@dataclass(frozen=True)
class Step:
    """One way to compute. forward: in evaluation. loss: in training."""

    forward: Forward
    loss: Loss


def eager_step(model: nn.Module, terms: Sequence[WeightedTerm]) -> Step:
    """As written."""
    return Step(model, TrainingLoss(model, model, terms))


def compiled_step(model: nn.Module, terms: Sequence[WeightedTerm]) -> Step:
    """With a compiled forward and backward pass, which differs by rounding."""
    forward = compiled(model)
    return Step(forward, TrainingLoss(model, forward, terms))


def quickest_step(
    model: nn.Module, terms: Sequence[WeightedTerm], batch: tuple[Tensor, Tensor], steps_left: int
) -> Step:
    """The way to compute that is the soonest done with `steps_left` training steps, as measured on `batch`.

    batch: images (B, C, S, S) and labels (B,). The model's buffers and mode and the random number generators are left
    as they were, the gradients are cleared. A way that fails is logged and not taken.
    """
    with _unchanged(model):
        return _StepAutotuner(model, terms, batch, steps_left).quickest()


@dataclass(frozen=True)
class _StepVariant:
    """A measured step. step_s: what one takes, in seconds; setup_s: what is still to come once."""

    name: str
    step: Step
    step_s: float
    setup_s: float = 0.0

    def left_s(self, steps: int) -> float:
        return steps * self.step_s + self.setup_s


class _StepAutotuner:
    def __init__(
        self, model: nn.Module, terms: Sequence[WeightedTerm], batch: tuple[Tensor, Tensor], steps_left: int
    ) -> None:
        self._model, self._terms, self._batch, self._steps_left = model, terms, batch, steps_left
        self._device = batch[0].device

    def quickest(self) -> Step:
        eager = eager_step(self._model, self._terms)
        variants = [_StepVariant("eager", eager, self._step_s(eager))]
        if self._worth_compiling(variants[0]):
            variants += self._compiled()
        if can_capture(self._device) and self._steps_left >= MIN_CAPTURE_STEPS:
            variants += self._captured(self._best(variants))  # only one, and last: what was recorded keeps its memory
        best = self._best(variants)
        if len(variants) > 1:
            times = ", ".join(f"{1000 * variant.step_s:.1f} {variant.name}" for variant in variants)
            log.info("use_compile: ms a step: %s; %d steps left: %s", times, self._steps_left, best.name)
        return best.step

    def _best(self, variants: Sequence[_StepVariant]) -> _StepVariant:
        return min(variants, key=lambda variant: variant.left_s(self._steps_left))

    def _worth_compiling(self, eager: _StepVariant) -> bool:
        left_s = eager.left_s(self._steps_left)
        if not can_compile(self._device):
            log.info("use_compile: no compiler for %s, training without", self._device.type)
            return False
        if left_s < MIN_COMPILE_S:
            log.info("use_compile: %.0f s of training are too few to compile for", left_s)
            return False
        return True

    def _compiled(self) -> list[_StepVariant]:
        try:
            step = compiled_step(self._model, self._terms)
            compile_s = self._seconds(step)
            return [_StepVariant("compiled", step, self._step_s(step), LATER_COMPILES * compile_s)]
        except Exception as error:  # whatever a compiler, its headers or its cache can get wrong
            log.warning("use_compile: compiling failed, training without: %s", first_line(error))
            torch.compiler.reset()
            return []

    def _captured(self, variant: _StepVariant) -> list[_StepVariant]:
        """`variant` as CUDA graphs, if replayed they have its gradients."""
        images, labels = self._batch
        try:
            # Recorded with another batch than it is checked with: what it took for constant shows.
            forward = variant.step.forward
            loss = captured(TrainingLoss(self._model, forward, self._terms), images.flip(0), labels.roll(1))
            step = Step(forward, loss)
            for expected, found in zip(self._gradients(variant.step), self._gradients(step), strict=True):
                if not (found - expected).norm() <= TOLERANCE * expected.norm():  # nor if they are NaN
                    raise RuntimeError("replayed, it has other gradients")
            return [_StepVariant(f"{variant.name} in CUDA graphs", step, self._step_s(step), variant.setup_s)]
        except Exception as error:  # whatever a model does that cannot be recorded; a lost GPU fails the next step too
            log.warning("use_compile: no CUDA graphs of the step: %s", first_line(_cause(error)))
            return []

    def _gradients(self, step: Step) -> list[Tensor]:
        """A step's gradients, those of a parameter group end to end, with the same random numbers whenever asked."""
        torch.manual_seed(0)
        self._seconds(step)
        groups = split_parameters(self._model).values()
        gradients = [[p.grad.flatten() for p in group if p.grad is not None] for group in groups]
        return [torch.cat(of_group) for of_group in gradients if of_group]

    def _step_s(self, step: Step) -> float:
        """The median time of a step, after one to warm up."""
        return statistics.median([self._seconds(step) for _ in range(1 + PROBE_STEPS)][1:])

    def _seconds(self, step: Step) -> float:
        """Of a training step without the optimizer."""
        synchronize(self._device)
        started = time.perf_counter()
        self._model.zero_grad(set_to_none=True)
        step.loss(*self._batch)[0].backward()
        synchronize(self._device)
        return time.perf_counter() - started


def _cause(error: BaseException) -> BaseException:
    """What went wrong first: recording that fails ends with an error of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Training steps without traces: afterwards buffers, mode and generators are what they were, gradients None."""
    device, training = next(model.parameters()).device, model.training
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.train()
        try:
            yield
        finally:
            model.train(training)
            model.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, value in before:
                    buffer.copy_(value)
