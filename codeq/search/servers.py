"""Servers that hold a sweep's files or its study: tried out before the sweep, so that each problem is one line."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError
from upath import UPath

from codeq.config.passwords import mask_password
from codeq.config.text import first_line
from codeq.storage.atomic_files import is_local, write_atomically
from codeq.storage.credentials import credentials_hint

ANSWER_S = 10.0
"""Seconds that a server has for its answer."""

_URLS = "postgresql://USER:PASSWORD@HOST/DATABASE, mysql+pymysql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE"
_DRIVERS = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient (or pymysql, for mysql+pymysql://)",
}
"""What to install for the module of a database driver, where the names differ."""


class ServerUnavailable(ValueError):
    """A server cannot be used; one line that says why and what to do."""


def check_package(folder: UPath) -> None:
    """Raise ServerUnavailable if the package for the scheme of a URL is not installed. Connects to nothing."""
    try:
        _ = folder.fs
    except ImportError as error:
        package = getattr(error.__cause__, "name", None)
        hint = f"pip install {package}" if package else first_line(error)
        raise ServerUnavailable(f"{folder.protocol}:// needs another package: {hint}") from None
    except Exception as error:  # a file system that wants its credentials at once
        raise _storage_unavailable(folder, error) from None


def check_reading(folder: UPath) -> None:
    """Raise ServerUnavailable if nothing can be read behind a URL; a local folder is not tried."""
    if is_local(folder):
        return
    check_package(folder)
    try:
        answer_of(folder.exists, 3 * ANSWER_S)
    except Exception as error:  # each file system has its own
        raise _storage_unavailable(folder, error, "read") from None


def check_storage(folder: UPath) -> None:
    """Raise ServerUnavailable if no file can be written into a folder behind a URL."""
    check_package(folder)
    probe = folder / ".writable"
    try:
        answer_of(lambda: write_atomically(probe, b""), 3 * ANSWER_S)  # it may look for credentials in several places
    except Exception as error:  # each file system has its own
        raise _storage_unavailable(folder, error) from None
    with contextlib.suppress(Exception):  # who may write may not be allowed to delete
        probe.unlink()


def _storage_unavailable(folder: UPath, error: Exception, use: str = "written") -> ServerUnavailable:
    reason = first_line(error) or type(error).__name__
    return ServerUnavailable(f"{folder} cannot be {use}: {reason}{credentials_hint(folder, error)}")


def check_database(url: str) -> None:
    """Raise ServerUnavailable if nothing answers at the URL of a study: see `database_engine` and `ANSWER_S`."""
    engine = database_engine(url)
    try:
        answer_of(lambda: engine.connect().close(), ANSWER_S)
    except Exception as error:  # a driver may raise what is no SQLAlchemyError
        raise ServerUnavailable(f"{mask_password(url)} cannot be used: {first_line(error)}") from None


def database_engine(url: str) -> sqlalchemy.Engine:
    """The engine for the URL of a study, not connected.

    Raises ServerUnavailable if it is no database's URL, or if the driver that it needs is not installed.
    """
    try:
        return sqlalchemy.create_engine(url)
    except ImportError as error:
        name, scheme = error.name or "", url.partition(":")[0]
        install = f"pip install {_DRIVERS.get(name, name)}"
        raise ServerUnavailable(f"{scheme}:// needs the driver {name}: {install}; a URL is like {_URLS}") from None
    except (SQLAlchemyError, ValueError):  # their messages may hold parts of a password
        raise ServerUnavailable(f"is no URL that SQLAlchemy knows, must be like {_URLS}") from None


def answer_of(work: Callable[[], Any], seconds: float) -> Any:
    """The result of `work`, which runs in a thread: libraries that wait for a server do not let signals be handled.

    Raises TimeoutError after `seconds`, and whatever `work` raises. The thread of a `work` without end is left behind.
    """
    answers: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return result
