"""Rows as a Markdown table and the notes below it; rows as JSON and back."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.options import ROOT
from benchmarks.row import Row

RESULTS = ROOT / "benchmarks" / "results"
HEADER = ("measured", "against", "ours", "theirs", "ratio, median (min to max)", "target", "")


def write(path: Path, rows: Sequence[Row], machine: dict[str, str]) -> None:
    """Store one group's rows with the description of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def read(path: Path) -> tuple[list[Row], dict[str, str]]:
    """Read the file of `write`."""
    stored: dict[str, Any] = json.loads(path.read_text())
    return [Row(**row) for row in stored["rows"]], stored["machine"]


def markdown(groups: Iterable[tuple[list[Row], dict[str, str]]]) -> str:
    """Return the table of all groups' rows, then the machines, the details and the profiles of missed targets."""
    groups = list(groups)
    rows = [row for group, _ in groups for row in group]
    lines = [HEADER, ("---",) * len(HEADER), *map(_cells, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join(part for part in (table, _machines(groups), _notes(rows)) if part) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    if row.not_run:
        return row.name, row.against, f"not run: {row.not_run}", "", "", _target(row), ""
    return (
        row.name,
        row.against,
        f"{_figure(statistics.median(row.ours))} {row.unit}",
        f"{_figure(statistics.median(row.theirs))} {row.unit}" if row.theirs else "",
        _ratio(row.ratios),
        _target(row),
        "" if row.target is None else "missed" if row.missed else "met",
    )


def _ratio(ratios: list[float]) -> str:
    if not ratios:
        return ""
    spread = f" ({min(ratios):.3g} to {max(ratios):.3g})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.3g}x{spread}"


def _target(row: Row) -> str:
    return "" if row.target is None else f"{row.target:g}x"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machines(groups: list[tuple[list[Row], dict[str, str]]]) -> str:
    """Return one line for each machine and commit that measured something."""
    lines = dict.fromkeys(", ".join(f"{key} {value}" for key, value in machine.items()) for _, machine in groups)
    return "\n".join(f"Measured on: {line}." for line in lines)


def _notes(rows: list[Row]) -> str:
    notes = []
    for row in rows:
        if row.details:
            notes.append(f"- {row.name}: " + "; ".join(f"{key} {_shown(value)}" for key, value in row.details.items()))
        if row.missed and row.profile:
            notes.append(f"- {row.name}, where the time goes:\n" + "\n".join(f"  - {line}" for line in row.profile))
    return "\n".join(notes)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return _figure(value) if isinstance(value, float) else str(value)
