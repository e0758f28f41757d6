"""The driver's own work: a thousand trials that only report, our driver against plain Ray Tune with its defaults.

A figure is the additional processor time of the driver's process per additional report, relative to a small sweep. It
excludes the driver's start and the processes of trials and Ray. Our driver stores more: a study in SQLite, a folder for
each trial.
"""

from __future__ import annotations

import pstats
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import CommandRun, run_command, temporary_folder
from benchmarks.options import Options
from benchmarks.row import Row

TRIALS, FEW, EPOCHS = 1000, 24, 10
TOP = 8
RANDOM = ("--set", "sweep.search.sampler=random")
AGAINST = "plain Ray Tune, its defaults (random search), processes reused"


def noop(options: Options) -> list[Row]:
    """Measure random search, which is Tune's default, and TPE, which is ours."""
    few, many = (4, 12) if options.quick else (FEW, TRIALS)
    plain = _runs("plain", few, many)
    ours = {"random search": _runs("ours", few, many, *RANDOM), "TPE": _runs("ours", few, many)}
    rows = [_row(f"{many:,} no-op trials, {search}", runs, plain, many - few) for search, runs in ours.items()]
    rows[-1].profile.extend(_profile(options.rounds(100, 8)) if rows[-1].missed else [])
    return rows


Runs = tuple[CommandRun, CommandRun]


def _row(name: str, ours: Runs, plain: Runs, trials: int) -> Row:
    own, theirs = (1000 * (many.driver_cpu_s - few.driver_cpu_s) / (trials * EPOCHS) for few, many in (ours, plain))
    return Row(
        f"{name}, driver's processor time for each further report", "ms", AGAINST, [own], [theirs],
        lower_is_better=True, target=1.0,
        details={"whole commands": f"{ours[1].seconds:.0f} s, theirs {plain[1].seconds:.0f} s",
                 "memory": f"{ours[1].driver_rss_mb:.0f} MB, theirs {plain[1].driver_rss_mb:.0f} MB"},
    )  # fmt: skip


def _runs(side: str, few: int, many: int, *more: str) -> Runs:
    return _run(side, few, more), _run(side, many, more)


def _profile(trials: int) -> list[str]:
    """Return the functions of our driver's main thread that take most time, including waiting."""
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


def _run(side: str, trials: int, more: Sequence[str]) -> CommandRun:
    with temporary_folder() as folder:
        return run_command([*_command(side, trials, folder), *more], Path(folder))


def _command(side: str, trials: int, folder: str) -> list[str]:
    sizes = ["--trials", str(trials), "--epochs", str(EPOCHS), "--storage", f"{folder}/results"]
    return ["-m", f"benchmarks.noop.{side}", *sizes]
