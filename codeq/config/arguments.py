"""Values of command-line options as plain data."""

from __future__ import annotations

import os


def as_text(argument: str) -> str:
    """An argument as text: what Python could not decode in the locale's encoding is read as UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:  # surrogates, which represent undecodable bytes
        return os.fsencode(argument).decode("utf-8", "surrogateescape")
    return argument


def as_number(argument: str) -> int | float | str:
    """An argument as the number that it is, or else as text."""
    for kind in (int, float):
        try:
            return kind(argument)
        except ValueError:
            continue
    return as_text(argument)
