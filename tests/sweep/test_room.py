"""Trials are proposed as there is room for them."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.search import Searcher

from codeq.sweep import cluster, room
from codeq.sweep.given_trials import GivenTrials
from codeq.sweep.room import WhileThereIsRoom


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    return now


def proposed(searcher: Searcher, *names: str) -> list[bool]:
    return [searcher.suggest(name) is not None for name in names]


def given(count: int) -> GivenTrials:
    return GivenTrials([{"trial": number} for number in range(count)])


def test_as_many_trials_live_as_there_is_room_for() -> None:
    searcher = WhileThereIsRoom(given(5), lambda: 2)
    assert proposed(searcher, "a", "b", "c") == [True, True, False]
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, "d", "e") == [True, False]
    searcher.on_trial_complete("b", error=True)
    assert proposed(searcher, "f", "g") == [True, False]


def test_a_cluster_that_grows_is_noticed_but_not_asked_at_every_report(clock: list[float]) -> None:
    asked = []
    rooms = iter([1, 3, 2])

    def how_many() -> int:
        asked.append(clock[0])
        return next(rooms)

    searcher = WhileThereIsRoom(given(9), how_many)
    assert proposed(searcher, "a", "b", "c") == [True, False, False]
    clock[0] = room.ASK_AGAIN_S + 1
    assert proposed(searcher, "d", "e", "f") == [True, True, False]
    clock[0] *= 2
    searcher.on_trial_complete("a", {})
    assert proposed(searcher, "g") == [False]  # it has shrunk
    assert len(asked) == 3


def test_the_end_of_the_search_is_passed_on() -> None:
    class Ended(Searcher):
        def suggest(self, trial_id: str) -> Any:
            return Searcher.FINISHED

    searcher = WhileThereIsRoom(Ended(), lambda: 2)
    assert [searcher.suggest(name) for name in "abc"] == [Searcher.FINISHED] * 3


def test_trials_fit_what_the_cluster_has_now(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"CPU": 0.0}
    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    assert cluster.trials_that_fit(1.0, 0.0) == 1  # its workers are still to come
    there.update(CPU=64.0, GPU=8.0)
    assert cluster.trials_that_fit(1.0, 0.5) == 16
