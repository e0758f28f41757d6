"""Paths in a template and on the command line: `~` and `$VAR` expand, `$$` is a `$`, a URL stays as it is.

They expand once, where a user's file or an option is read; everything behind that has the path itself. A file that is
written for users to train again has `$$` for `$` (`escape_paths`), so that it reads back as the same path. A relative
path begins in the current folder, that of `extends` in the folder of its file.
"""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from codeq.config.document import Document
from codeq.config.errors import ConfigError, Problem, SourceLocation, format_value
from codeq.config.types import NonEmptyString, invalid

PATH_KEYS: tuple[tuple[str, ...], ...] = (
    ("data_dir",), ("save_dir",), ("sweep", "storage"), ("sweep", "search", "warm_start"), ("sweep", "study"),
)  # fmt: skip
"""The keys of a template whose values are paths, or may be."""
_VARIABLE = re.compile(r"\$(\$|\w+|\{[^}]*\})", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:\-]*://")
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]*)(.*)", re.DOTALL)
"""The URL of a study in a file: scheme, path, options."""
_BUCKETS = r"(?:s3a?|gc?s|az|abfss?)"
_NO_SLASHES = re.compile(rf"({_BUCKETS}|https?|memory|file):(?!//)")


def is_url(path: str) -> bool:
    """Whether `path` begins with a scheme such as `s3://`."""
    return _URL.match(path) is not None


def expand_path(text: str) -> str:
    """`text` with `~`, `~USER`, `$VAR` and `${VAR}` replaced and `$$` as `$`; a URL as it is, but for a SQLite file's.

    Raises ValueError, with `text` and the reason, for a variable that is unset or empty, a user that does not exist,
    a path that the locale's encoding cannot spell, and a URL without its slashes or its bucket, or in capitals.
    """
    if sqlite := _SQLITE.fullmatch(text):
        return f"{sqlite[1]}{_expanded(sqlite[2], text)}{sqlite[3]}"
    if bare := _NO_SLASHES.match(text):
        raise ValueError(f"is {format_value(text)}, must begin with {bare[1]}://; write ./{text} for a local file")
    if re.match(rf"{_BUCKETS}://(/|$)", text):
        raise ValueError(f"is {format_value(text)}, must name a bucket: {text.partition(':')[0]}://BUCKET/PATH")
    scheme = text.partition("://")[0] if is_url(text) else ""
    if scheme != scheme.lower():
        raise ValueError(f"is {format_value(text)}, must begin with {scheme.lower()}://")
    return text if scheme else _expanded(text, text)


def _expanded(path: str, text: str) -> str:
    """`path`, which is `text` or a part of it, with everything replaced."""
    path = os.path.expanduser(_VARIABLE.sub(lambda match: _variable(match, text), path))
    if path.startswith("~"):
        reason = f"but there is no user {path[1:].partition('/')[0]}; write ./{path} for a file of that name"
        raise ValueError(f"is {format_value(text)}, {reason}")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        reason = f"which the locale's encoding, {encoding}, cannot spell; set PYTHONUTF8=1"
        raise ValueError(f"is {format_value(text)}, {reason}") from None
    return path


def _variable(match: re.Match[str], text: str) -> str:
    name = match[1].strip("{}")
    if name == "$":
        return name
    if value := os.environ.get(name):
        return value
    state = "empty" if name in os.environ else "not set"
    reason = f"but the environment variable {name} is {state}; write $$ for a $ of a file's name"
    raise ValueError(f"is {format_value(text)}, {reason}")


def escape_path(path: str) -> str:
    """The text that `expand_path` expands to `path`."""
    if sqlite := _SQLITE.fullmatch(path):
        return f"{sqlite[1]}{escape_path(sqlite[2])}{sqlite[3]}"
    if is_url(path):
        return path
    return ("./" if path.startswith("~") or _NO_SLASHES.match(path) else "") + path.replace("$", "$$")


def expand_paths(document: Document) -> None:
    """Expand the paths of a document that a user has written, in place; those that cannot be become its problems."""
    for section, path in _paths(document.data):
        try:
            section[path[-1]] = expand_path(section[path[-1]])
        except ValueError as error:
            document.problems.append(Problem(document.location(path), ".".join(path), str(error)))


def escape_paths(data: dict[str, Any]) -> dict[str, Any]:
    """A copy of a config as plain data, as it is written into a file that `expand_paths` will read."""
    escaped = copy.deepcopy(data)
    for section, path in _paths(escaped):
        section[path[-1]] = escape_path(section[path[-1]])
    return escaped


def _paths(data: Any) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The mapping that holds it and the key path of every path in plain data."""
    for path in PATH_KEYS:
        section = data
        for step in path[:-1]:
            section = section.get(step) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get(path[-1]), str):
            yield section, path


def option_path(option: str, text: str, *, local: bool = False) -> str:
    """`expand_path` for an argument of the command line, unless it exists as it stands.

    option: its name, for the message. local: a URL is refused. Raises ConfigError, also for an empty argument.
    """
    try:
        if not text:
            raise ValueError("is empty, must be the name of a file")
        if local and is_url(text):
            raise ValueError(f"is {format_value(text)}, must be the name of a file, not a URL")
        return text if os.path.lexists(text) else expand_path(text)
    except ValueError as error:
        raise ConfigError([Problem(SourceLocation(option), "", str(error))]) from None


def _local(path: str) -> str:
    if is_url(path):
        raise invalid(f"is {format_value(path)}, must be a folder, not a URL")
    return path


LocalPath = Annotated[NonEmptyString, AfterValidator(_local)]
