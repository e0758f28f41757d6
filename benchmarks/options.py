"""Options of the command line that every row uses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """quick: few repetitions and small sizes, to check that it works. overrides: KEY=VALUE for our side's configs."""

    quick: bool = False
    overrides: tuple[str, ...] = ()
    threads: int = os.cpu_count() or 1

    def rounds(self, full: int, quick: int = 1) -> int:
        """Return the number of repetitions: `full`, or that for `quick`."""
        return quick if self.quick else full
