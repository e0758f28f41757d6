"""Storage and databases behind URLs: what is missing, or silent, is one line that says what to do."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath

from codeq.search import servers
from codeq.search.servers import ServerUnavailable, answer_of, check_database, check_package, check_storage


def refusal(url: str) -> str:
    with pytest.raises(ServerUnavailable) as raised:
        check_database(url)
    return str(raised.value)


@pytest.fixture
def silent() -> Iterator[str]:
    """HOST:PORT of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database driver that waits for its server's greeting without a time limit."""

    def connect(host: str, port: int, **options: object) -> object:
        with socket.create_connection((host, port)) as connection:
            greeting = connection.recv(1)
        raise RuntimeError(f"greeted by {greeting!r}")

    module = types.ModuleType("pymysql")
    vars(module).update(connect=connect, paramstyle="format", Error=RuntimeError, __version__="1.1.0")
    monkeypatch.setitem(sys.modules, "pymysql", module)


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql://me:s3cret@host/db", "psycopg", "'psycopg[binary]'"),
        ("postgresql+psycopg2://me:s3cret@host/db", "psycopg2", "psycopg2-binary"),
        ("mysql://me:s3cret@host/db", "MySQLdb", "mysqlclient (or pymysql, for mysql+pymysql://)"),
        ("oracle+oracledb://me:s3cret@host/db", "oracledb", "oracledb"),
    ],
)
def test_a_missing_driver_is_told_with_its_package_and_the_form_of_a_url(
    url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # not to be imported, whatever is installed
    scheme = url.partition(":")[0]
    told = refusal(url)
    assert told.startswith(f"{scheme}:// needs the driver {module}: pip install {package}; a URL is like postgresql://")
    assert "mysql+pymysql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE" in told and "s3cret" not in told


@pytest.mark.parametrize("url", ["postgres://me:s3cret@host/db", "hello", "redis://host", "postgresql://a:s3cret@h:x/d"])
def test_what_is_no_url_of_a_database_is_told_with_the_forms_that_are(url: str) -> None:
    told = refusal(url)
    assert told.startswith("is no URL that SQLAlchemy knows, must be like postgresql://USER:PASSWORD@HOST/DATABASE, ")
    assert "s3cret" not in told


def test_a_file_in_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "unable to open database file" in refusal(f"sqlite:///{tmp_path}/nothing/x.db")
    check_database(f"sqlite:///{tmp_path}/x.db")


def test_a_server_that_refuses_is_told_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = refusal(f"mysql+pymysql://me:s3cret@127.0.0.1:{port}/db")
    assert told.startswith(f"mysql+pymysql://me:***@127.0.0.1:{port}/db cannot be used: ") and "refused" in told


def test_a_server_that_never_answers_is_told_after_the_time_limit(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers.ANSWER_S == 10
    monkeypatch.setattr(servers, "ANSWER_S", 0.2)
    began = time.monotonic()
    told = refusal(f"mysql+pymysql://me:s3cret@{silent}/db")
    assert told == f"mysql+pymysql://me:***@{silent}/db cannot be used: no answer within 0.2 s"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_heard_while_a_server_does_not_answer(silent: str, number: signal.Signals) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)

    before = signal.signal(number, interrupt)
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            check_database(f"mysql+pymysql://me@{silent}/db")
    finally:
        signal.signal(number, before)
    assert time.monotonic() - began < 5


def test_an_answer_and_an_error_come_back_as_they_are() -> None:
    assert answer_of(lambda: 3, 5) == 3
    with pytest.raises(ZeroDivisionError):
        answer_of(lambda: 1 // 0, 5)


@pytest.mark.parametrize(("url", "package"), [("gs://b/x", "gcsfs"), ("az://b/x", "adlfs"), ("abfs://b/x", "adlfs")])
def test_a_scheme_whose_package_is_not_installed_is_told_with_it(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerUnavailable) as raised:
        check_package(UPath(url))
    assert str(raised.value) == f"{url.partition(':')[0]}:// needs another package: pip install {package}"


def test_s3_without_credentials_is_told_with_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ServerUnavailable) as raised:
        check_storage(UPath("s3://bucket/x"))
    assert str(raised.value) == (
        "s3://bucket/x cannot be written: Unable to locate credentials; credentials come from AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def test_storage_that_can_be_written_is_left_as_it_was() -> None:
    folder = UPath("memory://bucket/checked")
    check_storage(folder)
    assert not folder.exists() or list(folder.iterdir()) == []
