"""The driver's side of the packs: how many to start, and which one gets the next trial."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError

from codeq.execution.pack_actor import PackActor, PackOptions, PackStatus
from codeq.storage.trial_folder import TrialFolder


@dataclass(frozen=True)
class Plan:
    """The number of packs, and how many trials each trains together."""

    packs: int
    runs: int

    @property
    def slots(self) -> int:
        """Trials in a pack: at least two, so that the next one is ready when one ends."""
        return max(2, self.runs)


DEFAULT_PLAN = Plan(packs=1, runs=4)
"""The plan until the first pack has measured how many trials it trains fastest together."""
EARLY_STOPPED = 0.5
"""Rough share of all trials' epochs that are trained despite early stopping."""
PACK_START_S = 3.0
TRIAL_START_S = 1.0
"""Core-seconds to start a pack's process, and a trial's process."""
LAST_ANSWER_S = 2.0
"""Seconds that the driver waits at the end for the status of a busy pack."""
STOP_S = 10.0
"""Seconds that the end of a sweep waits for packs that are still training."""


def plan(run_epochs: float, epoch_s: Mapping[int, float], packs: int, runs: int, cores: int) -> Plan:
    """The plan that trains `run_epochs` epochs in the least time, including the start of its processes.

    epoch_s: seconds of one trial's epoch by the number that train together. packs, runs: upper limits. For a short
    sweep fewer processes are faster, since starting them takes time.
    """

    def seconds(candidate: Plan) -> float:
        start_s = candidate.packs * (PACK_START_S + candidate.slots * TRIAL_START_S) / cores
        return run_epochs * epoch_s[candidate.runs] / candidate.packs + start_s

    plans = itertools.product(range(1, packs + 1), [number for number in epoch_s if number <= runs])
    return min(itertools.starmap(Plan, plans), key=seconds)


@dataclass
class _Pack:
    """A started pack. status: a pending request, if any. is_there: whether its process has ever answered."""

    actor: Any
    name: str
    trials: set[str] = field(default_factory=set)
    status: Any = None
    is_there: bool = False


class Packs:
    """Processes that each train many trials, one per GPU or share of the CPUs; more are started if that saves time."""

    def __init__(
        self,
        options: PackOptions,
        *,
        cpu: float,
        gpu: float,
        limit: int,
        trials: int,
        concurrent: int | None,
        epochs: int,
        cores: int,
    ) -> None:
        """options: of all packs, without the name. cpu, gpu: what a pack occupies. limit: most packs. trials: of the
        sweep, of at most `epochs` epochs each. concurrent: most trials at a time, None: as many as fit. cores: of the
        machine or cluster, to start processes."""
        at_a_time = trials if concurrent is None else min(concurrent, trials)
        self._options, self._limit, self._cores = options, max(1, min(limit, at_a_time)), cores
        self._run_epochs, self._to_come = EARLY_STOPPED * trials * epochs, trials
        self._sweep = uuid.uuid4().hex[:8]
        self._actor = ray.remote(num_cpus=cpu, num_gpus=gpu, max_restarts=-1)(PackActor)
        self._plan = self._all_slots(options.fuse) if options.fuse else DEFAULT_PLAN
        self._is_measured = options.fuse is not None
        self._logged: dict[tuple[str, str], str] = {}
        self._packs = [self._start(index) for index in range(self._plan.packs)]

    def place(self, trial_id: str) -> str | None:
        """Assign the trial to the emptiest pack and return its name; None while all packs are full."""
        for pack in self._packs:
            self._poll(pack)
        # A pack that has no machine yet gets no trial: the other packs may finish earlier.
        ready = [pack for pack in self._packs if pack.is_there] or self._packs[:1]
        emptiest = min(ready, key=lambda pack: len(pack.trials))
        if len(emptiest.trials) >= self._plan.slots:
            return None
        emptiest.trials.add(trial_id)
        self._to_come -= 1
        return emptiest.name

    def release(self, trial_id: str) -> None:
        """Remove a trial that has ended; its own process may be dead."""
        for pack in self._packs:
            if trial_id in pack.trials:
                pack.trials.remove(trial_id)
                pack.actor.leave.remote(trial_id)
            self._poll(pack)

    def flush_status(self) -> None:
        """Print, after the last trial, statuses that a short sweep had no time to receive."""
        answers = [pack.actor.status.remote() for pack in self._packs]
        for answer in ray.wait(answers, num_returns=len(answers), timeout=LAST_ANSWER_S)[0]:
            with contextlib.suppress(RayError):  # it died, or never started
                if status := ray.get(answer):
                    self._log_once(status.reasons)

    def stop(self) -> None:
        """Stop training: after a timeout or a signal the packs would continue to train ahead."""
        stopping = [pack.actor.stop.remote() for pack in self._packs if pack.is_there]
        if stopping:
            ray.wait(stopping, num_returns=len(stopping), timeout=STOP_S)

    def test_accuracy(self, folder: TrialFolder) -> float:
        """The test accuracy of a trial's newest checkpoint in percent, measured by the first pack."""
        accuracy: float = ray.get(self._packs[0].actor.test_accuracy.remote(str(folder.path)))
        return accuracy

    def close(self) -> None:
        """End the packs' processes, which frees their devices."""
        for pack in self._packs:
            ray.kill(pack.actor)

    def _start(self, index: int) -> _Pack:
        name = f"codeq-pack-{self._sweep}-{index}"
        return _Pack(self._actor.options(name=name).remote(replace(self._options, name=name)), name)

    def _all_slots(self, runs: int) -> Plan:
        """As many packs as resources and trials allow."""
        return Plan(min(self._limit, -(-self._to_come // runs) or 1), runs)

    def _poll(self, pack: _Pack) -> None:
        """Read, without waiting, the pack's latest status."""
        if pack.status is None:
            pack.status = pack.actor.status.remote()
        if not ray.wait([pack.status], timeout=0)[0]:
            return
        try:
            status: PackStatus | None = ray.get(pack.status)
        except RayError:  # Ray restarts it
            status = None
        pack.status, pack.is_there = None, True
        if status is None:
            return
        if not self._is_measured:
            self._is_measured = True
            self._adjust(status)
        self._log_once(status.reasons)

    def _log_once(self, reasons: Mapping[tuple[str, str], str]) -> None:
        """Print new reasons: for each shape that of the first pack, and the same line only once."""
        for which, reason in reasons.items():
            line = f"{which[0]}: {reason}"
            if which not in self._logged and line not in self._logged.values():
                print(line, flush=True)
            self._logged.setdefault(which, line)

    def _adjust(self, status: PackStatus) -> None:
        """Replace the plan by one that uses the first pack's measurements."""
        if status.epoch_s:
            self._plan = plan(self._run_epochs, status.epoch_s, self._limit, status.runs, self._cores)
        else:  # runs that cannot train together are not timed
            self._plan = self._all_slots(status.runs)
        self._packs += [self._start(index) for index in range(len(self._packs), self._plan.packs)]
