"""Errors of data set files. Every message is one line that says what to do."""

from __future__ import annotations

EMBEDDED_HINT = "--set dataset=digits needs neither network nor files"


class DataUnavailable(RuntimeError):
    """The data set is not in its folder and cannot be downloaded."""


class DataDamaged(DataUnavailable):
    """A file exists but its content is wrong."""
