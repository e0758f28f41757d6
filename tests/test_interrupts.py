"""Sweeps that are interrupted, or lose a trial's process: how they end, and that they go on where they were."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codeq.config.metrics import REPORTED
from tests.conftest import ROOT
from tests.terminals import InTerminal, is_cursor_shown
from tests.wandb_runs import wandb_runs
from tests.whole_command import count_rows, end, start, states, wait_until, worker_pids

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def long_sweep(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> list[object]:
    """Arguments of a sweep of three trials of 30 epochs that nobody stops early."""
    tiny["epochs"] = 30
    tiny["optimizer"]["param_groups"]["dz"]["weight_decay"] = {"distribution": "uniform", "low": 1, "high": 5}
    tiny["sweep"] = {"name": "long", "trials": 3, "scheduler": {"name": "none"}}
    return [write_yaml(tiny), "--storage", tmp_path]


def test_an_interrupted_sweep_goes_on_where_it_was(long_sweep: list[object], tmp_path: Path) -> None:
    folder = tmp_path / "long"
    long_sweep += ["--set", "wandb_project=project"]
    process = start(long_sweep)
    wait_until(lambda: count_rows(folder) >= 10)
    process.terminate()
    code, output = end(process, 60)
    assert code == 143, output
    assert "--resume goes on" in output
    with (folder / "trials.csv").open() as file:
        assert {row["status"] for row in csv.DictReader(file)} <= {"stopped", "finished"}
    assert TrialState.RUNNING not in states(folder)
    check_that_it_goes_on(start([*long_sweep, "--resume"]), folder)
    steps: dict[str, list[int]] = {}
    for run in wandb_runs(folder / "wandb"):
        if run.run.job_type != "report":
            steps.setdefault(run.id, []).extend(run.steps)
    assert list(steps.values()) == [list(range(1, 31))] * 3


def test_ctrl_c_on_a_terminal_ends_the_view_and_prints_the_command_that_goes_on(
    long_sweep: list[object]
) -> None:
    terminal = InTerminal([sys.executable, "tune_main.py", *long_sweep], columns=300)
    wait_until(lambda: "0 of 3 trials" in terminal.shown and re.search(r"\d/30", terminal.shown) is not None)
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.wait() == 130, terminal.shown
    assert terminal.first_after_s is not None and terminal.first_after_s < 3  # one second on an idle machine
    assert re.search(r"opening the sweep long.*starting Ray.*waiting for the first epoch", terminal.shown, re.DOTALL)
    assert "Traceback" not in terminal.shown and is_cursor_shown(terminal.shown)
    *lines, command = re.sub(r"\x1b\[[0-9;?]*\w", "", terminal.shown).strip().splitlines()
    assert any(re.match(r"(The )?Pareto front", line) for line in lines)
    assert shlex.split(command) == ["python", "tune_main.py", *map(str, long_sweep), "--resume"]


def check_that_it_goes_on(resumed: subprocess.Popen[str], folder: Path) -> None:
    """The sweep was interrupted; then it trains every epoch that is left, once."""
    assert count_rows(folder) < 90
    code, output = end(resumed)
    assert code == 0, output
    assert re.search(r"^trials that have ended: \d, to (finish|begin): \d", output, re.MULTILINE), output
    for trial in sorted(folder.glob("trials/*/metrics.jsonl")):
        epochs = [json.loads(line)["epoch"] for line in trial.read_text().splitlines()]
        assert epochs == list(range(1, 31)), trial
        events = EventAccumulator(str(trial.parent)).Reload()
        assert all([event.step for event in events.Scalars(name)] == epochs for name in REPORTED)
    assert len(list(folder.glob("trials/*"))) == 3
    assert states(folder) == [TrialState.COMPLETE] * 3


def test_sigterm_while_ray_starts_ends_the_sweep_with_143(long_sweep: list[object], tmp_path: Path) -> None:
    process = start(long_sweep)
    wait_until(lambda: (tmp_path / "long" / "template.yaml").exists())
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    code, output = end(process, 60)
    assert code == 143, output
    assert "--resume goes on" in output


def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(long_sweep: list[object], tmp_path: Path) -> None:
    process = start(long_sweep)
    wait_until(lambda: count_rows(tmp_path / "long") >= 10)
    workers = worker_pids(process.pid, "SweepTrial")
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    code, output = end(process)
    assert code == 0, output
    assert re.search(r"^trial 000\d: its process has died, it goes on from its checkpoint$", output, re.MULTILINE)
    assert not re.search(r"\bray|\w+\.(cc|py):\d+", output, re.IGNORECASE), output
    with (tmp_path / "long" / "trials.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished"] * 3
    for trial in sorted((tmp_path / "long").glob("trials/*/metrics.jsonl")):
        assert [json.loads(line)["epoch"] for line in trial.read_text().splitlines()] == list(range(1, 31))


def test_a_trial_whose_process_dies_too_often_is_failed_and_the_sweep_goes_on(
    long_sweep: list[object], tmp_path: Path
) -> None:
    process = start([*long_sweep, "--set", "sweep.max_failures=0"])
    wait_until(lambda: count_rows(tmp_path / "long") >= 6)
    os.kill(worker_pids(process.pid, "SweepTrial")[0], signal.SIGKILL)
    code, output = end(process)
    assert code == 0, output
    with (tmp_path / "long" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["status"] for row in rows) == ["failed", "finished", "finished"]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert "actor died" in failed["reason"]
    assert (tmp_path / "long" / "trials" / f"{int(failed['trial']):04d}" / "error.txt").is_file()


def test_sigterm_is_heard_while_a_study_does_not_answer(
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    driver = "import socket; connect = lambda host, port, **more: socket.create_connection((host, port)).recv(1)\n"
    (tmp_path / "pymysql.py").write_text(driver + "paramstyle, __version__, Error = 'format', '1.1.0', Exception\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mysql+pymysql://me@127.0.0.1:{server.getsockname()[1]}/db"
        options = ["--storage", tmp_path, "--set", f"sweep.study={url}"]
        command = [sys.executable, "tune_main.py", write_yaml(tiny), *options]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        server.settimeout(60)
        connection, _ = server.accept()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=8)  # less than it waits for the answer
        connection.close()
    assert process.returncode == 143, errors


def test_a_time_budget_ends_a_sweep_well_and_says_so(long_sweep: list[object], tmp_path: Path, run_python: Run) -> None:
    more = ["--set", "epochs=100000", "--set", "sweep.time_budget=6s"]
    done = run_python("tune_main.py", *long_sweep, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The time budget of 6s is over: " in done.stdout and " not finished; --resume goes on" in done.stdout
    with (tmp_path / "long" / "trials.csv").open() as file:
        assert {(row["status"], row["reason"]) for row in csv.DictReader(file)} == {
            ("stopped", "time budget of 6s; --resume goes on")
        }
    assert set(states(tmp_path / "long")) == {TrialState.WAITING}
