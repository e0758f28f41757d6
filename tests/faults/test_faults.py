"""The whole command while the machine fails: kills, a full disk, damage, a locked study (`make test-faults`)."""

from __future__ import annotations

import contextlib
import copy
import csv
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

import tune_main
from tests.conftest import TINY
from tests.train.test_tracking import KEY, Graphql
from tests.whole_command import count_rows, end, start, wait_until, worker_pids

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]  # a busy machine starts a sweep in a minute

TRIALS, EPOCHS = 4, 30


@pytest.fixture
def sweep(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., list[object]]:
    """Returns the arguments of a sweep of four trials of 30 epochs; `changes` go into its section `sweep`."""

    def arguments(storage: Path = tmp_path, **changes: Any) -> list[object]:
        tiny["epochs"] = EPOCHS
        tiny["optimizer"]["param_groups"]["dz"]["weight_decay"] = {"distribution": "uniform", "low": 1, "high": 5}
        settings = {"name": "s", "trials": TRIALS, "scheduler": {"name": "asha", "grace_epochs": 10}, **changes}
        return [write_yaml({**tiny, "sweep": settings}), "--storage", storage]

    return arguments


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The whole rows of every trial, by its number."""
    found = {}
    for path in sorted(folder.glob("trials/*/metrics.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]
        found[path.parent.name] = [json.loads(line) for line in lines]
    return found


def confirmed_rows(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of the one run with a fresh seed."""
    lines = [line for path in folder.glob("confirm/*/metrics.jsonl") for line in path.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in lines]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = {path.parent.name: path.read_bytes() for path in folder.glob("trials/*/trial.json")}
    return {number: json.loads(content) for number, content in found.items()}


def check_whole(folder: Path, trials: int = TRIALS) -> None:
    """Every trial has ended, with rows without a gap, under numbers without a gap, and the study agrees."""
    ended = records(folder)
    assert sorted(ended) == [f"{number:04d}" for number in range(trials)]
    assert {record["status"] for record in ended.values()} <= {"finished", "stopped"}
    for number, of_trial in rows(folder).items():
        assert [row["epoch"] for row in of_trial] == list(range(1, len(of_trial) + 1)), number
        if ended[number]["status"] == "finished":
            assert len(of_trial) == EPOCHS
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/study.db")
    expected = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    told = [trial.state for trial in study.trials]
    assert told == [expected[ended[f"{number:04d}"]["status"]] for number in range(trials)]
    with (folder / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == trials
    assert (folder / "best.yaml").exists()


def check_that_it_goes_on(arguments: list[object], folder: Path) -> str:
    """Resume the sweep, which then is whole; returns what was printed."""
    code, output = end(start([*arguments, "--resume"]))
    assert code == 0, output
    check_whole(folder)
    return output


def test_a_driver_that_is_killed_five_times_loses_nothing(
    sweep: Callable[..., list[object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill while Ray starts, two at random moments of the training, one while confirming and one while reporting. A
    second driver is refused meanwhile, and in the end only the checkpoints that are needed are left."""
    arguments, folder, draw = sweep(confirm={"top": 1, "seeds": 1}), tmp_path / "s", random.Random(0)
    before = 0

    def has_trained() -> bool:
        return count_rows(folder) >= before + draw_rows

    moments: list[Callable[[], bool]] = [
        has_trained,
        lambda: bool(worker_pids(process.pid, "gcs_server")),  # Ray's first process
        has_trained,
        lambda: len(confirmed_rows(folder)) >= draw_rows,
        lambda: (folder / "confirm.csv").exists(),
    ]
    seen: dict[str, dict[int, float]] = {}  # the losses that were read of each trial, by epoch
    repeated = dict[str, int]()
    finished = dict[str, dict[str, Any]]()
    for attempt, moment in enumerate([*moments, None]):
        before, draw_rows = count_rows(folder), draw.randint(3, 14)
        process = start([*arguments, "--resume"] if attempt else arguments)
        if attempt == 0:
            wait_until(lambda: (folder / "driver").exists())
            assert tune_main.main([*map(str, arguments), "--resume"]) == 2
            assert f"process {process.pid} on " in capsys.readouterr().err
        if moment is not None:
            wait_until(lambda: moment() or process.poll() is not None)  # noqa: B023
            process.kill()
        code, output = end(process)
        assert code == (0 if moment is None else -9), output
        for number, of_trial in [*rows(folder).items(), ("confirmed", confirmed_rows(folder))]:
            known = seen.setdefault(number, {})
            for row in of_trial:
                assert known.setdefault(row["epoch"], row["loss"]) == row["loss"], "an epoch was trained differently"
            if known:
                lost = max(known) - (of_trial[-1]["epoch"] if of_trial else 0)
                repeated[number] = max(repeated.get(number, 0), lost)
        for number, record in records(folder).items():
            kept = {**record, "test_acc": None}  # measured at the end
            if record["status"] in ("finished", "stopped"):
                assert finished.setdefault(number, kept) == kept, "a trial that had ended was changed"
    assert max(repeated.values()) <= 1
    check_whole(folder)
    assert [row["epoch"] for row in confirmed_rows(folder)] == list(range(1, EPOCHS + 1))
    with (folder / "pareto.csv").open() as file:
        front = {f"{int(row['trial']):04d}" for row in csv.DictReader(file)}
    assert {path.parent.name for path in folder.glob("trials/*/checkpoint.th")} == front
    assert not list(folder.glob("trials/*/checkpoint_previous.th"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of some kilobytes, or gives it another size; skips the test where that is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def resize(kilobytes: int) -> Path:
        options = f"{'remount,' if disk.is_mount() else ''}size={kilobytes}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return disk

    yield resize
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # processes of Ray may linger


def test_a_full_disk_ends_the_sweep_with_one_line_and_no_trial_for_good(
    sweep: Callable[..., list[object]], small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk(20_000)
    arguments, folder = sweep(disk, max_failures=0), disk / "s"
    process = start(arguments)
    wait_until(lambda: count_rows(folder) >= 5)
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    code, output = end(process)
    assert code == 4, output
    assert "Traceback" not in output, output
    *_, last = output.strip().splitlines()
    assert re.search(r"(No space left on device|disk is full).*--resume goes on$", last), output
    assert {record["status"] for record in records(folder).values()} <= {"running", "finished", "stopped"}
    ballast.unlink()
    check_that_it_goes_on(arguments, folder)


def test_a_sweep_for_which_there_is_no_room_does_not_start(
    sweep: Callable[..., list[object]], small_disk: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = small_disk(3000)
    assert tune_main.main([str(argument) for argument in sweep(disk)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"too little room for this sweep; disk: at most [\d.]+ MB, [\d.]+ MB free", line)
    assert not records(disk / "s")


def damage(folder: Path) -> list[str]:
    """Damages the files of two unfinished trials and the template; returns what is to be told of each, as patterns."""
    running = [number for number, record in sorted(records(folder).items()) if record["status"] == "running"]
    first, second = (folder / "trials" / number for number in running)
    checkpoint = (first / "checkpoint.th").read_bytes()
    middle = len(checkpoint) // 2
    flipped = checkpoint[:middle] + bytes([checkpoint[middle] ^ 1]) + checkpoint[middle + 1 :]
    (first / "checkpoint.th").write_bytes(flipped)
    lines = (second / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (second / "metrics.jsonl").write_bytes(b"".join([*lines[:1], lines[1][:30] + b"\n", *lines[2:]]))
    (folder / "template.yaml").write_bytes(b"")
    (second / "config.yaml").write_bytes(b"")
    (first / "trial.json").write_bytes(b"\x00" * 10)
    return [
        f"trial {first.name}: .*checkpoint.th.*goes on after epoch",
        f"trial {second.name}: .*row of epoch 2",
        "template.yaml.*copy in the study",
        f"{second.name}/config.yaml",
        f"{first.name}/trial.json.*rebuilt",
    ]


def test_signals_damage_and_a_locked_study_cost_epochs_and_no_trial(
    sweep: Callable[..., list[object]], tmp_path: Path
) -> None:
    """Two signals end the training at once; two unfinished trials are damaged; then another program reads the study for
    long, and a signal comes between the last trial and the report."""
    arguments, folder = sweep(max_concurrent=2), tmp_path / "s"
    process = start(arguments)
    wait_until(lambda: len(rows(folder)) == 2 and all(len(of_trial) >= 4 for of_trial in rows(folder).values()))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    code, output = end(process, 30)
    assert code == 130 and "Traceback" not in output, output

    before = max(len(of_trial) for of_trial in rows(folder).values())
    told = damage(folder)
    process = start([*arguments, "--resume"])
    wait_until(lambda: any(path.read_bytes().count(b"\n") > before for path in folder.glob("trials/*/metrics.jsonl")))
    reader = sqlite3.connect(folder / "study.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM trials").fetchone()
    wait_until(lambda: sum(record["status"] != "running" for record in records(folder).values()) >= 2)
    reader.execute("ROLLBACK")
    reader.close()
    wait_until(lambda: (folder / "trials.csv").exists())
    process.send_signal(signal.SIGTERM)
    code, output = end(process, 30)
    assert code == 143, output
    assert "--resume goes on" in output and "Traceback" not in output and "Exception ignored" not in output, output
    for said in ("the study cannot be used now", *told):
        assert len(re.findall(said, output)) == 1, (said, output)
    check_that_it_goes_on(arguments, folder)


CLUSTER = """\
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = {}
print(cluster.address, flush=True)
for line in sys.stdin:
    action, name = line.split()
    if action == "remove":
        cluster.remove_node(nodes[name], allow_graceful=False)
    else:
        nodes[name] = cluster.add_node(num_cpus=int(action))
    print("done", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A cluster whose head runs no trials: its address, and a function that adds a node (`2 b`: two CPUs, named b) or
    removes one, as when its machine is gone (`remove b`)."""
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text("0123456789abcdef" * 4)
    token.chmod(0o600)
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    for name, value in {**loopback, "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None

    def do(command: str) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{command}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    yield process.stdout.readline().strip(), do
    process.stdin.close()
    process.wait(60)


def test_the_trials_of_a_lost_node_go_on_from_their_checkpoints_on_another(
    sweep: Callable[..., list[object]], cluster: tuple[str, Callable[[str], None]], tmp_path: Path
) -> None:
    address, do = cluster
    arguments, folder = sweep(trials=2, scheduler={"name": "none"}, max_failures=1), tmp_path / "s"
    do("1 a")
    process = start([*arguments, "--set", "epochs=100000", "--address", address])
    wait_until(lambda: count_rows(folder) >= 2)
    do("2 b")  # the second trial has no room elsewhere
    added = time.monotonic()
    wait_until(lambda: {number for number, found in rows(folder).items() if found} == {"0000", "0001"})
    start_s = time.monotonic() - added  # of a process, and its first epoch
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    before, removed = rows(folder), time.monotonic()
    do("remove a")
    wait_until(lambda: any("its process has died" in line for line in lines), 60)
    known = len(rows(folder)["0000"])  # what the node's process wrote until it had noticed
    wait_until(lambda: len(rows(folder)["0000"]) > known, 120)
    took = time.monotonic() - removed
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    reader.join(10)
    output = "".join(lines)
    assert code == 143, output
    assert took < max(30, 2 * start_s), (took, start_s)  # the second on a machine that is busy with other work
    died = re.findall(r"trial (\d+): its process has died, it goes on from its checkpoint", output)
    assert died == ["0000"], output
    after = rows(folder)
    for number, of_trial in after.items():
        assert [row["epoch"] for row in of_trial] == list(range(1, len(of_trial) + 1))
        kept = len(before[number]) - (1 if number == "0000" else 0)
        assert of_trial[:kept] == before[number][:kept], "more than one epoch was repeated"


GREEDY = """\
import torch
from torch import nn

from codeq.plugins import model


class Greedy(nn.Module):
    def __init__(self, classes, error, tried):
        super().__init__()
        self.head = nn.Linear(64, classes)
        self.error, self.tried = error, tried

    def forward(self, x):
        if len(x) > 2:
            with open(self.tried, "a") as file:
                file.write(f"{self.error}\\n")
            raise MemoryError() if self.error == "host" else torch.OutOfMemoryError("CUDA out of memory.")
        return self.head(x.flatten(1))


@model("greedy")
def greedy(*, num_classes: int, error: str, tried: str) -> nn.Module:
    return Greedy(num_classes, error, tried)
"""


@dataclass(frozen=True)
class Ended:
    """A sweep that has ended: its folder, what it printed, the seconds from its report to its end."""

    folder: Path
    code: int
    output: str
    closing_s: float


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A sweep of three trials, two of which run out of memory; W&B's server dies while the third one trains."""

    class Server(Graphql):
        accepted, over = threading.Event(), threading.Event()

    storage = tmp_path_factory.mktemp("troubled")
    (storage / "greedy.py").write_text(GREEDY)
    template = {**copy.deepcopy(TINY), "epochs": EPOCHS, "wandb_project": "project"}
    greedy = [{"name": "greedy", "kwargs": {"error": e, "tried": str(storage / "tried")}} for e in ("gpu", "host")]
    template["model"] = {"distribution": "choice", "choices": ["mlp", *greedy]}
    template["sweep"] = {"name": "s", "search": {"sampler": "grid"}, "scheduler": {"name": "none"}, "max_failures": 3}
    (storage / "sweep.yaml").write_text(yaml.safe_dump(template))
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        online = {"WANDB_MODE": "online", "WANDB_API_KEY": KEY}
        online["WANDB_BASE_URL"] = f"http://127.0.0.1:{server.server_port}"
        process = start([storage / "sweep.yaml", "--plugin", storage / "greedy.py", "--storage", storage], **online)
        assert Server.accepted.wait(120)
        wait_until(lambda: count_rows(storage / "s") >= 5)
        server.shutdown()
        Server.over.set()
    assert process.stdout is not None
    output, reported = "", 0.0
    for line in process.stdout:
        output += line
        reported = time.monotonic() if line.startswith(f"{storage / 's'}: trials.csv") else reported
    code = process.wait(60)
    assert reported, output
    return Ended(storage / "s", code, output, time.monotonic() - reported)


def test_out_of_memory_costs_one_trial_one_attempt_and_no_other_trial(troubled: Ended) -> None:
    assert troubled.code == 0 and "Traceback" not in troubled.output, troubled.output
    with (troubled.folder / "trials.csv").open() as file:
        found = {row["model"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}
    assert found.pop("mlp") == ("finished", "")
    assert len(found) == 2
    for status, reason in found.values():
        assert status == "failed"
        assert reason.startswith("out of memory: a smaller batch_size, or fewer trials at a time")
    assert sorted((troubled.folder.parent / "tried").read_text().split()) == ["gpu", "host"]


def test_a_wandb_server_that_dies_while_trials_train_costs_nothing_but_seconds_at_the_end(troubled: Ended) -> None:
    assert troubled.code == 0 and "W&B" in troubled.output and "Traceback" not in troubled.output, troubled.output
    assert troubled.closing_s < 30, troubled.output
    (trained,) = [of_trial for of_trial in rows(troubled.folder).values() if of_trial]
    assert [row["epoch"] for row in trained] == list(range(1, EPOCHS + 1))


def test_of_two_drivers_of_one_study_one_is_killed_and_the_other_ends_all_trials(
    sweep: Callable[..., list[object]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    try:
        url = request.getfixturevalue("postgresql")()
    except pytest.skip.Exception:
        url = f"sqlite:///{tmp_path}/shared.db"
    command = sweep(study=url, scheduler={"name": "none"})[:1]
    folders = [tmp_path / name / "s" for name in ("a", "b")]
    drivers = {folder: start([*command, "--storage", folder.parent]) for folder in folders}
    wait_until(lambda: any(count_rows(folder) >= 5 for folder in folders))
    folders.sort(key=count_rows, reverse=True)
    drivers[folders[0]].kill()
    end(drivers[folders[0]])
    before = rows(folders[0])
    code, output = end(drivers[folders[1]])
    assert code == 0, output
    study = optuna.load_study(study_name="s", storage=url)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * TRIALS
    assert len({str(trial.params) for trial in study.trials}) == TRIALS
    taken = re.findall(r"trial (\d+): its driver has gone, it goes on here", output)
    assert taken and set(taken) <= set(records(folders[0]))
    ended = {number for number, record in records(folders[0]).items() if record["status"] == "finished"}
    assert ended.isdisjoint(records(folders[1])) and len(ended | set(records(folders[1]))) == TRIALS
    for number, of_trial in rows(folders[1]).items():
        assert [row["epoch"] for row in of_trial] == list(range(1, EPOCHS + 1))
        kept = before.get(number, [])[:-1]
        assert of_trial[: len(kept)] == kept, "more than one epoch was repeated"
