"""The driver's own work: a thousand trials that only report, ours against plain Ray Tune with its defaults.

A figure is the processor time of the driver's process, from its start to its end, over the number of reports; it leaves
out the processes of the trials and of Ray. Ours keeps more: a study in SQLite, a folder for each trial, a front.
"""

from __future__ import annotations

import pstats
from pathlib import Path

from benchmarks.command import CommandRun, run_command, temporary_folder
from benchmarks.options import Options
from benchmarks.row import Row

TRIALS, EPOCHS = 1000, 10
TOP = 8
AGAINST = "plain Ray Tune, its defaults (random search)"


def noop(options: Options) -> list[Row]:
    """With random search, as Tune's default is, and with the search that sweeps use."""
    trials = 8 if options.quick else TRIALS
    random = _run("ours", trials, ["--set", "sweep.search.sampler=random"])
    plain = _run("plain", trials)
    tpe = _run("ours", trials)
    rows = [_row(f"{trials:,} no-op trials, {search}", trials, ours, plain) for search, ours in
            {"random search": random, "TPE": tpe}.items()]  # fmt: skip
    rows[-1].profile.extend(_profile(options.rounds(100, 8)) if rows[-1].missed else [])
    return rows


def _row(name: str, trials: int, ours: CommandRun, plain: CommandRun) -> Row:
    reports = trials * EPOCHS
    return Row(
        f"{name}, driver's processor time per report", "ms", AGAINST,
        [1000 * ours.driver_cpu_s / reports], [1000 * plain.driver_cpu_s / reports],
        lower_is_better=True, target=1.0,
        details={"whole commands": f"{ours.seconds:.0f} s, theirs {plain.seconds:.0f} s",
                 "memory": f"{ours.driver_rss_mb:.0f} MB, theirs {plain.driver_rss_mb:.0f} MB"},
    )  # fmt: skip


def _profile(trials: int) -> list[str]:
    """The functions of our driver's main thread in which most time passes, waiting included."""
    with temporary_folder() as folder:
        profiler = ["-m", "cProfile", "-o", f"{folder}/profile"]
        run_command([*profiler, *_command("ours", trials, folder)], Path(folder))
        found = pstats.Stats(f"{folder}/profile").get_stats_profile()
    functions = sorted(found.func_profiles.items(), key=lambda item: -item[1].tottime)
    return [
        f"{100 * each.tottime / found.total_tt:.0f} % {Path(each.file_name).name} {name}: {each.ncalls} calls, "
        f"{each.tottime:.2f} s"
        for name, each in functions[:TOP]
    ]


def _run(side: str, trials: int, more: list[str] | None = None) -> CommandRun:
    with temporary_folder() as folder:
        return run_command([*_command(side, trials, folder), *(more or [])], Path(folder))


def _command(side: str, trials: int, folder: str) -> list[str]:
    sizes = ["--trials", str(trials), "--epochs", str(EPOCHS), "--storage", f"{folder}/results"]
    return ["-m", f"benchmarks.noop.{side}", *sizes]
