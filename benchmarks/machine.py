"""Description of the machine that measured the figures."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.options import ROOT

PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy")


def describe() -> dict[str, str]:
    """Return processor, GPU, versions, date and commit; nothing that identifies the machine."""
    return {
        "cpu": f"{os.cpu_count()} cores of {_cpu_model()}",
        "gpu": _gpu_model(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "date": date.today().isoformat(),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _gpu_model() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _commit() -> str:
    """Return the commit, with a + if the working tree differs from it."""
    command = ["git", "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "unknown"
