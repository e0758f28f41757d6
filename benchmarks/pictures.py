"""The pictures of README: `python -m benchmarks.pictures results/dz_wd` makes them from a finished sweep.

docs/pictures/trials.csv and summary.json are copies of that sweep's own files, from which front.svg is drawn;
report.png is its report.html in headless Chromium.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.options import ROOT
from codeq.results.page.style import GREEN, LOOKS

PICTURES = ROOT / "docs" / "pictures"
SOURCES = ("trials.csv", "summary.json")
MARKERS = {"finished": "o", "stopped": "o", "collapsed": "v", "diverged": "x", "failed": "s"}
WIDTH, HEIGHT = 1280, 1500
"""Of the picture of the report, in pixels."""


def main(arguments: list[str] | None = None) -> int:
    """Copy the sweep's files and draw the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("sweep", type=Path, help="the folder of a finished sweep")
    sweep = parser.parse_args(arguments).sweep
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        shutil.copyfile(sweep / name, PICTURES / name)
    draw_front(PICTURES / "front.svg")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium is installed: report.png stays as it is (make browser)", file=sys.stderr)
        return 1
    page = (sweep / "report.html").resolve()
    shot = [f"--screenshot={PICTURES / 'report.png'}", f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=20000"]
    subprocess.run([chromium, "--headless", "--no-sandbox", "--hide-scrollbars", *shot, page.as_uri()], check=True)
    return 0


def draw_front(path: Path) -> None:
    """Draw the accuracy of all trials against their sparsity, with the front and the winner, from `SOURCES`."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "codeq"  # makes the file depend only on the figures
    from matplotlib import pyplot

    with (PICTURES / "trials.csv").open() as file:
        trials = {int(row["trial"]): row for row in csv.DictReader(file)}
    summary: dict[str, Any] = json.loads((PICTURES / "summary.json").read_text())
    figure, axes = pyplot.subplots(figsize=(7.5, 3.6), layout="constrained")
    for status, marker in MARKERS.items():
        rows = [row for row in trials.values() if row["status"] == status]
        if rows:
            fill = "full" if status == "finished" else "none"
            color, label = LOOKS[status].color, f"{status} ({len(rows)})"
            axes.plot(*_points(rows), linestyle="", marker=marker, color=color, fillstyle=fill, label=label)
    front = [trials[number] for number in summary["front"]]
    axes.plot(*_points(front), color=GREEN, linestyle=":", drawstyle="steps-pre", zorder=0, label="front")
    winner = _points([trials[summary["winner"]]])
    axes.scatter(*winner, marker="*", s=240, color=GREEN, zorder=3, label=f"winner: {summary['winner_is']}")
    axes.set(xlabel="zero weights (%)", ylabel="validation accuracy (%)")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _points(rows: list[dict[str, str]]) -> tuple[list[float], list[float]]:
    return [100 * float(row["sparsity"]) for row in rows], [float(row["val_acc"]) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
