"""Our searcher with a clock. A separate module because it imports Ray, which our driver imports late."""

from __future__ import annotations

from typing import Any

from benchmarks.noop.samples import Samples
from codeq.execution.searcher import OptunaSearcher
from codeq.search.outcome import TrialEnd


class TimedSearcher(OptunaSearcher):
    """Replaces `OptunaSearcher`. samples: set before one is made."""

    samples: Samples

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """As the searcher does."""
        with self.samples.search():
            return super().suggest(trial_id)

    def tell(self, trial_id: str, end: TrialEnd) -> None:
        """As the searcher does."""
        with self.samples.search(ends_trial=True):
            super().tell(trial_id, end)
