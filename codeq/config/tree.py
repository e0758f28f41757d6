"""A template as a tree: plain data with Distribution and SameAs objects as leaves.

A path leads to a value of the *file* (`quantizer`, `choices`, 1, `kwargs`, `max_bits`); a parameter's name is
the dotted path of its value in the *run config* (`quantizer.kwargs.max_bits`).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from codeq.config.distributions import DISTRIBUTIONS, Choice, Distribution, Int, LogUniform, SameAs, Uniform
from codeq.config.document import Document, KeyPath, to_line
from codeq.config.errors import SET, Problem, did_you_mean, format_value
from codeq.config.foreign_keys import VALUES
from codeq.config.foreign_spaces import in_our_words
from codeq.config.merge import find_item
from codeq.config.types import StrictModel
from codeq.config.validation import MISSING, QUOTE, UNKNOWN_KEY, FieldError, field_errors


class InvalidValue:
    """Replaces a distribution that could not be read; the problem has been reported."""

    def __str__(self) -> str:
        return "an unreadable distribution"


class ForeignSpace(InvalidValue):
    """Replaces a search space in another tool's words, whose problem is not reported yet."""


def parse_tree(document: Document, value: Any, path: KeyPath, problems: list[Problem]) -> Any:
    """The tree of plain `value`, found at `path`; problems of distributions are added to `problems`.

    A distribution in another tool's words becomes a ForeignSpace: only the key's type tells how we write it.
    """
    if isinstance(value, list):
        return [parse_tree(document, item, (*path, i), problems) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    parsed = {key: parse_tree(document, item, (*path, key), problems) for key, item in value.items()}
    if "same_as" in value:
        return _section(SameAs, parsed, path, document, problems)
    if "distribution" not in value:
        return parsed
    name = value["distribution"]
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        if in_our_words(value):
            return ForeignSpace()
        hint = did_you_mean(name, DISTRIBUTIONS)
        reason = f"is {format_value(name)}, must be one of {', '.join(DISTRIBUTIONS)}{hint}"
        key = (*path, "distribution")
        problems.append(Problem(document.location(key), dotted(document.data, key), reason))
        return InvalidValue()
    return _section(DISTRIBUTIONS[name], parsed, path, document, problems)


def _section(
    model: type[StrictModel], data: dict[str, Any], path: KeyPath, document: Document, problems: list[Problem]
) -> StrictModel | InvalidValue:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = field_errors(error, model, data)
        keys_are_wrong = any(invalid.requirement in (MISSING, UNKNOWN_KEY) for invalid in found)
        if keys_are_wrong and in_our_words(get_path(document.data, path)):
            return ForeignSpace()
        problems.extend(problem_at(invalid, (*path, *invalid.path), document) for invalid in found)
        return InvalidValue()


def problem_at(invalid: FieldError, path: KeyPath, document: Document) -> Problem:
    """The problem of the value at `path` of the document."""
    location = document.location((*path, *invalid.loc))
    return Problem(location, dotted(document.data, path), str(for_the_shell(invalid, path, document)))


def for_the_shell(invalid: FieldError, path: KeyPath, document: Document) -> FieldError:
    """`invalid` with the whole `--set` where `--set` gave an unknown key, or a value that lacks quotes: a shell removes
    those around it."""
    if document.location(path).source != SET:
        return invalid
    if invalid.ours:
        given = next((known for known in document.overrides if known[: len(path)] == path), path)
        key = ".".join([invalid.ours, *map(str, given[len(path) :])])
        value = VALUES.get(key) or document.overrides.get(given, "VALUE")
        return replace(invalid, hint=f"; write {_override(key, value)}")
    if invalid.hint != QUOTE:
        return invalid
    whole = path
    while isinstance(whole[-1], int) and document.location(whole[:-1]).source == SET:  # an item of a list
        whole = whole[:-1]
    value = to_line(_as_text(get_path(document.data, whole)))
    if whole == path and path in document.overrides:
        value = f"'{document.overrides[path]}'"  # 1.10 is read as 1.1
    return replace(invalid, hint=f"; write {_override(dotted(document.data, whole), value)}")


def _override(key: str, value: str) -> str:
    """The option as it is typed into a shell, in quotes if it needs some."""
    text = f"{key}={value}"
    quoted = shlex.quote(text)
    return f'{SET} "{text}"' if quoted != text and not {*'"$`!\\'} & {*text} else f"{SET} {quoted}"


def _as_text(value: Any) -> Any:
    """A number or truth value as text, also each one in a list."""
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value if isinstance(value, str) else to_line(value)


def to_plain(value: Any) -> Any:
    """Plain data of a tree: the inverse of `parse_tree`."""
    if isinstance(value, StrictModel):
        value = {key: item for key, item in value.__dict__.items() if key in value.model_fields_set}
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value


def get_path(tree: Any, path: KeyPath) -> Any:
    """The value at a path of the tree, or None."""
    for step in path:
        if isinstance(tree, Choice):
            tree = tree.choices if step == "choices" else None
        elif isinstance(tree, dict):
            tree = tree.get(step)
        else:
            tree = tree[step] if isinstance(tree, list) and isinstance(step, int) else None
    return tree


def distributions(tree: Any) -> dict[KeyPath, Distribution]:
    """Every distribution by its path, in the order of the file, those inside choices included."""
    return {path: value for path, _, value in walk(tree) if isinstance(value, Distribution)}


def count_configs(tree: Any) -> float:
    """How many configs can be drawn from a tree; infinitely many where a distribution has no step."""
    below = [count_configs(child) for _, _, child in children(tree)]
    if isinstance(tree, Choice):
        return sum(below)
    return tree.size() if isinstance(tree, Uniform | LogUniform | Int) else math.prod(below, start=1.0)


def parameter_names(tree: Any) -> dict[KeyPath, str]:
    """The parameter name of every distribution, by its path.

    Where several choices hold different distributions for one key, the choices on the way tell them apart.
    """
    walked = [(path, name, value) for path, name, value in walk(tree) if isinstance(value, Distribution)]
    alternatives: dict[str, list[Distribution]] = {}
    for _, name, distribution in walked:
        alternatives.setdefault(name, []).append(distribution)
    shared = {name for name, found in alternatives.items() if all(d == found[0] for d in found)}
    places = dict(_places(tree))
    return {path: name if name in shared else places[path] for path, name, _ in walked}


def _places(value: Any, path: KeyPath = (), place: str = "") -> Iterator[tuple[KeyPath, str]]:
    """(path, dotted name that includes the choices on the way) of `value` and everything inside it."""
    yield path, place
    for steps, step, child in children(value):
        own = step or ".".join(map(str, steps))
        yield from _places(child, (*path, *steps), ".".join(filter(None, (place, own))))


def walk(value: Any, path: KeyPath = (), name: str = "") -> Iterator[tuple[KeyPath, str, Any]]:
    """(path, dotted name, value) of `value` and everything inside it, parents first."""
    yield path, name, value
    for steps, step, child in children(value):
        yield from walk(child, (*path, *steps), ".".join(filter(None, (name, step))))


def children(value: Any) -> Iterator[tuple[KeyPath, str, Any]]:
    """(steps of the path, step of the name, value) of the direct children of `value`."""
    if isinstance(value, dict):
        yield from (((key,), key, item) for key, item in value.items())
    elif isinstance(value, list):
        yield from (((index,), item_name(item, index), item) for index, item in enumerate(value))
    elif isinstance(value, Choice):
        yield from ((("choices", index), "", item) for index, item in enumerate(value.choices))


def item_name(item: Any, index: int) -> str:
    """The step of a dotted key that means this item of a list: its name, or its number."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(index)


def dotted(data: Any, path: KeyPath) -> str:
    """The dotted key of a path through plain data: list items by their name where they have one."""
    steps: list[str] = []
    for step in path:
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
            steps.append(item_name(data, step))
        else:
            data = data.get(step) if isinstance(data, dict) else None
            steps.append(str(step) or '""')
    return ".".join(steps)


def get_dotted(data: Any, key: str) -> Any:
    """The value at a dotted key; raises KeyError if there is none."""
    path = find_path(data, key)
    if len(path) < len(key.split(".")):
        raise KeyError(key)
    for step in path:
        data = data[step]
    return data


def find_path(data: Any, key: str) -> KeyPath:
    """The path of a dotted key through plain data, as far as there is one."""
    path: KeyPath = ()
    for name in key.split("."):
        if isinstance(data, dict) and name in data:
            step: str | int | None = name
        else:
            step = find_item(data, name) if isinstance(data, list) else None
        if step is None:
            break
        data, path = data[step], (*path, step)
    return path
