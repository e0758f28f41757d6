"""A row of the table: two sides measured in alternation, so that a slow phase of the machine affects both."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """Figures of both sides in pairs; the two figures of a pair were measured one after the other.

    unit: of the figures. lower_is_better: figures are costs, not rates. target: for the median ratio; None: no target.
    against: describes `theirs`. details: further figures, printed below the table. profile: lines that say where the
    time goes, printed there if the target is missed. not_run: why there are no figures.
    """

    name: str
    unit: str
    against: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    lower_is_better: bool = False
    target: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    profile: list[str] = field(default_factory=list)
    not_run: str = ""

    @property
    def ratios(self) -> list[float]:
        """Return for each pair how many times better our figure is."""
        pairs = zip(self.ours, self.theirs, strict=False)
        return [theirs / ours if self.lower_is_better else ours / theirs for ours, theirs in pairs]

    @property
    def missed(self) -> bool:
        """Whether the median ratio falls short of the target."""
        return self.target is not None and bool(self.ratios) and statistics.median(self.ratios) < self.target


def interleave(
    ours: Callable[[], float], theirs: Callable[[], float], rounds: int, warmups: int = 1
) -> tuple[list[float], list[float]]:
    """Return the figures of both sides, measured in alternation after `warmups` unmeasured rounds."""
    pairs = [(ours(), theirs()) for _ in range(warmups + rounds)][warmups:]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
