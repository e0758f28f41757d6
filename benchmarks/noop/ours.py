"""Our complete driver (study, records, TensorBoard, terminal output) with trials that only report.

    python -m benchmarks.noop.ours --storage FOLDER --trials N --epochs N [--set KEY=VALUE ...]
"""

from __future__ import annotations

import logging
import sys

from benchmarks.noop import options
from benchmarks.options import ROOT
from codeq.config import Template
from codeq.execution import session
from codeq.execution.cluster.start import start_ray
from codeq.execution.progress.terminal import Terminal
from codeq.execution.run_sweep import run_sweep
from codeq.search.sweep_state import open_sweep
from codeq.train.tracking import Tracker


def main() -> None:
    """Run it."""
    given = options("ours")
    sizes = [f"sweep.trials={given.trials}", f"epochs={given.epochs}", f"sweep.storage={given.storage}"]
    plainly = ["sweep.scheduler.name=none", "sweep.resources.fuse=1", "device=cpu"]
    template = Template.load(ROOT / "sweeps" / "dz_wd.yaml", [*sizes, *plainly, *given.set])
    session.start_ray = _start_ray_and_replace_the_trial  # type: ignore[attr-defined]
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("codeq.execution").setLevel(logging.INFO)
    with open_sweep(template, resume=False) as state, Terminal() as terminal:
        run_sweep(state, session.Session(template, session.RunOptions(), terminal), Tracker())


def _start_ray_and_replace_the_trial(address: str | None, dashboard: bool, log_level: int = 0) -> str | None:
    url = start_ray(address, dashboard, log_level)
    from benchmarks.noop.trial import NoopTrial  # imports Ray, so after start_ray
    from codeq.execution import trial

    trial.SweepTrial = NoopTrial  # type: ignore[assignment, misc]
    return url


if __name__ == "__main__":
    main()
