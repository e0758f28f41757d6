"""Problems in a config file, each with its place, collected and raised together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """Where a value was written: a file (or `--set`) and its 1-based line, if it has one."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, at which key, and what to write instead."""

    mark: Mark
    key: str
    reason: str

    def __str__(self) -> str:
        parts = [str(self.mark), self.key, self.reason]
        # A control character in a key or a value must not break the promise of one line per problem.
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in ": ".join(p for p in parts if p))


class ConfigError(Exception):
    """Every problem found in a config; `str()` gives one line for each, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda p: (p.mark.source, p.mark.line or 0, p.key, p.reason))
        super().__init__("\n".join(map(str, self.problems)))


def nearest(name: object, choices: Iterable[str]) -> str:
    """`; did you mean X?` for the closest of `choices`, or an empty string."""
    matches = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]}?" if matches else ""
