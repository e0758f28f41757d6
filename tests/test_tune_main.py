"""`python tune_main.py`, the whole command on real digits: what it leaves, what it says, how it goes on."""

from __future__ import annotations

import copy
import csv
import html
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.terminal_picture import main as draw_terminal
from codeq.config import Template
from codeq.config.dry_run import plan
from codeq.config.metrics import REPORTED
from codeq.plugins import load_stored
from tests.conftest import ROOT, TINY
from tests.wandb_runs import wandb_runs
from tests.whole_command import end, start, states

Run = Callable[..., subprocess.CompletedProcess[str]]
LR = "optimizer.param_groups.base.lr"
DECAY = "optimizer.param_groups.dz.weight_decay"
LAMBDA = "loss_terms.group_lasso.lambda"


FRAGILE = """\
from torch import nn

from codeq.plugins import model


class Fragile(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        if len(x) > 2:
            raise RuntimeError("too many images")
        return self.head(x.flatten(1))


@model("fragile")
def fragile(*, num_classes: int) -> nn.Module:
    return Fragile(num_classes)
"""
"""A network that passes the check before a sweep, which is on two images, and fails in every trial."""


def mixed_template() -> dict[str, Any]:
    """Six trials, the first five of which are known to end in five different ways."""
    template = copy.deepcopy(TINY)
    template["epochs"] = 9
    template["model"] = {"distribution": "choice", "choices": ["mlp", "fragile"]}
    template["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-3, "high": 1e30}
    template["optimizer"]["param_groups"]["dz"]["weight_decay"] = {"distribution": "uniform", "low": 0, "high": 20}
    template["loss_terms"][0]["lambda"] = {"distribution": "loguniform", "low": 1e-5, "high": 1e5}
    endings = [
        {"model": "mlp", LR: 0.01, DECAY: 10.0, LAMBDA: 1e-4},  # finished: sparse and accurate
        {"model": "mlp", LR: 1e30, DECAY: 10.0, LAMBDA: 1e-4},  # diverged
        {"model": "mlp", LR: 0.05, DECAY: 10.0, LAMBDA: 1e5},  # collapsed
        {"model": "fragile", LR: 0.01, DECAY: 10.0, LAMBDA: 1e-4},  # failed
        {"model": "mlp", LR: 0.001, DECAY: 0.0, LAMBDA: 1e-5},  # stopped: dense and inaccurate
    ]
    template["sweep"] = {
        "name": "mixed",
        "trials": 5,
        "max_concurrent": 1,  # one after the other, so that the early stopper's verdict is certain
        "scheduler": {"grace_epochs": 3},
        "enqueue": endings,
    }
    return template


class Sweep:
    """A finished sweep: its folder, what was printed, its tables."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.folder = folder
        self.done = done

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open() as file:
            return list(csv.DictReader(file))

    def study(self) -> optuna.Study:
        return optuna.load_study(study_name=self.folder.name, storage=f"sqlite:///{self.folder}/study.db")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "mixed.yaml").write_text(yaml.safe_dump(mixed_template(), sort_keys=False))
    (folder / "fragile.py").write_text(FRAGILE)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tune_main.py"), "mixed.yaml", "--plugin", "fragile.py"],
        cwd=folder,
        env={**environment, "WANDB_MODE": "offline"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    yield Sweep(folder / "results" / "mixed", done)


def test_a_sweep_ends_well_though_trials_do_not(mixed: Sweep) -> None:
    assert mixed.done.returncode == 0, mixed.done.stderr
    assert "Traceback" not in mixed.done.stdout + mixed.done.stderr


def test_every_trial_is_named_for_how_it_ended_with_a_reason(mixed: Sweep) -> None:
    rows = mixed.table("trials.csv")
    assert [row["status"] for row in rows] == ["finished", "diverged", "collapsed", "failed", "stopped"]
    assert rows[1]["reason"].startswith("loss is ")
    assert "chance" in rows[2]["reason"] or "is zero" in rows[2]["reason"]
    assert "too many images" in rows[3]["reason"]
    assert rows[4]["reason"] == "asha at epoch 3"
    assert [row["epoch"] for row in rows][0::4] == ["9", "3"]


def test_the_table_has_every_metric_and_every_drawn_value(mixed: Sweep) -> None:
    row = mixed.table("trials.csv")[0]
    assert list(row) == [
        "trial", "status", "reason", "epoch", *REPORTED, "model", LR, DECAY, LAMBDA, "seed", "run_name", "duration_s",
    ]  # fmt: skip
    assert (row["model"], float(row[LR]), row["run_name"]) == ("mlp", 0.01, "mlp_deadzone4b_e9_lr0.01")
    assert float(row["val_acc"]) > 80 and float(row["sparsity"]) > 0.1


def test_the_front_holds_only_trials_that_trained_all_their_epochs(mixed: Sweep) -> None:
    (row,) = mixed.table("pareto.csv")
    assert (row["trial"], row["status"], row["epoch"]) == ("0", "finished", "9")
    assert 70 < float(row["test_acc"]) <= 100


def test_one_line_per_trial_and_a_table_of_the_front_are_printed(mixed: Sweep) -> None:
    lines = mixed.done.stdout.splitlines()
    assert sorted(line[:20].rstrip() for line in lines if line.startswith("trial 0")) == [
        "trial 0000  finished", "trial 0001  diverged", "trial 0002  collapse", "trial 0003  failed",
        "trial 0004  stopped",
    ]  # fmt: skip
    assert "Pareto front: 1 trial" in mixed.done.stdout
    assert any("0000 *" in line for line in lines)


def test_advice_is_printed_after_the_front_and_kept(mixed: Sweep) -> None:
    """Of five trials two are healthy and one wins: there is little to say."""
    advice = (mixed.folder / "advice.txt").read_text()
    assert advice == "What mattered: 2 healthy trials are too few to tell, 16 are needed.\n"
    assert mixed.done.stdout.endswith(advice)


def test_the_study_says_the_same(mixed: Sweep) -> None:
    trials = mixed.study().trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.FAIL, TrialState.PRUNED,
    ]  # fmt: skip
    assert [trial.user_attrs["status"] for trial in trials] == [row["status"] for row in mixed.table("trials.csv")]
    assert set(trials[0].params) == {"model", LR, DECAY, LAMBDA}


def test_the_template_as_resolved_loads_to_the_same_space(mixed: Sweep, own_registry: None) -> None:
    load_stored(mixed.folder)
    again = Template.load(mixed.folder / "template.yaml")
    original = Template.load(mixed.folder.parents[1] / "mixed.yaml")
    assert again.parameters == original.parameters
    assert again.sweep == original.sweep


def test_each_trial_has_its_config_rows_checkpoint_and_tensorboard_events(mixed: Sweep) -> None:
    folder = mixed.folder / "trials" / "0000"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 10))
    assert (folder / "checkpoint.th").is_file()
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["param_groups"]["base"]["lr"] == 0.01
    events = EventAccumulator(str(folder)).Reload()
    assert set(events.Tags()["scalars"]) == set(REPORTED)
    assert [event.step for event in events.Scalars("val_acc")] == list(range(1, 10))
    assert "Traceback" in (mixed.folder / "trials" / "0003" / "error.txt").read_text()


def test_the_best_config_trains_again_by_itself_to_the_same_score(
    mixed: Sweep, run_python: Run, tmp_path: Path
) -> None:
    best = mixed.folder / "best.yaml"
    header = [line for line in best.read_text().splitlines() if line.startswith("#")]
    assert "Seed 0" in "".join(header) and "torch" in "".join(header)
    assert f"python -m codeq.train {best}" in "".join(header)
    again = run_python("-m", "codeq.train", best, "--set", f"save_dir={tmp_path}")
    assert again.returncode == 0, again.stderr
    (rows,) = tmp_path.glob("metrics_*.jsonl")
    last = json.loads(rows.read_text().splitlines()[-1])
    winner = mixed.table("pareto.csv")[0]
    for name in ("loss", "val_acc", "sparsity", "rel_bops"):
        assert last[name] == pytest.approx(float(winner[name]), rel=1e-12), name
    assert f"test_acc {float(winner['test_acc']):.2f}" in again.stdout


def test_the_terminal_can_be_drawn_as_it_was_during_the_sweep(mixed: Sweep, tmp_path: Path, own_registry: None) -> None:
    load_stored(mixed.folder)
    draw_terminal([str(mixed.folder), "--out", str(tmp_path / "terminal.svg"), "--at", "1"])
    svg = (tmp_path / "terminal.svg").read_text()
    shown = html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))).replace("\xa0", " ")
    assert "python tune_main.py mixed.yaml --plugin fragile.py" in shown
    for status in ("1 finished", "1 stopped", "1 diverged", "1 collapsed", "1 failed", "5 of 5 trials"):
        assert status in shown
    assert not re.search(r"url\([\"']?http", svg)


def test_wandb_has_one_run_per_trial_and_one_of_the_report_offline(tmp_path: Path, tiny: dict[str, Any]) -> None:
    tiny["wandb_project"] = "team/project"
    tiny["epochs"] = 1
    tiny["seed"] = {"distribution": "choice", "choices": [0, 1]}
    tiny["sweep"] = {"trials": 2, "search": {"sampler": "grid"}}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tiny))
    key = "5ec2e7" * 8
    (tmp_path / ".env").write_text(f"WANDB_MODE=offline\nWANDB_API_KEY={key}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tune_main.py"), "sweep.yaml"],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "W&B is off" not in done.stdout
    folder = tmp_path / "results" / "sweep"
    runs = {run.run.display_name: run for run in wandb_runs(folder / "wandb")}
    assert set(runs) == {f"000{number}_mlp_deadzone4b_e1_lr0.005" for number in (0, 1)} | {"sweep report"}
    assert all((run.run.entity, run.run.project, run.run.run_group) == ("team", "project", "sweep")
               for run in runs.values())  # fmt: skip
    report = runs.pop("sweep report")
    assert all((run.steps, run.exit_code, list(run.run.tags)) == ([1], 0, ["finished"]) for run in runs.values())
    assert report.artifacts["sweep-report"] == ["report.html"]
    with (folder / "pareto.csv").open() as file:
        front = [f"front/{int(row['trial']):04d}.yaml" for row in csv.DictReader(file)]
    assert report.artifacts["sweep-winners"] == ["best.yaml", *sorted(front), "pareto.csv"]
    assert not any(key.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_median_rule_stops_trials_and_fails_none(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    tiny["epochs"] = 6
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 5e-4, "high": 1e-2}
    scheduler = {"name": "median", "grace_epochs": 2}
    tiny["sweep"] = {"name": "median", "trials": 8, "scheduler": scheduler, "search": {"sampler": "random"}}
    process = start([write_yaml(tiny), "--storage", tmp_path])
    code, output = end(process)
    assert code == 0, output
    with (tmp_path / "median" / "trials.csv").open() as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"stopped", "finished"}


def test_a_finished_sweep_is_not_overwritten_but_extended(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    tiny["epochs"] = 2
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}
    tiny["sweep"] = {"scheduler": {"grace_epochs": 1}, "enqueue": [{LR: 0.01}, {LR: 0.0003}]}
    arguments = ["tune_main.py", write_yaml(tiny), "--storage", tmp_path, "--name", "small", "--trials"]
    quiet = run_python(*arguments, 1, "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    first, *_, last = quiet.stdout.splitlines()
    assert first.startswith("Pareto front: 1 trial, val_acc and sparsity")
    assert last == f"{tmp_path}/small: trials.csv, pareto.csv, best.yaml (marked *), report.html"
    assert re.search(r"--quiet \(\d+ s\)</td>", (tmp_path / "small" / "report.html").read_text())
    assert "trial 0" not in quiet.stdout
    before = (tmp_path / "small" / "trials" / "0000" / "trial.json").read_text()
    refused = run_python(*arguments, 2)
    assert refused.returncode == 4
    assert "holds 1 trial already; --resume" in refused.stderr
    extended = run_python(*arguments, 2, "--resume")
    assert (extended.returncode, extended.stderr) == (0, "")  # no line of Ray's
    assert "What mattered: 2 healthy trials are too few" in extended.stdout
    assert sorted(path.name for path in (tmp_path / "small" / "trials").iterdir()) == ["0000", "0001"]
    assert (tmp_path / "small" / "trials" / "0000" / "trial.json").read_text() == before
    second = json.loads((tmp_path / "small" / "trials" / "0001" / "trial.json").read_text())
    assert (second["status"], second["reason"]) == ("stopped", "asha at epoch 1")  # it is compared with the first

    warm = [*arguments[:-3], "--name", "warm", "--trials", 1, "--set", f"sweep.search.warm_start={tmp_path}/small"]
    done = run_python(*warm, "--verbose")
    assert done.returncode == 0, done.stderr
    epochs = [line[:20] for line in done.stdout.splitlines() if line.startswith("trial 0000  epoch")]
    assert epochs == ["trial 0000  epoch 1 ", "trial 0000  epoch 2 "]
    assert "Started a local Ray instance" in done.stderr
    assert f"2 trials of {tmp_path}/small to learn from" in done.stdout
    assert [path.name for path in (tmp_path / "warm" / "trials").iterdir()] == ["0000"]
    missing = run_python(*warm[:-1], f"sweep.search.warm_start={tmp_path}/nothing", "--resume")
    assert missing.returncode == 2
    assert missing.stderr.startswith("--set: sweep.search.warm_start: is ")
    planned = run_python(*warm, "--dry-run")
    assert planned.returncode == 0 and f"  warm start: 2 trials of {tmp_path}/small" in planned.stdout
    planned = run_python(*warm[:-1], f"sweep.search.warm_start={tmp_path}/nothing", "--dry-run")
    assert (planned.returncode, planned.stderr) == (2, missing.stderr)
    assert "no such folder" in missing.stderr and len(missing.stderr.splitlines()) == 1


def test_a_sweep_that_runs_out_of_configs_ends_well_and_says_so(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    tiny["epochs"] = 1
    tiny["seed"] = {"distribution": "choice", "choices": [0, 1, 2]}
    arguments = [write_yaml({**tiny, "sweep": {"name": "small", "trials": 5}}), "--storage", tmp_path]
    nobody_counts = (
        "import sys; from codeq.config import template; template.count_configs = lambda tree: float('inf');"
        "import tune_main; sys.exit(tune_main.main(sys.argv[1:]))"
    )
    for more in ([], ["--resume"]):
        done = run_python("-c", nobody_counts, *arguments, *more)
        assert done.returncode == 0, done.stderr
        assert "the search ends: of 100 draws none was a config that is new" in done.stdout
        assert states(tmp_path / "small") == [TrialState.COMPLETE] * 3


def test_a_sweep_whose_every_trial_fails_exits_3_and_can_be_begun_again_under_its_name(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    command = ["tune_main.py", write_yaml({**tiny, "model": "fragile", "epochs": 1}), "--storage", tmp_path]
    done = run_python(*command, "--plugin", tmp_path / "fragile.py")
    assert done.returncode == 3, done.stderr
    assert "The Pareto front is empty" in done.stdout
    assert not (tmp_path / "config" / "best.yaml").exists()

    again = run_python(*command, "--set", "model=mlp")
    assert again.returncode == 0, again.stderr
    assert "config: all trials (1) had failed, the sweep begins again" in again.stdout
    assert (tmp_path / "config" / "best.yaml").exists()
    assert states(tmp_path / "config") == [TrialState.COMPLETE]


def test_a_network_that_cannot_be_built_is_told_by_the_dry_run_and_before_the_sweep(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    """And the name stays free."""
    path = write_yaml({**tiny, "model": "timm/vit_tiny_patch16_225"})
    command = ["tune_main.py", path, "--storage", tmp_path]
    planned, begun = run_python(*command, "--dry-run"), run_python(*command)
    assert (planned.returncode, begun.returncode) == (2, 2)
    assert planned.stderr == begun.stderr
    assert begun.stderr.startswith(f"{path}:1: model: unknown timm model 'vit_tiny_patch16_225'")
    assert "timm/vit_tiny_patch16_224" in begun.stderr and len(begun.stderr.splitlines()) == 1
    assert "trial-epochs" in planned.stdout
    assert not (tmp_path / "config" / "trials").exists()


def test_a_device_that_is_not_there_is_told_before_the_sweep(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    path = write_yaml(tiny)
    command = ["tune_main.py", path, "--storage", tmp_path, "--set", "device=cuda"]
    done = run_python(*command, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout) == (2, "W&B is off: wandb_project is not set\n")
    why = "cuda was asked for, but PyTorch sees no CUDA device (CUDA_VISIBLE_DEVICES=)"
    assert done.stderr == f"--set: device: {why}; use auto or cpu\n"


def test_bad_input_exits_2_with_one_line_per_problem_before_ray_starts(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], run_python: Run
) -> None:
    path = write_yaml({**tiny, "epochs": 0, "modle": "mlp"})
    started = time.monotonic()
    done = run_python("tune_main.py", path, "--set", "batch_size=x")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{path}:") and "epochs: is 0" in line for line in lines)
    assert any("modle: unknown key; did you mean model?" in line for line in lines)
    assert any(line.startswith("--set: batch_size: is 'x'") for line in lines)
    assert time.monotonic() - started < 5


def test_resources_that_the_machine_does_not_have_are_bad_input(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], run_python: Run, tmp_path: Path
) -> None:
    more = ["--storage", tmp_path, "--set", "sweep.resources.cpu=999"]
    done = run_python("tune_main.py", write_yaml(tiny), *more)
    assert done.returncode == 2
    assert "sweep.resources.cpu is 999, but this machine has" in done.stderr


def test_data_that_is_not_there_is_said_once_in_one_line_and_exits_2(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    path = write_yaml({**tiny, "dataset": "imagefolder", "data_dir": str(tmp_path / "nothing")})
    done = run_python("tune_main.py", path, "--storage", tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "--set dataset=digits" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["no_such.yaml"]])
def test_questions_are_answered_without_torch_ray_or_optuna(run_python: Run, arguments: list[str]) -> None:
    check = (
        "import sys, runpy\n"
        "sys.argv = ['tune_main.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('tune_main.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'ray', 'optuna', 'numpy', 'fsspec'} & set(sys.modules)))\n"
    )
    done = run_python("-c", check, *arguments)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_dry_run_prints_the_plan_and_starts_nothing(run_python: Run, tmp_path: Path) -> None:
    done = run_python("tune_main.py", "sweeps/dz_wd.yaml", "--dry-run", "--storage", tmp_path / "results")
    assert done.returncode == 0
    *planned, disk = done.stdout.splitlines()
    assert planned == plan(Template.load(ROOT / "sweeps" / "dz_wd.yaml")).splitlines()
    assert re.fullmatch(r"  disk: at most [\d.]+ MB, [\d,.]+ [GM]B free; a checkpoint has 255 kB", disk)
    assert not (tmp_path / "results").exists()


def test_a_probe_forecasts_the_time_without_ray(run_python: Run, tmp_path: Path) -> None:
    check = (
        "import sys, runpy\n"
        "sys.argv = ['tune_main.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('tune_main.py', run_name='__main__')\n"
        "except SystemExit as exit: print(exit.code, 'ray' in sys.modules)\n"
    )
    arguments = ["sweeps/learning_rates.yaml", "--dry-run", "--probe", "--storage", tmp_path / "results"]
    done = run_python("-c", check, *arguments, "--set", "sweep.trials=4")
    *_, epoch, at_once, seconds, code = done.stdout.splitlines()
    assert re.fullmatch(r"  an epoch of mlp_deadzone8b, batch 32: [\d.]+ s", epoch), done.stderr
    assert re.fullmatch(r"  at once: \d", at_once)
    assert re.fullmatch(r"  time: about \d+ s expected \(\d+ s to \d+ s\), at most \d+ s", seconds)
    assert code == "0 False"
    assert not (tmp_path / "results").exists()


def test_a_probe_of_what_cannot_be_trained_here_is_bad_input(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, run_python: Run
) -> None:
    path = write_yaml({**tiny, "dataset": "imagefolder", "data_dir": str(tmp_path / "nothing")})
    done = run_python("tune_main.py", path, "--probe")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "imagefolder cannot read" in done.stderr


def test_results_go_to_a_url_as_to_a_folder_even_if_nobody_reads_the_output(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    tiny["epochs"] = 2
    write_yaml({**tiny, "sweep": {"name": "far"}})
    command = [sys.executable, str(ROOT / "tune_main.py"), "config.yaml", "--storage", f"file://{tmp_path}/bucket"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(120), errors) == (0, "")
    far = tmp_path / "bucket" / "far"
    assert {path.name for path in far.iterdir()} == {
        "template.yaml", "trials", "trials.csv", "pareto.csv", "best.yaml", "study.db", "summary.json", "report.html",
        "runs.json", "driver",
    }  # fmt: skip
    assert json.loads((far / "trials" / "0000" / "trial.json").read_text())["status"] == "finished"
    assert len((far / "trials" / "0000" / "metrics.jsonl").read_text().splitlines()) == 2
    local = tmp_path / "results" / "file" / far.relative_to("/")
    assert list(local.glob("trials/0000/events.*"))
