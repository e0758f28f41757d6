"""Limits the number of live trials: a trial is proposed when it can run, so that the search has more results then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter, Searcher

ASK_AGAIN_S = 5.0
"""Seconds after which the capacity is measured again."""


class Capacity(NamedTuple):
    """Numbers of trials. max_live: limit of running and waiting ones. free: those that fit into the free resources."""

    max_live: int
    free: int


class StartedTrials(Callback):
    """Collects the Tune ids of trials that have a process or had one when they ended."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Add the trial: it has a process."""
        self.ids.add(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Remove the trial: its process has died and it waits for a new one."""
        self.ids.discard(trial.trial_id)


class CapacityLimiter(ConcurrencyLimiter):
    """Passes on the proposals of `searcher` while there is capacity for another trial."""

    def __init__(self, searcher: Searcher, capacity: Callable[[], Capacity], started: StartedTrials) -> None:
        """capacity: called every few seconds, as a cluster may grow; max_live is 1 or more. started: a callback."""
        now = capacity()
        super().__init__(searcher, max_concurrent=now.max_live)
        self._capacity, self._asked_at, self._started, self._slots = capacity, time.monotonic(), started, now.free

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles searchers into an unused snapshot, and a study's URL may have a password."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the searcher's proposal, or None if there is no capacity.

        One trial more than fits may wait: a cluster may scale up for it, or other jobs may end.
        """
        running = len(self.live_trials & self._started.ids)
        if time.monotonic() - self._asked_at > ASK_AGAIN_S:
            now, self._asked_at = self._capacity(), time.monotonic()
            self.max_concurrent = now.max_live
            # The process of an ended trial is reused by the next one, so the number of slots never decreases.
            self._slots = max(self._slots, running + now.free)
        if len(self.live_trials) >= max(self._slots, running + 1):
            return None
        proposal: dict[str, Any] | None = super().suggest(trial_id)
        return proposal

    def get_state(self) -> dict[str, Any]:
        """Return an empty state: Tune's snapshots are not used."""
        return {}
