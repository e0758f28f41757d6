"""What the nodes of a joined cluster need for a sweep: the same storage as the driver, and room for a trial."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from upath import UPath

from codeq.config.errors import BadInput
from codeq.config.text import one_line
from codeq.execution.capacity import slots_for_trials, trials_that_fit
from codeq.storage.atomic_files import write_atomically
from codeq.storage.credentials import describe_error
from codeq.storage.driver_lock import SweepOutOfReach, SweepTakenOver, check_token

log = logging.getLogger(__name__)

ANSWER_S = 120.0
"""Seconds that a node has to try the storage; its first process starts within them."""
WAIT_S = 30.0
"""Seconds after which it is said that no node has room for a trial."""


def check_storage_on_nodes(folder: UPath, token: str, cpu: float, gpu: float) -> None:
    """Raise BadInput, with a line for each node on which trials could run that cannot write the sweep's folder, or
    whose folder of that name is another one.

    token: the driver's, which is in the folder. cpu, gpu: of a trial. A node that joins later is checked by its trials.
    """
    nodes = {node["NodeID"]: node for node in _living_nodes() if _slots(node, cpu, gpu)}
    here = {key: NodeAffinitySchedulingStrategy(key, soft=False) for key in nodes}
    attempt = ray.remote(num_cpus=0, max_retries=0)(try_storage)
    tasks = {key: attempt.options(scheduling_strategy=here[key]).remote(str(folder), token, key) for key in nodes}
    deadline = time.monotonic() + ANSWER_S
    answers = {key: _answer(_name(nodes[key]), task, deadline) for key, task in tasks.items()}
    left = {node["NodeID"] for node in _living_nodes()}  # one that is lost meanwhile has no trials
    lines = [answer for key, answer in answers.items() if answer and key in left]
    if lines:
        raise BadInput("\n".join(lines))


def try_storage(folder: str, token: str, node: str) -> str | None:
    """Return why a process here cannot use the sweep's folder as the driver does; None if it can."""
    path = UPath(folder)
    probe = path / f".writable-{node}"
    try:
        check_token(path, token)
        write_atomically(probe, b"")
        with contextlib.suppress(Exception):  # who may write may not be allowed to delete
            probe.unlink()
    except (SweepOutOfReach, SweepTakenOver) as error:
        return one_line(error)
    except Exception as error:  # each file system has its own
        return f"node {socket.gethostname()} cannot write into {path}: {describe_error(path, error)}"
    return None


def _answer(node: str, task: Any, deadline: float) -> str | None:
    try:
        answer: str | None = ray.get(task, timeout=max(0.0, deadline - time.monotonic()))
        return answer
    except GetTimeoutError:
        return f"{node} does not answer within {ANSWER_S:g} s"
    except RayTaskError as error:  # such as a package that is missing there
        return f"{node}: {one_line(error.cause)}"
    except RayError as error:
        return f"{node}: {one_line(error)}"


class WaitNotice(Callback):
    """Says once that no node has had room for a trial for WAIT_S seconds. The trials go on waiting for one, which an
    autoscaler may bring."""

    def __init__(self, cpu: float, gpu: float) -> None:
        """cpu, gpu: what a trial needs."""
        self._cpu, self._gpu = cpu, gpu
        self._since = self._asked_at = time.monotonic()
        self._is_said = False

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look at the nodes every second."""
        now = time.monotonic()
        if self._is_said or now < self._asked_at + 1.0:
            return
        self._asked_at = now
        if trials_that_fit(self._cpu, self._gpu):
            self._since = now
        elif now - self._since >= WAIT_S:
            self._is_said = True
            log.warning("%s", no_room(self._cpu, self._gpu))


def no_room(cpu: float, gpu: float) -> str:
    """A line that says what a trial needs and what each node has."""
    nodes = [f"{_name(node)} has {_resources(node['Resources'])}" for node in _living_nodes()]
    need = _resources({"CPU": cpu, "GPU": gpu})
    advice = "`ray status` shows whether the cluster is scaling up; if not, change sweep.resources"
    return f"no node has what a trial needs, {need}: {', '.join(nodes)}; trials wait for one; {advice}"


def _living_nodes() -> list[dict[str, Any]]:
    """By name: Ray lists them in any order."""
    return sorted((node for node in ray.nodes() if node["Alive"]), key=_name)


def _slots(node: dict[str, Any], cpu: float, gpu: float) -> int:
    return slots_for_trials(cpu, gpu, node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))


def _resources(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(kind, 0.0):g} {kind}" for kind in ("CPU", "GPU"))


def _name(node: dict[str, Any]) -> str:
    name, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return f"node {name}" if name == address else f"node {name} ({address})"
