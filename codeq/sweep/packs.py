"""The driver's side of the packs: how many there are, and which of them takes the next trial."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from codeq.sweep.pack_actor import PackActor, PackOptions, PackStatus

GUESS = {"cpu": 8, "cuda": 16}
"""Trials that a pack is given before it has measured how many it trains best."""


@dataclass
class _Handle:
    actor: Any
    name: str
    room: int
    status: Any = None
    measured: bool = False
    trials: set[str] = field(default_factory=set)


class Packs:
    """Processes that train many trials each, one per GPU or per share of the CPUs; started as they are needed."""

    def __init__(self, options: PackOptions, cpu: float, gpu: float, limit: int) -> None:
        """options: of each pack, which gets a name of its own. cpu, gpu: what a pack occupies. limit: packs at most."""
        self._options, self._limit = options, limit
        self._sweep = uuid.uuid4().hex[:8]
        self._actor = ray.remote(num_cpus=cpu, num_gpus=gpu, max_restarts=-1)(PackActor)
        self._guess = options.fuse or GUESS["cuda" if gpu else "cpu"]
        self._packs: list[_Handle] = []
        self._start()

    def place(self, trial_id: str) -> str | None:
        """The name of the pack that takes the trial in; None while all are full."""
        for pack in self._packs:
            self._look_after(pack)
        best = min(self._packs, key=lambda pack: len(pack.trials) / pack.room)
        if len(best.trials) >= best.room:
            if len(self._packs) == self._limit or not all(pack.measured for pack in self._packs):
                return None
            best = self._start()
        best.trials.add(trial_id)
        return best.name

    def release(self, trial_id: str) -> None:
        """The trial has ended."""
        for pack in self._packs:
            pack.trials.discard(trial_id)

    def _start(self) -> _Handle:
        name = f"codeq-pack-{self._sweep}-{len(self._packs)}"
        actor = self._actor.options(name=name).remote(replace(self._options, name=name))
        self._packs.append(_Handle(actor, name, self._guess))
        return self._packs[-1]

    def _look_after(self, pack: _Handle) -> None:
        """Hear, without waiting, whether the pack has measured how many trials it trains best."""
        if pack.measured:
            return
        if pack.status is None:
            pack.status = pack.actor.status.remote()
        if not ray.wait([pack.status], timeout=0)[0]:
            return
        status: PackStatus = ray.get(pack.status)
        pack.status = None
        if status.runs is not None:
            pack.room, pack.measured = status.runs, True
