"""Our complete driver (study, records, TensorBoard, terminal output, report) with trials that only report.

    python -m benchmarks.noop.ours --storage WHERE --trials N --epochs N [--address ADDRESS] [--samples FILE]
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

from benchmarks.noop import options
from benchmarks.noop.samples import Samples
from benchmarks.options import ROOT
from codeq.config import Template
from codeq.execution import session
from codeq.execution.cluster.start import start_ray
from codeq.execution.progress.terminal import Terminal
from codeq.execution.run_sweep import run_sweep
from codeq.results.page import try_write_page
from codeq.results.report import write_report
from codeq.search.sweep_state import open_sweep
from codeq.train.tracking import Tracker


def main() -> None:
    """Run it."""
    given = options("ours")
    sizes = [f"sweep.trials={given.trials}", f"epochs={given.epochs}", f"sweep.storage={given.storage}"]
    plainly = ["sweep.scheduler.name=none", "sweep.resources.fuse=1", "device=cpu"]
    template = Template.load(ROOT / "sweeps" / "dz_wd.yaml", [*sizes, *plainly, *given.set])
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("codeq.execution").setLevel(logging.INFO)
    samples = Samples(given.every)
    session.start_ray = partial(_start_ray, samples)  # type: ignore[attr-defined]
    with open_sweep(template, resume=False) as state, Terminal() as terminal:
        ray = session.Session(template, session.RunOptions(given.address), terminal)

        def report(*, is_last: bool = False) -> None:
            with samples.report():
                found = write_report(state.folder, template, None)
                try_write_page(state.folder, template, found if is_last else None)

        run_sweep(state, ray, Tracker(), report)
        ray.end()
        report(is_last=True)
    if given.samples:
        samples.write(Path(given.samples))


def _start_ray(samples: Samples, address: str | None, dashboard: bool, log_level: int = 0) -> str | None:
    """Start Ray, then replace the trial by one that only reports and the searcher by one with a clock."""
    url = start_ray(address, dashboard, log_level)
    from benchmarks.noop.searcher import TimedSearcher  # imports Ray, so after start_ray
    from benchmarks.noop.trial import NoopTrial
    from codeq.execution import searcher, trial

    TimedSearcher.samples = samples
    searcher.OptunaSearcher = TimedSearcher  # type: ignore[misc]
    trial.SweepTrial = NoopTrial  # type: ignore[assignment, misc]
    return url


if __name__ == "__main__":
    main()
