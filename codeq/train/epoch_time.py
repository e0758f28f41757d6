"""What an epoch of a run takes on this machine, from a few measured steps."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.utils import parametrize
from upath import UPath

from codeq.train.compression import measure_compression
from codeq.train.loop import TrainState, build, evaluate, fit, train_steps
from codeq.train.trial_folder import TrialFolder
from codeq.train.trial_run import keep_epoch

PASS_S = 1.0
"""A measured pass ends after about this time."""
FEWEST_BATCHES = 2
REPEATS = 3


@dataclass(frozen=True)
class EpochTime:
    """Seconds. build_s: to build a run whose images are at hand. train_s: an epoch's training steps. rest_s: what
    follows them: evaluation on the validation split, compression, the row and the checkpoint on the disk."""

    build_s: float
    train_s: float
    rest_s: float

    @property
    def epoch_s(self) -> float:
        """A whole epoch."""
        return self.train_s + self.rest_s


def measure_epoch(state: TrainState) -> EpochTime:
    """The time of one epoch: medians over as many batches as are quickly done, the first ones excluded.

    state: is trained on; of no use to anyone else.
    """
    wait = torch.cuda.synchronize if state.device.type == "cuda" else _no_wait
    train, val = state.data.train, state.data.val

    def train_on(batches: int) -> None:
        train_steps(replace(state, data=state.data.first(batches)))

    def judge(batches: int) -> None:
        with parametrize.cached():
            evaluate(state, val.first(batches))
            measure_compression(state.model, state.macs)

    train_s = _pass_s(train_on, len(train), wait)
    judge_s = _pass_s(judge, len(val), wait)
    build_s = _seconds(lambda: build(state.config, state.data), wait)
    return EpochTime(build_s, train_s, judge_s + _keep_s(state, wait))


def _pass_s(run: Callable[[int], None], batches: int, wait: Callable[[], None]) -> float:
    """Seconds of `run(batches)`, from runs over fewer where these take long."""
    run(1)  # warms up: memory, autotuner, compiler
    few = min(FEWEST_BATCHES, batches)
    batch_s = _seconds(lambda: run(few), wait) / few
    if batch_s > PASS_S:
        return batches * batch_s
    measured = min(batches, max(few, int(PASS_S / batch_s)))
    return batches / measured * statistics.median(_seconds(lambda: run(measured), wait) for _ in range(REPEATS))


def _keep_s(state: TrainState, wait: Callable[[], None]) -> float:
    """Seconds to write an epoch's row and checkpoint."""
    row = next(fit(replace(state, data=replace(state.data.first(1), val=state.data.val.first(1)))))
    with tempfile.TemporaryDirectory(prefix="codeq-probe-") as folder:
        trial = TrialFolder(UPath(folder) / "trial")
        return statistics.median(_seconds(lambda: keep_epoch(trial, state, row), wait) for _ in range(REPEATS))


def _seconds(work: Callable[[], object], wait: Callable[[], None]) -> float:
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def _no_wait() -> None:
    """A CPU has done what it was told when the call returns."""
