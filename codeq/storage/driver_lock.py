"""One driver for each sweep: a lock that other drivers respect, and a token by which its workers may write."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import SoftFileLease, Timeout
from upath import UPath

from codeq.storage.atomic_files import is_local, write_atomically
from codeq.storage.credentials import describe_error

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""The lock of a driver on another machine counts as left behind if it was not renewed for this long."""
DAMAGED_S = LEASE_S / 2
"""A damaged lock counts as left behind if it was not renewed for this long; drivers renew theirs every LEASE_S / 3."""
_LOCK = ".driver.lock"
_TOKEN = "driver"


class SweepInUse(Exception):
    """Another driver works on the sweep; the message names it."""


class SweepTakenOver(Exception):
    """A later driver has taken over the sweep, so that this process must not write into its folder."""


class SweepOutOfReach(Exception):
    """This machine does not have, or cannot read, the sweep's folder that the driver has; the message names both."""


@contextlib.contextmanager
def driver_lock(folder: UPath, local: Path, lost_name: Callable[[], str | None] = lambda: None) -> Iterator[str]:
    """Hold the lock of the sweep in `folder` during the `with` block; yields the driver's token, see `driver_name`.

    The lock is a file that its holder renews, not `flock`, which network file systems may ignore. That of a dead
    process is taken over: at once on this machine, after LEASE_S if it was on another one. local: holds the lock, see
    `codeq.search.sweep_state.local_folder`. lost_name: returns the name of the folder's last driver, if something else
    than the folder's file tells it. Raises SweepInUse, OSError if the folders cannot be written.
    """
    local.mkdir(parents=True, exist_ok=True)
    lock = SoftFileLease(local / _LOCK, lease_duration=LEASE_S, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        _wait_for_lease(lock, folder)
    try:
        name = _name(folder) or lost_name() or secrets.token_hex(8)
        token = f"{name}-{secrets.token_hex(16)}"
        write_atomically(folder / _TOKEN, token + "\n")
        yield token
    finally:
        lock.release()


def driver_name(token: str) -> str:
    """Return the part of a token that all drivers of the same folder share, one after the other."""
    return token.partition("-")[0]


def _name(folder: UPath) -> str | None:
    """The name of the folder's last driver; None if there was none, or its file is damaged."""
    with contextlib.suppress(OSError, ValueError):
        if found := re.fullmatch(r"([0-9a-f]+)-[0-9a-f]+\n", (folder / _TOKEN).read_text()):
            return found[1]
    return None


def _wait_for_lease(lock: SoftFileLease, folder: UPath) -> None:
    """Acquire a lock that is not renewed, of a driver on another machine or a damaged one. Raises SweepInUse."""
    owner = lock.owner
    if owner is None and not _is_renewed(folder, Path(lock.lock_file)):
        lock.force_break()
        with contextlib.suppress(Timeout):  # another driver may have been quicker
            lock.acquire()
            return
    # filelock appends a mark and the container's namespace to the host's name.
    here = re.compile(re.escape(socket.gethostname()) + r"(?![\w.-])")
    if owner is not None and not here.match(owner.hostname):
        log.warning("%s: %s holds the lock; whether it is alive is known in %.0f s", folder, owner.hostname, LEASE_S)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LEASE_S + 5.0)
            return
    holder = f"process {owner.pid} on {owner.hostname}" if owner else "another process"
    raise SweepInUse(f"{folder}: {holder} works on this sweep; --name NAME starts another one")


def _is_renewed(folder: UPath, path: Path) -> bool:
    """Whether a driver renews its lock, which is damaged, as a power cut may leave it."""
    log.warning("%s: damaged; whether a driver holds this lock of %s is known in %.0f s", path, folder, DAMAGED_S)
    before = path.stat().st_mtime_ns
    time.sleep(DAMAGED_S)
    return not path.exists() or path.stat().st_mtime_ns != before


def check_token(folder: UPath, token: str | None) -> None:
    """Check that `token` is that of the newest driver of the sweep in `folder`. None: not checked.

    Raises SweepTakenOver if it is another one's, SweepOutOfReach if this machine cannot read that of the folder.
    """
    if token is None:
        return
    try:
        found = (folder / _TOKEN).read_bytes().strip()
    except Exception as error:  # each file system has its own
        if is_local(folder) and not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise  # such as a fault of the disk
        raise SweepOutOfReach(_out_of_reach(folder, error)) from None
    if found != token.encode():
        raise SweepTakenOver(f"{folder}: another driver has taken over this sweep")


def _out_of_reach(folder: UPath, error: Exception) -> str:
    node, why = f"node {socket.gethostname()}", describe_error(folder, error)
    if not is_local(folder):
        return f"{node} cannot read {folder}: {why}"
    advice = "name a --storage that all nodes share under one path, or a URL such as s3://BUCKET/sweeps"
    return f"{node} does not find in {folder} what the driver wrote there ({why}); {advice}"
