"""What can be wrong with the files of a data set. Every message is one line that says what to do."""

from __future__ import annotations

EMBEDDED_HINT = "--set dataset=digits needs neither network nor files"


class DataUnavailable(RuntimeError):
    """The data set is not where it should be and cannot be brought there."""


class DataDamaged(DataUnavailable):
    """A file is there but does not hold what it should."""


def one_line(error: BaseException) -> str:
    """The message of a library's exception without line breaks; its type if there is no message."""
    return " ".join(str(error).split()) or type(error).__name__
