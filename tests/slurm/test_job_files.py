"""The files of slurm/ without a Slurm: ShellCheck, their options, how a job ends with Slurm's commands replaced."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

JOBS = sorted((ROOT / "slurm").glob("*.sbatch"))
SCRIPTS = sorted((ROOT / "slurm").iterdir())


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs ShellCheck: make slurm")
def test_shellcheck_finds_nothing() -> None:
    command = ["shellcheck", "--external-sources", *map(str, SCRIPTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_every_job_can_be_requeued_and_is_told_of_its_limit(job: Path) -> None:
    options = re.findall(r"^#SBATCH (\S+)", job.read_text(), re.MULTILINE)
    assert {"--requeue", "--signal=B:USR1@180", "--open-mode=append", "--gpus-per-node=1"} <= set(options)
    assert not any(option.startswith(("--partition", "--account", "--chdir")) for option in options)


def test_the_options_come_before_the_first_command() -> None:
    """Slurm reads none behind it."""
    for job in JOBS:
        lines = job.read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
        assert max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) < first


STUBS = {
    "srun": "shift 3; exec \"$@\"",
    "scontrol": f"""
case "$1" in
    show) echo "   Command={ROOT}/slurm/train.sbatch config.yaml" ;;
    requeue) echo "$2" > requeued; kill -TERM 0 ;;
esac""",
    "python": """
echo "$PWD: $*" >> commands
case "$*" in
    *doctor*) exit "${DOCTOR:-0}" ;;
    *) trap 'touch saved; exit 143' TERM; touch started; for _ in $(seq 300); do sleep 0.1; done ;;
esac""",
}
"""In place of Slurm's commands and of Python: they note with what they were called."""


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts slurm/train.sbatch as Slurm does, from a copy in another folder, with the stubs."""
    binaries, spool = tmp_path / "env" / "bin", tmp_path / "spool"
    binaries.mkdir(parents=True)
    spool.mkdir()
    for name, body in STUBS.items():
        (binaries / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (binaries / name).chmod(0o755)
    shutil.copy(ROOT / "slurm" / "train.sbatch", spool / "slurm_script")
    (tmp_path / "work").mkdir()

    def start(**environment: str) -> subprocess.Popen[str]:
        slurm = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(tmp_path / "work"), "SLURM_JOB_NUM_NODES": "1"}
        python = {"VIRTUAL_ENV": str(tmp_path / "env"), "PATH": f"{binaries}:{os.environ['PATH']}"}
        command, variables = ["bash", str(spool / "slurm_script"), "config.yaml"], {**slurm, **python, **environment}
        return subprocess.Popen(
            command, cwd=spool, env={**os.environ, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    return start


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_ahead_of_its_limit_a_job_saves_and_is_requeued(
    job: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process, work = job(), tmp_path / "work"
    wait_for(work / "started")
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=30)
    assert (work / "saved").exists()
    assert (work / "requeued").read_text() == "7\n"
    assert output == "saved ahead of the time limit; requeued\n"


def test_a_job_that_is_requeued_resumes(job: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process, work = job(SLURM_RESTART_COUNT="1"), tmp_path / "work"
    wait_for(work / "started")
    os.killpg(process.pid, signal.SIGTERM)  # scancel, which reaches every process of the job
    assert process.wait(30) == 143
    assert (work / "commands").read_text().splitlines() == [
        f"{work}: -m codeq.execution.doctor config.yaml --single",
        f"{work}: -m codeq.train config.yaml --resume",
    ]
    assert (work / "saved").exists() and not (work / "requeued").exists()


def test_a_job_whose_node_has_a_problem_starts_nothing(
    job: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = job(DOCTOR="2")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert output == "nothing was started: see the lines above\n"
    assert not (tmp_path / "work" / "started").exists()
