"""Replaces files atomically: a reader never sees a partly written file, also after a crash."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from upath import UPath

_UMASK = os.umask(0)
os.umask(_UMASK)

OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Protocols without folders, for which making a folder would make a bucket of a misspelt name."""


def write_atomically(path: Path | UPath, data: bytes | str) -> None:
    """Replace the file at `path` by `data`: after a crash it holds either the old content or the new, whole.

    A remote path (a UPath with a protocol) is written in one upload, which object stores make atomic themselves.
    """
    # A file name in a message may hold bytes that are no text.
    content = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    if getattr(path, "protocol", "") not in OBJECT_STORES:
        path.parent.mkdir(parents=True, exist_ok=True)
    if not is_local(path):
        path.write_bytes(content)
        return
    folder = Path(str(path)).parent
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)  # mkstemp makes files for their owner alone
        os.replace(temporary, str(path))
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        raise with_path(error, path) from None
    _sync_folder(folder)


def with_path(error: BaseException, path: Path | UPath) -> BaseException:
    """Return `error`, with the path if it is an OSError without one, as those of an open file are."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        return OSError(error.errno, error.strerror, str(path))
    return error


def is_local(path: Path | UPath) -> bool:
    """Whether `path` is on a mounted file system rather than behind a URL."""
    return isinstance(path, Path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_warned = set[str]()


def warn_once(log: logging.Logger, message: str) -> None:
    """Log a warning, the same one only once in this process: files are read again and again."""
    if message not in _warned:
        _warned.add(message)
        log.warning("%s", message)
