"""Draw the terminal as it was in the middle of a sweep, from what the sweep has left: docs/pictures/terminal.svg.

python tune_main.py sweeps/dz_wd.yaml
python -m benchmarks.terminal_picture results/dz_wd --out docs/pictures/terminal.svg
"""

from __future__ import annotations

import argparse
import io
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from upath import UPath

from codeq.config import Template
from codeq.execution.progress.draw import draw, ended_line
from codeq.execution.progress.remaining import EpochPlan
from codeq.execution.progress.state import SweepProgress
from codeq.search.outcome import TrialEnd
from codeq.storage.run_log import read_runs
from codeq.storage.trial_folder import trial_folders


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.terminal_picture", description=__doc__)
    parser.add_argument("sweep", type=Path, help="a sweep's folder")
    parser.add_argument("--out", type=Path, required=True, help="the SVG file")
    parser.add_argument("--at", type=float, default=0.75, help="share of the search that has passed")
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rows", type=int, default=28)
    options = parser.parse_args(arguments)
    console = Console(record=True, width=options.columns, file=io.StringIO(), force_terminal=True, highlight=False)
    replay(options.sweep, console, options.at, options.rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    svg = console.export_svg(title=read_runs(UPath(options.sweep))[0].command)
    options.out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))  # fonts from a server


def replay(sweep: Path, console: Console, at: float, rows: int) -> None:
    """Print the last lines and the view of the moment at which a share `at` of the search had passed."""
    template = Template.load(sweep / "template.yaml")
    goals = template.sweep
    progress = SweepProgress(str(goals.name), EpochPlan.of(template), goals.objectives, goals.constraints)
    lines: list[str] = []
    events: list[tuple[float, Callable[[], object]]] = []  # seconds since 1970, what happens then
    for folder in trial_folders(UPath(sweep)):
        name, epochs, record, end = folder.path.name, folder.read_config().epochs, folder.read_record(), None
        times = _report_times(folder.path)
        reports = [(times[row["epoch"]], row) for row in folder.rows() if row["epoch"] in times]
        if reports:
            events.append((reports[0][0] - reports[0][1]["epoch_s"], partial(progress.start, name, epochs)))
        events += [(time, partial(progress.report, name, row, time)) for time, row in reports]
        if record and (end := TrialEnd.recorded(folder)):
            ended_at = reports[-1][0] if reports else (folder.path / "trial.json").stat().st_mtime
            line = ended_line(name, end, record.duration_s, epochs, goals.objectives, console.width)
            events.append((ended_at, partial(lines.append, line)))
            events.append((ended_at, partial(progress.end, name, end, epochs)))
    events.sort(key=lambda event: event[0])
    begin, last = events[0][0], events[-1][0]
    now = begin + at * (last - begin)
    for time, happen in events:
        if time <= now:
            happen()
    began = datetime.fromisoformat(read_runs(UPath(sweep))[0].began).timestamp()
    view = draw(progress.snapshot(now), now - began, console.width, rows - 2)
    for line in lines[len(view.plain.splitlines()) - rows :]:
        console.print(line)
    console.print(view)


def _report_times(folder: UPath) -> dict[int, float]:
    """When the driver heard of each epoch of a trial."""
    events = EventAccumulator(str(folder)).Reload()
    recorded = events.Scalars("val_acc") if "val_acc" in events.Tags()["scalars"] else []
    return {event.step: event.wall_time for event in recorded}


if __name__ == "__main__":
    main()
