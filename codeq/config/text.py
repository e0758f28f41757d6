"""Numbers, lists and errors as parts of sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def pluralize(number: int, noun: str) -> str:
    """`1 trial`, `1,200 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join_and(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *early, last = names
    return f"{', '.join(early)} and {last}" if early else last


def format_duration(seconds: float) -> str:
    """Return a text such as `45 s`, `12 min`, `3.4 h` or `2.1 days`."""
    for unit, length in (("days", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def one_line(message: object) -> str:
    """A message or an error's message without line breaks; the error's type if there is no message."""
    return " ".join(str(message).split()) or type(message).__name__


def yaml_text(value: Any) -> Any:
    """A drawn value as the template spells it: `true`, `null`, `[1, 2]`; numbers and texts as they are."""
    is_other = value is None or isinstance(value, bool | list | dict)
    return json.dumps(value, ensure_ascii=False) if is_other else value


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).strip().partition("\n")[0]
