"""The Ray actor that owns a device and trains many trials on it: see `codeq.train.fused.pack`."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from codeq.config.run import RunConfig
from codeq.train.trial_folder import TrialFolder, trial_folder

if TYPE_CHECKING:
    from codeq.train.fused.pack import Member, Pack

LINGER = 0.25
"""How long a pack waits for trials that it trained a moment ago, as a share of the last epoch's time."""
LINGER_MIN_S = 0.02


@dataclass(frozen=True)
class PackOptions:
    """name: of the actor. fuse: trials to train together, None: as many as pays. images: by (dataset, data_dir)."""

    name: str
    sweep_folder: str
    grace_epochs: int
    max_failures: int
    fuse: int | None
    images: dict[tuple[str, str], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PackStatus:
    """What a pack has measured. runs: trials of one shape that it trains together at best. epoch_s: seconds of one
    trial's epoch by the number that train together. reasons: why not more, by model."""

    runs: int
    epoch_s: dict[int, float]
    reasons: dict[str, str]


class PackActor:
    """Hands each trial the row of its next epoch.

    A trial joins, asks for one row after the other, and leaves. Whoever asks while an epoch is under way is in the
    next one. Nothing is trained that nobody asked for. The trials' files are written before their rows are handed out.
    """

    def __init__(self, options: PackOptions) -> None:
        self._options = options
        self._members: dict[int, Member] = {}
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._arrivals = threading.Condition()
        self._last_epoch_s = 0.0
        self._pack: Pack | None = None
        threading.Thread(target=self._train_for_ever, name="training", daemon=True).start()

    async def join(self, number: int, run_config: dict[str, Any]) -> None:
        """Take the trial in, afresh if it was in: its folder says where it stands."""
        from codeq.train.fused.pack import Member

        folder = trial_folder(UPath(self._options.sweep_folder), number)
        member = await asyncio.to_thread(lambda: Member(number, folder, RunConfig.model_validate(run_config)))
        with self._arrivals:
            self._members[number] = member

    async def next_row(self, number: int) -> dict[str, Any] | None:
        """Train the trial one epoch further and return its row, whose status says whether it was the last.

        None if the trial has to join first: this process has taken the place of one that died.
        """
        if number not in self._members:
            return None
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        with self._arrivals:
            self._asked[number] = answer
            self._arrivals.notify()
        return await answer

    async def leave(self, number: int) -> None:
        """Forget the trial."""
        with self._arrivals:
            self._members.pop(number, None)
            self._asked.pop(number, None)
            self._arrivals.notify()

    async def status(self) -> PackStatus | None:
        """What the pack has found out about training trials together; None before it had the first."""
        if self._pack is None or not self._pack.choices:
            return None
        choices = dict(self._pack.choices)
        best = max(choices.values(), key=lambda choice: choice.runs)
        return PackStatus(best.runs, best.epoch_s, {model: choice.reason for (model, _), choice in choices.items()})

    async def test_accuracy(self, folder: str) -> float:
        """The test accuracy in percent of the trial in `folder`."""
        assert self._pack is not None
        return await asyncio.to_thread(self._pack.test_accuracy, TrialFolder(UPath(folder)))

    def _train_for_ever(self) -> None:
        try:
            self._pack = self._open_pack()
            while True:
                self._train_once(self._pack)
        except BaseException:  # a lost GPU, or a mistake of ours: Ray starts the process again
            traceback.print_exc()
            os._exit(1)

    def _open_pack(self) -> Pack:
        from codeq.train.fused.pack import Pack  # seconds of importing torch, while trials begin to join

        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        options = self._options
        return Pack(
            fuse=options.fuse,
            grace_epochs=options.grace_epochs,
            max_failures=options.max_failures,
            journal=Path(tempfile.gettempdir()) / f"{options.name}.json",
            raw=self._raw_images,
        )

    def _raw_images(self, config: RunConfig) -> Any:
        import ray

        reference = self._options.images.get((config.dataset, config.data_dir))
        return None if reference is None else ray.get(reference)

    def _train_once(self, pack: Pack) -> None:
        members = self._next_members()
        started = time.monotonic()
        for number, row in pack.train_epoch(members):
            self._answer(number, row)
        self._last_epoch_s = time.monotonic() - started

    def _next_members(self) -> list[Member]:
        """Those who ask; for those who were trained just now and have not asked again it waits a little."""
        with self._arrivals:
            self._arrivals.wait_for(lambda: bool(self._asked))
            linger = max(LINGER_MIN_S, LINGER * self._last_epoch_s)
            self._arrivals.wait_for(lambda: self._asked.keys() >= self._members.keys(), timeout=linger)
            return [self._members[number] for number in self._asked if number in self._members]

    def _answer(self, number: int, row: dict[str, Any]) -> None:
        with self._arrivals:
            answer = self._asked.pop(number, None)
            if row["status"] != "running":
                self._members.pop(number, None)
        if answer is not None:
            answer.get_loop().call_soon_threadsafe(lambda: answer.done() or answer.set_result(row))
