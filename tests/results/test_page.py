"""report.html and compare.html in a real browser, and the commands that write them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from upath import UPath

from benchmarks.stored_sweep import store_sweep
from codeq.config import Template
from codeq.config.exit_codes import BAD_INPUT, DONE
from codeq.results import __main__ as results
from codeq.results.page import try_write_page, write_page
from codeq.results.stored_sweep import load_sweep
from codeq.storage.run_log import read_runs, recorded_run

CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver: make browser")


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand trials are written; they need not survive a power failure."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def store(tmp_path: Path, tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Callable[..., Path]:
    """Stores a sweep of a range of every kind as tmp_path/results/NAME and returns its folder."""

    def store(name: str = "s", trials: int = 24, epochs: int = 4, **sweep: Any) -> Path:
        data = {**tiny, "epochs": epochs}
        data["batch_size"] = {"distribution": "choice", "choices": [16, 32, 64]}
        groups = data["optimizer"]["param_groups"]
        groups["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-2}
        groups["dz"]["weight_decay"] = {"distribution": "uniform", "low": 0.0, "high": 10.0}
        settings = {"name": name, "scheduler": {"grace_epochs": 1, "reduction_factor": 2}, "storage": "results"}
        template = Template.load(write_yaml({**data, "sweep": {**settings, **sweep}}))
        folder = tmp_path / "results" / name
        store_sweep(folder, template, trials, epochs)
        return folder

    return store


def page(folder: Path) -> str:
    stored = load_sweep(UPath(folder))
    return write_page(stored.folder, stored.template, stored.found).read_text()


# In the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


CHOOSE = (
    "const s = [...document.querySelectorAll('select')].find(s => [...s.options].some(o => o.text === arguments[0]));"
    "s.value = arguments[0]; s.dispatchEvent(new Event('change'));"
)


def resize(browser: Any, width: int, scheme: str) -> None:
    """Set the window's width and the preferred colours, also of a page that is open."""
    scheme_of = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme_of)
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def visit(browser: Any, path: Path, width: int = 1280, scheme: str = "light") -> None:
    """Open the page in a window of this width and wait until every plot is drawn."""
    browser.get_log("browser"), browser.get_log("performance")
    resize(browser, width, scheme)
    browser.get(path.as_uri())
    browser.execute_async_script(
        "const done = arguments[0];"
        "const poll = () => document.body.dataset.drawn ? done() : setTimeout(poll, 20); poll()"
    )


def visit_with_another_axis(browser: Any, folder: Path) -> None:
    """Open the report of the sweep in `folder`, and choose rel_bops as the x axis of its front."""
    page(folder)
    visit(browser, folder / "report.html")
    browser.execute_script(CHOOSE, "rel_bops")


def fetched(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_plot_draws_and_fits_without_an_error_and_nothing_is_fetched(
    browser: Any, store: Callable[..., Path], width: int, scheme: str
) -> None:
    folder = store(constraints={"val_acc": ">= 80"})
    page(folder)
    visit(browser, folder / "report.html", width, scheme)
    plots = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].filter(p => !p.hidden).map(p => ({"
        "width: p.querySelector('.main-svg').getBoundingClientRect().width, label: p.getAttribute('aria-label'),"
        "marks: p.querySelectorAll('.trace path, .bars path, .scatterlayer path').length,"
        "text: getComputedStyle(p.querySelector('.xtick text, .ytick text') || p.querySelector('text')).fill}))"
    )
    assert len(plots) >= 5
    for plot in plots:
        assert plot["marks"] > 0 and plot["width"] <= width and len(plot["label"]) > 20, plot
        bright = sum(map(int, re.findall(r"\d+", plot["text"])[:3])) / 3
        assert bright > 180 if scheme == "dark" else bright < 80, plot
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    smallest = "return Math.min(...[...document.querySelectorAll('td, th, p, li, .xtick text')]" \
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"  # fmt: skip
    assert browser.execute_script(smallest) >= 11
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert fetched(browser) == []


@needs_browser
def test_the_reader_switches_axes_and_networks_sorts_the_winners_and_copies_a_command(
    browser: Any, store: Callable[..., Path]
) -> None:
    visit_with_another_axis(browser, store())
    front = "const p = document.querySelector('.plot'); return [p.layout.xaxis.title.text, Math.max(...p.data[0].x)]"
    title, largest = browser.execute_script(front)
    assert title == "rel_bops" and largest <= 1 / 8
    shown = "return [...document.querySelectorAll('.plot')].filter(p => !p.hidden).map(p => p.dataset.option)"
    options = browser.execute_script("return [...document.querySelectorAll('option')].map(o => o.text)")
    other = [option for option in options if option.startswith("trial ")][-1]
    browser.execute_script(CHOOSE, other)
    assert other in browser.execute_script(shown)
    column = (
        "return [...document.querySelectorAll('.sortable tbody tr')].map(r => parseFloat(r.cells[1].dataset.value))"
    )
    for is_descending in (True, False):
        browser.execute_script("document.querySelector('.sortable thead').rows[0].cells[1].click()")
        values = browser.execute_script(column)
        assert len(values) > 1 and values == sorted(values, reverse=is_descending)
    commands = browser.execute_script("return [...document.querySelectorAll('code')].map(c => c.textContent)")
    assert commands and all(re.match(r"python -m codeq\.train \S+\.yaml$", command) for command in commands)


@needs_browser
def test_a_page_that_becomes_narrow_and_dark_is_laid_out_anew_and_keeps_what_was_chosen(
    browser: Any, store: Callable[..., Path]
) -> None:
    visit_with_another_axis(browser, store())
    resize(browser, 390, "dark")
    browser.execute_async_script(
        "const done = arguments[0], last = () => [...document.querySelectorAll('.plot')].filter(p => !p.hidden).pop();"
        "const poll = () => last().querySelector('.main-svg').getBoundingClientRect().width <= 390"
        " ? setTimeout(done, 300) : setTimeout(poll, 20); poll()"
    )
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].filter(p => !p.hidden).map(p => ["
        "p.querySelector('.main-svg').getBoundingClientRect().height, p.getBoundingClientRect().height])"
    )
    assert all(drawn == pytest.approx(reserved, abs=1) and drawn > 200 for drawn, reserved in boxes)
    titles = browser.execute_script(
        "return [...[...document.querySelectorAll('.plot')].filter(p => !p.hidden && p._fullLayout.xaxis3)[0]"
        ".querySelectorAll('.g-xtitle, .g-x2title, .g-x3title')]"
        ".map(t => { const b = t.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; })"
    )
    assert len(titles) == 3 and all(left >= 0 and right <= 390 for left, right, *_ in titles)
    assert all(above[3] < below[2] for above, below in pairwise(titles))
    assert browser.execute_script("return document.querySelector('.plot').layout.xaxis.title.text") == "rel_bops"
    lines = "return [...document.querySelectorAll('.gridlayer path')].map(l => getComputedStyle(l).stroke)"
    assert set(browser.execute_script(lines)) == {"rgb(58, 63, 68)"}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@needs_browser
def test_a_sweep_of_a_thousand_trials_is_small_and_draws(browser: Any, store: Callable[..., Path]) -> None:
    folder = store(trials=1000, epochs=20)
    assert len(page(folder).encode()) < 6_000_000
    visit(browser, folder / "report.html")
    drawn = "return document.querySelectorAll('.plot .scatterlayer .point').length"
    assert browser.execute_script(drawn) > 1000


# What it says


def figures_of(html: str) -> list[dict[str, Any]]:
    """The page's figures in its order: the front, the curves, ..."""
    texts = re.findall(r'<figure .*?<script type="application/json">(.*?)</script>', html, re.DOTALL)
    return [json.loads(text) for text in texts]


def test_plotly_knows_every_key_of_every_figure(store: Callable[..., Path]) -> None:
    folder = store(constraints={"val_acc": ">= 80"}, objectives={"val_acc": "max", "sparsity": "max"})
    figures = figures_of(page(folder))
    assert len(figures) > 5
    for figure in figures:
        go.Figure(figure)  # raises for a key or a value that it does not know


def test_slices_have_the_choices_in_their_order_and_label_the_ends_of_logarithmic_ranges(
    store: Callable[..., Path],
) -> None:
    by_title = {
        axis["title"]["text"]: axis
        for figure in figures_of(page(store()))
        for key, axis in figure["layout"].items()
        if key.startswith("xaxis") and "title" in axis
    }
    assert by_title["batch_size"]["categoryarray"] == ["16", "32", "64"]
    lr = by_title["optimizer.param_groups.base.lr"]
    assert (lr["type"], lr["ticktext"]) == ("log", ["0.0001", "0.001", "0.01"])
    assert by_title["optimizer.param_groups.dz.weight_decay"]["type"] == "linear"


def test_curves_mark_where_trials_ended_early_and_trials_of_one_epoch(store: Callable[..., Path]) -> None:
    _, curves, *_ = figures_of(page(store(trials=2)))  # trial 0001 was stopped
    marked = [(t["name"], t["x"], t["customdata"]) for t in curves["data"] if t["mode"] == "markers"]
    assert marked == [("finished", [], [])] * 3 + [("stopped", [2], [1])] * 3
    _, curves, *_ = figures_of(page(store("short", trials=1, epochs=1)))
    assert [t["x"] for t in curves["data"] if t["mode"] == "markers"] == [[1]] * 3


def test_the_page_tells_what_happened_and_escapes_what_users_wrote(store: Callable[..., Path]) -> None:
    folder = store(constraints={"val_acc": ">= 80"})
    html = page(folder)
    assert html.startswith("<!doctype html>") and "http-equiv=\"refresh\"" not in html
    assert "24 trials: 9 finished, 6 stopped, 3 collapsed, 3 diverged, 3 failed. 66 trial-epochs." in html
    assert "because it failed &lt;b&gt;&amp;&lt;/b&gt;" in html and "<b>&</b>" not in html
    assert "trained again, mean" in html
    assert '"label":{"text":"val_acc >= 80"}' in html
    assert 'role="img" aria-label="Scatter plot of val_acc against' in html


def test_while_the_sweep_runs_the_page_loads_itself_again(store: Callable[..., Path]) -> None:
    folder = UPath(store())
    stored = load_sweep(folder)
    assert try_write_page(folder, stored.template) == "report.html"
    assert '<meta http-equiv="refresh" content="30">' in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    "sweep",
    [
        {"trials": 0},
        {"trials": 1},
        {"trials": 5, "objectives": {"sparsity": "max"}},
        {"trials": 9, "objectives": {"val_acc": "max", "loss": "min", "rel_bops": "min"}},
    ],
)
def test_a_sweep_of_any_size_and_number_of_objectives_has_a_page(
    store: Callable[..., Path], sweep: dict[str, Any]
) -> None:
    assert "</html>" in page(store(**sweep))


def test_a_sweep_that_has_not_trained_yet_says_so_instead_of_empty_axes(store: Callable[..., Path]) -> None:
    html = page(store(trials=0))
    assert "<p>No epoch has been trained.</p>" in html
    assert "<p>No trial has trained all its epochs and stayed healthy, so the front is empty.</p>" in html


def test_a_page_that_cannot_be_written_costs_nothing_but_a_line(
    store: Callable[..., Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UPath(store(trials=1))
    (folder / "report.html").mkdir()
    assert try_write_page(folder, load_sweep(folder).template) is None
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("no report.html: ")


# The commands


def test_a_report_is_written_again_where_it_is_asked_for(
    store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store()
    assert results.main(["report", str(folder)]) == DONE
    assert results.main(["report", str(folder), "--out", str(tmp_path / "new" / "a.html")]) == DONE
    assert capsys.readouterr().out.splitlines() == [str(folder / "report.html"), str(tmp_path / "new" / "a.html")]
    assert (tmp_path / "new" / "a.html").read_text() == (folder / "report.html").read_text()


def test_each_sweep_of_a_storage_is_a_line(
    store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store("b"), store("a", trials=1)
    (store("c") / "trials" / "0000" / "trial.json").write_text("{")
    assert results.main(["list", str(tmp_path / "results")]) == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a  1 trial: 1 finished  front 1  hypervolume 0.")
    assert lines[1].startswith("b  24 trials: 9 finished, 6 stopped, 3 collapsed, 3 diverged, 3 failed  front ")
    assert "trial.json: damaged" in lines[2] and len(lines) == 3


def test_sweeps_are_compared_in_the_objectives_they_share(
    store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = store("one"), store("two", trials=8, objectives={"val_acc": "max", "rel_bops": "min"})
    out = tmp_path / "compare.html"
    assert results.main(["compare", str(first), str(second), "--out", str(out)]) == DONE
    shown = capsys.readouterr().out
    assert "Sweeps compared in val_acc" in shown and "two: on the common front: " in shown
    html = out.read_text()
    assert "</html>" in html
    assert all(re.fullmatch(r"\d+\.\d\d", cell) for cell in common_front(html)), "as val_acc is written elsewhere"


def common_front(html: str) -> list[str]:
    """The values of the table of the common front."""
    *_, table = html.split("<table")
    return re.findall(r"<td>([\d.]+\.\d+)</td>", table)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no such folder"),
        (lambda folder: (folder / "template.yaml").unlink(), "is no sweep's folder, it holds no template.yaml"),
        (lambda folder: (folder / "template.yaml").write_text(""), "its template cannot be read by this version: "),
        (lambda folder: (folder / "template.yaml").write_bytes(b"\0\xff"), "its template cannot be read"),
        (lambda folder: (folder / "template.yaml").write_text("modle: mlp\n"), "its template cannot be read"),
        (lambda folder: (folder / "trials" / "0001" / "trial.json").write_text("{\n"), "trial.json: damaged"),
    ],
)
def test_a_folder_that_is_no_readable_sweep_is_one_line_and_exit_2(
    store: Callable[..., Path], capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], reason: str
) -> None:
    folder = store(trials=2)
    damage(folder)
    assert results.main(["report", str(folder)]) == BAD_INPUT
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1 and str(folder) in error


@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_folder_in_the_place_of_the_page_is_named(
    store: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "out.html").mkdir()
    assert results.main([command, str(store(trials=1)), "--out", str(tmp_path / "out.html")]) == BAD_INPUT
    assert capsys.readouterr().err == f"{tmp_path / 'out.html'}: Is a directory\n"


@pytest.mark.parametrize("command", ["list", "report", "compare"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [("gs://bucket/x", "gs:// needs another package: pip install gcsfs"), ("foo://bucket/x", "foo")],
)
def test_a_url_behind_which_nothing_can_be_read_is_one_line_and_exit_2(
    command: str, url: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results.main([command, url]) == BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith(f"FOLDER: {url}: ") and reason in error and error.count("\n") == 1


def test_sweeps_without_a_common_objective_cannot_be_compared(
    store: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = store("one", objectives={"sparsity": "max"}), store("two", objectives={"val_acc": "max"})
    assert results.main(["compare", str(first), str(second)]) == BAD_INPUT
    assert "the sweeps share no objective: " in capsys.readouterr().err


def test_how_a_sweep_was_run_is_recorded_without_passwords(tmp_path: Path) -> None:
    folder = UPath(tmp_path)
    with recorded_run(folder, ["a b.yaml", "--set", "sweep.study=postgresql://me:secret@host/db"]) as record_duration:
        assert read_runs(folder)[0].describe_duration() == "not ended"
        record_duration()
        assert read_runs(folder)[0].describe_duration() == "0 s"
    with recorded_run(folder, ["x.yaml", "--resume"]):
        pass
    first, second = read_runs(folder)
    assert first.command == "python tune_main.py 'a b.yaml' --set 'sweep.study=postgresql://me:***@host/db'"
    assert first.seconds is not None and second.command.endswith("x.yaml --resume")
    assert "secret" not in (tmp_path / "runs.json").read_text()
