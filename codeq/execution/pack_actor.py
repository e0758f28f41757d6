"""The Ray actor that owns a device and trains many trials on it: see `codeq.train.fused.pack`."""

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

LINGER = 0.25
"""How long a pack waits for decisions about trials, as a share of the last epoch's time."""
LINGER_MIN_S = 0.02
SWITCH_S = 0.0005
"""How soon the training thread lets another one have its turn: trials wait for their answers ten times as long else."""


@dataclass(frozen=True)
class PackOptions:
    """What a pack is to do.

    name: of the actor. sweep_folder, grace_epochs, max_failures: of the sweep. journals: a folder on each machine, of
    this sweep alone. decisions: the epochs after which the scheduler may stop a trial, None: any. fuse: trials to train
    together, None: as many as pays.
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
    """What a pack has measured. runs: trials of one shape that it trains together at best. epoch_s: seconds of one
    trial's epoch by the number that train together. reasons: how many and why not more, by model and shape."""

    runs: int
    epoch_s: dict[int, float]
    reasons: dict[tuple[str, str], str]


@dataclass
class _Seat:
    """A trial in the pack. rows: not handed out yet. epoch: of the last row there was. asked: who waits for more."""

    member: Member
    rows: list[Row] = field(default_factory=list)
    epoch: int = 0
    asked: asyncio.Future[list[Row]] | None = None
    may_stop: bool = True
    ended: bool = False

    @property
    def is_next(self) -> bool:
        """Whether its next epoch can be trained: nobody could have stopped it, or it was asked to go on."""
        return not self.ended and (not self.may_stop or (self.asked is not None and not self.rows))


class PackActor:
    """Hands each trial its rows, one after the other.

    A trial, known by Tune's id, joins and asks for rows until the driver takes it out. The pack trains ahead of what is
    asked, but never past an epoch after which the scheduler may stop the trial. The trial's files are written before
    its row is handed out.
    """

    def __init__(self, options: PackOptions) -> None:
        self._options = options
        self._seats: dict[str, _Seat] = {}
        self._raw: dict[str, RawImages] = {}
        self._changed = threading.Condition()
        self._last_epoch_s = 0.0
        self._is_training = self._is_stopped = False
        self._pack: Future[Pack] = Future()
        sys.setswitchinterval(SWITCH_S)
        threading.Thread(target=self._train_for_ever, name="training", daemon=True).start()

    async def join(
        self,
        trial_id: str,
        number: int,
        run_config: dict[str, Any],
        after: int | None = None,
        raw: RawImages | None = None,
    ) -> None:
        """Take the trial in, afresh if it was in: its folder says where it stands.

        after: the last epoch whose row the trial has; it gets the recorded later ones first. None: it gets none.
        raw: the data set's images, which Ray hands over without copying them; None: the pack reads them.
        """
        seat = await asyncio.to_thread(self._seat, number, run_config, after)
        if raw is not None:
            self._raw.setdefault(seat.member.config.images_key, raw)
        with self._changed:
            self._seats[trial_id] = seat
            self._changed.notify_all()

    async def next_rows(self, trial_id: str) -> list[Row]:
        """The trial's next rows, at least one; the last one's status says whether there will be more.

        None at all if the trial has to join first: this process has taken the place of one that died.
        """
        with self._changed:
            seat = self._seats.get(trial_id)
            if seat is None:
                return []
            seat.asked = asyncio.get_running_loop().create_future()
            answer = seat.asked
            self._answer(seat)
            self._changed.notify_all()
        return await answer

    async def leave(self, trial_id: str) -> None:
        """Forget the trial."""
        with self._changed:
            self._seats.pop(trial_id, None)
            self._changed.notify_all()

    async def stop(self) -> None:
        """Train no more; done when the epoch under way has ended."""
        with self._changed:
            self._is_stopped = True
        await asyncio.to_thread(self._wait_until_idle)

    async def status(self) -> PackStatus | None:
        """What the pack has found out about training trials together; None before it had the first."""
        choices = dict(self._pack.result().choices) if self._pack.done() else {}
        if not choices:
            return None
        best = max(choices.values(), key=lambda choice: choice.runs)
        reasons = {which: _in_words(choice.runs, choice.reason) for which, choice in choices.items()}
        return PackStatus(best.runs, best.epoch_s, reasons)

    async def test_accuracy(self, folder: str) -> float:
        """The test accuracy in percent of the trial in `folder`; after `stop`."""

        def measure() -> float:
            self._wait_until_idle()
            return self._pack.result().test_accuracy(TrialFolder(UPath(folder)))

        return await asyncio.to_thread(measure)

    def _train_for_ever(self) -> None:
        try:
            pack = self._open_pack()
            self._pack.set_result(pack)
            while True:
                self._train_once(pack)
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
            journal=Path(options.journals) / f"{options.name}.json",
            raw=lambda config: self._raw.get(config.images_key),
        )

    def _seat(self, number: int, run_config: dict[str, Any], after: int | None) -> _Seat:
        from codeq.train.fused.pack import Member

        sweep_folder = UPath(self._options.sweep_folder)
        load_stored(sweep_folder)  # a config may name their parts
        folder = trial_folder(sweep_folder, number)
        seat = _Seat(Member(number, folder, RunConfig.model_validate(run_config)))
        if after is not None and folder.checkpoint.exists():
            seat.rows.extend(row for row in folder.rows() if row["epoch"] > after)
            seat.epoch = seat.rows[-1]["epoch"] if seat.rows else after
        return seat

    def _train_once(self, pack: Pack) -> None:
        members = self._next_members()
        ids = {member.number: trial_id for trial_id, member in members.items()}
        started = time.monotonic()
        for number, row in pack.train_epoch(list(members.values())):
            self._hand_out(ids[number], row)
        self._last_epoch_s = time.monotonic() - started
        with self._changed:
            self._is_training = False
            self._changed.notify_all()

    def _next_members(self) -> dict[str, Member]:
        """All whose next epoch can be trained; for those about whom a decision is due it waits a little."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_stopped and any(seat.is_next for seat in self._seats.values()))
            self._is_training = True
            linger = max(LINGER_MIN_S, LINGER * self._last_epoch_s)
            self._changed.wait_for(lambda: all(seat.is_next for seat in self._seats.values()), timeout=linger)
            return {trial_id: seat.member for trial_id, seat in self._seats.items() if seat.is_next}

    def _wait_until_idle(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_training)

    def _hand_out(self, trial_id: str, row: Row) -> None:
        with self._changed:
            seat = self._seats.get(trial_id)
            if seat is None or (row["epoch"] <= seat.epoch and row["status"] == "running"):
                return  # trained once more, because its row had been written and its checkpoint had not
            seat.epoch = row["epoch"]
            seat.may_stop = self._may_end(row)
            seat.ended = row["status"] != "running"
            seat.rows.append(row)
            self._answer(seat)

    def _answer(self, seat: _Seat) -> None:
        """Hand out what there is to whoever waits for it. The lock is held."""
        if seat.asked is not None and seat.rows:
            rows, seat.rows = seat.rows, []
            seat.asked.get_loop().call_soon_threadsafe(_resolve, seat.asked, rows)
            seat.asked = None

    def _may_end(self, row: Row) -> bool:
        decisions = self._options.decisions
        return row["status"] != "running" or decisions is None or row["epoch"] in decisions


def _in_words(runs: int, reason: str) -> str:
    together = f"up to {runs} trials train together" if runs > 1 else "trials train one at a time"
    return f"{together} ({reason})"


def _resolve(asked: asyncio.Future[list[Row]], rows: list[Row]) -> None:
    if not asked.done():
        asked.set_result(rows)
