"""The Tune trial that a pack trains: an actor without torch, which asks its pack for one row after the other."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from codeq.sweep.trainable import report_of

FUSED_TRIAL_BYTES = 100 << 20
"""What Ray sets aside for a trial's own process, which needs no share of a CPU."""
RESTART_S = 300.0
"""How long a trial waits for the process of its pack to be there again."""


@cache
def _pack(name: str) -> Any:
    """The pack's handle, looked up once per process."""
    return ray.get_actor(name)


class FusedTrial(tune.Trainable):
    """One trial as a Ray actor of its own, for Tune's schedulers and the dashboard; its pack does the work.

    When the pack's process dies, the trial joins the one that Ray starts in its place, which finds its checkpoint.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """config: see `codeq.sweep.trial_config`."""
        self._config = config
        self._pack = _pack(config["pack"])
        self._joined = False
        self._rows: list[dict[str, Any]] = []  # received, not reported yet
        self._epoch: int | None = None  # of the last row, None: none of this actor's yet

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the next trial."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The row of the next epoch; the same keys every time."""
        return report_of(self._next_row())

    def __repr__(self) -> str:
        """The trial's name, which Ray's dashboard shows for its actor."""
        return str(self.trial_name)

    def _next_row(self) -> dict[str, Any]:
        if not self._rows:
            self._rows = self._receive()
        row = self._rows.pop(0)
        self._epoch = row["epoch"]
        return row

    def _receive(self) -> list[dict[str, Any]]:
        lost_at: float | None = None
        while True:
            try:
                if not self._joined:
                    number, run_config, images = (self._config[key] for key in ("trial", "run_config", "images"))
                    ray.get(self._pack.join.remote(self.trial_id, number, run_config, self._epoch, images))
                    self._joined = True
                rows: list[dict[str, Any]] = ray.get(self._pack.next_rows.remote(self.trial_id))
                if rows:
                    return rows
                self._joined = False
            except RayActorError:
                self._joined = False
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > RESTART_S:
                    raise
                time.sleep(0.5)
