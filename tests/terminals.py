"""Commands under a pseudo-terminal, whose output is read while they run."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.conftest import ROOT

ENV = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}


class InTerminal:
    """A command whose standard streams are a terminal of this size. `shown`: what it has written so far."""

    def __init__(self, command: Sequence[object], columns: int, rows: int = 24, **more: Any) -> None:
        """more: for Popen; `env` is added to the environment."""
        env = {**ENV, "TERM": "xterm-256color", **more.pop("env", {})}
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave, **more}
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=env, start_new_session=True, **streams
        )
        os.close(slave)
        self.first_after_s: float | None = None
        self._read = b""
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while part := os.read(self._master, 65536):
                if self.first_after_s is None:
                    self.first_after_s = time.monotonic() - self._began
                self._read += part
        except OSError:  # EIO: the command has ended
            pass
        finally:
            os.close(self._master)

    @property
    def shown(self) -> str:
        return self._read.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait(self, timeout: float = 120) -> int:
        """The exit code."""
        code = self.process.wait(timeout)
        self._thread.join(timeout)
        return code


def is_cursor_shown(text: str) -> bool:
    """Whether the last of the sequences that hide and show the cursor shows it."""
    return text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")
