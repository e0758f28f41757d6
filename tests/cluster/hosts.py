"""Hosts on this machine, made of Linux namespaces: each has its own network, processes, name, home, /tmp and sshd.

They share the rest of the file system: /mnt/shared stands for their shared storage, and the environment that runs this
is theirs too. All processes and networks belong to one process, and the kernel ends them with it, however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT

NEEDED = {"ip": "iproute2", "sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync"}
"""Commands by their Debian packages."""
NEW = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "bash", "-euc"]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
NETWORK = "10.77.0"
ENTER = """
hostname $HOST_NAME; ip link set lo up
mount --bind /mnt/$HOST_NAME/tmp /tmp; mount -t tmpfs none /run; mkdir /run/sshd
mount --bind /mnt/$HOST_NAME/passwd /etc/passwd; mount --bind /mnt/$HOST_NAME/shadow /etc/shadow
"""
"""What makes a new process of NEW a host; its folder is /mnt/NAME."""
# The default route lets Ray find the host's own address: it takes that from which packets to the internet would come.
SERVE = f"""
echo is there
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add $HOST_ADDRESS/24 dev eth0; ip link set eth0 up; ip route add default via {NETWORK}.1
exec $(command -v sshd) -D -e -f /mnt/sshd_config 2>/mnt/$HOST_NAME/sshd.log
"""
SSHD = """
HostKey /mnt/laptop/home/.ssh/id_ed25519
AuthorizedKeysFile /mnt/laptop/home/.ssh/id_ed25519.pub
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
"""


def missing() -> str | None:
    """Why this machine can have no such hosts; None if it can."""
    if absent := [package for command, package in NEEDED.items() if shutil.which(command, path=PATH) is None]:
        return f"needs {', '.join(absent)} (Debian: apt-get install {' '.join(absent)})"
    if os.geteuid() != 0:
        return "needs root, which may make namespaces"
    if ROOT.is_relative_to("/tmp") or ROOT.is_relative_to("/mnt"):
        return "needs a checkout outside /tmp and /mnt, which each host has for itself"
    tried = subprocess.run([*NEW, "mount -t tmpfs none /mnt"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"may not make namespaces: {tried.stderr.strip()}"


def run_on_laptop(module: str) -> int:
    """Run `python -m module` on a host `laptop`, to which further ones can be added; returns its exit code.

    /mnt is an empty folder there, which is removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="codeq-hosts-") as folder:
        _prepare(Path(folder), "laptop")
        home = {"HOME": "/mnt/laptop/home", "HOST_NAME": "laptop", "TMPDIR": "/tmp"}
        bridge = f"ip link add hosts type bridge; ip address add {NETWORK}.1/24 dev hosts; ip link set hosts up"
        enter = f'mount --bind "$0" /mnt; {ENTER} {bridge}; exec "$@"'
        # The hosts end with this process however it ends.
        command = ["setpriv", "--pdeathsig", "KILL", *NEW, enter, folder, sys.executable, "-m", module]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **home, "PATH": PATH})
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return process.wait()
        except KeyboardInterrupt:
            return 130
        finally:
            process.kill()
            process.wait()


def _prepare(folder: Path, name: str) -> None:
    for part in ("home", "tmp"):
        (folder / name / part).mkdir(parents=True)
    shutil.copy("/etc/skel/.bashrc", folder / name / "home")
    (folder / name / "passwd").write_text(
        f"root:x:0:0::/mnt/{name}/home:/bin/bash\nsshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n"
    )
    (folder / name / "shadow").write_text("root:*:20000::::::\n")


class Host:
    """A host that SSH reaches as root, with the key of `laptop`. To be made there."""

    def __init__(self, name: str, number: int) -> None:
        """number: 2 to 254, the last part of its address."""
        self.name, self.address = name, f"{NETWORK}.{number}"
        _prepare(Path("/mnt"), name)
        if not Path("/mnt/sshd_config").exists():
            Path("/mnt/sshd_config").write_text(SSHD)
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/mnt/laptop/home/.ssh/id_ed25519"]
            Path("/mnt/laptop/home/.ssh").mkdir()
            subprocess.run(key, check=True)
        environment = {**os.environ, "HOST_NAME": name, "HOST_ADDRESS": self.address}
        self.process = subprocess.Popen([*NEW, ENTER + SERVE], env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None and self.process.stdout.readline(), f"{name} did not start"
        cable = f"ip link add {name} type veth peer name eth0 netns {self.process.pid}"
        subprocess.run(f"{cable}; ip link set {name} master hosts up", shell=True, check=True)

    def run(self, command: str) -> str:
        """The output of a shell command on the host."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().strip()
        entered = ["nsenter", f"--target={first}", "--net", "--pid", "--mount", "--uts", "bash", "-c", command]
        return subprocess.run(entered, capture_output=True, text=True).stdout

    def kill(self) -> None:
        """End all its processes at once, as a loss of power does."""
        self.process.kill()
        self.process.wait()
