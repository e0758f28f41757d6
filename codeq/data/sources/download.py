"""Download of a data set's files into the data folder: once, atomically, and by one process at a time."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

from filelock import FileLock

from codeq.config.text import one_line
from codeq.data.errors import EMBEDDED_HINT, DataUnavailable

# Without a limit, a firewall that drops packets would block every process for minutes.
TIMEOUT_S = 20.0

Found = TypeVar("Found")

_may_download: ContextVar[bool] = ContextVar("may_download", default=True)


@contextmanager
def no_downloads() -> Iterator[None]:
    """A context without downloads: data sets without files are unavailable."""
    token = _may_download.set(False)
    try:
        yield
    finally:
        _may_download.reset(token)


@dataclass(frozen=True)
class Download(Generic[Found]):
    """Finds or downloads the files of a data set.

    wanted: the files, for the message. locate: returns the files in a folder, None if any is missing. fetch: downloads
    them into an empty folder.
    """

    name: str
    wanted: str
    locate: Callable[[Path], Found | None]
    fetch: Callable[[str], object]

    def find_or_fetch(self, data_dir: str) -> Found:
        """Return the result of `locate`, after a download if necessary.

        Concurrent processes wait for the first. Raises DataUnavailable without network, without
        permission to write or inside `no_downloads`.
        """
        folder = Path(data_dir)
        found = self.locate(folder)
        if found is None and not _may_download.get():
            raise DataUnavailable(f"{self.name} is not in {folder}")
        return self._fetch_into(folder) if found is None else found

    def _fetch_into(self, folder: Path) -> Found:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f".{self.name}.lock"):
                if self.locate(folder) is None:
                    _fetch(self.fetch, folder)
            found = self.locate(folder)
        except (OSError, RuntimeError, HTTPException) as error:
            raise self._unavailable(folder, one_line(error)) from error
        if found is None:
            raise self._unavailable(folder, "the download was not complete")
        return found

    def _unavailable(self, folder: Path, reason: str) -> DataUnavailable:
        return DataUnavailable(
            f"{self.name} is not in {folder} and cannot be downloaded there ({reason}): put {self.wanted} "
            f"into that folder; {EMBEDDED_HINT}"
        )


def _fetch(fetch: Callable[[str], object], folder: Path) -> None:
    # Inside `folder`, so that a move is a rename: an interrupted download leaves no incomplete file at the final path.
    with TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        with _socket_timeout(TIMEOUT_S):
            fetch(temporary)
        for path in sorted(Path(temporary).rglob("*")):
            target = folder / path.relative_to(temporary)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(path, target)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Set a time limit for connections: torchvision has no argument for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
