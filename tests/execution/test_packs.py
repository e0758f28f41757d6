"""The driver's plan and its hold on the packs, and a pack's conversation with its trials, without Ray."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codeq.execution.pack_actor import PackActor, PackOptions, PackStatus
from codeq.execution.packs import Packs, Plan, plan

EPOCH_S = {1: 0.03, 2: 0.04, 4: 0.025, 8: 0.018, 16: 0.014}
Row = dict[str, Any]


def test_a_long_sweep_takes_all_there_is() -> None:
    assert plan(100_000, EPOCH_S, packs=2, runs=16, cores=2) == Plan(2, 16)


def test_a_short_sweep_starts_few_processes() -> None:
    assert plan(50, EPOCH_S, packs=8, runs=16, cores=2) == Plan(1, 1)


def test_where_fusing_is_slower_packs_train_one_at_a_time() -> None:
    assert plan(100_000, {1: 0.3, 2: 0.5}, packs=2, runs=1, cores=2) == Plan(2, 1)


class FakePack:
    """Trains nothing: the n-th epoch of a trial is a row with epoch n, six make it finished."""

    choices: dict[Any, Any] = {}

    def __init__(self, **options: Any) -> None:
        self.trained: dict[int, int] = {}

    def train_epoch(self, members: list[Any]) -> Iterator[tuple[int, Row]]:
        for member in members:
            epoch = self.trained[member.number] = self.trained.get(member.number, 0) + 1
            yield member.number, {"epoch": epoch, "status": "finished" if epoch == 6 else "running", "reason": ""}


@pytest.fixture
def actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackActor:
    monkeypatch.setattr("codeq.train.fused.pack.Pack", FakePack)
    return PackActor(options(tmp_path))


def options(folder: Path) -> PackOptions:
    return PackOptions("test", str(folder), str(folder), 5, 3, decisions=frozenset({2}), fuse=4)


async def rows_until(actor: PackActor, trial_id: str, epoch: int) -> list[int]:
    epochs: list[int] = []
    while not epochs or epochs[-1] < epoch:
        rows = await asyncio.wait_for(actor.next_rows(trial_id), 5)
        epochs += [row["epoch"] for row in rows]
    return epochs


def test_a_pack_trains_ahead_but_never_past_a_decision(actor: PackActor, tiny: dict[str, Any]) -> None:
    async def talk() -> None:
        await actor.join("id0", 0, tiny)
        assert await rows_until(actor, "id0", 2) == [1, 2]
        await asyncio.sleep(0.2)
        assert actor._pack.result().trained == {0: 2}  # type: ignore[attr-defined]
        assert await rows_until(actor, "id0", 3) >= [3]
        await asyncio.sleep(0.2)
        assert actor._pack.result().trained == {0: 6}  # type: ignore[attr-defined]
        assert (await rows_until(actor, "id0", 6))[-1] == 6

    asyncio.run(talk())


def test_an_unknown_trial_has_to_join(actor: PackActor, tiny: dict[str, Any]) -> None:
    async def talk() -> None:
        assert await actor.next_rows("id7") == []
        await actor.join("id7", 7, tiny)
        assert await rows_until(actor, "id7", 1)
        await actor.leave("id7")
        assert await actor.next_rows("id7") == []

    asyncio.run(talk())


def test_after_stop_nobody_trains(actor: PackActor, tiny: dict[str, Any]) -> None:
    async def talk() -> None:
        await actor.join("id0", 0, tiny)
        assert await rows_until(actor, "id0", 2) == [1, 2]
        await asyncio.wait_for(actor.stop(), 5)
        asking = asyncio.ensure_future(actor.next_rows("id0"))
        await asyncio.sleep(0.2)
        assert actor._pack.result().trained == {0: 2}  # type: ignore[attr-defined]
        asking.cancel()

    asyncio.run(talk())


def test_stop_waits_for_the_epoch_under_way(
    actor: PackActor, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, begun, may_end = FakePack.train_epoch, threading.Event(), threading.Event()

    def long_epoch(pack: FakePack, members: list[Any]) -> Iterator[tuple[int, Row]]:
        begun.set()
        may_end.wait(5)
        yield from epoch(pack, members)

    monkeypatch.setattr(FakePack, "train_epoch", long_epoch)

    async def talk() -> None:
        await actor.join("id0", 0, tiny)
        asking = asyncio.ensure_future(actor.next_rows("id0"))
        await asyncio.to_thread(begun.wait, 5)
        stopping = asyncio.ensure_future(actor.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        may_end.set()
        await asyncio.wait_for(stopping, 5)
        assert await asking

    asyncio.run(talk())


def test_recorded_rows_that_a_trial_has_not_seen_come_first(
    actor: PackActor, tiny: dict[str, Any], tmp_path: Path
) -> None:
    from upath import UPath

    from codeq.storage.trial_folder import trial_folder

    folder = trial_folder(UPath(tmp_path), 0)
    for epoch in (1, 2, 3):
        folder.append_row({"epoch": epoch, "status": "running", "reason": "recorded"})
    folder.checkpoint.write_bytes(b"")

    async def talk() -> None:
        await actor.join("id0", 0, tiny, after=1)
        assert [row["reason"] for row in await asyncio.wait_for(actor.next_rows("id0"), 5)] == ["recorded"] * 2

    asyncio.run(talk())


class FakeActor:
    """A pack's handle that answers at once: what was asked of it is in `calls`."""

    def __init__(self, options: PackOptions) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: self.calls.append((name, *arguments)))

    def asked(self, name: str) -> list[Any]:
        return [call[1] for call in self.calls if call[0] == name]


@pytest.fixture
def make_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Packs]:
    """The driver's side, with FakeActors for packs."""
    kind = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=FakeActor))
    ray = SimpleNamespace(
        remote=lambda **_: lambda actor: kind, wait=lambda asked, **_: (asked, []), get=lambda answer: answer
    )
    monkeypatch.setattr("codeq.execution.packs.ray", ray)

    def make(**changes: Any) -> Packs:
        sizes = {"limit": 2, "trials": 20, "concurrent": None, "epochs": 9, "cores": 2}
        return Packs(options(tmp_path), cpu=1.0, gpu=0.0, **{**sizes, **changes})

    return make


def actors(packs: Packs) -> list[FakeActor]:
    return [pack.actor for pack in packs._packs]


def test_trials_fill_the_packs_evenly_until_all_seats_are_taken(make_packs: Callable[..., Packs]) -> None:
    packs = make_packs()
    names = [packs.place(f"id{i}") for i in range(9)]
    assert len(set(names[:2])) == 2
    assert sorted(names[:8], key=str) == sorted([*names[:2]] * 4, key=str)
    assert names[8] is None
    packs.release("id3")
    assert packs.place("id8") == names[3]


def test_a_trial_that_has_ended_is_taken_out_by_the_driver(make_packs: Callable[..., Packs]) -> None:
    """Its own process may have died more often than it may."""
    packs = make_packs(limit=1)
    packs.place("id0")
    packs.release("id0")
    packs.release("id7")
    assert [actor.asked("leave") for actor in actors(packs)] == [["id0"]]


def test_the_sweep_says_once_of_each_shape_how_many_train_together(
    make_packs: Callable[..., Packs], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each pack measures for itself, and models have several shapes."""
    packs = make_packs()
    for reasons in (
        {("mlp", "a"): "8", ("mlp", "b"): "8", ("mlp", "c"): "one at a time", ("vit", "d"): "2"},
        {("mlp", "a"): "4", ("mlp", "c"): "one at a time"},
    ):
        status = PackStatus(8, {}, reasons)
        monkeypatch.setattr("codeq.execution.packs.ray.get", lambda _, status=status: status)
        packs.place("id")
    assert capsys.readouterr().out.splitlines() == ["mlp: 8", "mlp: one at a time", "vit: 2"]
