"""Free space on the disk of a folder, and sizes in words."""

from __future__ import annotations

import shutil
from pathlib import Path


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that holds `path`, or would hold it once it is created."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


def format_size(count: int) -> str:
    """Return a number of bytes in the largest unit of which there is at least one: `13.7 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"
