"""Passwords in database URLs: files and messages show `***` instead."""

from __future__ import annotations

import re

MASK = "***"
_KEY = "(?i:password|passwd|pwd)="
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
