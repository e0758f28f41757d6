"""The Ray actor that owns a device and trains many trials on it (see `codeq.train.fused.pack`)."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from codeq.config.run import RunConfig
from codeq.plugins import load_stored
from codeq.storage.trial_folder import Row, TrialFolder, trial_folder

if TYPE_CHECKING:
    from codeq.data import RawImages
    from codeq.train.fused.pack import Member, Pack

BATCH_WAIT = 0.25
"""How long a pack waits for the scheduler's decisions about its trials, as a share of the last epoch's time."""
BATCH_WAIT_MIN_S = 0.02
SWITCH_S = 0.0005
"""Python's thread switch interval: with the default, trials wait ten times as long for their rows."""


@dataclass(frozen=True)
class PackOptions:
    """The settings of a pack.

    name: of the actor. sweep_folder, grace_epochs, max_failures: of the sweep. journals: a folder on each machine, for
    this sweep only. decisions: the epochs after which the scheduler may stop a trial, None: any. fuse: trials to train
    together, None: as many as is fastest.
    """

    name: str
    sweep_folder: str
    journals: str
    grace_epochs: int
    max_failures: int
    decisions: frozenset[int] | None
    fuse: int | None


@dataclass(frozen=True)
class PackStatus:
    """What a pack has measured. runs: the best number of trials of one shape to train together. epoch_s: seconds of one
    trial's epoch by the number that train together. reasons: how many and why not more, by model and shape."""

    runs: int
    epoch_s: dict[int, float]
    reasons: dict[tuple[str, str], str]


@dataclass
class _TrialSlot:
    """A trial in the pack. rows: not delivered yet. epoch: of its last row. waiter: the pending request for rows."""

    member: Member
    rows: list[Row] = field(default_factory=list)
    epoch: int = 0
    waiter: asyncio.Future[list[Row]] | None = None
    may_stop: bool = True
    ended: bool = False

    @property
    def is_next(self) -> bool:
        """Whether its next epoch may be trained: the scheduler cannot stop it here, or has asked for the next row."""
        return not self.ended and (not self.may_stop or (self.waiter is not None and not self.rows))


class PackActor:
    """Trains the trials that join and delivers their rows in order.

    A trial, identified by Tune's id, joins and requests rows until the driver removes it. The pack trains ahead of the
    requests, but never past an epoch after which the scheduler may stop the trial. A trial's files are written before
    its row is delivered.
    """

    def __init__(self, options: PackOptions) -> None:
        self._options = options
        self._slots: dict[str, _TrialSlot] = {}
        self._raw: dict[str, RawImages] = {}
        self._changed = threading.Condition()
        self._last_epoch_s = 0.0
        self._is_training = self._is_stopped = False
        self._pack: Future[Pack] = Future()
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._run_loop, name="training", daemon=True).start()

    async def join(
        self,
        trial_id: str,
        number: int,
        run_config: dict[str, Any],
        after: int | None = None,
        raw: RawImages | None = None,
    ) -> None:
        """Add the trial, or add it again: its state is read from its folder.

        after: the last epoch whose row the trial has; recorded later rows are delivered first. None: no recorded rows.
        raw: the data set's images, which Ray passes without a copy; None: the pack reads them.
        """
        slot = await asyncio.to_thread(self._open_slot, number, run_config, after)
        if raw is not None:
            self._raw.setdefault(slot.member.config.images_key, raw)
        with self._changed:
            self._slots[trial_id] = slot
            self._changed.notify_all()

    async def next_rows(self, trial_id: str) -> list[Row]:
        """The trial's next rows, at least one; the last one's status says whether there will be more.

        An empty list if the trial has to join first, because Ray has restarted this process.
        """
        with self._changed:
            slot = self._slots.get(trial_id)
            if slot is None:
                return []
            slot.waiter = asyncio.get_running_loop().create_future()
            answer = slot.waiter
            self._answer(slot)
            self._changed.notify_all()
        return await answer

    async def leave(self, trial_id: str) -> None:
        """Forget the trial."""
        with self._changed:
            self._slots.pop(trial_id, None)
            self._changed.notify_all()

    async def stop(self) -> None:
        """Stop training; returns when the current epoch has ended."""
        with self._changed:
            self._is_stopped = True
        await asyncio.to_thread(self._wait_until_idle)

    async def status(self) -> PackStatus | None:
        """What the pack has measured about training trials together; None before its first trial."""
        plans = dict(self._pack.result().plans) if self._pack.done() else {}
        if not plans:
            return None
        best = max(plans.values(), key=lambda plan: plan.runs)
        reasons = {which: _describe_plan(plan.runs, plan.reason) for which, plan in plans.items()}
        return PackStatus(best.runs, best.epoch_s, reasons)

    async def test_accuracy(self, folder: str) -> float:
        """The test accuracy in percent of the trial in `folder`; after `stop`."""

        def measure() -> float:
            self._wait_until_idle()
            return self._pack.result().test_accuracy(TrialFolder(UPath(folder)))

        return await asyncio.to_thread(measure)

    def _run_loop(self) -> None:
        try:
            pack = self._open_pack()
            self._pack.set_result(pack)
            while True:
                self._train_once(pack)
        except BaseException:  # a lost GPU, or a bug: Ray restarts the process
            traceback.print_exc()
            os._exit(1)

    def _open_pack(self) -> Pack:
        from codeq.train.fused.pack import Pack  # importing torch takes seconds, in which trials can join

        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        options = self._options
        return Pack(
            fuse=options.fuse,
            grace_epochs=options.grace_epochs,
            max_failures=options.max_failures,
            journal=Path(options.journals) / f"{options.name}.json",
            raw=lambda config: self._raw.get(config.images_key),
        )

    def _open_slot(self, number: int, run_config: dict[str, Any], after: int | None) -> _TrialSlot:
        from codeq.train.fused.pack import Member

        sweep_folder = UPath(self._options.sweep_folder)
        load_stored(sweep_folder)  # a config may name their parts
        folder = trial_folder(sweep_folder, number)
        slot = _TrialSlot(Member(number, folder, RunConfig.model_validate(run_config)))
        if after is not None and folder.checkpoint.exists():
            slot.rows.extend(row for row in folder.rows() if row["epoch"] > after)
            slot.epoch = slot.rows[-1]["epoch"] if slot.rows else after
        return slot

    def _train_once(self, pack: Pack) -> None:
        members = self._next_members()
        ids = {member.number: trial_id for trial_id, member in members.items()}
        started = time.monotonic()
        for number, row in pack.train_epoch(list(members.values())):
            self._deliver(ids[number], row)
        self._last_epoch_s = time.monotonic() - started
        with self._changed:
            self._is_training = False
            self._changed.notify_all()

    def _next_members(self) -> dict[str, Member]:
        """The trials whose next epoch may be trained, after a short wait for decisions about the others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_stopped and any(slot.is_next for slot in self._slots.values()))
            self._is_training = True
            wait_s = max(BATCH_WAIT_MIN_S, BATCH_WAIT * self._last_epoch_s)
            self._changed.wait_for(lambda: all(slot.is_next for slot in self._slots.values()), timeout=wait_s)
            return {trial_id: slot.member for trial_id, slot in self._slots.items() if slot.is_next}

    def _wait_until_idle(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_training)

    def _deliver(self, trial_id: str, row: Row) -> None:
        with self._changed:
            slot = self._slots.get(trial_id)
            if slot is None or (row["epoch"] <= slot.epoch and row["status"] == "running"):
                return  # trained again: its row had been written, its checkpoint had not
            slot.epoch = row["epoch"]
            decisions = self._options.decisions
            slot.ended = row["status"] != "running"
            slot.may_stop = slot.ended or decisions is None or row["epoch"] in decisions
            slot.rows.append(row)
            self._answer(slot)

    def _answer(self, slot: _TrialSlot) -> None:
        """Deliver the rows to the pending request, if there are both. The caller holds the lock."""
        if slot.waiter is not None and slot.rows:
            rows, slot.rows = slot.rows, []
            slot.waiter.get_loop().call_soon_threadsafe(_resolve, slot.waiter, rows)
            slot.waiter = None


def _describe_plan(runs: int, reason: str) -> str:
    together = f"up to {runs} trials train together" if runs > 1 else "trials train one at a time"
    return f"{together} ({reason})"


def _resolve(waiter: asyncio.Future[list[Row]], rows: list[Row]) -> None:
    if not waiter.done():
        waiter.set_result(rows)
