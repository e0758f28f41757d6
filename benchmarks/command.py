"""Runs a whole shell command and measures its time and the times of its reports from outside.

Every report is a line appended to one of the command's files, in our case `trials/*/metrics.jsonl`, in Ray's the
`result.json` of its JSON logger; the files of both sides are read ten times a second. "Once running" is the time from
the first lines seen to the last line written, with the reports in that time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.options import ROOT

POLL_S = 0.1
LIMIT_S = 3600.0
"""A command that takes longer is killed."""


class CommandFailed(Exception):
    """The command's exit code was not 0; the message contains the end of its output."""


@dataclass(frozen=True)
class CommandRun:
    """seconds: from start to exit. reports: lines at the end. first_report_s, last_report_s: after the start.
    first_reports: lines when any were first seen. driver_cpu_s, driver_rss_mb: processor time and peak memory of the
    command's own process, without its child processes.
    """

    seconds: float
    reports: int
    first_report_s: float
    last_report_s: float
    first_reports: int
    driver_cpu_s: float
    driver_rss_mb: float

    @property
    def reports_per_s(self) -> float:
        """Reports per second once running."""
        return (self.reports - self.first_reports) / (self.last_report_s - self.first_report_s)

    @property
    def phases(self) -> list[str]:
        """Return the command's time in three parts."""
        return [
            f"{self.first_report_s:.1f} s until the first report",
            f"{self.last_report_s - self.first_report_s:.1f} s until the last of {self.reports} reports",
            f"{self.seconds - self.last_report_s:.1f} s until the end",
        ]


def run_command(
    arguments: Sequence[str],
    folder: Path,
    reports: str = "",
    *,
    follow: bool = True,
    environment: Mapping[str, str] | None = None,
) -> CommandRun:
    """Run this Python on `arguments` from the repository's root, with Ray's files below `folder`.

    reports: pattern below `folder` of the files that get a line for each report, if any. follow: read these files
    during the run; if False, the time of the first report is unknown (0), and a run of many trials is not slowed.
    environment: further variables. Raises CommandFailed.
    """
    log = folder / "output.txt"
    own = {"RAY_TMPDIR": str(folder), "RAY_ADDRESS": "local", "WANDB_MODE": "disabled"}
    with log.open("w") as output:
        begun, started = time.time(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        driver = _Driver(process.pid)
        first = (0.0, 0)
        while not _ended(process):
            driver.look()
            if time.perf_counter() - started > LIMIT_S:
                process.kill()  # Ray's processes exit after their driver
            if follow and not first[1] and (lines := _count(folder, reports)):
                first = (time.time() - begun, lines)
        seconds = time.perf_counter() - started
    if process.returncode:
        raise CommandFailed(f"exit code {process.returncode}: {' '.join(arguments)}\n{log.read_text()[-2000:]}")
    written = max((path.stat().st_mtime for path in _files(folder, reports)), default=begun) - begun
    return CommandRun(seconds, _count(folder, reports), first[0], written, first[1], driver.cpu_s, driver.rss_mb)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _count(folder: Path, reports: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in _files(folder, reports))


def _files(folder: Path, reports: str) -> Iterator[Path]:
    return folder.glob(reports) if reports else iter(())


class _Driver:
    """Samples the command's own process while it runs."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.cpu_s = self.rss_mb = 0.0

    def look(self) -> None:
        """Record the processor time and the peak memory so far."""
        try:
            times, memory = self._process.cpu_times(), self._process.memory_info()
        except psutil.Error:  # the process has just exited
            return
        self.cpu_s = max(self.cpu_s, times.user + times.system)
        self.rss_mb = max(self.rss_mb, memory.rss / 2**20)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with a short path: the paths of Ray's sockets below it may have at most 107 characters."""
    return tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
