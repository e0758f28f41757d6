"""Plain Ray Tune with its defaults (three loggers, random search, no early stopping), except that processes are reused.

Starting a process for each trial would take twenty minutes and is not the driver's work.

    python -m benchmarks.noop.plain --storage FOLDER --trials N --epochs N
"""

from __future__ import annotations

from typing import Any

from ray import tune

from benchmarks.noop import constant_row, options

SPACE = {"base_lr": (2e-3, 2e-2), "dz_lr": (5e-4, 1e-2), "dz_weight_decay": (0.1, 50.0), "group_lasso": (1e-5, 1e-2)}


class NoopTrial(tune.Trainable):
    """A trial that only reports."""

    def setup(self, config: dict[str, Any]) -> None:
        """config: the drawn values, and the number of epochs."""
        self._epochs = config["epochs"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Run the next trial in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return the next report."""
        return constant_row(self.iteration + 1, self._epochs)


def main() -> None:
    """Run it."""
    given = options("plain")
    space = {name: tune.loguniform(low, high) for name, (low, high) in SPACE.items()}
    tune.Tuner(
        NoopTrial,
        param_space={**space, "epochs": given.epochs},
        tune_config=tune.TuneConfig(num_samples=given.trials, reuse_actors=True),
        run_config=tune.RunConfig(name="plain", storage_path=given.storage),
    ).fit()


if __name__ == "__main__":
    main()
