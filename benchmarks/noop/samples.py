"""What a driver costs as its sweep grows: memory, time per trial in the study, time of a report."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil


class Samples:
    """Collects a sample for every so many ended trials, and one for each report.

    A sample: ended trials, seconds since the first trial was asked for, the driver's memory in MB, and, each per trial
    since the sample before: seconds, milliseconds of processor time of the driver's main thread in ask and tell, and of
    the whole driver. A report: ended trials, seconds of processor time of its thread, seconds on the clock.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self.samples: list[dict[str, float]] = []
        self.reports: list[dict[str, float]] = []
        self._process = psutil.Process()
        self._ended, self._began, self._search_s = 0, 0.0, 0.0
        self._before = (0.0, 0.0)

    @contextlib.contextmanager
    def search(self, *, ends_trial: bool = False) -> Iterator[None]:
        """Time a call of ask or tell in the driver's main thread."""
        if not self._began:
            self._began, self._before = time.monotonic(), (0.0, self._cpu_s())
        began = time.thread_time()
        try:
            yield
        finally:
            self._search_s += time.thread_time() - began
            self._ended += ends_trial
            if ends_trial and self._ended % self._every == 0:
                self._sample()

    def _sample(self) -> None:
        now = (time.monotonic() - self._began, self._cpu_s())
        seconds, cpu_s = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now
        self.samples.append(
            {
                "trials": self._ended,
                "seconds": round(now[0], 1),
                "memory_mb": round(self._process.memory_info().rss / 2**20, 1),
                "trial_ms": round(1000 * seconds / self._every, 2),
                "search_ms": round(1000 * self._search_s / self._every, 2),
                "driver_ms": round(1000 * cpu_s / self._every, 2),
            }
        )
        self._search_s = 0.0

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    @contextlib.contextmanager
    def report(self) -> Iterator[None]:
        """Time a report in this thread, of the trials that have ended now."""
        trials, began, cpu_s = self._ended, time.monotonic(), time.thread_time()
        yield
        took = {"cpu_s": round(time.thread_time() - cpu_s, 2), "seconds": round(time.monotonic() - began, 2)}
        self.reports.append({"trials": trials, **took})

    def write(self, path: Path) -> None:
        """Write all as JSON, one line each."""
        path.write_text(as_json({"samples": self.samples, "reports": self.reports}))


def as_json(curves: dict[str, list[dict[str, Any]]]) -> str:
    """Return the text of a file of samples."""
    lists = (f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in curves.items())
    return "{" + ",\n".join(lists) + "}\n"
