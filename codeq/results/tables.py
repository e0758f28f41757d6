"""The final table of the Pareto front, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from codeq.results.trials import TrialResult

_FORMATS = {
    "val_acc": "{:.2f}", "test_acc": "{:.2f}", "sparsity": "{:.4f}", "structured_sparsity": "{:.4f}",
    "rel_bops": "{:.4f}", "mean_bits": "{:.2f}", "loss": "{:.4f}", "train_acc": "{:.2f}",
}  # fmt: skip
_FILE_WIDTH = 200
"""Columns of the table where it is not shown on a terminal: a pipe has no width."""

_ALWAYS = ("val_acc", "test_acc", "sparsity", "rel_bops", "mean_bits")


def print_front(
    front: Sequence[TrialResult], winner: TrialResult | None, objectives: Sequence[str], parameters: Sequence[str]
) -> None:
    """Print one row per trial of the front: its metrics and the drawn values; the winner is marked."""
    if not front:
        print("The Pareto front is empty: no trial has trained all its epochs and stayed healthy.")
        return
    metrics = list(dict.fromkeys([*_ALWAYS, *objectives]))
    table = Table(title=f"Pareto front: {len(front)} trials, {' and '.join(objectives)}", title_justify="left")
    for column in ("trial", *metrics, *map(_short, parameters)):
        table.add_column(column, justify="right", overflow="fold")
    for trial in front:
        row = trial.as_row()
        mark = " *" if winner and trial.record.trial == winner.record.trial else ""
        cells = [_metric(name, row.get(name)) for name in metrics]
        drawn = [_value(trial.record.parameters.get(name, "")) for name in parameters]
        table.add_row(f"{trial.record.trial:04d}{mark}", *cells, *drawn)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)


def _short(name: str) -> str:
    """The last two steps of a dotted path: enough to tell the columns of one table apart."""
    return ".".join(name.split(".")[-2:])


def _metric(name: str, value: float | None) -> str:
    return "" if value is None else _FORMATS.get(name, "{:.4g}").format(value)


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
