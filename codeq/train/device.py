"""Selection and settings of the device that trains."""

from __future__ import annotations

import atexit
import gc
import os
import re
from functools import cache

import torch

from codeq.config.text import first_line
from codeq.train.nvidia import nvidia_driver

_WHEELS = "pytorch.org/get-started/previous-versions"
_ON_CPU = "device: cpu trains without it"


def prepare_device(name: str, threads: int | None) -> torch.device:
    """Return the device `name`; `auto` is the first available of CUDA, MPS, CPU. Turns on cuDNN's autotuner.

    threads: CPU threads for arithmetic, None: unchanged. Raises ValueError if the device is not available, and if
    `auto` is to use a GPU that PyTorch cannot use: a training on the CPU takes many times as long.
    """
    _freeze_imported_objects()
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device(_first_available() if name == "auto" else name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            missing = f"{name} was asked for, but {why_no_gpu()}; use auto or cpu"
            raise ValueError(f"device: {unusable_driver() or missing}")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device: {name} was asked for, but PyTorch sees {torch.cuda.device_count()} CUDA devices")
        if reason := missing_kernels(device.index or 0):
            raise ValueError(f"device: {reason}")
        torch.backends.cudnn.benchmark = True
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device: mps was asked for, but PyTorch sees none; use auto or cpu")
    if name == "auto" and device.type == "cpu" and (reason := unusable_driver()):
        raise ValueError(f"device: {reason}")
    return device


def evaluation_device(name: str) -> str:
    """Return `name`, or the CPU if `auto` means a GPU that PyTorch cannot use: a test takes no longer than an epoch."""
    if name != "auto":
        return name
    try:
        return prepare_device(name, threads=None).type
    except ValueError:
        return "cpu"


def _first_available() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def unusable_driver() -> str | None:
    """Why PyTorch, which sees no GPU, cannot use the one that the NVIDIA driver sees; None if the driver sees none."""
    driver = nvidia_driver()
    if driver is None:
        return None
    gpu, built = driver.gpus[0], torch.version.cuda
    if built is None:
        why = f"PyTorch {torch.__version__} is built without CUDA; install a PyTorch with CUDA: {_WHEELS}"
        return f"PyTorch cannot use the {gpu}: {why}; {_ON_CPU}"
    newest = ".".join(map(str, driver.cuda))
    versions = f"driver {driver.version} supports CUDA {newest}, PyTorch {torch.__version__} is built for CUDA {built}"
    if driver.cuda < tuple(map(int, built.split(".")[:2])):
        what = f"update the driver, or install a PyTorch for CUDA {newest} or older: {_WHEELS}"
    else:
        what = f"{_cuda_error()}; try `python -c 'import torch; torch.cuda.init()'`"
    return f"PyTorch cannot use the {gpu}: {versions}; {what}; {_ON_CPU}"


def why_no_gpu() -> str:
    """Why PyTorch sees no GPU although no driver is to blame: there is none, or the environment hides it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "NoDevFiles":
        return "Slurm gave this job none (CUDA_VISIBLE_DEVICES=NoDevFiles; sbatch --gpus-per-node=1 asks for one)"
    return "PyTorch sees no CUDA device" + ("" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})")


def visible_gpus() -> list[str]:
    """Return the names and compute capabilities of the GPUs that PyTorch can reach."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        major, minor = torch.cuda.get_device_capability(index)
        found.append(f"{torch.cuda.get_device_name(index)} (sm_{major}{minor})")
    return found


def describe_cuda() -> str:
    """The releases of the driver, if it is NVIDIA's, and of PyTorch, with their CUDA versions."""
    driver = nvidia_driver()
    of_driver = f"driver {driver.version} (CUDA {driver.cuda[0]}.{driver.cuda[1]}), " if driver else ""
    return f"{of_driver}PyTorch {torch.__version__} (CUDA {torch.version.cuda or 'none'})"


def _cuda_error() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "CUDA finds no GPU"


def missing_kernels(index: int) -> str | None:
    """Why PyTorch can run nothing on the CUDA device of that number: it is compiled for others; None if it can."""
    compiled = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(index)
    if torch.version.cuda is None or not compiled or any(_runs_on(capability, arch) for arch in compiled):
        return None
    gpu, (major, minor) = torch.cuda.get_device_name(index), capability
    why = f"its compute capability is {major}.{minor} (sm_{major}{minor}), PyTorch {torch.__version__} is compiled for"
    what = f"install a PyTorch that is compiled for it: {_WHEELS}"
    return f"PyTorch cannot use the {gpu}: {why} {', '.join(compiled)}; {what}; {_ON_CPU}"


def _runs_on(capability: tuple[int, int], arch: str) -> bool:
    """Whether code for `arch`, such as sm_86 or compute_90, runs on a GPU of that compute capability.

    Machine code (sm) runs on later GPUs of the same major version, or, with a letter, on that GPU alone; PTX (compute)
    is compiled for any later GPU.
    """
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", arch)
    if found is None:
        return False
    built = (int(found[2]), int(found[3]))
    if found[4]:
        return capability == built
    return built <= capability and (found[1] == "compute" or built[0] == capability[0])


def is_nvidia() -> bool:
    """Whether this PyTorch's CUDA devices are NVIDIA's; AMD's have the same name."""
    return torch.version.cuda is not None


def gpu_count() -> int:
    """Return the number of CUDA devices that PyTorch sees."""
    return torch.cuda.device_count()


def free_cached_memory() -> None:
    """Return PyTorch's cached but unused GPU memory to the GPU, which other processes may share."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def is_device_lost(error: BaseException) -> bool:
    """Whether `error` says that this process can no longer use its GPU; only a new process can continue."""
    return type(error).__name__ == "AcceleratorError"


def synchronize(device: torch.device) -> None:
    """Wait until the GPU has finished its queued work, so that a clock read afterwards includes it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@cache
def _freeze_imported_objects() -> None:
    """Exclude the objects of imported modules from garbage collection: scanning them takes 0.14 s every few epochs."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # some libraries report an error if frozen objects are not collected when Python exits
