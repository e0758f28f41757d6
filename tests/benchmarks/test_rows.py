"""Every group of rows runs at a tiny size, and what it measured comes back from its file as a table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from upath import UPath

import benchmarks.__main__ as bench
from benchmarks import table
from benchmarks.command import CommandFailed, CommandRun, run_command
from benchmarks.noop import constant_row
from benchmarks.noop.samples import Samples
from benchmarks.options import Options
from benchmarks.row import Row, interleave
from benchmarks.rows import NAMES, cluster, gpu, group, noop, s3, scaling, sweep
from codeq.train.loop import EpochMetrics
from tests.conftest import ROOT

QUICK = Options(quick=True, threads=1)
RUN = CommandRun(
    seconds=10.0, reports=61, first_report_s=4.0, last_report_s=9.0, first_reports=1,
    driver_cpu_s=2.0, driver_rss_mb=90.0,
)  # fmt: skip
ROWS = [
    Row("fast", "ms", "slow", [1.0, 2.0, 1.0], [4.0, 4.0, 5.0], lower_is_better=True, target=4.0, profile=["mm"]),
    Row("short", "images/s", "slow", [1500.0], [1000.0], target=2.0, profile=["38 % conv"], details={"runs": [1, 2.5]}),
    Row("shown", "MB", "itself", [123.4]),
    Row("gpu", "/s", "cpu", target=50.0, not_run="no GPU"),
]
MACHINE = {"cpu": "2 cores", "torch": "2.15"}


@pytest.fixture
def tiny_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Made-up images in a small number; the number of threads is put back."""
    for constant, images in {"NUM_TRAIN": 80, "NUM_TEST": 20}.items():
        monkeypatch.setattr(f"codeq.data.sources.synthetic.{constant}", images)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_sides_are_measured_in_turns_after_warming_up() -> None:
    calls: list[str] = []

    def side(name: str) -> Callable[[], float]:
        def measure() -> float:
            calls.append(name)
            return len(calls)

        return measure

    assert interleave(side("a"), side("b"), rounds=2) == ([3, 5], [4, 6])
    assert calls == ["a", "b"] * 3


def test_ratios_say_how_many_times_better_we_are() -> None:
    assert ROWS[0].ratios == [4.0, 2.0, 5.0]
    assert ROWS[1].ratios == [1.5]
    assert [row.missed for row in ROWS] == [False, True, False, False]


def test_a_table_is_rendered_from_what_was_kept(tmp_path: Path) -> None:
    table.write(tmp_path / "some.json", ROWS, MACHINE)
    rows, machine = table.read(tmp_path / "some.json")
    assert (rows, machine) == (ROWS, MACHINE)
    assert table.markdown([(rows, machine), ([], machine)]) == """\
| measured | against | ours | theirs | ratio, median (min to max) | target |  |
| --- | --- | --- | --- | --- | --- | --- |
| fast | slow | 1 ms | 4 ms | 4x (2 to 5) | 4x | met |
| short | slow | 1,500 images/s | 1,000 images/s | 1.5x | 2x | missed |
| shown | itself | 123 MB |  |  |  |  |
| gpu | cpu | not run: no GPU |  |  | 50x |  |

Measured on: cpu 2 cores, torch 2.15.

- short: runs 1, 2.5
- short, where the time goes:
  - 38 % conv
"""


def test_a_full_run_keeps_its_rows_and_a_quick_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "group", lambda name: lambda options: ROWS)
    assert bench.main(["sweep", "--quick"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert bench.main(["sweep"]) == 0
    printed = capsys.readouterr().out
    assert bench.main(["--table"]) == 0
    assert capsys.readouterr().out in printed


def test_all_groups_are_there() -> None:
    assert all(callable(group(name)) for name in NAMES)


def test_the_quantizer_rows_run() -> None:
    rows = group("quantizer")(QUICK)
    assert [len(row.ratios) for row in rows] == [3, 3]
    assert min(ratio for row in rows for ratio in row.ratios) > 0


@pytest.mark.parametrize("name", ["solo_mlp", "solo_resnet20"])
def test_the_solo_rows_run(name: str, tiny_images: None) -> None:
    (row,) = group(name)(replace(QUICK, overrides=("batch_size=16",)))
    assert row.ours[0] > 0 and row.theirs[0] > 0


def test_the_sweep_rows_run_whole_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[Sequence[str]] = []
    status = "finished"

    def run(arguments: Sequence[str], folder: Path, reports: str, *, follow: bool = True) -> CommandRun:
        commands.append(arguments)
        if "-m" in arguments:
            return replace(RUN, seconds=20.0)
        (folder / "ours").mkdir()
        trials = int(arguments[arguments.index("--trials") + 1])
        (folder / "ours" / "trials.csv").write_text("status,reason\n" + f"{status},\n" * trials)
        return RUN

    monkeypatch.setattr(sweep, "run_command", run)
    whole, rate = group("sweep")(replace(QUICK, overrides=("threads=1",)))
    assert whole.ratios == [2.0] and rate.ours == [12.0]
    assert [command[0] for command in commands] == ["tune_main.py", "-m"]
    assert "threads=1" in commands[0]
    status = "failed"
    with pytest.raises(CommandFailed, match="6 of 6 trials, 6 of them failed"):
        group("sweep")(QUICK)


def test_the_scaling_rows_compare_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    power = 1

    def run(trials: int, overrides: list[str], *, follow: bool) -> CommandRun:
        return replace(RUN, reports=2 * trials, driver_cpu_s=2.0 + 0.1 * trials**power)

    monkeypatch.setattr(scaling, "run_ours", run)
    rows = group("scaling")(QUICK)
    assert [row.ratios for row in rows] == [[], [2.0], [1.5], [], [1.0], [1.0], [], [pytest.approx(1.0)]]
    assert rows[-1].ours == [pytest.approx(50.0)] and not rows[-1].profile
    power = 2
    (slower,) = (row for row in group("scaling")(QUICK) if row.missed)
    assert [line.split("among")[1] for line in slower.profile] == [" 4 trials", " 6 trials"]


def test_the_noop_rows_compare_the_driver_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: Sequence[str], folder: Path, reports: str = "", *, follow: bool = True) -> CommandRun:
        trials = int(arguments[arguments.index("--trials") + 1])
        return replace(RUN, driver_cpu_s=1.0 + trials * (3.0 if "benchmarks.noop.plain" in arguments else 2.0))

    monkeypatch.setattr(noop, "run_command", run)
    assert [row.ratios for row in group("noop")(QUICK)] == [[1.5], [1.5]]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sequence[str]]:
    """Replaces the cluster and the command on it; collects the commands."""
    commands: list[Sequence[str]] = []

    def run(arguments: Sequence[str], folder: Path, *, follow: bool = True) -> CommandRun:
        commands.append(arguments)
        trials, every = (int(arguments[arguments.index(name) + 1]) for name in ("--trials", "--every"))
        samples = Samples(every)
        for number in range(trials):
            with samples.search(ends_trial=True):
                pass
            if number == trials // 2:
                with samples.report():
                    pass
        with samples.report():
            pass
        samples.write(Path(arguments[arguments.index("--samples") + 1]))
        return replace(RUN, seconds=24 * 0.018)

    monkeypatch.setattr(cluster, "run_command", run)
    monkeypatch.setattr(cluster, "simulated_cluster", lambda *given: contextlib.nullcontext("127.0.0.1:1"))
    monkeypatch.setattr(cluster, "CURVE", tmp_path / "curve.json")
    return commands


def test_the_cluster_rows_compare_the_end_of_a_sweep_with_its_beginning(
    simulated: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overhead, *rows = group("cluster")(QUICK)
    assert overhead.ratios == [pytest.approx(0.5)] and overhead.missed  # 18 ms a trial instead of Ray's 9
    assert [(len(row.ours), len(row.theirs)) for row in rows] == [(1, 1)] * 4
    assert simulated[0][simulated[0].index("--address") + 1] == "127.0.0.1:1"
    assert not (tmp_path / "curve.json").exists()
    monkeypatch.setattr(cluster, "TRIALS", 60)
    monkeypatch.setattr(cluster, "EARLY", 20)
    monkeypatch.setattr(cluster, "EVERY", 10)
    group("cluster")(replace(QUICK, quick=False))
    curves = json.loads((tmp_path / "curve.json").read_text())
    assert [sample["trials"] for sample in curves["samples"]] == [10, 20, 30, 40, 50, 60]
    assert [report["trials"] for report in curves["reports"]] == [31, 60]


def test_the_end_of_a_sweep_that_costs_more_than_its_beginning_is_missed() -> None:
    samples = [{"trials": trials, "memory_mb": 100.0 + trials} for trials in range(10, 110, 10)]
    row = cluster._compared("memory", "MB", samples, "memory_mb", 20)
    assert (row.ours, row.theirs, row.missed) == ([195.0], [125.0], True)


def test_the_s3_rows_store_on_a_server_and_in_a_folder_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def run(
        arguments: Sequence[str], folder: Path, *, follow: bool, environment: Mapping[str, str]
    ) -> CommandRun:
        where = arguments[arguments.index("--storage") + 1]
        asked.append((where.split("/")[0], "AWS_ENDPOINT_URL" in environment))
        return replace(RUN, seconds=30.0 if where.startswith("s3:") else 10.0)

    server = contextlib.nullcontext({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    monkeypatch.setattr(s3, "run_command", run)
    monkeypatch.setattr(s3, "s3_server", lambda folder: server)
    (row,) = group("s3")(replace(QUICK, quick=False))
    assert asked == [("s3:", True), ("", False)] * 2 and row.ratios == [pytest.approx(1 / 3)] * 2


def test_an_s3_server_of_the_benchmark_stores_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.s3_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        file = UPath(f"s3://{s3.BUCKET}/sweeps/a.txt")
        file.write_text("text")
        assert file.read_text() == "text"


def test_a_noop_trial_reports_what_a_trial_reports() -> None:
    assert constant_row(1, 2).keys() == {*(field.name for field in fields(EpochMetrics)), "done"}
    assert [constant_row(epoch, 2)["done"] for epoch in (1, 2)] == [False, True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_rows_say_that_there_is_none() -> None:
    assert {row.not_run for row in group("gpu")(QUICK)} == {"no GPU"}


def test_a_run_on_a_device_is_measured(tiny_images: None) -> None:
    options = replace(QUICK, overrides=("batch_size=16", "threads=1"))
    for graphed in (True, False):
        assert gpu.one_run("mlp", options, graphed=graphed, device="cpu")() > 0


def test_a_row_that_fails_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> float:
        raise RuntimeError("out of memory\nand a page more")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "one_run", lambda *_, **__: lambda: 2.0)
    monkeypatch.setattr(gpu, "top_operators", lambda *_, **__: [])
    monkeypatch.setattr(gpu, "sharing", failing)
    rows = group("gpu")(QUICK)
    assert [row.not_run for row in rows] == ["", "", "failed: out of memory"] * 2
    assert rows[0].ratios == [1.0] and rows[0].missed


def test_a_command_is_watched_from_outside(tmp_path: Path) -> None:
    script = f"""
import time
file = open({str(tmp_path / 'trial.jsonl')!r}, "a")
for line in range(3):
    file.write("row\\n"); file.flush(); time.sleep(0.4)
"""
    run = run_command(["-c", script], tmp_path, "*.jsonl")
    assert run.reports == 3 and run.first_reports == 1
    assert 0 < run.first_report_s < run.last_report_s < run.seconds < 10
    assert 1 < run.reports_per_s < 5
    assert run.driver_rss_mb > 1


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="exit code 3.*\n.*the reason"):
        run_command(["-c", "print('the reason'); raise SystemExit(3)"], tmp_path, "*.jsonl")


def test_plain_tune_explains_itself(run_python: Callable[..., object]) -> None:
    result = run_python("-m", "benchmarks.plain_tune", "--help")
    assert "--storage" in str(result)
    assert (ROOT / "benchmarks" / "plain_tune.py").exists()
