"""`use_compile`: the compiled forward pass, and with `auto` whether this run is better off with it."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], Tensor]

WORTH_TRYING_S = 600.0
"""With less training left a run stays eager untried: to compile takes up to a minute (ResNet-20, one CPU core)."""

LATER_COMPILES = 2
"""What is compiled once more after the first step: the smaller last batch, and evaluation mode."""

PROBE_STEPS = 5


def compiled(model: nn.Module) -> Forward:
    """The compiled model. What earlier models of this process compiled is dropped: past a limit Dynamo turns eager."""
    torch.compiler.reset()
    forward: Forward = torch.compile(model)
    return forward


def faster_forward(model: nn.Module, step: Callable[[Forward], object], steps_left: int) -> Forward:
    """`model` or its compiled form, whichever is the sooner done with `steps_left` training steps, as measured.

    step: a training step with the given forward pass, backward pass included, without the optimizer. The model's
    buffers and mode and the random number generators are left as they were, the gradients are cleared. A compiled
    step differs from an eager one by rounding. Where compiling fails, it is logged and the model stays eager.
    """
    if not can_compile(_device(model)):
        log.info("use_compile: no compiler for %s, training without", _device(model).type)
        return model
    with _unchanged(model):
        eager_s = _step_seconds(model, model, step)
        if eager_s * steps_left < WORTH_TRYING_S:
            log.info("use_compile: %.0f s of training are too few to compile for", eager_s * steps_left)
            return model
        try:
            forward = compiled(model)
            compile_s = _seconds(model, forward, step)
            compiled_s = _step_seconds(model, forward, step)
        except Exception as error:  # whatever a compiler, its headers or its cache can get wrong
            log.warning("use_compile: compiling failed, training without: %s", str(error).strip().partition("\n")[0])
            torch.compiler.reset()
            return model
    pays = (eager_s - compiled_s) * steps_left > LATER_COMPILES * compile_s
    log.info(
        "use_compile: %.1f ms a step, %.1f compiled after %.0f s, %d steps left: %s",
        1000 * eager_s, 1000 * compiled_s, compile_s, steps_left, "compiled" if pays else "not compiled",
    )  # fmt: skip
    return forward if pays else model


def can_compile(device: torch.device) -> bool:
    """Whether there is what PyTorch compiles with: Triton for CUDA, a C++ compiler for the CPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    return device.type == "cpu" and any(shutil.which(name) for name in compilers if name)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Training steps without traces: afterwards buffers, mode and generators are what they were, gradients None."""
    device, training = _device(model), model.training
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


def _step_seconds(model: nn.Module, forward: Forward, step: Callable[[Forward], object]) -> float:
    """The median time of a step, after one to warm up."""
    return statistics.median([_seconds(model, forward, step) for _ in range(1 + PROBE_STEPS)][1:])


def _seconds(model: nn.Module, forward: Forward, step: Callable[[Forward], object]) -> float:
    _wait(model)
    started = time.perf_counter()
    model.zero_grad(set_to_none=True)
    step(forward)
    _wait(model)
    return time.perf_counter() - started


def _wait(model: nn.Module) -> None:
    if _device(model).type == "cuda":
        torch.cuda.synchronize(_device(model))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
