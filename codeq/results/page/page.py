"""Writes report.html: the plots and tables of a sweep in one file, which needs no network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upath import UPath

import codeq
from codeq.config import Template
from codeq.config.epoch_budget import epoch_budget
from codeq.config.metrics import MAIN, format_metric
from codeq.config.text import join_and, one_line, pluralize
from codeq.results.advice.text import advice_lines
from codeq.results.page import html
from codeq.results.page.content import PageContent, describe_trial, load_content
from codeq.results.page.curve_plot import curve_plot, describe_curves
from codeq.results.page.front_plot import describe_front, front_plot
from codeq.results.page.html import Plot
from codeq.results.page.layer_plot import describe_layers, layer_plot
from codeq.results.page.parameter_plots import (
    describe_parallel,
    describe_slices,
    importance_plot,
    parallel_plot,
    slice_plot,
)
from codeq.results.page.style import Figure
from codeq.results.sweep_result import SweepResult, analyze
from codeq.results.tables import format_drawn, short_names
from codeq.results.trials import load_confirm_runs, load_trials
from codeq.results.winners import describe_untested, train_command
from codeq.storage.atomic_files import write_atomically

log = logging.getLogger(__name__)

PAGE = "report.html"
REFRESH_S = 30
"""Seconds after which an open page loads itself again while the sweep runs."""


def write_page(
    folder: UPath, template: Template, found: SweepResult, *, is_running: bool = False, out: UPath | Path | None = None
) -> UPath | Path:
    """Write the page of the sweep in `folder` to `out` (default: report.html there), replacing it; returns its path.

    is_running: the page says so and loads itself again. Raises StateDamaged for folders that cannot be read.
    """
    path = out or folder / PAGE
    write_atomically(path, render(load_content(folder, template, found, is_running)))
    return path


def try_write_page(
    folder: UPath, template: Template, found: SweepResult | None = None, pick: str | None = None
) -> str | None:
    """Write the page of a sweep and return its file's name; None, and a line in the log, if that fails.

    found: the result; None while the sweep runs: it is then computed from the trials' folders.
    """
    try:
        now = found or analyze(load_trials(folder), load_confirm_runs(folder), template, pick)
        return write_page(folder, template, now, is_running=found is None).name
    except Exception as error:  # the page must not cost the sweep its results
        log.warning("no %s: %s", PAGE, one_line(error))
        return None


def render(content: PageContent) -> str:
    """Return the page as HTML."""
    sweep, found = content.template.sweep, content.found
    return html.render(
        "report.html.jinja",
        title=sweep.name,
        content=content,
        refresh_s=REFRESH_S if content.is_running else None,
        lead=_lead(content),
        hover={trial.record.trial: describe_trial(trial, content.parameters) for trial in content.trials},
        front=Plot(front_plot(content), describe_front(content)),
        curves=Plot(curve_plot(content), describe_curves(content)) if found.trial_epochs else None,
        importances=_importances(content),
        parallel=_by_objective(content, parallel_plot, describe_parallel),
        slices=_by_objective(content, slice_plot, describe_slices),
        layers=[
            Plot(layer_plot(layers), describe_layers(layers), f"trial {number:04d}")
            for number, layers in content.layers.items()
        ],
        columns=_columns(content),
        parameters=list(zip(short_names(content.parameters), content.parameters, strict=True)),
        winners=_winners(content),
        untested="" if content.is_running else describe_untested(found),
        others=_ended_early(content),
        advice=list(advice_lines(content.advice, content.template)) if content.advice else [],
        facts=_facts(content),
        yaml=content.template.to_yaml(),
        choice=f"{found.choice}, chosen on {found.selected_on}" if found.winner else "",
    )


def _lead(content: PageContent) -> str:
    found, objectives = content.found, content.template.sweep.objectives
    return f"{found.describe_trials()}. {pluralize(found.trial_epochs, 'trial-epoch')}. {join_and(objectives)}."


def _importances(content: PageContent) -> Plot | None:
    figure = importance_plot(content)
    if figure is None or content.advice is None:
        return None
    told = [
        f"for {objective}: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        for objective, shares in content.advice.importances.items()
        if shares
    ]
    return Plot(figure, f"Bar plots of the importances {'; '.join(told)}.")


def _by_objective(
    content: PageContent,
    draw: Callable[[PageContent, str], Figure | None],
    describe: Callable[[PageContent, str], str],
) -> list[Plot]:
    """One plot for each objective; none while the sweep runs, because they take seconds of the driver's time."""
    objectives = () if content.is_running else content.template.sweep.objectives
    figures = {metric: draw(content, metric) for metric in objectives}
    return [Plot(figure, describe(content, metric), metric) for metric, figure in figures.items() if figure]


def _columns(content: PageContent) -> list[str]:
    shown = dict.fromkeys([*MAIN, *content.template.sweep.objectives, *content.template.sweep.constraints])
    return [name for name in shown if any(trial.as_row().get(name) is not None for trial in content.found.front)]


@dataclass(frozen=True)
class WinnerRow:
    """A row of the table of winners. cells: text and the number that the table is sorted by."""

    name: str
    mark: str
    cells: Sequence[tuple[str, Any]]
    command: str


def _winners(content: PageContent) -> list[WinnerRow]:
    """One row for each trial of the front, with the command that trains it again."""
    winner = content.found.winner
    rows = []
    for trial in content.found.front:
        row, is_winner = trial.as_row(), winner is not None and trial.record.trial == winner.record.trial
        metrics = [(format_metric(name, row.get(name)), row.get(name)) for name in _columns(content)]
        drawn = [trial.record.parameters.get(name, "") for name in content.parameters]
        config = content.folder / "best.yaml" if is_winner else trial.folder.path / "config.yaml"
        rows.append(
            WinnerRow(
                name=f"{trial.record.trial:04d}",
                mark="winner" if is_winner else "",
                cells=[*metrics, *((format_drawn(value), value) for value in drawn)],
                command=train_command(config, trial.folder),
            )
        )
    return rows


def _ended_early(content: PageContent) -> list[tuple[str, str, int, str]]:
    """Trials that did not finish: number, status, epoch, reason."""
    rows = [trial.as_row() for trial in content.trials if trial.record.status not in ("finished", "running")]
    return [(f"{row['trial']:04d}", row["status"], row["epoch"], row["reason"]) for row in rows]


def _facts(content: PageContent) -> list[tuple[str, str]]:
    """How the sweep was run: names and values."""
    sweep, planned = content.template.sweep, epoch_budget(content.template)
    facts = [(f"command, {run.began}", f"{run.command} ({run.describe_duration()})") for run in content.runs]
    machines = dict.fromkeys(run.machine for run in content.runs)
    versions = dict.fromkeys(run.versions for run in content.runs)
    facts += [("machine", machine) for machine in machines]
    facts += [("versions", version) for version in versions or [f"codeq-tune {codeq.__version__}"]]
    facts += [
        ("template", str(content.template.source)),
        ("sampler, its seed", f"{sweep.search.sampler}, {sweep.search.seed}"),
        ("seeds of the trials", _seeds(content)),
        ("objectives", ", ".join(f"{name} ({direction})" for name, direction in sweep.objectives.items())),
        ("constraints", ", ".join(f"{name} {bound}" for name, bound in sweep.constraints.items()) or "none"),
        ("validation", content.found.selected_on),
    ]
    if planned:
        low, high = planned.p10_p90
        forecast = f"{planned.expected:,.0f} expected ({low:,.0f} to {high:,.0f}), {planned.worst:,} at most"
        facts.append(("trial-epochs", f"{content.found.trial_epochs:,} trained; {forecast}"))
    return facts


def _seeds(content: PageContent) -> str:
    seeds = sorted({trial.record.seed for trial in content.trials})
    return ", ".join(map(str, seeds[:10])) + (f" and {len(seeds) - 10} more" if len(seeds) > 10 else "")
