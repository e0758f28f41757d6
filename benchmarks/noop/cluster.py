"""A Ray cluster of several nodes on this machine, as `ray up` leaves one: a head that runs no trials, and workers.

    python -m benchmarks.noop.cluster --nodes N --cpus N      prints the address; ends when its standard input ends
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.options import ROOT


@contextlib.contextmanager
def simulated_cluster(folder: Path, nodes: int, cpus: int) -> Iterator[str]:
    """The address of a cluster that lasts as long as the `with` block, with Ray's files below `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.noop.cluster", "--nodes", str(nodes), "--cpus", str(cpus)],
        cwd=ROOT, env={**os.environ, "RAY_TMPDIR": str(folder)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:  # closes its standard input, and waits
        yield str(process.stdout and process.stdout.readline()).strip()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noop.cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--cpus", type=int, required=True)
    given = parser.parse_args()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster  # reads the environment

    options = {"include_dashboard": False, "dashboard_host": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
    for _ in range(given.nodes):
        cluster.add_node(num_cpus=given.cpus)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
