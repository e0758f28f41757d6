"""Ten thousand trials that only report, on a simulated cluster: what the driver costs as the sweep grows.

The trials are instant, so the whole command is overhead. Ray publishes that of its own release test, on machines of its
own: 10,000 trials of one second on 16 slots in 715 s instead of 625 s (docs.ray.io, "Scalability and Overhead
Benchmarks for Ray Tune"). Here driver, nodes and trials share this machine.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.command import run_command, temporary_folder
from benchmarks.noop.cluster import simulated_cluster
from benchmarks.noop.samples import as_json
from benchmarks.options import Options
from benchmarks.row import Row
from benchmarks.table import RESULTS

NODES, CPUS = 8, 2
TRIALS, EARLY, EVERY = 10_000, 1000, 250
QUICK_TRIALS, QUICK_EARLY, QUICK_EVERY = 24, 8, 4
PUBLISHED_MS = 1000 * (715 - 625) / 10_000
AGAINST = "Ray's release test, published: 715 s for an ideal 625 s"
FLAT = 0.8
"""The lowest ratio that counts as constant, as in the scaling rows."""
CURVE = RESULTS / "cluster_curve.json"

Curve = list[dict[str, float]]


def cluster(options: Options) -> list[Row]:
    """Run the sweep once, and keep its samples."""
    trials, early, every = (QUICK_TRIALS, QUICK_EARLY, QUICK_EVERY) if options.quick else (TRIALS, EARLY, EVERY)
    with temporary_folder() as scratch, simulated_cluster(Path(scratch), NODES, CPUS) as address:
        file = Path(scratch) / "samples.json"
        sizes = ["--trials", str(trials), "--epochs", "1", "--storage", f"{scratch}/results"]
        kept = ["--samples", str(file), "--every", str(every)]
        sets = [part for override in options.overrides for part in ("--set", override)]
        command = ["-m", "benchmarks.noop.ours", *sizes, "--address", address, *kept, *sets]
        run = run_command(command, Path(scratch), follow=False)
        curves: dict[str, Curve] = json.loads(file.read_text())
    if not options.quick:
        CURVE.write_text(as_json(curves))
    samples, reports = curves["samples"], curves["reports"]
    name = f"{trials:,} no-op trials on {NODES} simulated nodes"
    overhead = Row(
        f"{name}, whole command per trial", "ms", AGAINST, [1000 * run.seconds / trials], [PUBLISHED_MS],
        lower_is_better=True, target=1.0,
        details={"whole command": f"{run.seconds:.0f} s", "driver's processor time": f"{run.driver_cpu_s:.0f} s",
                 "memory at its highest": f"{run.driver_rss_mb:.0f} MB"},
    )  # fmt: skip
    return [
        overhead,
        _compared(f"{name}, driver's memory at the end", "MB", samples, "memory_mb", early),
        _compared(f"{name}, ask and tell of the last trials", "ms", samples, "search_ms", early),
        _compared(f"{name}, driver's processor time for the last trials", "ms", samples, "driver_ms", early),
        _reports(name, reports, early),
    ]


def _compared(name: str, unit: str, samples: Curve, key: str, early: int) -> Row:
    """The last tenth of the sweep, against the time until `early` trials had ended twice."""
    last = [sample[key] for sample in samples if sample["trials"] > samples[-1]["trials"] - early]
    first = [sample[key] for sample in samples if early <= sample["trials"] < 2 * early]
    against = f"itself, trials {early:,} to {2 * early:,}"
    means = ([statistics.fmean(values)] for values in (last, first))
    return Row(name, unit, against, next(means), next(means), lower_is_better=True, target=FLAT)


def _reports(name: str, reports: Curve, early: int) -> Row:
    """The processor time per trial of the last report of the running sweep against that of the first large enough."""
    large = [report for report in reports[:-1] if report["trials"] >= early] or reports[-1:]
    last, first = ([1000 * report["cpu_s"] / report["trials"]] for report in (large[-1], large[0]))
    against = f"itself, the report of {large[0]['trials']:,.0f} trials"
    return Row(
        f"{name}, the last report while it runs, per trial", "ms", against, last, first,
        lower_is_better=True, target=FLAT,
        details={"the last report": f"{large[-1]['cpu_s']:.1f} s", "at the end": f"{reports[-1]['seconds']:.1f} s"},
    )  # fmt: skip
