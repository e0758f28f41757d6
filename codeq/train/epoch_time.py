"""The time of an epoch on this machine, from a few measured steps."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from upath import UPath

from codeq.storage.trial_folder import TrialFolder
from codeq.train.compression import measure_compression
from codeq.train.loop import TrainState, create_train_state, evaluate, fit, train_steps
from codeq.train.trial_run import save_epoch

PASS_S = 1.0
"""Approximate duration of a measured pass."""
FEWEST_BATCHES = 2
REPEATS = 3


@dataclass(frozen=True)
class EpochTime:
    """Seconds. build_s: to create a run whose images are loaded. train_s: the training steps of an epoch. rest_s: the
    rest of an epoch: evaluation on the validation split, compression metrics, writing the row and the checkpoint."""

    build_s: float
    train_s: float
    rest_s: float

    @property
    def epoch_s(self) -> float:
        """Seconds of a whole epoch."""
        return self.train_s + self.rest_s


def measure_epoch(state: TrainState) -> EpochTime:
    """Measure the time of one epoch: medians over as many batches as fit the time limit, without the first ones.

    state: is trained here and must not be used afterwards. `use_compile: auto` is measured without compilation.
    """
    train, val = state.data.train, state.data.val
    train_s = _pass_s(lambda count: train_steps(replace(state, data=state.data.first(count))), len(train))
    evaluate_s = _pass_s(lambda count: evaluate(state, val.first(count)), len(val))
    build_s = _seconds(lambda: create_train_state(state.config, state.data))
    return EpochTime(build_s, train_s, evaluate_s + _end_s(state))


def _pass_s(run: Callable[[int], object], batches: int) -> float:
    """Seconds of `run(batches)`, extrapolated from fewer batches if these take long."""
    run(1)  # warms up: memory, autotuner, compiler
    few = min(FEWEST_BATCHES, batches)
    batch_s = _seconds(lambda: run(few)) / few
    if batch_s > PASS_S:
        return batches * batch_s
    measured = min(batches, max(few, int(PASS_S / batch_s)))
    return batches / measured * statistics.median(_seconds(lambda: run(measured)) for _ in range(REPEATS))


def _end_s(state: TrainState) -> float:
    """Seconds to measure compression and to write an epoch's row and checkpoint."""
    eager = state.config.model_copy(update={"use_compile": 0})  # compiling takes longer than one epoch
    short = replace(state, config=eager, data=replace(state.data.first(1), val=state.data.val.first(1)))
    row = next(fit(short))
    with tempfile.TemporaryDirectory(prefix="codeq-probe-") as folder:
        trial = TrialFolder(UPath(folder) / "trial")

        def end() -> None:
            measure_compression(state.model, state.macs, state.fed_channels)
            save_epoch(trial, state, row)

        return statistics.median(_seconds(end) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    """Seconds of `work`, whose result the host waits for, as at the end of every pass and checkpoint."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
