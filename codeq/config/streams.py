"""Standard output and standard error of the commands, for every reader and every encoding."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import shutil
import sys
import textwrap
from typing import Any

SPELL = "codeq.spell"
"""Name of the error handler for `str.encode` that replaces characters which the encoding does not have."""
_SPELLINGS = {"±": "+-", "…": "..."}


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    with contextlib.suppress(UnicodeError):  # bytes of an argument that Python could not decode are UTF-8
        characters = characters.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if error.encoding == "utf-8":
        return characters.encode("utf-8", "backslashreplace"), error.end
    return "".join(_SPELLINGS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in characters), error.end


codecs.register_error(SPELL, _spell)


def spell(text: str, encoding: str) -> str:
    """`text` with `±` as `+-` and other characters as escapes such as `\\xe9` where `encoding` does not have them."""
    return text.encode(encoding, SPELL).decode(encoding)


def print_wrapped(text: str) -> None:
    """Print lines; those that are too long for a terminal break between words, not inside a number."""
    for line in text.splitlines():
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
            line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        print(line, flush=True)


def prepare_streams() -> None:
    """Make writing to standard output and standard error succeed whatever their reader does and can show.

    A line is written as soon as it ends. What is written after the reader has gone, or where a stream is closed, is
    discarded; characters that the encoding does not have are spelled as `spell` does it. Streams that somebody has
    replaced already are left as they are.
    """
    _open_closed_files()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _prepared(stream))


def _open_closed_files() -> None:
    """Open the null device for standard files that are closed: else the next file that is opened takes their number,
    and what a child process prints is written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is this one


def _prepared(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _LastingOutput(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=SPELL,
        line_buffering=True,
        write_through=stream.write_through,
    )


class _LastingOutput(io.FileIO):
    """Discards what is written after the reader has gone: the pipe is closed (EPIPE) or the terminal (EIO)."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            return memoryview(data).nbytes
