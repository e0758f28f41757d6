"""What the page shows, as data: each trial with all its rows, the result, the advice, how the sweep was run."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from upath import UPath

from codeq.config import Template
from codeq.config.metrics import COMPRESSION, METRICS, SCORES, format_metric
from codeq.results.advice import Advice, advise
from codeq.results.advice.ties import ACCURACY
from codeq.results.sweep_result import SweepResult
from codeq.results.tables import format_drawn, short_names
from codeq.results.trials import TrialResult
from codeq.storage.run_log import DriverRun, read_runs
from codeq.storage.trial_folder import Layer, Row, TrialFolder, from_each

_DESCRIBED = tuple(name for name in SCORES if METRICS[name].reported)


@dataclass(frozen=True)
class PageContent:
    """Everything that the plots and tables are made of.

    rows: all rows of each trial, by number. layers: of each trial of the front that has recorded them. advice: None
    if nothing was searched, or while the sweep runs. runs: the drivers that worked on the sweep.
    """

    folder: UPath
    template: Template
    found: SweepResult
    rows: Mapping[int, Sequence[Row]]
    layers: Mapping[int, Sequence[Layer]]
    advice: Advice | None
    runs: Sequence[DriverRun]
    is_running: bool

    @property
    def trials(self) -> Sequence[TrialResult]:
        """All trials, by number."""
        return self.found.trials

    @cached_property
    def compared(self) -> list[str]:
        """The metrics that accuracy is drawn against: the objectives first, then those of compression."""
        return [name for name in dict.fromkeys([*self.template.sweep.objectives, *COMPRESSION]) if name != ACCURACY]

    @cached_property
    def parameters(self) -> list[str]:
        """The searched parameters by dotted path."""
        return [parameter.name for parameter in self.template.parameters]


def load_content(folder: UPath, template: Template, found: SweepResult, is_running: bool) -> PageContent:
    """Read what the page needs besides `found`; the winner's layers are the first."""
    winner_first = sorted(found.front, key=lambda trial: trial is not found.winner)
    rows = from_each([trial.folder for trial in found.trials], TrialFolder.rows)
    layers = from_each([trial.folder for trial in winner_first], TrialFolder.read_layers)
    return PageContent(
        folder=folder,
        template=template,
        found=found,
        rows={trial.record.trial: own for trial, own in zip(found.trials, rows, strict=True)},
        layers={trial.record.trial: own for trial, own in zip(winner_first, layers, strict=True) if own},
        advice=advise(template, found.trials, found.front) if template.parameters and not is_running else None,
        runs=read_runs(folder),
        is_running=is_running,
    )


HOVER = "%{text}<extra></extra>"
"""The hover template of traces whose `customdata` are numbers of trials: the page sets their texts."""


def describe_trial(trial: TrialResult, parameters: Sequence[str]) -> list[str]:
    """Return the lines of the trial's hover text, as HTML: status, metrics, the drawn values of `parameters`."""
    row = trial.as_row()
    lines = [f"<b>trial {row['trial']:04d}</b> {trial.record.status}, epoch {row['epoch']}"]
    if row["reason"]:
        lines.append(html.escape(row["reason"]))
    lines += [f"{name} {format_metric(name, trial.row[name])}" for name in _DESCRIBED if name in trial.row]
    drawn = trial.record.parameters
    shown = zip(short_names(parameters), parameters, strict=True)
    return lines + [f"{short} = {html.escape(format_drawn(drawn[name]))}" for short, name in shown if name in drawn]


def rounded(value: Any) -> Any:
    """Return a number with four significant digits, as it is drawn: the page holds many thousands of them."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None
