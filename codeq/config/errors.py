"""Problems in a config file, each with file and line, collected and raised together."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from codeq.config.arguments import as_text

SET = "--set"
MAX_PROBLEMS = 100
"""The most problems that are looked for and listed: nobody reads more, and files of a machine may have thousands."""
MAX_SHOWN = 60
MAX_KEY = 200


@dataclass(frozen=True)
class SourceLocation:
    """Where a value was written: a file (or `--set`) and its 1-based line, if it has one."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, at which key, and what to write instead."""

    location: SourceLocation
    key: str
    reason: str

    def __str__(self) -> str:
        parts = [str(self.location), _shortened(self.key, MAX_KEY), self.reason]
        # One line per problem, even if a key or a value holds line breaks.
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in as_text(": ".join(p for p in parts if p)))


class ConfigError(Exception):
    """Every problem found in a config; `str()` gives one line for each of the first MAX_PROBLEMS, in the order of the
    file, and one for the rest."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda p: (p.location.source, p.location.line or 0, p.key, p.reason))
        super().__init__(self.problems)  # as an argument, so that the error survives pickling between processes

    def __str__(self) -> str:
        lines = list(map(str, self.problems[:MAX_PROBLEMS]))
        if more := len(self.problems) - len(lines):
            lines.append(f"{self.problems[0].location.source}: {more:,} more")
        return "\n".join(lines)


class BadInput(Exception):
    """What the template or the command line asks for is not available; one line that says what to do."""


def closest(name: object, choices: Iterable[str]) -> str | None:
    """The most similar of `choices`, ignoring case; None if none is similar."""
    return _closest(name.lower(), tuple(choices)) if isinstance(name, str) else None


@functools.lru_cache(maxsize=1024)
def _closest(name: str, choices: tuple[str, ...]) -> str | None:
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(name, by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[matches[0]] if matches else None


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest of `choices`, or an empty string."""
    match = closest(name, choices)
    return f"; did you mean {match}?" if match else ""


def format_value(value: Any) -> str:
    """A value for a message: as the file spells it, shortened to MAX_SHOWN characters."""
    if value is None or isinstance(value, bool | dict | list):
        return _shortened(json.dumps(value, default=str, ensure_ascii=False), MAX_SHOWN)
    shown = as_text(value) if isinstance(value, str) else value
    return _shortened(repr(shown) if isinstance(shown, int | float | str) else str(shown), MAX_SHOWN)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
