"""Sweeps whose trials only report, to measure the driver's own work."""

from __future__ import annotations

import argparse
from typing import Any

from codeq.config.metrics import REPORTED


def constant_row(epoch: int, epochs: int) -> dict[str, Any]:
    """Return a trial's report: the keys of an epoch's row, and whether it is the last."""
    status = "running" if epoch < epochs else "finished"
    row = {"epoch": epoch, **dict.fromkeys(REPORTED, 0.5), "val_images": 512, "status": status, "reason": ""}
    return {**row, "done": epoch == epochs}


def options(name: str) -> argparse.Namespace:
    """Parse the command line of both sides."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.noop.{name}")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--address", help="of a Ray cluster, for our side")
    parser.add_argument("--samples", metavar="FILE", help="of the costs during the sweep, for our side")
    parser.add_argument("--every", type=int, default=250, metavar="N", help="trials from one sample to the next")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for our side")
    return parser.parse_args()
