"""Starts a quiet local Ray, or joins a running cluster."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import codeq
from codeq.config.errors import BadInput
from codeq.config.text import first_line
from codeq.execution.capacity import usable_cpus
from codeq.search.servers import answer_of
from codeq.train.nvidia import nvidia_driver

log = logging.getLogger(__name__)

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of trials; they end up in the table
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000000",  # our folders hold the state; Tune's snapshots are not used
    "TUNE_MAX_PENDING_TRIALS_PG": "100000000",  # Ray's default is about one; `capacity` says how many may wait
}


SILENT = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Makes the driver print no message of Ray's processes: `log_to_driver=False` leaves those about lost workers."""

SERVER = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables that say where an S3 server is; the workers of a joined cluster get those of the driver. Credentials do not
travel, since Ray logs and shows the environment that it gives to workers: each node has its own."""

ANSWER_S = 20.0
"""Seconds that a cluster has to answer."""
JOIN_S = 300.0
"""Seconds that the nodes of a job have to join its Ray: many may read one environment from one slow server."""

LONGEST_SOCKET = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
SHORT_FOLDER = "/tmp/ray"

JOINED = {"RAY_gcs_rpc_server_connect_timeout_s": "60"}
"""Ray's warnings that a cluster does not answer begin after these seconds, when ANSWER_S have passed."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes all ports of a local Ray listen on 127.0.0.1 only: Ray does so where this variable disables clusters."""


def start_ray(address: str | None, dashboard: bool, log_level: int = logging.CRITICAL) -> str | None:
    """Initialise Ray in this process; returns the dashboard's URL if there is one.

    address: None starts a local Ray that ends with this process and listens on 127.0.0.1 only; anything else is a
    cluster's address, whose workers get this package's source and the driver's SERVER variables. Clients and nodes
    authenticate by token.
    log_level: of Ray's own messages.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    is_silent = log_level > logging.ERROR
    for name, value in {**QUIET, **(SILENT if is_silent else {}), **(LOOPBACK if address is None else JOINED)}.items():
        os.environ.setdefault(name, value)
    _keep_token_private()
    import ray  # reads its environment when it is imported

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": log_level}
    if address is None:
        options |= _resources_here()
        if (temporary := _short_temporary_folder()) is not None:
            options["_temp_dir"] = temporary
        # Plain ray.init() would join any cluster that happens to run on this machine.
        context = ray.init(address="local", include_dashboard=dashboard, dashboard_host="127.0.0.1", **options)
    else:
        package = Path(codeq.__file__).resolve().parent
        server = {name: os.environ[name] for name in SERVER if os.environ.get(name)}
        environment = {"py_modules": [str(package)], "env_vars": server}
        try:
            _check_answers(address)
            context = ray.init(address=address, runtime_env=environment, **options)
        except (ConnectionError, ValueError) as error:
            raise BadInput(f"--address {address}: {first_line(error)}") from None
    # A failed trial has a reason in the table and a traceback in its folder; Tune would print pages about it.
    logging.getLogger("ray.tune").setLevel(log_level)
    _write_nothing_at_exit()
    url = context.dashboard_url
    return f"http://{url}" if url else None


def _write_nothing_at_exit() -> None:
    """Ray's colorama writes an escape sequence to the terminal when Python ends, even to one that knows none."""
    if colorama := sys.modules.get("colorama"):
        atexit.unregister(colorama.initialise.reset_all)


def _resources_here() -> dict[str, int]:
    """The cores and GPUs of a local Ray: it would count all cores in a Slurm job, and all MIG devices as one GPU."""
    driver = nvidia_driver()
    return {"num_cpus": usable_cpus(), **({"num_gpus": len(driver.gpus)} if driver else {})}


def _short_temporary_folder() -> str | None:
    """Return a folder for Ray's files where the system's temporary folder has too long a name; None where it has not.

    The names of Ray's sockets contain that of the folder, and a socket's name has at most 107 bytes.
    """
    folder = Path(tempfile.gettempdir()) / "ray"
    if len(os.fsencode(folder)) + LONGEST_SOCKET <= 107:
        return None
    log.warning("TMPDIR has too long a name for Ray's sockets: Ray's files are in %s", SHORT_FOLDER)
    return SHORT_FOLDER


def _check_answers(address: str) -> None:
    """Raise BadInput if no Ray answers at the address within ANSWER_S: Ray itself would try for minutes."""
    from ray._private.services import canonicalize_bootstrap_address
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled

    server = address.rpartition("://")[2] if "://" in address else canonicalize_bootstrap_address(address)
    if server is None:  # `auto` where no Ray runs, which ray.init says at once
        return
    named = address if server in address else f"{address} ({server})"
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
        if "://" not in address:
            answer_of(lambda: GcsClient(address=server), ANSWER_S)
    except OSError as error:
        raise BadInput(f"--address {named}: no Ray answers there: {first_line(error)}") from None
    except Exception as error:  # Ray's own, such as one about the token
        raise BadInput(f"--address {named}: {first_line(error)}") from None


def wait_for_nodes(address: str, nodes: int) -> None:
    """Return once so many nodes have joined the Ray at HOST:PORT. Raises BadInput if they have not within JOIN_S."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
    from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]  # generated

    _check_answers(address)
    client, deadline = GcsClient(address=address), time.monotonic() + JOIN_S
    while True:
        living = sum(node.state == GcsNodeInfo.ALIVE for node in client.get_all_node_info().values())
        if living >= nodes:
            return
        if time.monotonic() > deadline:
            raise BadInput(f"{address}: {living} of {nodes} nodes have joined within {JOIN_S:g} s")
        time.sleep(1.0)


def _keep_token_private() -> None:
    """Create Ray's token if there is none: Ray would create it readable by all users."""
    token = Path.home() / ".ray" / "auth_token"
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not token.exists():
        with contextlib.suppress(FileExistsError), os.fdopen(
            os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as file:
            file.write(secrets.token_hex(32))
    token.chmod(0o600)
