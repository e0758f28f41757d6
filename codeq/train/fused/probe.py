"""How many runs of one shape to train together: measured, because fusing can also be slower."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import psutil
import torch
from torch import Tensor

from codeq.config.text import first_line
from codeq.train.device import is_device_lost, synchronize
from codeq.train.fused.epoch import train_steps_together
from codeq.train.loop import TrainState, create_train_state, train_steps

MAX_RUNS = {"cpu": 16, "cuda": 256}
"""More than this gains nothing on a CPU, whose cores are busy by then."""
MAX_TIME_RATIO = 0.85
"""Twice the runs must bring a run's step below this share of its time before."""
LONG_STEP_S = 0.2
"""A solo step that takes longer is bound by arithmetic, which fusing cannot save."""
MEMORY_SHARE = 0.5
"""Of the memory that is free, what the runs of one process may take together."""
BUDGET_S = 2.0
"""No larger number of runs is tried once the measurements have taken this long."""
STEPS = 2


@dataclass(frozen=True)
class FusionPlan:
    """How many runs to train together, and why not more, in words. epoch_s: of one run's training, by their number."""

    runs: int
    reason: str
    epoch_s: dict[int, float] = field(default_factory=dict)

    def is_faster(self, runs: int) -> bool:
        """Whether so many runs are better trained together than one after the other, as far as that was measured."""
        measured = [number for number in self.epoch_s if 1 < number <= runs]
        return not self.epoch_s or bool(measured) and self.epoch_s[max(measured)] < self.epoch_s[1]


def choose_runs(state: TrainState, requested: int | None = None) -> FusionPlan:
    """The number of runs like `state` that trains each of them quickest, measured by doubling it while that pays.

    state: not changed. wanted: measure nothing, only make sure that runs like it can train together at all.
    """
    copies = _Copies(state)
    try:
        if requested is None:
            return _measured(copies)
        train_steps_together(copies.take(2))
        return FusionPlan(requested, "as configured")
    except Exception as error:  # whatever a model may do that cannot be stacked
        if is_device_lost(error):
            raise
        return FusionPlan(1, f"cannot be trained together: {first_line(error)}")


def _measured(copies: _Copies) -> FusionPlan:
    started = time.perf_counter()
    seconds = {1: _seconds_per_run(copies, 1)}  # of a step, by the number of runs
    if seconds[1] > LONG_STEP_S:
        return FusionPlan(1, f"a step takes {seconds[1]:.2f} s, which is arithmetic", copies.epoch_s(seconds))
    most = min(_room(copies.take(1)[0]), MAX_RUNS.get(copies.device.type, 1))
    runs = 2
    while runs <= most and time.perf_counter() - started < BUDGET_S:
        try:
            seconds[runs] = _seconds_per_run(copies, runs)
        except torch.OutOfMemoryError:
            break
        if runs > 2 and seconds[runs] > MAX_TIME_RATIO * seconds[runs // 2]:
            break
        runs *= 2
    best = next(runs for runs in seconds if seconds[runs] * MAX_TIME_RATIO <= min(seconds.values()))
    share = ", ".join(f"{runs} together {seconds[runs] / seconds[1]:.2f}" for runs in seconds if runs > 1)
    reason = f"time per run, alone 1: {share}" if share else f"memory for {most}"
    return FusionPlan(best, reason, copies.epoch_s(seconds))


class _Copies:
    """Runs like a given one, to try steps on."""

    def __init__(self, state: TrainState) -> None:
        self._config, self._data, self.device = state.config, state.data.first(STEPS), state.device
        self._steps = len(state.data.train)
        self._states: list[TrainState] = []

    def take(self, count: int) -> list[TrainState]:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while len(self._states) < count:
                self._states.append(create_train_state(self._config, self._data))
        return self._states[:count]

    def epoch_s(self, step_s: dict[int, float]) -> dict[int, float]:
        """What an epoch takes, from what a step takes."""
        return {runs: seconds * self._steps for runs, seconds in step_s.items()}


def _seconds_per_run(copies: _Copies, runs: int) -> float:
    """The time of one step, divided by the number of runs; the quickest of some, since others disturb."""
    states = copies.take(runs)
    times = []
    for _ in range(3):
        synchronize(copies.device)
        started = time.perf_counter()
        if runs == 1:
            train_steps(states[0])
        else:
            train_steps_together(states)
        synchronize(copies.device)
        times.append(time.perf_counter() - started)
    return min(times) / len(states[0].data.train) / runs


def _room(state: TrainState) -> int:
    """How many runs like `state` fit in MEMORY_SHARE of what is free: what a step keeps for its backward pass, and
    the parameters with gradient, optimizer state and copies of all of them."""
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        train_steps(replace(state, data=state.data.first(1)))
    parameters = sum(p.numel() * p.element_size() for p in state.model.parameters())
    if state.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(state.device)
    else:
        free = psutil.virtual_memory().available
    return max(1, int(MEMORY_SHARE * free / (saved + 10 * parameters)))
