"""Trials as there is room for them: what would wait for a place is proposed later, when more is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune.search import ConcurrencyLimiter, Searcher

ASK_AGAIN_S = 5.0
"""How long the driver believes that the cluster is as large as it was."""


class WhileThereIsRoom(ConcurrencyLimiter):
    """Proposes what `searcher` does while fewer trials live than there is room for."""

    def __init__(self, searcher: Searcher, room: Callable[[], int]) -> None:
        """room: for how many trials, at least 1; asked every few seconds, for a cluster may grow."""
        super().__init__(searcher, max_concurrent=room())
        self._room, self._asked_at = room, time.monotonic()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The searcher's proposal; None while there is no room."""
        if time.monotonic() - self._asked_at > ASK_AGAIN_S:
            self.max_concurrent, self._asked_at = self._room(), time.monotonic()
        proposal: dict[str, Any] | None = super().suggest(trial_id)
        return proposal
