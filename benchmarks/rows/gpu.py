"""One GPU: many runs trained together in one process, against one after the other and against a process for each; and
one run with `use_compile: auto` against one without.

A trial-epoch is 4,608 training images of 3x32x32 at batch 128, validation included. The share of peak arithmetic is the
ratio of what the matrix products and convolutions do in a second to what one large matrix product does.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.configs import synthetic_config
from benchmarks.options import ROOT, Options
from benchmarks.profile import top_operators
from benchmarks.row import Row, interleave
from codeq.train.fused import train_together
from codeq.train.loop import GRACE_EPOCHS, create_train_state, fit

TOGETHER = {"mlp": (64, 256), "resnet20": (8, 32)}
"""Numbers of runs to train together; the quickest is measured."""
TARGETS = {"mlp": 50.0, "resnet20": 5.0}
PROCESSES = 8
SECONDS = 15.0
MATRIX = 8192

Measure = Callable[[], float]


def gpu(options: Options) -> list[Row]:
    """Four rows for each network."""
    if not torch.cuda.is_available():
        return [row for model in TOGETHER for row in _rows(model, not_run="no GPU")]
    return [row for model in TOGETHER for row in _measured(model, options)]


def _rows(
    model: str,
    solo: tuple[list[float], list[float]] = ([], []),
    processes: tuple[list[float], list[float]] = ([], []),
    peak: tuple[list[float], list[float]] = ([], []),
    auto: tuple[list[float], list[float]] = ([], []),
    runs: int = 0,
    not_run: str = "",
) -> list[Row]:
    name = f"one GPU, {model}, {runs or 'many'} runs together"
    shared = f"{PROCESSES} processes sharing it, a run each"
    alone = f"one GPU, {model}, one run, use_compile: auto"
    return [
        Row(f"{name}, trial-epochs", "/s", "one after the other", *solo, target=TARGETS[model], not_run=not_run),
        Row(f"{name}, trial-epochs", "/s", shared, *processes, not_run=not_run),
        Row(f"{name}, arithmetic", "TFLOP/s", f"a matrix product of {MATRIX:,} squared", *peak, not_run=not_run),
        Row(f"{alone}, trial-epochs", "/s", "use_compile: 0", *auto, not_run=not_run),
    ]


def _measured(model: str, options: Options) -> list[Row]:
    rounds = options.rounds(5)
    rates = {runs: together(model, runs, "cuda", options) for runs in TOGETHER[model]}
    runs = max(rates, key=lambda count: min(rates[count]() for _ in range(2)))
    fused = rates[runs]
    solo = interleave(fused, one_by_one(model, "cuda", options), rounds)
    processes = interleave(fused, lambda: _sharing(model, "cuda", options), options.rounds(3), warmups=0)
    operations = _operations(model, options)
    peak = interleave(lambda: fused() * operations / 1e12, _peak, rounds)
    compiled = one_by_one(model, "cuda", options, "use_compile=auto")
    auto = interleave(compiled, one_by_one(model, "cuda", options), rounds)
    rows = _rows(model, solo, processes, peak, auto, runs)
    if rows[0].missed:
        rows[0].profile.extend(top_operators(fused, times=1, on_gpu=True))
    return rows


def together(model: str, runs: int, device: str, options: Options) -> Measure:
    """Each call trains all of `runs` one epoch; trial-epochs per second."""
    config = synthetic_config(model, [f"device={device}", *options.overrides])
    first = create_train_state(config)
    others = [config.model_copy(update={"seed": seed}) for seed in range(1, runs)]
    states = [first, *(create_train_state(other, first.data.with_seed(other.seed)) for other in others)]

    def rate() -> float:
        started = time.perf_counter()
        train_together(states, GRACE_EPOCHS)
        return runs / (time.perf_counter() - started)

    return rate


def one_by_one(model: str, device: str, options: Options, *overrides: str) -> Measure:
    """Each call trains one run one epoch; trial-epochs per second."""
    rows = fit(create_train_state(synthetic_config(model, [f"device={device}", *options.overrides, *overrides])))

    def rate() -> float:
        started = time.perf_counter()
        next(rows)
        return 1 / (time.perf_counter() - started)

    return rate


def _sharing(model: str, device: str, options: Options) -> float:
    """Trial-epochs per second of several processes that train at the same time."""
    seconds = str(options.rounds(int(SECONDS), 3))
    command = [sys.executable, "-m", "benchmarks.gpu_process", model, device, seconds, *options.overrides]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]
    for process in started:
        process.stdout.readline()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in started)


def _operations(model: str, options: Options) -> float:
    """Floating-point operations of a trial-epoch's matrix products and convolutions, forward and backward."""
    epoch = one_by_one(model, "cuda", options)
    with FlopCounterMode(display=False) as counter:
        epoch()
    return float(counter.get_total_flops())


def _peak() -> float:
    """TFLOP/s of a large matrix product at the precision that training uses."""
    a, b = (torch.randn(MATRIX, MATRIX, device="cuda") for _ in range(2))
    seconds = Timer("a @ b", globals={"a": a, "b": b}).blocked_autorange(min_run_time=0.5).median
    return float(2 * MATRIX**3 / seconds / 1e12)
