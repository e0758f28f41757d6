"""Faults of the machine rather than of a config: a full disk, a lost server, a sweep that was taken over, a folder that
a node does not share. They pass, so they never end a trial for good."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from codeq.config.text import one_line
from codeq.storage.disk_space import format_size, free_bytes
from codeq.storage.driver_lock import SweepOutOfReach, SweepTakenOver

_NUMBERS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOTCONN,
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET,
    errno.ECONNABORTED, errno.ETIMEDOUT, errno.EPIPE, errno.EREMOTEIO,
})  # fmt: skip
_TEXTS = re.compile(
    "|".join((*(re.escape(os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)),
              "database or disk is full", "disk I/O error")),
    re.IGNORECASE,
)  # fmt: skip
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "adlfs")
"""Libraries behind storage URLs: their exceptions are those of a server or of the way to it."""


class MachineFault(Exception):
    """A fault of the machine ended an attempt at a trial; the message is one line for the user."""


def machine_fault(error: BaseException) -> str | None:
    """Return one line about the machine's fault that raised `error`, directly or as a cause; None if it was none."""
    for cause in causes(error):
        if isinstance(cause, MachineFault | SweepTakenOver | SweepOutOfReach):
            return one_line(cause)
        if isinstance(cause, OSError) and cause.errno in _NUMBERS:
            return _describe(cause)
        if type(cause).__module__.partition(".")[0] in _LIBRARIES or _TEXTS.search(str(cause)):
            return one_line(getattr(cause, "orig", cause))  # SQLAlchemy's message would also hold the statement
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, what it was raised from or during, and so on; `raise ... from None` ends it."""
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _describe(error: OSError) -> str:
    """The error with its path and, on a full disk, what is free there."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    text = f"{path}: {error.strerror}" if path else str(error.strerror)
    is_full = path and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{text} ({format_size(free_bytes(Path(path)))} free)" if is_full else text
