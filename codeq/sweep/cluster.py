"""Start a quiet local Ray, or join a running cluster."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000000",  # our folders are the state; Tune's snapshots are read by nobody
}


LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes every port of a local Ray listen on 127.0.0.1 only, as on systems where Ray knows no clusters."""


def start_ray(address: str | None, dashboard: bool) -> str | None:
    """Initialise Ray in this process; returns the dashboard's URL if there is one.

    address: None starts a local Ray that ends with this process and listens on 127.0.0.1 only; anything else is a
    cluster's address, whose workers get this package's source. Clients and nodes prove who they are by token.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name, value in {**QUIET, **(LOOPBACK if address is None else {})}.items():
        os.environ.setdefault(name, value)
    _keep_token_private()
    import ray  # reads its environment when it is imported

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        # Plain ray.init() would join any cluster that happens to run on this machine.
        context = ray.init(address="local", include_dashboard=dashboard, dashboard_host="127.0.0.1", **options)
    else:
        package = Path(__file__).resolve().parents[1]
        context = ray.init(address=address, runtime_env={"py_modules": [str(package)]}, **options)
    # A failed trial is a row of the table with a reason and a traceback in its folder, not pages on the terminal.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    url = context.dashboard_url
    return f"http://{url}" if url else None


def _keep_token_private() -> None:
    """Ray keeps its token in the home directory, readable by everybody unless somebody prevents it."""
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        token.chmod(0o600)
    else:
        os.umask(0o077)


def gpus_per_trial(wanted: float | str, device: str) -> float:
    """GPUs that one trial occupies; `auto` is one where the cluster has any and the trials may use it."""
    import ray

    if device in ("cpu", "mps"):
        return 0.0
    if wanted == "auto":
        return 1.0 if ray.cluster_resources().get("GPU", 0.0) >= 1.0 else 0.0
    return float(wanted)
