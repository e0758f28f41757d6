"""`make demo-cluster` and what it leaves behind (`make test-cluster`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import demo
from tests.cluster.hosts import missing
from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "tests.cluster.demo"]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
on_hosts = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def processes_of(folder: Path) -> list[str]:
    """The command lines of the processes, in any namespace, for which something below the folder is mounted."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "mountinfo").read_text():
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended
            continue
    return found


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    ) as started:  # fmt: skip
        yield started
        started.kill()


def check_nothing_is_left(tmp_path: Path) -> None:
    deadline = time.monotonic() + 10
    while left := processes_of(tmp_path):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    assert list(tmp_path.iterdir()) == []


@on_hosts
def test_a_sweep_survives_the_loss_of_a_host_that_joined_on_demand(
    process: subprocess.Popen[str], tmp_path: Path
) -> None:
    output, _ = process.communicate()
    assert process.returncode == 0, output[-5000:]
    assert "node worker does not find in /tmp/sweeps/dz_wd what the driver wrote there" in output
    assert "the worker is lost, with trials" in output
    assert f"{demo.TRIALS} trials of {demo.EPOCHS} epochs are whole" in output
    check_nothing_is_left(tmp_path)


@on_hosts
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_demonstration_that_is_interrupted_leaves_no_host(
    number: signal.Signals, process: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert process.stdout is not None
    next(line for line in process.stdout if "ray up" in line)
    assert processes_of(tmp_path)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as the terminal does
    else:
        process.send_signal(number)
    process.wait(20)
    if number == signal.SIGKILL:  # the folder stays then
        (folder,) = tmp_path.iterdir()
        subprocess.run(["rm", "-r", folder], check=True)
    check_nothing_is_left(tmp_path)
