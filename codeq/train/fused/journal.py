"""Who is being trained, on disk, so that the next process knows whom this one died with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


class Journal:
    """The file at `path`, on this machine: it need only outlive the process, so nothing waits for the disk.

    Whoever is written down when a process opens it was training when the last one died.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {"training": [], "deaths": {}}
        self._crash_counts: dict[int, int] = {int(number): count for number, count in known["deaths"].items()}
        for number in known["training"]:
            self._crash_counts[number] = self._crash_counts.get(number, 0) + 1
        self.end()

    def crash_count(self, number: int) -> int:
        """How often a process died while it trained the run."""
        return self._crash_counts.get(number, 0)

    def begin(self, numbers: Sequence[int]) -> None:
        """Write down that these runs are being trained."""
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"training": [*numbers], "deaths": self._crash_counts}))
        new.replace(self._path)

    def end(self) -> None:
        """Nobody is being trained any more."""
        if self._crash_counts:
            self.begin([])
        else:  # nothing to remember: no file is left behind
            self._path.unlink(missing_ok=True)
