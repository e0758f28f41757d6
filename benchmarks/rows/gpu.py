"""One GPU: a run recorded as a CUDA graph against the same run step by step, and runs that share the GPU.

A trial-epoch is 4,608 training images of 3x32x32 at batch 128, validation included. All rows together take at most six
minutes; a row that fails contains the reason and does not affect the others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.configs import synthetic_config
from benchmarks.options import ROOT, Options
from benchmarks.profile import top_operators
from benchmarks.row import Row, interleave
from codeq.config.text import first_line
from codeq.train.loop import create_train_state, fit
from codeq.train.step import TrainStep

TARGETS = {"mlp": 20.0, "resnet20": 4.0}
"""For a single run, recorded, with the default precision, against the same run in float32 step by step."""
PROCESSES = 8
SECONDS = 6.0
FP32 = "precision=fp32"

Measure = Callable[[], float]
Pairs = tuple[list[float], list[float]]


def gpu(options: Options) -> list[Row]:
    """Measure three rows for each network."""
    missing = "" if torch.cuda.is_available() else "no GPU"
    with _mps(not missing) as environment:
        return [row for model in TARGETS for row in _rows(model, options, environment, missing)]


def _rows(model: str, options: Options, environment: dict[str, str], missing: str) -> Iterator[Row]:
    name, rounds = f"one GPU, {model}", options.rounds(5)

    def row(what: str, against: str, measure: Callable[[], Pairs], target: float | None) -> Row:
        if missing:
            return Row(f"{name}, {what}", "/s", against, target=target, not_run=missing)
        try:
            ours, theirs = measure()
        except Exception as error:  # the other rows are measured even if one fails
            return Row(f"{name}, {what}", "/s", against, target=target, not_run=f"failed: {first_line(error)}")
        finally:
            torch.cuda.empty_cache()
        found = Row(f"{name}, {what}", "/s", against, ours, theirs, target=target)
        if found.missed:
            found.profile.extend(top_operators(one_run(model, options), times=1, on_gpu=True))
        return found

    yield row(
        "one run, trial-epochs", "the same in float32, step by step",
        lambda: interleave(one_run(model, options), one_run(model, options, FP32, graphed=False), rounds),
        TARGETS[model],
    )  # fmt: skip
    yield row(
        "one run, trial-epochs", "the same compiled (use_compile: 1)",
        lambda: interleave(one_run(model, options), one_run(model, options, "use_compile=1"), rounds),
        None,
    )  # fmt: skip
    shared = "" if missing else ", with MPS" if environment else ", without MPS"
    yield row(
        f"{PROCESSES} runs in a process each{shared}, trial-epochs", "one after the other",
        lambda: interleave(
            lambda: sharing(model, options, environment), one_run(model, options), options.rounds(3), warmups=0
        ),
        None,
    )  # fmt: skip


def one_run(model: str, options: Options, *overrides: str, graphed: bool = True, device: str = "cuda") -> Measure:
    """Return a function that trains a run for one epoch and returns trial-epochs per second."""
    state = create_train_state(synthetic_config(model, [f"device={device}", *options.overrides, *overrides]))
    if not graphed:
        state.step = TrainStep(state.loss, state.optimizer, state.device)
    rows = fit(state)

    def rate() -> float:
        started = time.perf_counter()
        next(rows)
        return 1 / (time.perf_counter() - started)

    return rate


def sharing(model: str, options: Options, environment: dict[str, str], device: str = "cuda") -> float:
    """Return trial-epochs per second of several processes that train at the same time."""
    seconds = str(options.rounds(int(SECONDS), 3))
    command = [sys.executable, "-m", "benchmarks.gpu_process", model, device, seconds, *options.overrides]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, text=True, env={**os.environ, **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    try:
        for process in started:
            process.stdout.readline()  # type: ignore[union-attr]
        for process in started:
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        return sum(float(process.communicate(timeout=60)[0]) for process in started)
    finally:
        for process in started:
            process.kill()


@contextlib.contextmanager
def _mps(wanted: bool) -> Iterator[dict[str, str]]:
    """Run NVIDIA's Multi-Process Service during the measurement; yields the environment variables for its clients."""
    if not wanted or shutil.which("nvidia-cuda-mps-control") is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        names = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {**os.environ, **names}
        if subprocess.run(["nvidia-cuda-mps-control", "-d"], env=environment).returncode:
            yield {}
            return
        try:
            yield names
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input="quit\n", text=True, env=environment, timeout=30)
