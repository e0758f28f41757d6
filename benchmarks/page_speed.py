"""How long report.html of a sweep of 1,000 trials takes to write and to open: `python -m benchmarks.page_speed`.

Needs Chromium and its driver (make browser). Opening: from the request to the last plot that is drawn, in a new tab.
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
    "const done = arguments[0]; const poll = () => document.body.dataset.drawn ? done() : setTimeout(poll, 5); poll()"
)


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
    spread = f"median of {len(opened)}, {min(opened):.2f} to {max(opened):.2f}"
    print(f"opened in {statistics.median(opened):.2f} s ({spread})")


def _open(page: Path, runs: int) -> list[float]:
    """Seconds from the request of the page to its last plot, for each run after one that is not counted."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver"))
    times = []
    try:
        for _ in range(runs + 1):
            driver.switch_to.new_window("tab")
            began = time.perf_counter()
            driver.get(page.as_uri())
            driver.execute_async_script(DRAWN)
            times.append(time.perf_counter() - began)
    finally:
        driver.quit()
    return times[1:]


if __name__ == "__main__":
    main()
