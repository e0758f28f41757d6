"""Optuna's dashboard of the stored study, in a process of its own that ends with the driver."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

import optuna

log = logging.getLogger(__name__)


class StudyDashboard:
    """A server of a study. address: of its page; None if the server could not start, which is logged."""

    def __init__(self, study: optuna.Study, url: str) -> None:
        """Start the server and wait until it listens."""
        self._process = subprocess.Popen(
            # Run by its path, so that the package need not be importable; -P keeps our modules off its search path.
            [sys.executable, "-P", Path(__file__).with_name("study_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C at the terminal is for the driver, which ends it
        )  # fmt: skip
        to_server, from_server = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        # Not as an argument, which all users of the machine can read: the URL may hold a password.
        to_server.write(url + "\n")
        to_server.flush()
        port = from_server.readline().strip()
        self.address = f"http://127.0.0.1:{port}/dashboard/studies/{study._study_id}" if port else None
        if not port:
            _, error = self._process.communicate()
            log.warning("no Optuna dashboard: %s", (error.strip().splitlines() or ["it ended"])[-1])

    def __getstate__(self) -> dict[str, str | None]:
        """The address: Tune pickles the session into an unused snapshot, and a process cannot be pickled."""
        return {"address": self.address}

    def end(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.communicate()
