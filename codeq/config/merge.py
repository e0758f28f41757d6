"""Fold `extends` and `--set` into one document, every value still knowing where it was written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from codeq.config.document import Document, KeyPath, parse_document, read_document
from codeq.config.errors import ConfigError, Mark, Problem

SET = "--set"
MAX_EXTENDS = 16


def read_merged(path: Path, overrides: Iterable[str] = ()) -> Document:
    """The document at `path` over the files it extends, with each `KEY=VALUE` of `overrides` set last."""
    document = _read_extended(path, ())
    problems: list[Problem] = []
    for override in overrides:
        try:
            set_value(document, override)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return document


def _read_extended(path: Path, extended_by: tuple[Path, ...]) -> Document:
    document = read_document(path)
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        raise ConfigError([Problem(document.mark(()), "", "must be a mapping of keys to values")])
    if "extends" not in document.data:
        return document
    mark, base = document.mark(("extends",)), document.data.pop("extends")
    chain = (*extended_by, path.resolve())
    if not isinstance(base, str):
        raise ConfigError([Problem(mark, "extends", f"is {base!r}, must be the name of a YAML file")])
    base_path = path.parent / base
    if base_path.resolve() in chain or len(chain) > MAX_EXTENDS:
        raise ConfigError([Problem(mark, "extends", f"{base} leads back to a file that extends it")])
    if not base_path.is_file():
        raise ConfigError([Problem(mark, "extends", f"no such file: {base_path}")])
    return merge(_read_extended(base_path, chain), document)


def merge(base: Document, over: Document) -> Document:
    """`over` on top of `base`: mappings are merged key by key, anything else is replaced as a whole.

    A distribution is one value, so it replaces and is replaced whole; so is a quantizer by one of another name,
    whose arguments would be meaningless to it.
    """
    marks: dict[KeyPath, Mark] = {}
    return Document(_merged(base, over, base.data, over.data, (), marks), marks)


def _merged(
    base: Document, over: Document, low: Any, high: Any, path: KeyPath, marks: dict[KeyPath, Mark]
) -> Any:
    if not _is_merged(low, high, path):
        marks.update({key: mark for key, mark in over.marks.items() if key[: len(path)] == path})
        return high
    marks[path] = over.mark(path)
    merged = {}
    for key in {**low, **high}:
        child = (*path, key)
        if key not in high:
            marks.update({k: mark for k, mark in base.marks.items() if k[: len(child)] == child})
            merged[key] = low[key]
        elif key not in low:
            marks.update({k: mark for k, mark in over.marks.items() if k[: len(child)] == child})
            merged[key] = high[key]
        else:
            merged[key] = _merged(base, over, low[key], high[key], child, marks)
    return merged


def _is_merged(low: Any, high: Any, path: KeyPath) -> bool:
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return False
    if {"distribution", "same_as"} & {*low, *high}:
        return False
    return path != ("quantizer",) or high.get("name", low.get("name")) == low.get("name")


def set_value(document: Document, override: str) -> None:
    """Set one `dotted.key=VALUE` in place; VALUE is read as YAML. A loss term is reached by its name.

    Raises ConfigError when the override has no `=`, the value is not YAML or the key leads through a scalar.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError([Problem(Mark(SET), override, "must be KEY=VALUE")])
    value = _set_document(key, text)
    path = _resolve(document, key)
    parent = document.data
    for step in path[:-1]:
        parent = _child(parent, step)
    parent[path[-1]] = value.data
    for stale in [known for known in document.marks if known[: len(path)] == path]:
        del document.marks[stale]
    document.marks.update({(*path, *below): Mark(SET) for below in value.marks})


def _set_document(key: str, text: str) -> Document:
    try:
        return parse_document(text, SET)
    except ConfigError as error:
        raise ConfigError(Problem(Mark(SET), key, problem.reason) for problem in error.problems) from None


def _child(parent: Any, step: str | int) -> Any:
    if isinstance(parent, dict) and parent.get(str(step)) is None:
        parent[step] = {}
    return parent[step]


def _resolve(document: Document, key: str) -> KeyPath:
    """The path of a dotted key: the steps of a list are its items' names or numbers."""
    path: KeyPath = ()
    value: Any = document.data
    for step in key.strip().split("."):
        index = find_item(value, step) if isinstance(value, list) else step
        if index is None or not isinstance(value, dict | list | None):
            reason = "no such key: " + (".".join(map(str, path)) or "the file") + f" has no {step}"
            raise ConfigError([Problem(Mark(SET), key, reason)])
        path = (*path, index)
        value = value.get(step) if isinstance(value, dict) else None if value is None else value[int(index)]
    return path


def find_item(items: list[Any], step: str) -> int | None:
    """The position in a list that a step of a dotted key means: an item's name, or its number."""
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == step:
            return index
    return int(step) if step.isdigit() and int(step) < len(items) else None
