"""`use_compile`: the training step's loss through torch.compile, if its gradients are correct and it is faster."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from codeq.config.text import first_line
from codeq.train.device import is_device_lost, synchronize
from codeq.train.optimizer import split_parameters
from codeq.train.training_loss import Loss, TrainingLoss

log = logging.getLogger(__name__)

MIN_COMPILE_S = 600.0
"""`auto` does not compile if less training remains: compiling takes up to a minute (ResNet-20, one core)."""
PROBE_STEPS = 5
TOLERANCE = 0.01
"""Maximum difference of a parameter's compiled gradient from the eager one, relative to its norm. A hundredth of its
group's norm is added, because a gradient that is 0 but for rounding has no digit that must agree."""

Batch = tuple[Tensor, Tensor]


def choose_loss(loss: TrainingLoss, use_compile: Literal[1, "auto"], batch: Batch, steps_left: int) -> Loss:
    """`loss`, or its compiled form: for 1 if it can be compiled, for `auto` if that is measured to be faster.

    A compiled form whose gradients on `batch` differ from those of `loss` is rejected, because compilers have bugs. The
    model's buffers and mode and the random number generators are restored, the gradients are set to None.
    """
    device = batch[0].device
    if missing := missing_compiler(device):
        log.warning("use_compile: training without: %s", missing)
        return loss
    with _unchanged(loss.model):
        eager_s = _step_s(loss, loss.model, batch)
        if use_compile == "auto" and eager_s * steps_left < MIN_COMPILE_S:
            log.info("use_compile: %.0f s of training are too few to compile for", eager_s * steps_left)
            return loss
        try:
            if device.type == "cpu":
                _import_cuda_search()
            torch.compiler.reset()  # Dynamo stops compiling at a limit that counts the earlier models of this process
            # fallback_random: dropout and the like draw the random numbers of the eager step.
            compiled: Loss = torch.compile(loss, options={"fallback_random": True})
            _check_gradients(_gradients(loss, loss.model, batch), _gradients(compiled, loss.model, batch))
            compiled_s = _step_s(compiled, loss.model, batch)
        except Exception as error:  # a compiler, its headers or its cache can fail in many ways
            if is_device_lost(error):
                raise
            log.warning("use_compile: training without: %s", first_line(error))
            torch.compiler.reset()
            return loss
    log.info("use_compile: %.1f ms a step compiled, %.1f ms without", 1000 * compiled_s, 1000 * eager_s)
    return compiled if use_compile == 1 or compiled_s < eager_s else loss


def missing_compiler(device: torch.device) -> str:
    """What torch.compile needs on `device` and is not installed, as a sentence; empty if nothing is missing."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "Triton is not installed (pip install triton)"
    if device.type != "cpu":
        return f"PyTorch cannot compile for {device.type}"
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    return "" if shutil.which(name) else f"there is no C++ compiler {name} (Debian, Ubuntu: apt install g++)"


def check_compiler(use_compile: Literal[0, 1, "auto"], device: torch.device) -> None:
    """Raise ValueError if compilation is asked for (1) and its tools are not installed."""
    if use_compile == 1 and (missing := missing_compiler(device)):
        raise ValueError(f"use_compile: {missing}; install it, or write use_compile: auto or 0")


def _import_cuda_search() -> None:
    """Import the module in which PyTorch looks for CUDA's files, without its warning that there is no GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    importlib.import_module(logger.name)
    logger.setLevel(level)


def _gradients(loss: Loss, model: nn.Module, batch: Batch) -> dict[str, list[Tensor]]:
    """Return the gradients of each parameter group, 0 where there is none; every call uses the same random numbers."""
    torch.manual_seed(0)
    _pass_s(loss, model, batch)
    return {
        name: [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
        for name, group in split_parameters(model).items()
        if group
    }


def _check_gradients(eager: dict[str, list[Tensor]], compiled: dict[str, list[Tensor]]) -> None:
    """Raise RuntimeError if a parameter's compiled gradient differs too much from the eager one."""
    for name, expected in eager.items():
        norms = torch.stack([gradient.norm() for gradient in expected])
        difference = torch.stack([(b - a).norm() for a, b in zip(expected, compiled[name], strict=True)])
        if not (difference <= TOLERANCE * (norms + norms.norm() / 100)).all():  # a NaN is rejected too
            raise RuntimeError(f"the compiled step has other gradients in group {name}")


def _step_s(loss: Loss, model: nn.Module, batch: Batch) -> float:
    """Seconds of a forward and backward pass: the median of several, after one for warm-up."""
    return statistics.median([_pass_s(loss, model, batch) for _ in range(1 + PROBE_STEPS)][1:])


def _pass_s(loss: Loss, model: nn.Module, batch: Batch) -> float:
    synchronize(batch[0].device)
    started = time.perf_counter()
    model.zero_grad(set_to_none=True)
    loss(*batch)[0].backward()
    synchronize(batch[0].device)
    return time.perf_counter() - started


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """A context for training steps: at its end buffers, mode and generators are restored, gradients are None."""
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
