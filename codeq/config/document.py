"""Read one YAML file into plain data, with the line of every value.

Stricter than YAML: no aliases, merge keys or tags, no duplicate keys, and only the YAML 1.2
scalars, so that `1e-3` is a number and `no` and `010` are not silently something else.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codeq.config.errors import MAX_PROBLEMS, ConfigError, Problem, SourceLocation

KeyPath = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_VALUES = 10_000
"""Keys and values of a file, which take a second or two to read."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalar rules instead of 1.1's."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes every string that it or `_Loader` would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:
        """Repeated parts are written out: aliases are not read back."""
        return True


_TEXT = "tag:yaml.org,2002:str"
_SCALARS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)
for _tag, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _regexp = re.compile(rf"^(?:{_pattern})$")
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _regexp, [*_first, ""])


def _integer(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    # Python refuses to convert thousands of digits; as text the value is refused with its key and line.
    return int(node.value) if len(node.value) <= 300 else node.value


def _float(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


@dataclass
class Document:
    """Plain data (dicts, lists, scalars), the source location of every value by path, and the problems found.

    replaced: the mappings that an override of another kind has replaced as a whole, and the key that says the kind.
    overrides: the text of the value that `--set` has given to a path.
    """

    data: Any
    locations: dict[KeyPath, SourceLocation] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    replaced: dict[KeyPath, str] = field(default_factory=dict)
    overrides: dict[KeyPath, str] = field(default_factory=dict)

    def location(self, path: KeyPath) -> SourceLocation:
        """The location of the value at `path`, or of the nearest enclosing value that has one."""
        while path and path not in self.locations:
            path = path[:-1]
        return self.locations[path]


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`. Raises ConfigError if it is unreadable, too large or not plain YAML."""
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([Problem(SourceLocation(source), "", f"cannot be read: {reason}")]) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(SourceLocation(source), "", f"is larger than {MAX_BYTES // 1024} KB")])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        location = SourceLocation(source, raw.count(b"\n", 0, error.start) + 1)
        reason = f"is not UTF-8 text: byte {error.start} of the file; save it as UTF-8"
        raise ConfigError([Problem(location, "", reason)]) from None
    return parse_document(text, source)


def parse_document(text: str, source: str) -> Document:
    """Parse YAML `text`; `source` names it in locations. Raises ConfigError if it is not plain YAML."""
    try:
        refused = _refused_events(text, source)
        if refused:
            raise ConfigError(refused)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, source)]) from None
    except yaml.reader.ReaderError as error:
        location = SourceLocation(source, text.count("\n", 0, error.position) + 1)
        code = error.character
        is_byte = 0xDC80 <= code <= 0xDCFF  # how Python represents a byte of an argument that it cannot decode
        bad = f"byte {code - 0xDC00:#x}, must be UTF-8" if is_byte else f"character {chr(code)!r}, must be plain"
        reason = f"holds the {bad} text"
        raise ConfigError([Problem(location, "", reason)]) from None
    document = Document(None, {(): SourceLocation(source, 1)})
    if node is not None:
        document.data = _plain(node, (), document, source)
    return document


def to_yaml(data: Any) -> str:
    """`data` as YAML text that this module and PyYAML's own loaders read back as equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def to_line(data: Any) -> str:
    """`data` as YAML text in one line, as it may stand behind a key."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def is_number(text: str) -> bool:
    """Whether a text is a number to YAML 1.2, where it stands without quotes."""
    patterns = [pattern for tag, pattern, _ in _SCALARS if tag in ("int", "float")]
    return len(text) <= 30 and any(re.fullmatch(pattern, text) for pattern in patterns)


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> Problem:
    line, begin = _line(error.problem_mark) or _line(error.context_mark), _line(error.context_mark)
    reason = f"is not valid YAML: {error.problem or error.context}"
    if begin and begin != line:
        reason += f" ({error.context} that begins in line {begin})"
        if "expected ':'" in reason:
            reason += "; write KEY: VALUE, with a space behind the colon"
    elif "'\\t'" in reason:
        reason += "; indent with spaces"
    elif "cannot start any token" in reason or "block scalar" in (error.context or ""):
        reason += "; put text that begins with a sign in quotes"
    return Problem(SourceLocation(source, line), "", reason)


def _line(location: Any) -> int | None:
    return None if location is None else location.line + 1


def _refused_events(text: str, source: str) -> list[Problem]:
    """Check size, depth and aliases before composing, which expands aliases and recurses into brackets."""
    problems: list[Problem] = []
    depth = documents = values = 0
    for event in yaml.parse(text, Loader=_Loader):
        location = SourceLocation(source, _line(event.start_mark))
        if len(problems) >= MAX_PROBLEMS:
            break
        if isinstance(event, yaml.AliasEvent):
            reason = "aliases are not read; repeat the value (templates: {same_as: other.key})"
            problems.append(Problem(location, f"*{event.anchor}", reason))
            continue
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                problems.append(Problem(location, "", "a second document in one file is not read; remove the ---"))
        tag = getattr(event, "tag", None) if isinstance(event, yaml.NodeEvent) else None
        if tag is not None:
            written = tag.replace("tag:yaml.org,2002:", "!!")
            problems.append(Problem(location, written, "tags are not read; write the plain value"))
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        values += isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if values > MAX_VALUES:
            raise ConfigError([*problems, Problem(location, "", f"holds more than {MAX_VALUES:,} keys and values")])
        if depth > MAX_DEPTH:
            raise ConfigError([Problem(location, "", f"is nested more than {MAX_DEPTH} levels deep")])
    return problems


def _plain(node: yaml.Node, path: KeyPath, document: Document, source: str) -> Any:
    """The node's plain value; `document` receives the locations and the problems of it and of everything below."""
    document.locations[path] = SourceLocation(source, _line(node.start_mark))
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), document, source) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document, source)
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document, source: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in _whole_calls(node):
        location, key = SourceLocation(source, _line(key_node.start_mark)), key_node.value
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(location, _dotted(path), "a key must be a plain word"))
        elif key == "<<":
            reason = "merge keys are not read; repeat the keys (templates: extends: FILE)"
            document.problems.append(Problem(location, _dotted((*path, key)), reason))
        elif key in mapping:
            reason = f"duplicate key, first written in line {document.locations[(*path, key)].line}"
            document.problems.append(Problem(location, _dotted((*path, key)), reason))
        else:
            mapping[key] = _plain(value_node, (*path, key), document, source)
            document.locations[(*path, key)] = location
    return mapping


def _whole_calls(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The keys and values of a mapping. In braces a comma ends a text, so that `{lr: uniform(0, 1)}` is read as the
    keys `lr` and `1)`; such a call or tuple is put together again, so that it is refused as a whole."""
    entries, index = node.value, 0
    while index < len(entries):
        key, value = entries[index]
        index += 1
        if node.flow_style and isinstance(value, yaml.ScalarNode) and re.fullmatch(r"[\w.~]*\([^)]*", value.value):
            parts = [value.value]
            for name, empty in itertools.islice(entries, index, None):
                if empty.value or parts[-1].endswith(")") or not isinstance(name, yaml.ScalarNode):
                    break
                parts.append(name.value)
            if parts[-1].endswith(")"):
                index += len(parts) - 1
                value = yaml.ScalarNode(_TEXT, ", ".join(parts), value.start_mark, value.end_mark)
        yield key, value


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
