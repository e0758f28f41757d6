"""Read one YAML file into plain data that remembers where every value was written.

Stricter than YAML where YAML surprises: no aliases, merge keys or tags, no duplicate keys, and only the YAML 1.2
scalars, so that `1e-3` is a number and `no` and `010` are not silently something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codeq.config.errors import ConfigError, Mark, Problem

KeyPath = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalar rules instead of 1.1's."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_SCALARS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first) + [""])


def _integer(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    # Python refuses to convert thousands of digits; as text the value is refused with its key and line.
    return int(node.value) if len(node.value) <= 300 else node.value


def _float(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


@dataclass
class Document:
    """Plain data (dicts, lists, scalars) and the mark of every value in it, by path."""

    data: Any
    marks: dict[KeyPath, Mark] = field(default_factory=dict)

    def mark(self, path: KeyPath) -> Mark:
        """The mark of the value at `path`, or of the nearest enclosing value that has one."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks[path]


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`. Raises ConfigError if it is unreadable, too large or not plain YAML."""
    source = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(Mark(source), "", f"cannot be read: {error.strerror or error}")]) from None
    if len(raw) > MAX_BYTES:
        reason = f"is {len(raw):,} bytes, at most {MAX_BYTES:,} are read"
        raise ConfigError([Problem(Mark(source), "", reason)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(Mark(source), "", f"is not UTF-8 text: byte {error.start}")]) from None
    return parse_document(text, source)


def parse_document(text: str, source: str) -> Document:
    """Parse YAML `text`; `source` names it in marks. Raises ConfigError with every problem found."""
    try:
        problems = list(_refused_events(text, source))
        if problems:
            raise ConfigError(problems)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        reason = f"is not valid YAML: {error.problem or error.context}"
        raise ConfigError([Problem(Mark(source, line), "", reason)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(Mark(source), "", f"is not valid YAML: {error}")]) from None
    document = Document(None, {(): Mark(source, 1)})
    if node is not None:
        document.data = _plain(node, (), document.marks, problems, source)
    if problems:
        raise ConfigError(problems)
    return document


def _refused_events(text: str, source: str) -> list[Problem]:
    """What must be known before composing: composing is what expands aliases and recurses into brackets."""
    problems, depth, documents = [], 0, 0
    for event in yaml.parse(text, Loader=_Loader):
        mark = Mark(source, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            problems.append(Problem(mark, f"*{event.anchor}", "aliases are not read; use {same_as: other.key}"))
            continue
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problems.append(Problem(mark, "", "a second document in one file is not read"))
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
            problems.append(Problem(mark, str(event.tag), "tags are not read; write the plain value"))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError([Problem(mark, "", f"is nested more than {MAX_DEPTH} levels deep")])
    return problems


def _plain(
    node: yaml.Node, path: KeyPath, marks: dict[KeyPath, Mark], problems: list[Problem], source: str
) -> Any:
    """The node's plain value; fills `marks` for it and everything below, `problems` with what is refused."""
    marks[path] = Mark(source, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), marks, problems, source) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, marks, problems, source)
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _mapping(
    node: yaml.MappingNode, path: KeyPath, marks: dict[KeyPath, Mark], problems: list[Problem], source: str
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        mark = Mark(source, key_node.start_mark.line + 1)
        key = key_node.value
        dotted = ".".join(map(str, (*path, key)))
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(mark, ".".join(map(str, path)), "a key must be a plain word"))
        elif key == "<<":
            problems.append(Problem(mark, dotted, "merge keys are not read; use extends: FILE"))
        elif key in mapping:
            first = marks[(*path, key)].line
            problems.append(Problem(mark, dotted, f"duplicate key, first written in line {first}"))
        else:
            mapping[key] = _plain(value_node, (*path, key), marks, problems, source)
            marks[(*path, key)] = mark
    return mapping
