"""Merge `extends` and the command line into one document that keeps the source location of every value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codeq.config.document import Document, KeyPath, parse_document, read_document
from codeq.config.errors import SET, ConfigError, Problem, SourceLocation, did_you_mean, format_value
from codeq.config.paths import expand_path, expand_paths, is_url

OPTIONS = {"--trials": "sweep.trials", "--name": "sweep.name", "--storage": "sweep.storage", "--device": "device"}
"""The key that each option of its own sets."""
_ONE_VALUE = {("sweep", "objectives"), ("sweep", "constraints")}
_NAMED = {("model",), ("dataset",)}
"""What may be written as a name alone."""
_KIND_KEYS = ("name", "type")
"""The keys that say what the other keys of their mapping belong to: `quantizer.name`, `optimizer.type`."""
MAX_EXTENDS = 16


def read_merged(path: Path, overrides: Iterable[str] = (), options: Mapping[str, Any] | None = None) -> Document:
    """The document at `path` over the files it extends, with each `KEY=VALUE` of `overrides` set, `options` last.

    Its paths are expanded. options: plain values by the names of OPTIONS.
    """
    document = _read_extended(path, ())
    for override in overrides:
        try:
            set_value(document, override)
        except ConfigError as error:
            document.problems += error.problems
    for option, value in (options or {}).items():
        location = SourceLocation(option)
        try:
            _set(document, OPTIONS[option], Document(value, {(): location}), location)
        except ConfigError as error:
            document.problems += error.problems
    expand_paths(document)
    return document


def _read_extended(path: Path, extended_by: tuple[str, ...]) -> Document:
    document = read_document(path)
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        raise ConfigError([Problem(document.location(()), "", "must be a mapping of keys to values")])
    if "extends" not in document.data:
        return document
    location, base = document.location(("extends",)), document.data.pop("extends")
    chain = (*extended_by, os.path.abspath(path))
    try:
        extended = _read_extended(_base_path(path, base, chain, location), chain)
    except ConfigError as error:
        raise ConfigError([*document.problems, *error.problems]) from None
    return merge(extended, document)


def _base_path(path: Path, base: Any, chain: tuple[str, ...], location: SourceLocation) -> Path:
    """The file that `extends: base` names in the file at `path`. Raises ConfigError if it cannot be extended.

    chain: the files that extend each other up to the one at `path`, which is the last.
    """
    reason = f"is {format_value(base)}, must be the name of a YAML file"
    if isinstance(base, str) and base and not is_url(base):
        try:
            base_path = path.parent / expand_path(base)
        except ValueError as error:
            raise _refused(location, "extends", str(error)) from None
        if os.path.abspath(base_path) in chain:
            reason = f"{base} leads back to a file that extends it"
        elif len(chain) > MAX_EXTENDS:
            reason = f"is the end of a chain of more than {MAX_EXTENDS} files"
        elif _is_file(base_path):
            return base_path
        else:
            reason = f"no such file: {base_path}"
    raise _refused(location, "extends", reason)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def merge(base: Document, over: Document) -> Document:
    """`over` on top of `base`: mappings are merged key by key, anything else is replaced as a whole.

    A distribution is one value, so it replaces and is replaced whole; so is a mapping by one of another name or type
    (`_changed_kind`), since it holds the settings of that kind.
    """
    merged = Document(None, {}, base.problems + over.problems, {**base.replaced, **over.replaced})
    merged.data = _merged(base, over, base.data, over.data, (), merged)
    return merged


def _merged(base: Document, over: Document, low: Any, high: Any, path: KeyPath, into: Document) -> Any:
    locations = into.locations
    changed = _changed_kind(low, high, path)
    if changed:
        into.replaced[path] = changed
    if changed or not _is_merged(low, high, path):
        locations.update({key: location for key, location in over.locations.items() if key[: len(path)] == path})
        return high
    locations[path] = over.location(path)
    merged = {}
    for key in {**low, **high}:
        child = (*path, key)
        if key not in high:
            locations.update({k: location for k, location in base.locations.items() if k[: len(child)] == child})
            merged[key] = low[key]
        elif key not in low:
            locations.update({k: location for k, location in over.locations.items() if k[: len(child)] == child})
            merged[key] = high[key]
        else:
            merged[key] = _merged(base, over, low[key], high[key], child, into)
    return merged


def _is_merged(low: Any, high: Any, path: KeyPath) -> bool:
    if not (isinstance(low, dict) and isinstance(high, dict)):
        return False
    return not {"distribution", "same_as"} & {*low, *high} and path not in _ONE_VALUE


def _changed_kind(low: Any, high: Any, path: KeyPath) -> str | None:
    """The key, `name` or `type`, by which the mapping `high` is of another kind than `low`, which it is to override.

    Not below `sweep`, where names select no other keys, and not in `kwargs`, where they are arguments.
    """
    if not (isinstance(low, dict) and isinstance(high, dict)) or path[:1] == ("sweep",) or "kwargs" in path:
        return None
    return next((key for key in _KIND_KEYS if key in low and key in high and low[key] != high[key]), None)


def set_value(document: Document, override: str) -> None:
    """Set one `dotted.key=VALUE` in place; VALUE is read as YAML. A loss term is reached by its name.

    Raises ConfigError when the override has no `=` or no value, the value is not YAML, or the key leads through a
    scalar.
    """
    key, equals, text = override.partition("=")
    location, key = SourceLocation(SET), key.strip()
    if not equals or not all(key.split(".")):
        reason = "must be KEY=VALUE, such as optimizer.param_groups.dz.lr=0.01"
        raise _refused(location, override.strip(), reason)
    plain = re.sub(r"\[(\w+)\]", r".\1", key).replace("/", ".").lstrip("+-~")
    if plain != key and all(plain.split(".")):  # Hydra's and JSON's ways to write a key
        raise _refused(location, key, f"is no dotted key; write {plain}={text.strip()}")
    if key == "extends":
        raise _refused(location, key, "cannot be set; write extends: FILE in a file of its own")
    if not text.strip():  # such as $VAR of a shell that does not have it
        raise _refused(location, key, "has no value; write null for none")
    path = _set(document, key, _value(key, text), location)
    document.overrides[path] = text.strip()


def _set(document: Document, key: str, value: Document, location: SourceLocation) -> KeyPath:
    """Put `value` at the dotted `key`, whose path is returned; `location` is the override's. Raises ConfigError."""
    steps = key.split(".")
    parent, path = document.data, KeyPath()
    for step in steps[:-1]:
        path = (*path, _index(parent, step, path, key, location))
        if path in _NAMED and isinstance(parent.get(path[-1]), str):
            parent[path[-1]] = {"name": parent[path[-1]]}
        if (parent.get(path[-1]) if isinstance(parent, dict) else parent[path[-1]]) is None:
            parent[path[-1]] = {}
            document.locations[path] = location
        parent = parent[path[-1]]
    if changed := _changed_kind(parent, {steps[-1]: value.data}, path):
        _drop_other_kind(document, parent, path)
        document.replaced[path] = changed
    path = (*path, _index(parent, steps[-1], path, key, location))
    parent[path[-1]] = value.data
    for stale in [known for known in document.locations if known[: len(path)] == path]:
        del document.locations[stale]
    document.locations.update({(*path, *below): location for below in value.locations})
    return path


def _drop_other_kind(document: Document, parent: dict[str, Any], path: KeyPath) -> None:
    """Keep of the mapping `parent`, which stands at `path`, only what other overrides have set."""
    below = {key: location for key, location in document.locations.items() if key[: len(path)] == path}
    written = [key for key, location in below.items() if location.source == SET]
    kept = {key[:length] for key in written for length in range(len(path) + 1, len(key) + 1)}
    for key in below.keys() - kept:
        del document.locations[key]
    document.locations[path] = SourceLocation(SET)
    _keep_only(kept, parent, path)


def _keep_only(kept: set[KeyPath], value: Any, path: KeyPath) -> None:
    """Remove from `value`, which stands at `path`, every entry of a mapping whose path is not in `kept`."""
    for key in list(value) if isinstance(value, dict) else []:
        if (*path, key) in kept:
            _keep_only(kept, value[key], (*path, key))
        else:
            del value[key]


def _value(key: str, text: str) -> Document:
    """VALUE as YAML; as text if it starts like `>= 90` or `@home`, which YAML cannot parse."""
    try:
        document = parse_document(text, SET)
        problems = document.problems
    except ConfigError as error:
        if text.lstrip()[:1] in {*">|@%`"} and text.isprintable():
            return Document(text.strip(), {(): SourceLocation(SET)})
        problems = error.problems
    if problems:
        raise ConfigError(Problem(SourceLocation(SET), key, problem.reason) for problem in problems)
    return document


def _index(parent: Any, step: str, path: KeyPath, key: str, location: SourceLocation) -> str | int:
    """The key or position that a step of a dotted key means in `parent`, which stands at `path`."""
    where = ".".join(map(str, path))
    if isinstance(parent, dict):
        if parent.get("distribution") == "choice" and step not in ("distribution", "choices"):
            reason = f"no such key: {where} is a choice; set it as a whole, or {where}.choices.0 ..."
            raise _refused(location, key, reason)
        return step
    if not isinstance(parent, list):
        raise _refused(location, key, f"no such key: {where} is {format_value(parent)} and holds no keys")
    index = find_item(parent, step)
    if index is None:
        names = [str(item.get("name", i)) if isinstance(item, dict) else str(i) for i, item in enumerate(parent)]
        reason = f"no such key: {where} holds {', '.join(names) or 'nothing'}{did_you_mean(step, names)}"
        raise _refused(location, key, reason)
    return index


def _refused(location: SourceLocation, key: str, reason: str) -> ConfigError:
    return ConfigError([Problem(location, key, reason)])


def find_item(items: list[Any], step: str) -> int | None:
    """The position in a list that a step of a dotted key means: an item's name, or its number."""
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == step:
            return index
    return next((index for index in range(len(items)) if str(index) == step), None)
