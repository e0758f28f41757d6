"""Trials are proposed as there is room for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from codeq.execution import limiter, session
from codeq.execution.confirm import ListSearcher
from codeq.execution.limiter import Capacity, CapacityLimiter, StartedTrials
from codeq.execution.session import Session


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(limiter.time, "monotonic", lambda: now[0])
    return now


def proposed(searcher: Searcher, *names: str) -> list[bool]:
    return [searcher.suggest(name) is not None for name in names]


def given(count: int) -> ListSearcher:
    return ListSearcher([{"trial": number} for number in range(count)])


def start(started: StartedTrials, *names: str) -> None:
    for name in names:
        trial: Any = SimpleNamespace(trial_id=name)
        started.on_trial_start(0, [], trial)


def test_as_many_trials_live_as_there_is_room_for() -> None:
    searcher = CapacityLimiter(given(5), lambda: Capacity(2, 2), StartedTrials())
    assert proposed(searcher, "a", "b", "c") == [True, True, False]
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, "d", "e") == [True, False]
    searcher.on_trial_complete("b", error=True)
    assert proposed(searcher, "f", "g") == [True, False]


def test_beside_those_with_a_place_one_trial_waits() -> None:
    """On a cluster that others use."""
    started = StartedTrials()
    searcher = CapacityLimiter(given(9), lambda: Capacity(65, 2), started)
    assert proposed(searcher, *"abc") == [True, True, False]
    start(started, "a")
    assert proposed(searcher, "d") == [False]
    start(started, "b")
    assert proposed(searcher, *"ef") == [True, False]
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, "g") == [False]  # e takes the process of a


def test_a_trial_that_has_lost_its_process_waits() -> None:
    started = StartedTrials()
    searcher = CapacityLimiter(given(9), lambda: Capacity(65, 2), started)
    assert proposed(searcher, *"ab") == [True, True]
    start(started, "a", "b")
    lost: Any = SimpleNamespace(trial_id="b")
    started.on_trial_recover(0, [], lost)
    assert proposed(searcher, "c") == [False]


def test_processes_whose_trials_have_ended_are_places(clock: list[float]) -> None:
    started, rooms = StartedTrials(), iter([Capacity(4, 4), Capacity(4, 0)])
    searcher = CapacityLimiter(given(9), lambda: next(rooms), started)
    assert proposed(searcher, *"abcd") == [True] * 4
    start(started, *"abc")
    clock[0] = limiter.ASK_AGAIN_S + 1
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, *"ef") == [True, False]  # else Tune kills the process of d, which is starting
    for name in "bc":
        searcher.on_trial_complete(name, {})
    assert proposed(searcher, *"ghi") == [True, True, False]


def test_a_cluster_that_grows_is_noticed_but_not_asked_at_every_report(clock: list[float]) -> None:
    asked = []
    rooms = iter([Capacity(1, 1), Capacity(3, 3), Capacity(2, 1)])

    def how_many() -> Capacity:
        asked.append(clock[0])
        return next(rooms)

    started = StartedTrials()
    searcher = CapacityLimiter(given(9), how_many, started)
    assert proposed(searcher, "a", "b", "c") == [True, False, False]
    clock[0] = limiter.ASK_AGAIN_S + 1
    assert proposed(searcher, "d", "e", "f") == [True, True, False]
    start(started, "a", "d", "e")
    clock[0] *= 2
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, "g") == [False]  # it has shrunk
    assert len(asked) == 3


def test_the_end_of_the_search_is_passed_on() -> None:
    class Ended(Searcher):
        def suggest(self, trial_id: str) -> Any:
            return Searcher.FINISHED

    searcher = CapacityLimiter(Ended(), lambda: Capacity(2, 2), StartedTrials())
    assert [searcher.suggest(name) for name in "abc"] == [Searcher.FINISHED] * 3


@pytest.mark.parametrize(
    ("joined", "max_concurrent", "fitting", "free", "expected"),
    [
        (False, None, 2, 2, Capacity(2, 2)),
        (False, None, 2, 0, Capacity(2, 2)),  # processes that are still ending are nobody else's
        (False, 1, 2, 2, Capacity(1, 2)),
        (False, 8, 2, 2, Capacity(2, 2)),
        (True, None, 64, 4, Capacity(65, 4)),
        (True, 8, 1, 1, Capacity(8, 8)),  # the cluster grows at once
        (True, None, 8, 0, Capacity(9, 0)),  # the cluster grows with what waits
        (True, None, 0, 0, Capacity(1, 0)),  # its workers are still to come
    ],
)
def test_how_many_trials_a_session_has_room_for(
    joined: bool,
    max_concurrent: int | None,
    fitting: int,
    free: int,
    expected: Capacity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "trials_that_fit", lambda cpu, gpu: fitting)
    monkeypatch.setattr(session, "free_slots", lambda cpu, gpu: free)
    template: Any = SimpleNamespace(sweep=SimpleNamespace(max_concurrent=max_concurrent))
    mine = Session(template, session.RunOptions("auto" if joined else None))
    assert mine._capacity({"cpu": 1.0, "gpu": 0.0}) == expected
