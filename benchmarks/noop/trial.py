"""A trial of ours that only reports. A separate module because it imports Ray, which our driver imports late."""

from __future__ import annotations

from typing import Any

from ray import tune
from upath import UPath

from benchmarks.noop import constant_row
from codeq.storage.trial_folder import TrialFolder


class NoopTrial(tune.Trainable):
    """Replaces `SweepTrial`."""

    def setup(self, config: dict[str, Any]) -> None:
        """config: as for `SweepTrial`."""
        self._epochs = TrialFolder(UPath(config["folder"])).read_config().epochs

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the next report."""
        return constant_row(self.iteration + 1, self._epochs)
