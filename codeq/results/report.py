"""Writes a sweep's result files from its trials' folders; first those that cannot fail."""

from __future__ import annotations

from upath import UPath

from codeq.config import Template
from codeq.results.confirmation import write_confirmation
from codeq.results.summary import write_summary
from codeq.results.sweep_result import SweepResult, analyze
from codeq.results.trials import load_confirm_runs, load_trials, write_csv
from codeq.results.winners import TestAccuracy, with_test_accuracy, write_best


def write_report(
    folder: UPath, template: Template, measure_test: TestAccuracy | None, pick: str | None = None
) -> SweepResult:
    """Write trials.csv, pareto.csv, confirm.csv, best.yaml and summary.json into the sweep's `folder`.

    measure_test: reads the test set for the front and for the runs with fresh seeds, once for each; None: not yet.
    pick: see `codeq.config.selection.selection_objectives`. Raises StateDamaged for folders that cannot be read.
    """
    trials, runs = load_trials(folder), load_confirm_runs(folder)
    names = [parameter.name for parameter in template.parameters]
    write_csv(folder / "trials.csv", trials, names)
    found = analyze(trials, runs, template, pick)
    _write(folder, found, template, names)
    if measure_test:
        on_front = {trial.record.trial: trial for trial in with_test_accuracy(found.front, measure_test)}
        trials = [on_front.get(trial.record.trial, trial) for trial in trials]
        found = analyze(trials, with_test_accuracy(runs, measure_test), template, pick)
        _write(folder, found, template, names)
    return found


def _write(folder: UPath, found: SweepResult, template: Template, names: list[str]) -> None:
    with_test = any(trial.test_acc is not None for trial in found.front)
    write_csv(folder / "pareto.csv", found.front, names, with_test)
    if found.winner:
        write_best(folder / "best.yaml", found.winner, found, template)
    else:
        (folder / "best.yaml").unlink(missing_ok=True)
    write_confirmation(folder, found.confirmed)
    write_summary(folder / "summary.json", found, template)
