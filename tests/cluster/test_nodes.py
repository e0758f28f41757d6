"""A sweep on several nodes: a storage that one of them cannot use, a GPU that nobody has, all GPUs in use."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.nodes import Nodes, missing

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@dataclass(frozen=True)
class Storage:
    """url: for --storage. driver: what the driver's environment has. node: that of nodes that can use it. hide: shell
    commands that take it from a node. refusal: what is said of a node that cannot use it.
    """

    url: str
    refusal: str
    driver: dict[str, str] = field(default_factory=dict)
    node: dict[str, str] = field(default_factory=dict)
    hide: str = ""


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    (tmp_path / "storage").mkdir()
    refusal = f"does not find in {tmp_path}/storage/s what the driver wrote there (No such file or directory); name a"
    return Storage(str(tmp_path / "storage"), refusal, hide=f"mount -t tmpfs none {tmp_path}/storage")


@pytest.fixture
def bucket(nodes: Nodes) -> Storage:
    refusal = "cannot read s3://bucket/sweeps/s: Unable to locate credentials"
    return Storage("s3://bucket/sweeps", refusal, {**KEYS, "AWS_ENDPOINT_URL": nodes.s3_server()}, KEYS)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    started = Nodes(tmp_path / "nodes")
    yield started
    started.end()


@pytest.fixture
def sweep(tiny: dict[str, Any], tmp_path: Path, nodes: Nodes) -> Callable[..., list[object]]:
    """The command of a sweep of two trials on the cluster."""
    tiny["seed"] = {"distribution": "choice", "choices": [0, 1]}
    tiny["sweep"] = {"name": "s", "search": {"sampler": "grid"}, "scheduler": {"name": "none"}, "max_failures": 1}

    def command(*arguments: object, **keys: object) -> list[object]:
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**tiny, **keys}))
        return ["tune_main.py", tmp_path / "sweep.yaml", "--address", nodes.address, *arguments]

    return command


class Driver:
    """A sweep's process, whose output can be read while it runs."""

    def __init__(self, nodes: Nodes, command: list[object], **environment: str) -> None:
        self.process = nodes.python(*command, **environment)
        assert self.process.stdout is not None
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline and self.process.poll() is None, "".join(self.lines)
            time.sleep(0.2)

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        deadline = time.monotonic() + 90
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "".join(self.lines[-100:])
            time.sleep(0.1)
        self._reader.join(10)
        return int(self.process.returncode)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_node_that_cannot_use_the_storage_is_named_before_the_sweep_or_ends_it(
    kind: str, request: pytest.FixtureRequest, nodes: Nodes, sweep: Callable[..., list[object]]
) -> None:
    storage: Storage = request.getfixturevalue(kind)
    nodes.add("good", "--num-cpus=1", **storage.node)
    nodes.wait(2)
    command = sweep("--storage", storage.url, epochs=100_000)
    driver = Driver(nodes, [*command, "--verbose"], **storage.driver)
    driver.wait_until(lambda: any("trial 0000" in line for line in driver.lines))
    bad = nodes.add("bad", "--num-cpus=1", before=storage.hide)
    assert driver.end() == 4
    told = [line for line in driver.lines if storage.refusal in line]
    assert told and all("node bad " in line for line in told), driver.lines
    code, output = nodes.run(*command, "--resume", "--quiet", **storage.driver)
    assert code == 2 and output.startswith(f"node bad {storage.refusal}") and output.count("\n") == 1, output
    bad.terminate()
    bad.wait(30)
    driver = Driver(nodes, [*command, "--resume", "--verbose"], **storage.driver)
    driver.wait_until(lambda: any("trial 0000" in line for line in driver.lines))
    driver.process.send_signal(signal.SIGTERM)
    assert driver.end() == 143
    assert not [line for line in driver.lines if "Traceback" in line]


def test_a_gpu_that_nobody_has_is_said_and_trials_wait_for_it(
    nodes: Nodes, sweep: Callable[..., list[object]], folder: Storage
) -> None:
    nodes.add("plain", "--num-cpus=2")
    nodes.wait(2)
    driver = Driver(nodes, [*sweep("--storage", folder.url, "--trials", 1, device="cuda"), "--verbose"])
    line = "no node has what a trial needs, 1 CPU and 1 GPU: node head (10.77.1.1) has 0 CPU and 0 GPU, node plain"
    driver.wait_until(lambda: any(line in said for said in driver.lines))
    nodes.add("with-gpu", "--num-cpus=1", "--num-gpus=1")
    assert driver.end() == 3, "the trial has begun there, where PyTorch finds no GPU"
    (record,) = [json.loads(path.read_text()) for path in Path(folder.url).glob("s/trials/0000/trial.json")]
    assert record["status"] == "failed" and "CUDA" in record["reason"]


SPREAD = """
import sys, time
from pathlib import Path
from codeq.config import Template
from codeq.execution.confirm import ListSearcher
from codeq.execution.session import RunOptions, Session

template, address, gpu, folder, count = sys.argv[1:]
session = Session(Template.load(template, ["device=auto", f"sweep.resources.gpu={gpu}"]), RunOptions(address))
session.start()
import ray
from ray import tune
from codeq.execution.schedulers import NoStopping

class Where(tune.Trainable):
    def step(self):
        Path(self.config["folder"]).touch()
        while len(list(Path(folder).iterdir())) < int(count):
            time.sleep(0.1)
        return {"node": ray.get_runtime_context().get_node_id(), "gpu": ray.get_gpu_ids()[0], "done": True}

class Print(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print("trial on", result["node"], result["gpu"], flush=True)

session.tune(
    Where, {"cpu": 0.5, "gpu": session.gpus}, trials=int(count), scheduler=NoStopping(), callbacks=[Print()],
    searcher=ListSearcher({"folder": f"{folder}/{number}"} for number in range(int(count))),
)
session.end()
"""
"""Tunes trials that end only when all of them have begun, and prints on which node and GPU each has run."""


@pytest.mark.parametrize(("gpu", "count"), [(1, 4), (0.5, 8)])
def test_trials_spread_over_all_gpus_of_all_nodes_at_once(
    gpu: float, count: int, nodes: Nodes, sweep: Callable[..., list[object]], folder: Storage
) -> None:
    for name in ("a", "b"):
        nodes.add(name, "--num-cpus=4", "--num-gpus=2")
    nodes.wait(3)
    code, output = nodes.run("-c", SPREAD, sweep()[1], nodes.address, gpu, folder.url, count)
    assert code == 0, output
    places = [line for line in output.splitlines() if line.startswith("trial on ")]
    assert len(places) == count and len(set(places)) == 4
    assert {places.count(place) for place in places} == {count // 4}
