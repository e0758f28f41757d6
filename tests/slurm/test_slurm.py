"""The jobs of slurm/ in a real Slurm: submitted, requeued, preempted, resumed, finished (`make test-slurm`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from codeq.train.nvidia import nvidia_driver
from tests.conftest import ROOT
from tests.faults.test_faults import check_whole, records, rows
from tests.slurm.cluster import Slurm, missing, slurm_cluster
from tests.whole_command import count_rows, wait_until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

NO_GPU = "--gpus-per-node=0"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def work(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    """Another folder than that of the code, from which jobs are submitted, with sweep.yaml and config.yaml."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({**tiny, "epochs": 100_000}))
    tiny["epochs"] = 30
    tiny["optimizer"]["param_groups"]["dz"]["weight_decay"] = {"distribution": "uniform", "low": 1, "high": 5}
    tiny["sweep"] = {"name": "s", "trials": 4, "scheduler": {"name": "asha", "grace_epochs": 10}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(tiny))
    return folder


def has_restarted(times: int) -> Callable[[dict[str, str]], bool]:
    return lambda job: job["Restarts"] == str(times) and job["JobState"] == "RUNNING"


def test_a_sweep_is_saved_requeued_preempted_and_finished(slurm: Slurm, work: Path) -> None:
    job = slurm.submit(work, "--nodes=1", NO_GPU, "--cpus-per-task=2", ROOT / "slurm/sweep.sbatch", "sweep.yaml")
    output, sweep = work / f"slurm-codeq-sweep-{job}.out", work / "results" / "s"
    wait_until(lambda: count_rows(sweep) >= 4)
    slurm.run("scancel", "--batch", "--signal=USR1", job)  # what Slurm does ahead of the time limit
    slurm.wait(job, has_restarted(1), output)
    text, saved = output.read_text(), count_rows(sweep)
    assert "saved ahead of the time limit; requeued" in text
    for check in ("python", "packages", "file", "driver", "card", "storage", "data"):
        assert f": {check}: ok: " in text
    ended = {number: record for number, record in records(sweep).items() if record["status"] == "finished"}
    wait_until(lambda: count_rows(sweep) >= saved + 4)
    slurm.run("scontrol", "requeue", job)  # what a preemption does
    slurm.wait(job, has_restarted(2), output)
    slurm.wait_for_end(job, output)
    check_whole(sweep)
    assert all(records(sweep)[number]["duration_s"] == record["duration_s"] for number, record in ended.items())
    assert len(json.loads((sweep / "runs.json").read_text())) == 3
    assert "Traceback" not in output.read_text()


def test_two_nodes_form_one_ray(slurm: Slurm, work: Path) -> None:
    arguments = ("--nodes=2", NO_GPU, "--cpus-per-task=1", ROOT / "slurm/sweep.sbatch", "sweep.yaml")
    job = slurm.submit(work, *arguments, "--trials", 2, "--set", "epochs=400", "--set", "sweep.scheduler.name=none")
    output, sweep = work / f"slurm-codeq-sweep-{job}.out", work / "results" / "s"

    def are_both_running() -> bool:
        """Each node has one core, so that two trials at a time are on two nodes."""
        found = [len(of_trial) for of_trial in rows(sweep).values()]
        return len(found) == 2 and min(found) >= 2 and max(found) < 400

    slurm.wait(job, lambda _: are_both_running(), output)
    slurm.run("scancel", job)
    slurm.wait(job, lambda job: job["JobState"] == "CANCELLED", output)
    assert (work / f"slurm-codeq-sweep-{job}-ray.out").read_text().count("Ray runtime started") == 2


def test_a_training_is_saved_ahead_of_its_time_limit_and_goes_on(slurm: Slurm, work: Path) -> None:
    limit = ("--time=1", "--signal=B:USR1@45")
    job = slurm.submit(work, NO_GPU, "--cpus-per-task=1", *limit, ROOT / "slurm/train.sbatch", "config.yaml")
    output = work / f"slurm-codeq-train-{job}.out"
    slurm.wait(job, lambda job: job["Restarts"] == "1", output)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    assert "saved ahead of the time limit; requeued" in output.read_text()
    slurm.wait(job, lambda _: "resumed save_temp/checkpoint_" in output.read_text(), output)
    slurm.run("scancel", job)
    slurm.wait(job, lambda job: job["JobState"] == "CANCELLED", output)
    wait_until(lambda: output.read_text().count("interrupted; --resume goes on") == 2, 30)


def test_the_tasks_of_an_array_train_one_sweep(slurm: Slurm, work: Path) -> None:
    study = f"sqlite:///{work}/study.db"
    arguments = (ROOT / "slurm/array.sbatch", "sweep.yaml", "--set", f"sweep.study={study}")
    job = slurm.submit(work, "--array=0-1", NO_GPU, "--cpus-per-task=2", *arguments)
    for task in (0, 1):
        slurm.wait_for_end(f"{job}_{task}", work / f"slurm-codeq-array-{job}_{task}.out")
    stored = optuna.load_study(study_name="s", storage=study).trials
    assert len(stored) == 4
    assert all(trial.state.is_finished() for trial in stored)
    folders = [set(records(work / "results" / str(task) / "s")) for task in (0, 1)]
    assert folders[0] | folders[1] == {"0000", "0001", "0002", "0003"} and not folders[0] & folders[1]


def test_an_array_without_a_common_study_does_not_start(slurm: Slurm, work: Path) -> None:
    job = slurm.submit(work, "--array=0", NO_GPU, "--cpus-per-task=1", ROOT / "slurm/array.sbatch", "sweep.yaml")
    output = work / f"slurm-codeq-array-{job}_0.out"
    wait_until(lambda: slurm.job(job)["JobState"] == "FAILED", 60)
    assert slurm.job(job)["ExitCode"] == "2:0"
    assert "sweep.study: is null, so that each driver would train all trials" in output.read_text()


@pytest.mark.skipif(nvidia_driver() is not None, reason="this machine has a GPU")
def test_a_job_that_asks_for_a_gpu_and_finds_none_does_not_start(slurm: Slurm, work: Path) -> None:
    arguments = (ROOT / "slurm/sweep.sbatch", "sweep.yaml", "--device", "auto")
    job = slurm.submit(work, "--nodes=2", "--cpus-per-task=1", *arguments)
    output = work / f"slurm-codeq-sweep-{job}.out"
    wait_until(lambda: slurm.job(job)["JobState"] == "FAILED", 60)
    assert slurm.job(job)["ExitCode"] == "2:0"
    reason = "driver: the Slurm job (SLURM_GPUS_ON_NODE=1) asks for a GPU, but PyTorch sees no CUDA device"
    assert output.read_text().count(reason) == 2, "once for each node"
    assert not (work / "results").exists()


def test_a_copy_of_a_job_without_the_code_says_what_it_needs(slurm: Slurm, work: Path) -> None:
    shutil.copy(ROOT / "slurm" / "train.sbatch", work)
    job = slurm.submit(work, NO_GPU, "--cpus-per-task=1", "train.sbatch", "config.yaml")
    wait_until(lambda: slurm.job(job)["JobState"] == "FAILED", 60)
    (line,) = (work / f"slurm-codeq-train-{job}.out").read_text().splitlines()
    assert line.endswith("CODEQ_TUNE=FOLDER sbatch ... names the folder with tune_main.py")
