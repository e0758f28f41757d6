"""`sweep.confirm` and `--pick`, the whole command on real digits: winners with fresh seeds, and other winners."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, TINY
from tests.test_tune_main import DECAY, LR
from tests.whole_command import end, start, wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def epochs(path: Path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (path / "metrics.jsonl").read_text().splitlines()]


def template(name: str, **changes: Any) -> dict[str, Any]:
    """A sweep of two trials, one dense and one sparse, neither of which is stopped; the winners are confirmed."""
    data = json.loads(json.dumps(TINY))
    data["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-3, "high": 1e-1}
    data["optimizer"]["param_groups"]["dz"]["weight_decay"] = {"distribution": "uniform", "low": 0, "high": 20}
    data["sweep"] = {
        "name": name,
        "trials": 2,
        "scheduler": {"name": "none"},
        "enqueue": [{LR: 0.01, DECAY: 0.0}, {LR: 0.01, DECAY: 20.0}],
        "confirm": {"top": 2, "seeds": 2},
    }
    return {**data, **changes}


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a finished sweep and what its command said; seed 1 is the sweep's own.

    The storage's name is one that a shell and YAML would read otherwise; the terminal knows ASCII only.
    """
    storage = tmp_path_factory.mktemp("confirm") / "x #2"
    storage.mkdir()
    (storage / "small.yaml").write_text(yaml.safe_dump(template("small", seed=1), sort_keys=False))
    command = [sys.executable, "tune_main.py", str(storage / "small.yaml"), "--storage", str(storage)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "ascii"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return storage / "small", done


Confirmed = tuple[Path, subprocess.CompletedProcess[str]]


def test_the_winners_are_trained_again_in_full_with_seeds_that_the_sweep_did_not_use(confirmed: Confirmed) -> None:
    folder, done = confirmed
    assert done.returncode == 0, done.stdout + done.stderr
    runs = sorted(path.name for path in (folder / "confirm").iterdir())
    assert runs == ["0000_seed0", "0000_seed2", "0001_seed0", "0001_seed2"]
    for name in runs:
        assert epochs(folder / "confirm" / name) == [1, 2, 3, 4]
        config = yaml.safe_load((folder / "confirm" / name / "config.yaml").read_text())
        original = yaml.safe_load((folder / "trials" / name[:4] / "config.yaml").read_text())
        assert config == {**original, "seed": int(name[-1])}
        assert list((folder / "confirm" / name).glob("events.*"))


def test_the_tables_hold_the_mean_and_the_spread_of_the_runs_with_test_accuracy(confirmed: Confirmed) -> None:
    folder, done = confirmed
    best = json.loads((folder / "summary.json").read_text())["winner"]
    rows, runs = read(folder / "confirm.csv"), read(folder / "confirm_runs.csv")
    assert [int(row["trial"]) for row in rows] == [best, 1 - best]
    for row in rows:
        for score in ("val_acc", "test_acc", "sparsity"):
            values = [float(run[score]) for run in runs if run["trial"] == row["trial"]]
            assert float(row[f"{score}_mean"]) == pytest.approx(statistics.mean(values))
            assert float(row[f"{score}_std"]) == pytest.approx(statistics.stdev(values))
    assert f"{float(rows[0]['test_acc_mean']):.2f} +- {float(rows[0]['test_acc_std']):.2f}" in done.stdout
    text = (folder / "best.yaml").read_text()
    assert "2 of 2 runs with fresh seeds finished (seeds 0, 2), mean ± std" in text
    assert f"# Train it again: python -m codeq.train {shlex.quote(str(folder / 'best.yaml'))}\n" in text


def test_another_winner_is_picked_from_a_finished_sweep_without_ray_and_without_training(confirmed: Confirmed) -> None:
    folder, _ = confirmed
    check = (
        "import sys, runpy\n"
        "sys.argv = ['tune_main.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('tune_main.py', run_name='__main__')\n"
        "except SystemExit as exit: print(exit.code, sorted({'torch', 'ray'} & set(sys.modules)))\n"
    )
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*")}
    arguments = [str(folder.parent / "small.yaml"), "--storage", str(folder.parent), "--resume"]
    for pick, best in (("sparsity", 1), ("rel_bops", 1), ("val_acc", None)):
        command = [sys.executable, "-c", check, *arguments, "--pick", pick]
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
        pareto = {int(row["trial"]): float(row["val_acc"]) for row in read(folder / "pareto.csv")}
        best = max(pareto, key=lambda number: pareto[number]) if best is None else best
        assert f"# Trial {best} of the sweep small" in (folder / "best.yaml").read_text()
        assert f"{best:04d} *" in done.stdout
        assert read(folder / "confirm.csv")[0]["trial"] == str(best)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*")} == before


def test_where_nobody_wins_there_is_nothing_to_confirm_and_that_is_said(
    confirmed: Confirmed, tmp_path: Path, run_python: Run
) -> None:
    shutil.copytree(confirmed[0], tmp_path / "small")
    arguments = [confirmed[0].parent / "small.yaml", "--storage", tmp_path, "--resume"]
    done = run_python("tune_main.py", *arguments, "--set", "sweep.constraints={val_acc: '>= 100'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No trial satisfies val_acc >= 100" in done.stdout
    assert "Nothing to confirm: there is no winner." in done.stdout


def test_a_pick_that_is_no_metric_exits_2_before_anything_starts(run_python: Run) -> None:
    done = run_python("tune_main.py", "sweeps/dz_wd.yaml", "--pick", "val_ac")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("--pick: is 'val_ac'") and line.endswith("did you mean val_acc?")


def test_a_killed_confirmation_goes_on_where_it_was(write_yaml: Callable[..., Path], tmp_path: Path) -> None:
    data = template("long", epochs=16)
    data["sweep"] |= {"trials": 1, "confirm": {"top": 1, "seeds": 3}}
    arguments: list[object] = [write_yaml(data), "--storage", tmp_path]
    folder = tmp_path / "long"

    def trained() -> int:
        return sum(len(path.read_text().splitlines()) for path in folder.glob("confirm/*/metrics.jsonl"))

    process = start(arguments)
    wait_until(lambda: trained() >= 6)
    process.kill()
    code, output = end(process)
    assert code == -9, output
    assert trained() < 48
    sweep_before = (folder / "trials" / "0000" / "trial.json").read_text()

    resumed = start([*arguments, "--resume"])
    code, output = end(resumed)
    assert code == 0, output
    for seed in (1, 2, 3):
        assert epochs(folder / "confirm" / f"0000_seed{seed}") == list(range(1, 17))
    assert "3/3" in output and read(folder / "confirm.csv")[0]["finished"] == "3"
    assert (folder / "trials" / "0000" / "trial.json").read_text() == sweep_before
    assert epochs(folder / "trials" / "0000") == list(range(1, 17))
