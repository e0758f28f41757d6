"""Passwords in database URLs: files and messages show `***` instead."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

MASK = "***"
_KEY = "(?i:password|passwd|pwd)(?:=|%3[Dd])"
_PASSWORD = re.compile(rf"(://[^:/@]*:).*(?=@)|({_KEY})[^&]*")
_MASKED = re.compile(rf":{re.escape(MASK)}(?=@)|(?<=[?&]){_KEY}{re.escape(MASK)}&?")


def mask_password(url: str) -> str:
    """The URL with its password, if it has one, masked."""
    return _PASSWORD.sub(rf"\1\2{MASK}", url)


def is_masked(url: str) -> bool:
    """Whether the URL has a masked password, with which nothing can be opened."""
    return _MASKED.search(url) is not None


def without_mask(url: str) -> str:
    """The URL without its masked password, which the database's client then looks for: libpq in PGPASSWORD."""
    return _MASKED.sub("", url)


def hide_passwords() -> None:
    """Mask the passwords of URLs in `sys.argv`, and in what Linux shows of this process's command line.

    Ray and W&B record both, and other users can read the second with `ps`.
    """
    masked = [mask_password(argument) for argument in sys.argv]
    if masked == sys.argv:
        return
    sys.argv[:] = masked
    try:
        shown = Path("/proc/self/cmdline").read_bytes()
        # Fields 48 and 49 are the first and the last address; the program's name before them may hold anything.
        start, end = map(int, Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[45:47])
    except (OSError, ValueError):  # not Linux
        return
    hidden = b"\0".join(os.fsencode(mask_password(os.fsdecode(argument))) for argument in shown.split(b"\0"))
    if 0 < len(hidden) <= len(shown) == end - start:
        ctypes.memmove(start, hidden.ljust(len(shown), b"\0"), len(shown))
