"""A scatter plot in characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text


@dataclass(frozen=True)
class Axis:
    """name: shown beside the axis. format: of the values at its ends."""

    name: str
    format: Callable[[float], str]


@dataclass(frozen=True)
class Mark:
    """A point; later ones cover earlier ones. style: rich's."""

    x: float
    y: float
    character: str
    style: str


def scatter(marks: Sequence[Mark], x: Axis, y: Axis, width: int, height: int, ascii_only: bool = False) -> list[Text]:
    """The plot as `height` lines of at most `width` characters, axes and labels included: 5 lines or more.

    marks: one or more, finite.
    """
    (left, right), (low, high) = _ends([mark.x for mark in marks]), _ends([mark.y for mark in marks])
    top, bottom = y.format(high), y.format(low)
    margin = max(len(top), len(bottom))
    columns, rows = width - margin - 2, height - 3
    vertical, corner, horizontal = "|+-" if ascii_only else "│└─"
    cells: dict[tuple[int, int], Mark] = {}
    for mark in marks:
        column = round((mark.x - left) / ((right - left) or 1.0) * (columns - 1))
        cells[round((high - mark.y) / ((high - low) or 1.0) * (rows - 1)), column] = mark
    lines = [Text(y.name[:width].rjust(margin), "dim")]
    for row in range(rows):
        label = top if row == 0 else bottom if row == rows - 1 else ""
        line = Text(f"{label:>{margin}} {vertical}", "dim")
        for column in range(columns):
            cell = cells.get((row, column))
            line.append(cell.character, f"not dim {cell.style}") if cell else line.append(" ")
        line.rstrip()
        lines.append(line)
    lines.append(Text(f"{'':>{margin}} {corner}{horizontal * columns}", "dim"))
    begin, end = x.format(left), x.format(right)
    middle = x.name.center(max(0, columns - len(begin) - len(end)))
    lines.append(Text(f"{'':>{margin}}  {begin}{middle}{end}"[:width], "dim"))
    return lines


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
