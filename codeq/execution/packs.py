"""The driver's side of the packs: how many there are, and which of them takes the next trial."""

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
    """How many packs, and trials that each trains together."""

    packs: int
    runs: int

    @property
    def slots(self) -> int:
        """Trials in a pack: where one is trained at a time, the next one is there already when it ends."""
        return max(2, self.runs)


DEFAULT_PLAN = Plan(packs=1, runs=4)
"""Packs, and trials in each, before the first has measured how many it trains best."""
EARLY_STOPPED = 0.5
"""The share of all trials' epochs that are trained after all, roughly."""
PACK_START_S = 3.0
TRIAL_START_S = 1.0
"""Seconds of one core that it takes to start a pack's process and a trial's."""
LAST_ANSWER_S = 2.0
"""How long the driver waits in the end for a pack that is busy."""
STOP_S = 10.0
"""How long the end of a sweep waits for packs that are still training."""


def plan(run_epochs: float, epoch_s: Mapping[int, float], packs: int, runs: int, cores: int) -> Plan:
    """The plan that trains `run_epochs` epochs in the least time, starting its processes included.

    epoch_s: seconds of one trial's epoch by the number that train together. packs, runs: at most. A short sweep is
    over before more processes have started.
    """

    def seconds(candidate: Plan) -> float:
        start_s = candidate.packs * (PACK_START_S + candidate.slots * TRIAL_START_S) / cores
        return run_epochs * epoch_s[candidate.runs] / candidate.packs + start_s

    plans = itertools.product(range(1, packs + 1), [number for number in epoch_s if number <= runs])
    return min(itertools.starmap(Plan, plans), key=seconds)


@dataclass
class _Pack:
    """status: asked for, not answered yet. is_there: whether its process has ever answered."""

    actor: Any
    name: str
    trials: set[str] = field(default_factory=set)
    status: Any = None
    is_there: bool = False


class Packs:
    """Processes that train many trials each, one per GPU or per share of the CPUs; started as they pay."""

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
        """options: of each pack, which gets a name of its own. cpu, gpu: what a pack occupies. limit: packs at most.
        trials: of the sweep, of `epochs` epochs each at most. concurrent: of them at a time, None: as many as there is
        room for. cores: of the machine or cluster, to start processes."""
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
        """The name of the pack that takes the trial in; None while all are full."""
        for pack in self._packs:
            self._poll(pack)
        # A pack whose machine is still to come takes no trial: the others may be done before.
        ready = [pack for pack in self._packs if pack.is_there] or self._packs[:1]
        emptiest = min(ready, key=lambda pack: len(pack.trials))
        if len(emptiest.trials) >= self._plan.slots:
            return None
        emptiest.trials.add(trial_id)
        self._to_come -= 1
        return emptiest.name

    def release(self, trial_id: str) -> None:
        """The trial has ended, whether or not its own process is there to say so."""
        for pack in self._packs:
            if trial_id in pack.trials:
                pack.trials.remove(trial_id)
                pack.actor.leave.remote(trial_id)
            self._poll(pack)

    def flush_status(self) -> None:
        """Say after the last trial what a short sweep had no time to hear."""
        answers = [pack.actor.status.remote() for pack in self._packs]
        for answer in ray.wait(answers, num_returns=len(answers), timeout=LAST_ANSWER_S)[0]:
            with contextlib.suppress(RayError):  # it died, or was never there
                if status := ray.get(answer):
                    self._log_once(status.reasons)

    def stop(self) -> None:
        """Train no more: where time ran out or a signal came, packs have trained ahead and would go on."""
        stopping = [pack.actor.stop.remote() for pack in self._packs if pack.is_there]
        if stopping:
            ray.wait(stopping, num_returns=len(stopping), timeout=STOP_S)

    def test_accuracy(self, folder: TrialFolder) -> float:
        """The test accuracy of a trial's newest checkpoint in percent, measured by the first pack."""
        accuracy: float = ray.get(self._packs[0].actor.test_accuracy.remote(str(folder.path)))
        return accuracy

    def close(self) -> None:
        """End the packs' processes, so that others can have their devices."""
        for pack in self._packs:
            ray.kill(pack.actor)

    def _start(self, index: int) -> _Pack:
        name = f"codeq-pack-{self._sweep}-{index}"
        return _Pack(self._actor.options(name=name).remote(replace(self._options, name=name)), name)

    def _all_slots(self, runs: int) -> Plan:
        """As many packs as there are places and trials for."""
        return Plan(min(self._limit, -(-self._to_come // runs) or 1), runs)

    def _poll(self, pack: _Pack) -> None:
        """Hear, without waiting, what the pack has found out since."""
        if pack.status is None:
            pack.status = pack.actor.status.remote()
        if not ray.wait([pack.status], timeout=0)[0]:
            return
        try:
            status: PackStatus | None = ray.get(pack.status)
        except RayError:  # it is being started again
            status = None
        pack.status, pack.is_there = None, True
        if status is None:
            return
        if not self._is_measured:
            self._is_measured = True
            self._adjust(status)
        self._log_once(status.reasons)

    def _log_once(self, reasons: Mapping[tuple[str, str], str]) -> None:
        """Print what is new: of each shape what the first pack says, and the same line only once."""
        for which, reason in reasons.items():
            line = f"{which[0]}: {reason}"
            if which not in self._logged and line not in self._logged.values():
                print(line, flush=True)
            self._logged.setdefault(which, line)

    def _adjust(self, status: PackStatus) -> None:
        """Plan for what the first pack has measured."""
        if status.epoch_s:
            self._plan = plan(self._run_epochs, status.epoch_s, self._limit, status.runs, self._cores)
        else:  # what cannot train together was not timed
            self._plan = self._all_slots(status.runs)
        self._packs += [self._start(index) for index in range(len(self._packs), self._plan.packs)]
