"""Errors of data set files. Every message is one line that says what to do."""

from __future__ import annotations

EMBEDDED_HINT = "--set dataset=digits needs neither network nor files"


class DataUnavailable(RuntimeError):
    """The data set is not in its folder and cannot be downloaded."""


class DataDamaged(DataUnavailable):
    """A file exists but its content is wrong."""


def one_line(error: BaseException) -> str:
    """Return the message of a library's exception without line breaks; its type if there is no message."""
    return " ".join(str(error).split()) or type(error).__name__
