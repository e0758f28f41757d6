"""Sweeps as a user starts them, watched by what they leave on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import TrialState

from tests.conftest import ROOT


def start(arguments: list[object], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "tune_main.py", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, "WANDB_MODE": "offline", **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str]:
    """Wait for the command -> its exit code and what it printed. seconds: a busy machine starts a sweep in a minute."""
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def count_rows(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("trials/*/metrics.jsonl"))


def wait_until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def worker_pids(driver: int, kind: str) -> list[int]:
    """The processes below `driver` that are actors of class `kind`, or hold it in their command."""
    listed = subprocess.run(["ps", "-ewwo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    processes = [line.split(None, 2) for line in listed.splitlines()[1:]]
    below = {driver}
    for _ in processes:  # at most as many generations as there are processes
        grown = below | {int(pid) for pid, parent, _ in processes if int(parent) in below}
        if grown == below:
            break
        below = grown
    return [int(pid) for pid, _, args in processes if int(pid) in below and kind in args]


def states(folder: Path) -> list[TrialState]:
    study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder}/study.db")
    return [trial.state for trial in study.trials]
