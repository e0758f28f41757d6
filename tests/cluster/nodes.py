"""A Ray cluster whose nodes are processes of this machine, in a network of their own; each has its own host name and
address, and an environment and folders as a test wants them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

RAY = Path(sys.executable).parent / "ray"
NETWORK = "10.77.1"
HEAD = f"{NETWORK}.1"
# The default route lets Ray find this machine's address: it takes that from which packets to the internet would come.
NEW = f"""
ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up
for number in 1 2 3 4; do ip address add {NETWORK}.$number/24 dev eth0; done; ip route add default via {NETWORK}.254
echo is there; exec sleep infinity
"""
"""Makes a network with the addresses of four nodes, which lasts as long as this process."""
NAMED = ["unshare", "--uts", "--mount", "bash", "-euc", 'hostname "$0"; eval "$BEFORE"; exec "$@"']
"""Runs a command under a host name, after the shell commands in BEFORE, whose mounts it has for itself."""
OPTIONS = ["--block", "--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0"]
OPTIONS += ["--dashboard-agent-listen-port=0"]


def missing() -> str | None:
    """Why this machine can have no such nodes; None if it can."""
    if shutil.which("ip") is None:
        return "needs iproute2 (Debian: apt-get install iproute2)"
    tried = subprocess.run(["unshare", "--net", "--uts", "--mount", "true"], capture_output=True)
    return None if tried.returncode == 0 else "needs root, which may make namespaces"


class Nodes:
    """The nodes of one cluster. address: of its head. environment: of who has its token."""

    address = f"{HEAD}:6379"

    def __init__(self, folder: Path) -> None:
        """Start the head, on which no trial runs. folder: empty; holds a home with the token."""
        home = folder / "home"
        (home / ".ray").mkdir(parents=True)
        (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
        (home / ".ray" / "auth_token").chmod(0o600)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WANDB_"))}
        own = {"HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        self.environment = {**clean, **own, "AWS_EC2_METADATA_DISABLED": "true", "NETRC": os.devnull}
        network = subprocess.Popen(["unshare", "--net", "bash", "-euc", NEW], stdout=subprocess.PIPE)
        assert network.stdout is not None and network.stdout.readline(), "no network"
        self._enter = ["nsenter", f"--target={network.pid}", "--net"]
        self._processes: list[subprocess.Popen[Any]] = [network]
        self._count = 0
        self.log = folder / "nodes.log"
        self._node("head", "", {}, "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")

    def add(self, name: str, *options: str, before: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """Start a node of this name with options of `ray start`; before: shell commands, such as mounts."""
        return self._node(name, before, environment, f"--address={self.address}", *options)

    def _node(self, name: str, before: str, environment: dict[str, str], *options: str) -> subprocess.Popen[bytes]:
        self._count += 1
        address = f"--node-ip-address={NETWORK}.{self._count}"
        return self.start([*NAMED, name, RAY, "start", address, *options, *OPTIONS], BEFORE=before, **environment)

    def start(self, command: Sequence[object], **environment: str) -> subprocess.Popen[bytes]:
        """Start a command in the network, until the end of the cluster; its output goes to `log`."""
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [*self._enter, *map(str, command)], env={**self.environment, **environment}, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def python(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """Start Python on arguments as who has the token, with pipes for its output."""
        process = subprocess.Popen(
            [*self._enter, sys.executable, *map(str, arguments)], cwd=ROOT, env={**self.environment, **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def run(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """The exit code and the output of Python on arguments."""
        with self.python(*arguments, **environment) as process:
            output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def wait(self, count: int) -> None:
        """Return once so many nodes are there, the head among them."""
        deadline = time.monotonic() + 30
        while (done := self.run("-m", "codeq.execution.cluster", "wait", self.address, count))[0]:
            assert time.monotonic() < deadline, done[1] + self.log.read_text()

    def s3_server(self) -> str:
        """Start an S3 server with a bucket named `bucket`, which asks for credentials, whichever they are."""
        url = f"http://{HEAD}:5000"
        self.start([sys.executable, "-m", "moto.server", "-H", HEAD, "-p", 5000])
        deadline = time.monotonic() + 30
        while (done := self.run("-c", MAKE_BUCKET, url))[0]:
            assert time.monotonic() < deadline, done[1]
        return url

    def end(self) -> None:
        """End all processes, the head and the network last."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


MAKE_BUCKET = """
import sys, boto3
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=sys.argv[1], **keys).create_bucket(Bucket="bucket")
"""
