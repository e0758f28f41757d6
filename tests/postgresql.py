"""A PostgreSQL server for tests, where Debian's package is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
MISSING = "needs a PostgreSQL server: apt install postgresql"


class PostgreSQL:
    """A PostgreSQL server on 127.0.0.1 with a user `codeq` and a database of that name, which need the password."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder, self._password = folder, password

    def __enter__(self) -> int:
        """Start it; returns its port."""
        import psycopg

        # It refuses to run as root.
        self._user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
        self._folder.mkdir()
        if self._user:
            shutil.chown(self._folder, "postgres")
            self._folder.parent.chmod(0o755)
        data, quiet = str(self._folder / "data"), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        bin_folder = PROGRAMS[-1].parent
        auth = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres", "--no-sync"]
        subprocess.run([bin_folder / "initdb", "-D", data, *auth], check=True, cwd="/", **quiet, **self._user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-k", str(self._folder), "-F"]
        self._server = subprocess.Popen(
            [bin_folder / "postgres", "-D", data, *options], cwd="/", **quiet, **self._user
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                connection = psycopg.connect(host=str(self._folder), port=port, user="postgres", autocommit=True)
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                time.sleep(0.2)
        with connection:
            connection.execute(f"create role codeq login password '{self._password}'")
            connection.execute("create database codeq owner codeq")
        return port

    def __exit__(self, *error: object) -> None:
        self._server.send_signal(signal.SIGINT)  # on SIGTERM it would wait for its clients
        self._server.wait(30)
