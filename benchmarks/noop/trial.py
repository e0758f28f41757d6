"""A trial of ours that only reports. A separate module because it imports Ray, which our driver imports late."""

from __future__ import annotations

import random
from typing import Any

from ray import tune
from upath import UPath

from benchmarks.noop import constant_row
from codeq.storage.trial_folder import TrialFolder


class NoopTrial(tune.Trainable):
    """Replaces `SweepTrial`: writes its rows as that does, and trains nothing. Trials have different scores, so
    that the front and the sampler have the work that they have in a sweep."""

    def setup(self, config: dict[str, Any]) -> None:
        """config: as for `SweepTrial`."""
        self._folder, draw = TrialFolder(UPath(config["folder"])), random.Random(config["trial"])
        self._epochs = self._folder.read_config().epochs
        sparsity = draw.uniform(0.05, 0.99)
        self._scores = {"val_acc": 97 - 20 * sparsity**6 - draw.expovariate(0.2), "sparsity": sparsity}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the next report."""
        row = {**constant_row(self.iteration + 1, self._epochs), **self._scores}
        self._folder.append_row({key: value for key, value in row.items() if key != "done"})
        return row
