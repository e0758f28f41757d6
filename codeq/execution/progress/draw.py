"""A running sweep as the lines of a terminal, of any width and height; no number is broken or cut."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from codeq.config.metrics import MAIN, REPORTED, describe_metrics, format_metric
from codeq.config.objectives import Objectives, Row
from codeq.config.text import format_duration, pluralize
from codeq.execution.progress.plot import Axis, Mark, scatter
from codeq.execution.progress.state import Snapshot, TimeLeft, TrialProgress

if TYPE_CHECKING:
    from codeq.search.outcome import TrialEnd  # imports Optuna, which takes a second

STYLES = {
    "running": "cyan",
    "finished": "green",
    "stopped": "yellow",
    "diverged": "magenta",
    "collapsed": "magenta",
    "failed": "red",
}
"""Colours of the statuses."""
ALWAYS_SHOWN = ("running", "finished", "stopped", "failed")
BESIDE_FROM = 72
"""Width from which the plot is beside the rows of the front, not above them."""
ROOMY_FROM = 16
"""Height from which an empty line is above the view."""
PLOT_HEIGHTS = (6, 12)
"""The fewest and the most lines of the plot."""
PLOT_WIDTH = 48
"""The most columns of the plot."""


def draw_waiting(what: str, seconds: float, ascii_only: bool = False) -> Text:
    """One line: what is being waited for, and since when."""
    frames = "|/-\\" if ascii_only else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
    return Text.assemble((frames[int(seconds * 4) % len(frames)], "cyan"), f" {what}  ", (f"{seconds:.0f} s", "dim"))


def draw(view: Snapshot, elapsed_s: float, width: int, height: int, ascii_only: bool = False) -> Text:
    """At most `height` lines of at most `width` characters, from 38: what does not fit is left out."""
    separator = ", " if ascii_only else " · "
    times = [f"{timedelta(seconds=int(elapsed_s))} elapsed"]
    if view.epochs_per_s:
        times.append(_speed(view.epochs_per_s))
    if view.left and view.ended < view.trials:
        times.append(_ends_in(view.left))
    lines = [Text()] if height >= ROOMY_FROM else []  # between the view and the log above it
    lines += [_bar(view, width, ascii_only), *_pack(_counts(view), separator, width)]
    lines += _pack([Text(part, "dim") for part in times], separator, width)
    if not view.has_begun:
        lines += [Text(), draw_waiting("waiting for the first epoch", elapsed_s, ascii_only)]
    elif view.running:
        lines += [Text(), *_running(view, width, max(3, (height - len(lines)) // 3))]
    if view.objectives and height - len(lines) > 4:
        lines += [Text(), *_front(view, width, height - len(lines) - 1, ascii_only)]
    return Text("\n", no_wrap=True, overflow="crop").join(lines[:height])


def _bar(view: Snapshot, width: int, ascii_only: bool) -> Text:
    label = f"{view.ended:,} of {pluralize(view.trials, 'trial')}"
    title = view.title[: max(0, width - len(label) - 2)]
    room = min(40, width - len(title) - len(label) - 4)
    full, empty = ("=", "-") if ascii_only else ("━", "─")
    done = room * view.ended // max(1, view.trials)
    line = Text.assemble((title, "bold"), "  ")
    if room > 4:
        line.append(full * done, "green").append(empty * (room - done) + "  ", "dim")
    return line.append(label)


def _counts(view: Snapshot) -> list[Text]:
    counts = {"running": len(view.running), **dict.fromkeys(ALWAYS_SHOWN[1:], 0), **view.counts}
    return [Text(f"{counts[status]:,} {status}", STYLES[status]) for status in STYLES if status in counts]


def _speed(epochs_per_s: float) -> str:
    if epochs_per_s < 0.1:
        return f"{3600 * epochs_per_s:.3g} trial-epochs/h"
    return f"{epochs_per_s:.3g} trial-epochs/s"


def _ends_in(left: TimeLeft) -> str:
    if left.expected is None or left.p10_p90 is None:
        return f"ends in at most {format_duration(left.most)}"
    expected, low, high = map(format_duration, (left.expected, *left.p10_p90))
    return f"ends in about {expected}" + (f" ({low} to {high})" if low != high else "")


def _running(view: Snapshot, width: int, height: int) -> list[Text]:
    """The running trials in at most `height` lines, 3 or more, a heading included."""
    shown = view.running[: height - 1 if len(view.running) < height else height - 2]
    epochs = [f"{trial.row['epoch']}/{trial.epochs}" for trial in shown]
    lines = _table({"trial": [trial.name for trial in shown], "epoch": epochs}, shown, view.objectives, width)
    if more := len(view.running) - len(shown):
        lines.append(Text(f"and {more:,} more", "dim"))
    return lines


def _front(view: Snapshot, width: int, height: int, ascii_only: bool) -> list[Text]:
    """The front as a plot and as rows."""
    finished = pluralize(len(view.finished), "finished trial")
    if not view.front:
        return [Text("front: no trial has finished yet", "dim")]
    title = Text.assemble(("front so far", "bold"), f"  {len(view.front):,} of {finished}")
    beside = width >= BESIDE_FROM
    most_rows = height - 1 if beside else max(3, min(height - 1, (height - 1) // 2))
    shown = view.front[: most_rows - 1 if len(view.front) < most_rows else most_rows - 2]
    rows = _table({"trial": [trial.name for trial in shown]}, shown, view.objectives, width // 2 if beside else width)
    if more := len(view.front) - len(shown):
        rows.append(Text(f"and {more:,} more", "dim"))
    fewest, most = PLOT_HEIGHTS
    room = min(most, height - 1 if beside else height - 1 - len(rows))
    if room < fewest or len(view.finished) < 2:
        return [title, *rows]
    table_width = max(map(len, rows))
    plot_width = min(PLOT_WIDTH, width - table_width - 4 if beside else width)
    plot = _plot(view, plot_width, room, ascii_only)
    if not beside:
        return [title, *plot, *rows]
    rows += [Text()] * (len(plot) - len(rows))
    plot += [Text()] * (len(rows) - len(plot))
    side_by_side = []
    for left, right in zip(plot, rows, strict=True):
        left.pad_right(plot_width + 4 - len(left))
        side_by_side.append(Text.assemble(left, right))
    return [title, *side_by_side]


def _plot(view: Snapshot, width: int, height: int, ascii_only: bool) -> list[Text]:
    """The first objective over the second one, or over the order of the ends if there is no second one."""
    names = list(view.objectives)
    y = Axis(names[0], partial(format_metric, names[0]))
    x = Axis(names[1], partial(format_metric, names[1])) if len(names) > 1 else Axis("finished", "{:.0f}".format)
    on_front = {trial.name for trial in view.front}
    points = [
        (trial.row[names[1]] if len(names) > 1 else order, trial.row[names[0]], trial.name in on_front)
        for order, trial in enumerate(view.finished, start=1)
    ]
    best, other = ("*", ".") if ascii_only else ("●", "·")
    marks = [
        Mark(x_value, y_value, best if is_best else other, "bold green" if is_best else "")
        for x_value, y_value, is_best in sorted(points, key=lambda point: point[2])
    ]
    return scatter(marks, x, y, width, height, ascii_only)


def _table(
    columns: dict[str, list[str]], trials: Sequence[TrialProgress], objectives: Objectives, width: int
) -> list[Text]:
    """The columns, and those of the trials' metrics that fit: the objectives first."""
    for name in dict.fromkeys([*objectives, *(name for name in MAIN if name in REPORTED)]):
        values = [format_metric(name, trial.row[name]) if trial.row["epoch"] else "" for trial in trials]
        columns = {**columns, name: values}
    widths = {name: max(map(len, [name, *cells])) for name, cells in columns.items()}
    while sum(widths.values()) + 2 * (len(widths) - 1) > width and len(widths) > 1:
        widths.popitem()
    heading = Text("  ".join(name.rjust(size) for name, size in widths.items()), "dim")
    lines = ("  ".join(columns[name][row].rjust(size) for name, size in widths.items()) for row in range(len(trials)))
    return [heading, *map(Text, lines)]


def _pack(parts: Sequence[Text], separator: str, width: int) -> list[Text]:
    """The parts in as few lines as possible; a line breaks only between two parts."""
    lines: list[Text] = []
    for part in parts:
        if lines and len(lines[-1]) + len(separator) + len(part) <= width:
            lines[-1] = Text.assemble(lines[-1], (separator, "dim"), part)
        else:
            lines.append(part)
    return lines


def epoch_line(name: str, row: Row, objectives: Objectives, width: int | None = None) -> str:
    """The line of a trial's epoch. width, objectives: see `ended_line`."""
    return _join([f"trial {name}", f"epoch {row['epoch']:<4}", *_metrics(row, objectives, width)], width)


def ended_line(
    name: str, end: TrialEnd, duration_s: float, epochs: int, objectives: Objectives, width: int | None = None
) -> str:
    """The line of a trial's end; where it is too long for `width`, it breaks between two of its parts.

    width: of a terminal, whose line has no metrics but the objectives; None: unlimited.
    """
    epoch = f"{end.row['epoch']}/{epochs}"
    parts = [f"trial {name}", f"{end.status:<9}", f"epoch {epoch:<7}"]
    if end.row["epoch"]:
        parts += _metrics(end.row, objectives, width)
    parts.append(f"{duration_s:5.1f} s")
    if end.status not in ("finished", "stopped"):
        parts.append(end.reason)
    return _join(parts, width)


def _metrics(row: Row, objectives: Objectives, width: int | None) -> list[str]:
    return describe_metrics(row, objectives if objectives and width is not None else MAIN)


def _join(parts: Sequence[str], width: int | None) -> str:
    line = "  ".join(parts)
    if width is None or len(line) <= width:
        return line
    return "\n  ".join(line.plain for line in _pack([Text(part.strip()) for part in parts], "  ", width - 2))
