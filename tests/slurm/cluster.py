"""A Slurm of two nodes on this machine, from Debian's packages, that belongs to the tests alone."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIG = """\
ClusterName=codeq
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=15
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=bf_interval=1,sched_interval=1
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES State=UP
"""
"""cred_expire: a requeued job starts again after that many seconds. KillWait: seconds from SIGTERM to SIGKILL."""
GPUS = "NodeName=n1 Name=gpu File=/dev/null\nNodeName=n2 Name=gpu File=/dev/zero\n"
"""Slurm gives them to jobs as GPUs, and PyTorch sees none."""


def missing() -> str | None:
    """Why this machine can have no Slurm of its own; None if it can."""
    commands = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    if absent := [name for name in commands if shutil.which(name) is None]:
        return f"needs Slurm ({', '.join(absent)}): make slurm"
    return None if os.geteuid() == 0 else "needs root, as which slurmd runs"


class Slurm:
    """A running Slurm. `environment` makes its commands talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "WANDB_"))}
        # The jobs run in the environment that runs the tests.
        self.environment = {**clean, "SLURM_CONF": str(folder / "slurm.conf"), "VIRTUAL_ENV": sys.prefix}

    def run(self, *command: object, folder: Path | None = None) -> str:
        """The output of one of Slurm's commands, called in `folder`."""
        words, environment = [str(word) for word in command], self.environment
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def submit(self, folder: Path, *arguments: object) -> str:
        """Call sbatch in `folder`; returns the job's number."""
        return self.run("sbatch", "--parsable", *arguments, folder=folder).strip()

    def job(self, number: str) -> dict[str, str]:
        """What `scontrol show job` tells: JobState, Restarts, ExitCode, ..."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "--oneliner", "show", "job", number)))

    def wait(self, number: str, condition: Callable[[dict[str, str]], bool], output: Path) -> None:
        """Wait until the job is as wanted; output: the file of its output, which a failure shows."""
        deadline = time.monotonic() + 150
        while not condition(job := self.job(number)):
            shown = output.read_text() if output.exists() else "no output"
            has_failed = job["JobState"] in ("FAILED", "NODE_FAIL", "TIMEOUT")
            assert time.monotonic() < deadline and not has_failed, f"{job}\n{shown}"
            time.sleep(0.2)

    def wait_for_end(self, number: str, output: Path) -> None:
        self.wait(number, lambda job: job["JobState"] == "COMPLETED", output)


@contextlib.contextmanager
def slurm_cluster(folder: Path) -> Iterator[Slurm]:
    """Start munged, slurmctld and a slurmd for each node, and end them by their process ids."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [taken.getsockname()[1] for taken in sockets]
    (folder / "slurm.conf").write_text(CONFIG.format(host=socket.gethostname(), folder=folder, ports=ports))
    (folder / "gres.conf").write_text(GPUS)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    slurm = Slurm(folder)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{name}" for option, name in files.items()]
    daemons = [["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"]]
    daemons += [["slurmd", "-D", "-N", node] for node in ("n1", "n2")]
    processes = []
    try:
        for number, command in enumerate(daemons):
            log = (folder / f"{number}-{command[0]}.log").open("w")
            processes.append(subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log))
            time.sleep(0.5)
        deadline = time.monotonic() + 30
        while (states := _states(slurm)) != ["idle", "idle"]:
            logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
            assert time.monotonic() < deadline, f"{states}\n{logs}"
            time.sleep(0.2)
        yield slurm
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            slurm.run("scancel", "--signal=KILL", "--full", "--user=root")
            slurm.run("scancel", "--user=root")
            _wait_for_silence(slurm)
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _states(slurm: Slurm) -> list[str]:
    try:
        return slurm.run("sinfo", "--noheader", "--Node", "--format=%t").split()
    except AssertionError:  # slurmctld does not answer yet
        return []


def _wait_for_silence(slurm: Slurm) -> None:
    deadline = time.monotonic() + 30
    while slurm.run("squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.2)
