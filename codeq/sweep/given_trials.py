"""Ray Tune's searcher where there is nothing to search: it proposes the configs that it is given, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ray.tune.search import Searcher


class GivenTrials(Searcher):
    """Proposes each of its configs once."""

    def __init__(self, configs: Iterable[dict[str, Any]]) -> None:
        """configs: see `codeq.sweep.trial_config`."""
        super().__init__()
        self._configs = iter(configs)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next config; None after the last, which Tune does not ask for."""
        return next(self._configs, None)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: there is nothing to learn."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the folders of the runs are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""
