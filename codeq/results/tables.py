"""The final tables for the terminal: the Pareto front, and the confirmation of its winners."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from codeq.config import SweepConfig, Template
from codeq.config.metrics import MAIN, format_metric
from codeq.config.objectives import describe_constraints, is_feasible
from codeq.config.streams import print_wrapped, spell
from codeq.config.text import join_and, pluralize, yaml_text
from codeq.results.comparison import Comparison
from codeq.results.confirmation import Confirmed
from codeq.results.sweep_result import SweepResult
from codeq.results.winners import describe_untested

_FILE_WIDTH = 200
"""Width of the table where the output is not a terminal."""
_CELL_FRAME = 3
"""Characters of a cell besides its text: a space on both sides and a border."""


def print_front(found: SweepResult, template: Template) -> None:
    """Print one row per trial of the front: its metrics and the drawn values; the winner is marked."""
    if not found.front:
        print_wrapped("The Pareto front is empty: no trial has trained all its epochs and stayed healthy.")
        return
    sweep, parameters = template.sweep, [parameter.name for parameter in template.parameters]
    title = f"Pareto front: {pluralize(len(found.front), 'trial')}, {join_and(sweep.objectives)}"
    metrics = _metrics(found, sweep)
    rows = []
    for trial in found.front:
        row = trial.as_row()
        cells = [format_metric(name, row.get(name)) for name in metrics]
        drawn = [format_drawn(trial.record.parameters.get(name, "")) for name in parameters]
        rows.append([_name(trial.record.trial, found), *cells, *drawn])
    _print_table(title, ["trial", *metrics, *short_names(parameters)], rows)
    if len(sweep.objectives) > 1 and found.winner:
        print_wrapped(f"Hypervolume {found.hypervolume:.4f} of the box from {found.hypervolume_bounds}.")
    if found.winner is None:
        constraints = describe_constraints(sweep.constraints)
        print_wrapped(f"No trial satisfies {constraints}: no best.yaml. The front is that of trials that do not.")
    else:
        print_wrapped(f"* {found.choice}, chosen on {found.selected_on}.")
    if untested := describe_untested(found):
        print_wrapped(untested)


def print_confirmation(found: SweepResult, template: Template) -> None:
    """Print mean ± standard deviation of every trial that was trained again, and its failures."""
    if not found.confirmed:
        return
    sweep = template.sweep
    metrics = _metrics(found, sweep)
    rows = []
    for confirmed in found.confirmed:
        cells = [format_metric(name, confirmed.mean_std(name)) for name in metrics]
        runs = f"{len(confirmed.finished)}/{len(confirmed.runs)}"
        rows.append([_name(confirmed.trial, found), runs, *cells])
    title = "Trained again with fresh seeds: mean ± standard deviation"
    _print_table(title, ["trial", "runs", *metrics], rows)
    for confirmed in found.confirmed:
        for line in _failures_and_missed_constraints(confirmed, sweep):
            print_wrapped(line)


def print_comparison(found: Comparison) -> None:
    """Print one row per sweep, then the trials of each that make the common front, and what hinders the comparison."""
    columns = ["sweep", "trials", "front", "common", "hypervolume", "trial-epochs", "hours"]
    rows = [
        [
            compared.label,
            str(len(compared.sweep.found.trials)),
            str(len(compared.sweep.found.front)),
            str(len(compared.on_common_front)),
            f"{compared.hypervolume:.4f}",
            str(compared.sweep.found.trial_epochs),
            f"{compared.sweep.hours:.2f}",
        ]
        for compared in found.sweeps
    ]
    _print_table(f"Sweeps compared in {join_and(found.objectives)}", columns, rows)
    for compared in found.sweeps:
        numbers = ", ".join(f"{trial.record.trial:04d}" for trial in compared.on_common_front)
        print_wrapped(f"{compared.label}: on the common front: {numbers or 'none'}")
    for line in found.warnings:
        print_wrapped(line)


def _failures_and_missed_constraints(confirmed: Confirmed, sweep: SweepConfig) -> list[str]:
    """The runs that did not finish, and the constraints that the mean does not meet."""
    lost = [run.as_row() for run in confirmed.runs if not run.finished]
    lines = [f"trial {row['trial']:04d} seed {row['seed']}: {row['status']}: {row['reason']}" for row in lost]
    for name, bound in sweep.constraints.items():
        mean_std = confirmed.mean_std(name)
        if mean_std is not None and not is_feasible({name: mean_std.mean}, {name: bound}):
            mean = format_metric(name, mean_std)
            lines.append(f"trial {confirmed.trial:04d} misses {name} {bound} in the mean: {mean}")
    return lines


def _metrics(found: SweepResult, sweep: SweepConfig) -> list[str]:
    return list(dict.fromkeys([*MAIN, *sweep.objectives, *sweep.constraints, *found.selection_objectives]))


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns beyond the terminal's width follow in further tables, which repeat the first column."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_WIDTH
    # Spelled first, since `+-` is wider than `±`.
    lines = [[spell(cell, console.encoding) for cell in line] for line in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, part in enumerate(columns_that_fit(widths, console.width)):
        table = Table(title=None if number else spell(title, console.encoding), title_justify="left")
        for index in part:
            table.add_column(lines[0][index], justify="right", overflow="fold")
        for line in lines[1:]:
            table.add_row(*(line[index] for index in part))
        console.print(table)


def columns_that_fit(widths: Sequence[int], available: int) -> list[list[int]]:
    """The columns of each table, by their index, so that none is wider than `available` characters.

    widths: of the columns' longest cells. Column 0 is in every table, beside at least one other.
    """
    parts: list[list[int]] = []
    room = 0
    for index, width in enumerate(widths[1:], start=1):
        if width + _CELL_FRAME > room:
            parts.append([0])
            room = available - 1 - (widths[0] + _CELL_FRAME)
        parts[-1].append(index)
        room -= width + _CELL_FRAME
    return parts


def _name(number: int, found: SweepResult) -> str:
    return f"{number:04d}" + (" *" if found.winner and number == found.winner.record.trial else "")


def short_names(names: Sequence[str]) -> list[str]:
    """For each dotted path its last two steps, or as many more as tell it from the others: the headings of columns."""
    return [_shortest(name.split("."), [other.split(".") for other in names if other != name]) for name in names]


def _shortest(steps: list[str], others: Sequence[list[str]]) -> str:
    for length in range(2, len(steps)):
        # The number of a choice is named with what precedes it.
        if not steps[-length].isdigit() and all(other[-length:] != steps[-length:] for other in others):
            return ".".join(steps[-length:])
    return ".".join(steps)


def format_drawn(value: object) -> str:
    """A drawn value as the template spells it, a float with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(yaml_text(value))
