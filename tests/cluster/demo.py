"""A Ray cluster on this machine, as docs/clusters.md describes it: `make demo-cluster`, as root, some minutes.

A laptop starts a head and submits a sweep through SSH; a worker joins while trials wait, and is lost while it trains;
the sweep ends whole. The hosts are namespaces without internet, see `tests.cluster.hosts`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.hosts import Host, missing, run_on_laptop
from tests.conftest import ROOT

TOKEN = "(umask 077; ray get-auth-token --generate >/dev/null); chmod 600 ~/.ray/auth_token"
CHECK = "python -m codeq.execution.cluster check cluster.local.yaml"
UP = "ray up --yes cluster.local.yaml"
SWEEP = "cd ~/codeq-tune && python tune_main.py sweeps/dz_wd.yaml --address auto --storage /mnt/shared/sweeps"
DASHBOARD = "ray dashboard cluster.local.yaml"
JOB = f'RAY_AUTH_MODE=token ray job submit --address http://127.0.0.1:8265 -- bash -c "{SWEEP}"'
EXEC = f'ray exec cluster.local.yaml "{SWEEP}"'
STATUS = 'ray exec cluster.local.yaml "ray status"'
UPDATE = "ray up --yes --no-restart cluster.local.yaml"
DOWN = "ray down --yes cluster.local.yaml"
TRIALS, EPOCHS = 6, 120
OWN = f"--trials {TRIALS} --set epochs={EPOCHS} --set sweep.scheduler.name=none --set sweep.confirm=null --quiet"
"""What the demonstration adds to JOB: trials long enough to be interrupted, and all of one length."""
RESULTS = Path("/mnt/shared/sweeps/dz_wd")


def main() -> int:
    """Run the demonstration; returns the exit code (2: not possible on this machine)."""
    if os.environ.get("HOST_NAME") == "laptop":
        demonstrate()
        return 0
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    return run_on_laptop("tests.cluster.demo")


def demonstrate() -> None:
    """The demonstration, on the laptop."""
    head, worker = Host("head", 2), Host("worker", 3)
    Path("/mnt/shared").mkdir()
    checkout(head, worker)
    for command in (TOKEN, CHECK, UP):
        run(command)
    tunnel = open_dashboard()
    sweep = start(JOB.replace(SWEEP, f"{SWEEP} {OWN}"))
    wait_while(sweep, lambda: not trials_on(worker))
    run(STATUS)
    show_update()
    show_refusal()
    wait_while(sweep, lambda: not any(5 <= len(rows().get(trial, [])) < EPOCHS for trial in trials_on(worker)))
    lost = trials_on(worker)
    before = rows()
    say(f"the worker is lost, with trials {', '.join(lost)}")
    worker.kill()
    assert sweep.wait() == 0
    check_whole(before)
    tunnel.terminate()
    run(DOWN)
    left = head.run("pgrep -l 'ray|gcs|python'")
    assert not left, left
    say("no process of Ray is left on the head")


def checkout(head: Host, worker: Host) -> None:
    """Make a copy of the project with the file of this cluster, and go there."""
    folder = Path("/mnt/laptop/codeq-tune")
    for name in ("codeq", "sweeps"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "cluster.local.yaml").read_text()
    own = {
        "head_ip: CHANGE": f"head_ip: {head.address}",
        "[CHANGE, CHANGE]": f"[{worker.address}]",
        "ssh_user: CHANGE": "ssh_user: root",
        "max_workers: 2": "max_workers: 1",
        # The hosts use the environment that runs this; pip finds all that it is to install there.
        "python3 -m venv ~/codeq-tune/.venv": f"ln -sfn {sys.prefix} ~/codeq-tune/.venv",
    }
    for old, new in own.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "cluster.local.yaml").write_text(text)
    for name in ("tune_main.py", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    os.chdir(folder)


def say(text: str) -> None:
    print(f"\n=== {time.strftime('%H:%M:%S')} {text}", flush=True)


def start(command: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    say(f"$ {command}")
    return subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=stdout)


def run(command: str) -> None:
    code = start(command).wait()
    assert code == 0, f"{command}: exit code {code}"


def wait_while(sweep: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    while condition():
        assert sweep.poll() is None, "the sweep has ended before the worker has trained"
        time.sleep(0.5)


def open_dashboard() -> subprocess.Popen[bytes]:
    """Open the tunnel to the dashboard, and ask it for its version with the token."""
    tunnel = start(DASHBOARD)
    ask = 'curl -sf -H "Authorization: Bearer $(ray get-auth-token)" http://127.0.0.1:8265/api/version'
    while subprocess.run(["bash", "-c", ask], stderr=subprocess.DEVNULL).returncode:
        assert tunnel.poll() is None, "no tunnel to the dashboard"
        time.sleep(1)
    return tunnel


def show_update() -> None:
    """A new template is copied to the head while the sweep runs on."""
    name, text = "sweeps/own.yaml", "extends: dz_wd.yaml\n"
    Path(name).write_text(text)
    run(UPDATE)
    assert (Path("/mnt/head/home/codeq-tune") / name).read_text() == text


def show_refusal() -> None:
    """A sweep into a folder that only the head has is refused, with the name of the worker."""
    refused = start(EXEC.replace("/mnt/shared", "/tmp"), stdout=subprocess.PIPE)
    output, _ = refused.communicate()
    said = [line for line in output.decode().splitlines() if "node worker does not find in" in line]
    assert refused.returncode != 0 and len(said) == 1, output.decode()
    print(*said)


def trials_on(host: Host) -> list[str]:
    """The trials that train on the host: the working directories of their processes."""
    listed = host.run("for id in $(pgrep -f ^ray::SweepTrial); do readlink /proc/$id/cwd; done")
    return [Path(line).name for line in listed.splitlines()]


def rows() -> dict[str, list[str]]:
    """The lines of each trial, one an epoch."""
    return {path.parent.name: path.read_text().splitlines() for path in RESULTS.glob("trials/*/metrics.jsonl")}


def check_whole(before: dict[str, list[str]]) -> None:
    """Every trial is there with each epoch once, and of what was done before the loss at most the last one again."""
    with (RESULTS / "trials.csv").open() as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["finished"] * TRIALS, statuses
    again = 0
    for trial, lines in rows().items():
        assert [json.loads(line)["epoch"] for line in lines] == list(range(1, EPOCHS + 1)), trial
        kept = before.get(trial, [])
        assert kept[:-1] == lines[: len(kept[:-1])], f"{trial} began again"
        again += kept != lines[: len(kept)]
    say(f"{TRIALS} trials of {EPOCHS} epochs are whole; {again} epochs were trained again")


if __name__ == "__main__":
    sys.exit(main())
