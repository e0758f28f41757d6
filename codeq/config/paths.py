"""Paths in a template and on the command line: `~` and `$VAR` expand, a URL stays as it is.

A relative path begins in the current folder, that of `extends` in the folder of its file.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated

from pydantic import AfterValidator

from codeq.config.errors import ConfigError, Problem, SourceLocation, format_value
from codeq.config.types import NonEmptyString, invalid

_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})", re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:\-]*://")


def is_url(path: str) -> bool:
    """Whether `path` begins with a scheme such as `s3://`."""
    return _URL.match(path) is not None


def expand_path(text: str) -> str:
    """`text` with `~`, `~USER`, `$VAR` and `${VAR}` replaced; a URL as it is.

    Raises ValueError, with `text` and the reason, for a variable that is unset or empty, a user that does not exist,
    and a path that the locale's encoding cannot spell.
    """
    if is_url(text):
        return text
    path = os.path.expanduser(_VARIABLE.sub(lambda match: _variable(match, text), text))
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
    if value := os.environ.get(name):
        return value
    state = "empty" if name in os.environ else "not set"
    raise ValueError(f"is {format_value(text)}, but the environment variable {name} is {state}")


def option_path(option: str, text: str) -> str:
    """`expand_path` for an argument of the command line. Raises ConfigError, also for an empty one.

    option: its name, for the message.
    """
    try:
        if not text:
            raise ValueError("is empty, must be the name of a file")
        return expand_path(text)
    except ValueError as error:
        raise ConfigError([Problem(SourceLocation(option), "", str(error))]) from None


def _expanded(text: str) -> str:
    try:
        return expand_path(text)
    except ValueError as error:
        raise invalid(str(error)) from None


def _local(path: str) -> str:
    if is_url(path):
        raise invalid(f"is {format_value(path)}, must be a folder, not a URL")
    return path


PathOrUrl = Annotated[NonEmptyString, AfterValidator(_expanded)]
LocalPath = Annotated[PathOrUrl, AfterValidator(_local)]
