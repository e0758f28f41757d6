"""A GPU that PyTorch cannot use is named with what to install, and nothing trains on the CPU instead."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.execution import forecast, session
from codeq.execution.session import RunOptions, Session
from codeq.train import device
from codeq.train.device import evaluation_device, prepare_device
from codeq.train.nvidia import NvidiaDriver, nvidia_driver

ON_CPU = "; device: cpu trains without it"
WHEELS = "pytorch.org/get-started/previous-versions"
OLD = NvidiaDriver("570.86.15", (12, 8), ("NVIDIA A40",))
COMPILED = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


class FakeNvml:
    """The library of a driver with two GPUs."""

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails

    def nvmlInit_v2(self) -> int:
        return 9 if self._fails else 0  # driver not loaded

    def nvmlShutdown(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> int:
        version._obj.value = 12080
        return 0

    def nvmlSystemGetDriverVersion(self, buffer: Any, length: Any) -> int:
        buffer.value = b"570.86.15"
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        handle._obj.value = 100 + index.value
        return 0

    def nvmlDeviceGetName(self, handle: Any, buffer: Any, length: Any) -> int:
        buffer.value = {100: b"NVIDIA A40", 101: b"NVIDIA TITAN Xp"}[handle.value]
        return 0


@pytest.mark.parametrize(
    ("variable", "gpus"),
    [
        (None, ("NVIDIA A40", "NVIDIA TITAN Xp")),
        ("1", ("NVIDIA TITAN Xp",)),
        ("1, 0", ("NVIDIA TITAN Xp", "NVIDIA A40")),
        ("GPU-8932f937", ("GPU-8932f937",)),
        ("MIG-41b36624,MIG-8fbc6e3a", ("MIG-41b36624", "MIG-8fbc6e3a")),
        ("0,-1,1", ("NVIDIA A40",)),
        ("", None),
        ("-1", None),
        ("NoDevFiles", None),
        ("7", None),
    ],
)
def test_the_driver_tells_of_the_gpus_that_are_visible(
    variable: str | None, gpus: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeNvml())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert nvidia_driver() == (gpus and NvidiaDriver("570.86.15", (12, 8), gpus))


def test_without_a_library_or_a_loaded_driver_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeNvml(fails=True))
    assert nvidia_driver() is None

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert nvidia_driver() is None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this a machine with a driver, and with a PyTorch that sees GPUs of a compute capability, or none."""

    def make(driver: NvidiaDriver | None, built: str | None, capability: tuple[int, int] | None = None) -> None:
        def refuse() -> None:
            raise RuntimeError("CUDA unknown error\nmore")

        monkeypatch.setattr(device, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(session, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(forecast, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(torch.version, "cuda", built)
        monkeypatch.setattr(torch, "__version__", "2.15.0")
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0 if capability is None else 1)
        monkeypatch.setattr(torch.cuda, "init", refuse)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: COMPILED if built else [])
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA TITAN Xp")

    return make


TOO_OLD = (
    "device: PyTorch cannot use the NVIDIA A40: driver 570.86.15 supports CUDA 12.8, PyTorch 2.15.0 is built for CUDA "
    f"13.0; update the driver, or install a PyTorch for CUDA 12.8 or older: {WHEELS}{ON_CPU}"
)
NO_CUDA = (
    "device: PyTorch cannot use the NVIDIA A40: PyTorch 2.15.0 is built without CUDA; install a PyTorch with CUDA: "
    f"{WHEELS}{ON_CPU}"
)
BROKEN = (
    "device: PyTorch cannot use the NVIDIA A40: driver 570.86.15 supports CUDA 12.8, PyTorch 2.15.0 is built for CUDA "
    f"12.6; CUDA unknown error; try `python -c 'import torch; torch.cuda.init()'`{ON_CPU}"
)
PASCAL = (
    "device: PyTorch cannot use the NVIDIA TITAN Xp: its compute capability is 6.1 (sm_61), PyTorch 2.15.0 is compiled "
    f"for {', '.join(COMPILED)}; install a PyTorch that is compiled for it: {WHEELS}{ON_CPU}"
)


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("built", "capability", "reason"),
    [("13.0", None, TOO_OLD), (None, None, NO_CUDA), ("12.6", None, BROKEN), ("13.0", (6, 1), PASCAL)],
)
def test_a_gpu_that_pytorch_cannot_use_is_named_with_what_to_install(
    machine: Callable[..., None], built: str | None, capability: tuple[int, int] | None, reason: str, name: str
) -> None:
    machine(OLD, built, capability)
    with pytest.raises(ValueError) as raised:
        prepare_device(name, threads=None)
    assert str(raised.value) == reason
    assert prepare_device("cpu", threads=None).type == "cpu"
    assert evaluation_device("auto") == "cpu"
    assert evaluation_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 9), (9, 0), (10, 3), (12, 0), (13, 1)])
def test_a_gpu_runs_code_of_its_major_version_and_later_ones_run_ptx(
    machine: Callable[..., None], capability: tuple[int, int]
) -> None:
    machine(OLD, "12.8", capability)
    assert prepare_device("auto", threads=None).type == "cuda"


@pytest.mark.parametrize(
    ("capability", "arch", "runs"),
    [
        ((9, 0), "sm_90a", True),
        ((9, 1), "sm_90a", False),
        ((8, 0), "sm_86", False),
        ((8, 0), "sm_75", False),
        ((8, 0), "compute_75", True),
        ((7, 0), "compute_75", False),
        ((7, 0), "gfx90a", False),
    ],
)
def test_which_code_runs_on_which_gpu(capability: tuple[int, int], arch: str, runs: bool) -> None:
    assert device._runs_on(capability, arch) == runs


def test_without_a_gpu_auto_is_the_cpu(machine: Callable[..., None]) -> None:
    machine(None, "13.0")
    assert prepare_device("auto", threads=None).type == "cpu"
    with pytest.raises(ValueError, match="cuda was asked for, but PyTorch sees no CUDA device; use auto or cpu"):
        prepare_device("cuda", threads=None)


def start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a session up to the point at which it would start Ray."""

    def would_start(*arguments: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(session, "start_ray", would_start)
    Session(Template.load(path), RunOptions()).start()


@pytest.mark.parametrize(
    ("driver", "capability", "reason"),
    [
        (OLD, None, TOO_OLD),
        (OLD, (6, 1), PASCAL),
        (
            None, (8, 6),
            "device: PyTorch sees a GPU, but Ray does not: the driver's library libnvidia-ml.so.1 (NVML) is missing; "
            "install all of the NVIDIA driver; device: cpu trains without the GPU",
        ),
    ],
)  # fmt: skip
def test_a_sweep_does_not_start_where_ray_and_pytorch_see_different_gpus(
    machine: Callable[..., None], driver: NvidiaDriver | None, capability: tuple[int, int] | None, reason: str,
    tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    machine(driver, "13.0", capability)
    monkeypatch.setattr(session, "NVIDIA_FILES", (str(tmp_path),))
    path = write_yaml({**tiny, "device": "auto"})
    line = path.read_text().splitlines().index("device: auto") + 1
    with pytest.raises(BadInput) as raised:
        start(path, monkeypatch)
    assert str(raised.value) == f"{path}:{line}: {reason}"


def test_a_forecast_is_not_made_on_the_cpu_instead(
    machine: Callable[..., None], tiny: dict[str, Any], write_yaml: Callable[..., Path]
) -> None:
    machine(OLD, "13.0", None)
    with pytest.raises(ValueError) as raised:
        forecast.forecast(Template.load(write_yaml({**tiny, "device": "auto"})))
    assert str(raised.value) == TOO_OLD


@pytest.mark.parametrize("on_cpu", [{"device": "cpu"}, {"device": "auto", "sweep": {"resources": {"gpu": 0}}}])
def test_a_sweep_on_the_cpu_starts_whatever_the_gpu(
    machine: Callable[..., None], on_cpu: dict[str, Any],
    tiny: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    machine(OLD, "13.0", None)
    with pytest.raises(NotImplementedError):
        start(write_yaml({**tiny, **on_cpu}), monkeypatch)


@pytest.mark.parametrize(
    ("name", "gpus", "override"), [("auto", 1.0, "cuda"), ("cuda", 1.0, None), ("auto", 0.0, None), ("cpu", 1.0, "cpu")]
)
def test_a_trial_that_is_given_a_gpu_trains_on_it_or_fails(
    name: str, gpus: float, override: str | None,
    tiny: dict[str, Any], write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0, "GPU": gpus})
    started = Session(Template.load(write_yaml({**tiny, "device": name})), RunOptions())
    started._check_resources()
    assert started.placement("").device == override
