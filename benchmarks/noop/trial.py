"""A trial of ours that does nothing but report. Imports Ray, which our driver does late."""

from __future__ import annotations

from typing import Any

from ray import tune

from benchmarks.noop import constant_row


class NoopTrial(tune.Trainable):
    """Takes the place of `SweepTrial`."""

    def setup(self, config: dict[str, Any]) -> None:
        """config: as `SweepTrial` gets it."""
        self._epochs = config["run_config"]["epochs"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The next report."""
        return constant_row(self.iteration + 1, self._epochs)
