"""The space of `sweeps/dz_wd.yaml`, 24 trials of at most 30 epochs: `tune_main.py` against plain Ray Tune.

Both are whole shell commands. Each side stops trials early by its own rule, so the numbers of trial-epochs differ; they
are listed. The rate once running does not depend on them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.command import CommandFailed, CommandRun, run_command, temporary_folder
from benchmarks.options import Options
from benchmarks.row import Row

TRIALS, EPOCHS = 24, 30
AGAINST = "plain Ray Tune: a process for each trial, ASHA, OptunaSearch, the literature's code"


def sweep(options: Options) -> list[Row]:
    """Measure the whole command, and the rate once running."""
    rounds = options.rounds(5)
    trials, epochs = (6, 10) if options.quick else (TRIALS, EPOCHS)
    runs = [(_ours(trials, epochs, options), _theirs(trials, epochs)) for _ in range(rounds)]
    ours, theirs = [own for own, _ in runs], [plain for _, plain in runs]
    command = f"a sweep of {trials} trials, {epochs} epochs"
    whole = Row(
        f"{command}, whole command", "s", AGAINST,
        [run.seconds for run in ours], [run.seconds for run in theirs], lower_is_better=True, target=8.0,
        details={"our trial-epochs": [run.reports for run in ours], "theirs": [run.reports for run in theirs]},
        profile=[f"ours: {', '.join(ours[-1].phases)}", f"theirs: {', '.join(theirs[-1].phases)}"],
    )  # fmt: skip
    rate = Row(
        f"{command}, trial-epochs per second once running", "/s", AGAINST,
        [run.reports_per_s for run in ours], [run.reports_per_s for run in theirs], target=20.0,
        profile=whole.profile,
    )  # fmt: skip
    return [whole, rate]


def _ours(trials: int, epochs: int, options: Options) -> CommandRun:
    return run_ours(trials, [f"epochs={epochs}", *options.overrides])


def run_ours(trials: int, overrides: list[str], *, follow: bool = True) -> CommandRun:
    """Run `tune_main.py sweeps/dz_wd.yaml` with its results in a temporary folder."""
    with temporary_folder() as folder:
        flags = [flag for override in overrides for flag in ("--set", override)]
        place = ["--storage", folder, "--name", "ours", "--device", "cpu", "--trials", str(trials)]
        command = ["tune_main.py", "sweeps/dz_wd.yaml", *flags, *place]
        run = run_command(command, Path(folder), "ours/trials/*/metrics.jsonl", follow=follow)
        _check_trained(Path(folder) / "ours" / "trials.csv", trials)
        return run


def _check_trained(table: Path, trials: int) -> None:
    """Raise CommandFailed unless the table shows that all trials trained: failed trials look fast."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    failed = [row["reason"] for row in rows if row["status"] in ("failed", "running")]
    if len(rows) != trials or failed:
        raise CommandFailed(f"{len(rows)} of {trials} trials, {len(failed)} of them failed: {failed[:1]}")


def _theirs(trials: int, epochs: int) -> CommandRun:
    with temporary_folder() as folder:
        command = ["-m", "benchmarks.plain_tune", "--trials", str(trials), "--epochs", str(epochs)]
        reports = "ray/session_2*/artifacts/*/*/driver_artifacts/*/result.json"  # skips the link session_latest
        return run_command([*command, "--storage", f"{folder}/plain"], Path(folder), reports)
