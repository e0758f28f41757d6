"""Joining a running Ray cluster, and what the dashboards show while a sweep runs."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from codeq.config.metrics import METRICS
from codeq.execution.gauges import GAUGES
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with a Ray token of its own that everybody could read."""
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.write_text(TOKEN)
    token.chmod(0o644)
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Of a user whose Ray, wherever it runs on this machine, listens on the loopback interface only."""
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **loopback, "HOME": str(home), "RAY_AUTH_MODE": "token"}


@pytest.fixture
def sweep(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., list[str]]:
    def arguments(epochs: int, *more: str) -> list[str]:
        tiny["epochs"] = epochs
        tiny["seed"] = {"distribution": "choice", "choices": [0, 1]}
        tiny["sweep"] = {"name": "joined", "search": {"sampler": "grid"}, "scheduler": {"name": "none"}}
        return [sys.executable, "tune_main.py", str(write_yaml(tiny)), "--storage", str(tmp_path), *more]

    return arguments


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """The address of a Ray head that runs without us."""
    address = f"127.0.0.1:{free_port()}"
    port = address.partition(":")[2]
    options = ["--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    head = subprocess.Popen(
        [BIN / "ray", "start", *options, "--include-dashboard=false", "--disable-usage-stats"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                break
        time.sleep(0.2)
    yield address
    head.terminate()
    head.wait(30)


def test_a_sweep_joins_a_running_cluster_and_leaves_it_running(
    cluster: str, sweep: Callable[..., list[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    command = sweep(2, "--address", cluster)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "joined" / "trials.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished", "finished"]
    again = subprocess.run(
        [BIN / "ray", "status", "--address", cluster], env=environment, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 0, again.stderr


def fetch(url: str, token: str | None = None) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern} was not printed in:\n{seen}")


def listening_beyond_loopback(port: int) -> list[str]:
    listed = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "127.0.0.1" not in line and "[::1]" not in line]


def test_the_dashboards_show_a_running_sweep_and_end_with_it(
    sweep: Callable[..., list[str]], environment: dict[str, str], home: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        sweep(4000, "--dashboard"), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        ray = read_until(process, r"Ray dashboard: (http://127\.0\.0\.1:(\d+))")
        optuna = read_until(process, r"Optuna dashboard: (http://127\.0\.0\.1:(\d+))/dashboard/studies/1$")
        rows = tmp_path / "joined" / "trials" / "0000" / "metrics.jsonl"
        deadline = time.monotonic() + 90
        while not rows.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(f"{ray[1]}/api/v0/actors")
        assert trial_actors(ray[1]) == {"joined_0000", "joined_0001"}
        assert listening_beyond_loopback(int(ray[2])) == listening_beyond_loopback(int(optuna[2])) == []
        assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600
        assert study_names(int(optuna[2])) == ["joined"]

        exported = gauges(ray[1], time.monotonic() + 60)
        assert {labels for name, labels in exported} == {("joined", "0000"), ("joined", "0001")}
        assert {name for name, labels in exported} == {f"ray_codeq_{name}" for name in GAUGES}
        assert all(0 <= value <= METRICS[name.removeprefix("ray_codeq_")].scale for (name, _), value in exported.items()
                   if not name.endswith("epoch"))  # fmt: skip
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not is_listening(int(ray[2])) and not is_listening(int(optuna[2]))


def trial_actors(address: str) -> set[str]:
    """The names of the trials' actors as Ray's dashboard lists them."""
    listed = fetch(f"{address}/api/v0/actors?detail=true", TOKEN)["data"]["result"]["result"]
    return {actor["repr_name"] for actor in listed if "SweepTrial" in actor["class_name"]}


def gauges(address: str, deadline: float) -> dict[tuple[str, tuple[str, str]], float]:
    """The newest value of each of our gauges by name and labels (sweep, trial), of all trials that run.

    Found as Prometheus finds them, by the dashboard's service discovery.
    """
    found: dict[tuple[str, tuple[str, str]], float] = {}
    while len(found) < 2 * len(GAUGES):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
        targets = [target for job in fetch(f"{address}/api/prometheus/sd", TOKEN) for target in job["targets"]]
        for target in targets:
            try:
                with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
                    families = text_string_to_metric_families(response.read().decode())
            except OSError:  # one of Ray's own that has not started yet
                continue
            samples = [sample for family in families for sample in family.samples if "codeq" in sample.name]
            found |= {(each.name, (each.labels["sweep"], each.labels["trial"])): each.value for each in samples}
    return found


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def study_names(port: int) -> list[str]:
    studies = fetch(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
    return [study["study_name"] for study in studies]


def test_a_local_sweep_listens_on_the_loopback_interface_only(
    sweep: Callable[..., list[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # the command sees to it itself
    before = all_listening()
    process = subprocess.Popen(
        sweep(4000), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        rows = tmp_path / "joined" / "trials" / "0000" / "metrics.jsonl"
        deadline = time.monotonic() + 90
        while not rows.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        new = all_listening() - before
        assert new, "Ray listens somewhere"
        assert {address for address in new if not address.startswith(("127.", "[::1]", "[::ffff:127."))} == set()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def all_listening() -> set[str]:
    """Local address:port of every listening TCP socket of this machine."""
    listed = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    return {line.split()[3] for line in listed.splitlines()}
