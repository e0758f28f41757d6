"""What differs between two configs as plain data, by dotted key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from codeq.config.errors import format_value
from codeq.config.tree import item_name

NOT_SET = object()
"""Stands for the value of a key that only the other config has."""


@dataclass(frozen=True)
class Difference:
    """A dotted key and its two values."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """`is 9, was 4`."""
        after, before = ("not set" if value is NOT_SET else format_value(value) for value in (self.after, self.before))
        return f"is {after}, was {before}"


def differences(before: Any, after: Any, key: str = "") -> Iterator[Difference]:
    """The innermost keys at which two configs differ, in the order of `after`.

    A distribution is compared by its keys (`weight_decay.high`) and as a whole where it is of another kind, a list item
    by item and as a whole where it holds other items. key: where the two stand.
    """
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and _kind(before) == _kind(after):
        items = [(step, before.get(step, NOT_SET), after.get(step, NOT_SET)) for step in {**after, **before}]
    elif isinstance(before, list) and isinstance(after, list) and _item_names(before) == _item_names(after):
        items = list(zip(_item_names(after), before, after, strict=True))
    else:
        yield Difference(key, before, after)
        return
    for step, old, new in items:
        yield from differences(old, new, f"{key}.{step}" if key else step)


def _kind(mapping: dict[str, Any]) -> Any:
    return mapping.get("distribution")


def _item_names(items: list[Any]) -> list[str]:
    return [item_name(item, index) for index, item in enumerate(items)]
