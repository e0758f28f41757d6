"""How long report.html of a sweep of 1,000 trials takes to write and to open: `python -m benchmarks.page_speed`.

Needs Chromium and its driver (make browser). Opening: from the request to the front, the first plot, in a new tab; then
to the last plot, while the page can be read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from upath import UPath

from benchmarks.options import ROOT
from benchmarks.stored_sweep import store_sweep
from codeq.config import Template
from codeq.results.page import write_page
from codeq.results.stored_sweep import load_sweep

DRAWN = (
    "const done = arguments[0], data = document.body.dataset;"
    "const poll = () => data.drawn ? done(Object.assign({}, data)) : setTimeout(poll, 5); poll()"
)
EVENTS = {"begunMs": "the front is shown", "drawnMs": "every plot is drawn"}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_speed", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    os.fsync = lambda descriptor: None  # type: ignore[assignment]  # the trials need not survive a power failure
    with tempfile.TemporaryDirectory(prefix="codeq-page-") as scratch:
        folder = Path(scratch) / "s"
        sweep = [f"sweep.trials={options.trials}", "sweep.name=s", f"sweep.storage={scratch}"]
        store_sweep(folder, Template.load(ROOT / "sweeps" / "dz_wd.yaml", sweep), options.trials, epochs=20)
        stored = load_sweep(UPath(folder))
        began = time.perf_counter()
        page = Path(str(write_page(stored.folder, stored.template, stored.found)))
        wrote_s = time.perf_counter() - began
        opened = _open(page, options.runs)
        size = page.stat().st_size / 1e6
    print(f"{options.trials:,} trials: {size:.1f} MB, written in {wrote_s:.1f} s")
    for event, times in opened.items():
        spread = f"median of {len(times)}, {min(times):.2f} to {max(times):.2f}"
        print(f"{EVENTS[event]} after {statistics.median(times):.2f} s ({spread})")


def _open(page: Path, runs: int) -> dict[str, list[float]]:
    """Seconds from the request of the page to each of EVENTS, for each run after one that is not counted."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver"))
    times: dict[str, list[float]] = {event: [] for event in EVENTS}
    try:
        for _ in range(runs + 1):
            driver.switch_to.new_window("tab")
            driver.get(page.as_uri())
            told = driver.execute_async_script(DRAWN)
            for event, seconds in times.items():
                seconds.append(float(told[event]) / 1000)
    finally:
        driver.quit()
    return {event: seconds[1:] for event, seconds in times.items()}


if __name__ == "__main__":
    main()
