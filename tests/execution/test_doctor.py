"""`python -m codeq.execution.doctor`: one line for each check, and exit code 2 where a sweep would fail."""

from __future__ import annotations

import ast
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeq.execution import doctor
from codeq.execution.doctor import asked_for_gpu, check_packages, main, requirements
from codeq.train import device
from codeq.train.nvidia import NvidiaDriver
from tests.conftest import ROOT

NODE = platform.node()


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*doctor.SLURM_GPUS, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sweep(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """Returns the path of a template; `changes` replace keys of it."""

    def write(**changes: Any) -> str:
        section = {"storage": str(tmp_path / "results"), **changes.pop("sweep", {})}
        return str(write_yaml({**tiny, "save_dir": str(tmp_path / "out"), **changes, "sweep": section}))

    return write


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this a machine with these GPUs, as PyTorch sees them, and with this NVIDIA driver."""

    def make(*names: str, driver: NvidiaDriver | None = None, built: str = "12.8") -> None:
        monkeypatch.setattr(device, "nvidia_driver", lambda: driver)
        monkeypatch.setattr(device.torch, "__version__", "2.11.0")
        monkeypatch.setattr(device.torch.version, "cuda", built)
        monkeypatch.setattr(device.torch.cuda, "is_available", lambda: bool(names))
        monkeypatch.setattr(device.torch.cuda, "device_count", lambda: len(names))
        monkeypatch.setattr(device.torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_86"])
        monkeypatch.setattr(device.torch.cuda, "get_device_name", lambda index: names[index])
        monkeypatch.setattr(
            device.torch.cuda, "get_device_capability", lambda index: (6, 1) if "TITAN Xp" in names[index] else (8, 6)
        )

    return make


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The printed line of each check, without the node's name."""
    captured = capsys.readouterr()
    printed = [line.removeprefix(f"{NODE}: ").partition(": ") for line in (captured.out + captured.err).splitlines()]
    return {name: text for name, _, text in printed}


def test_a_fit_machine_has_one_line_for_each_check(
    sweep: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus()
    assert main([sweep(), "--trials", "3", "--resume", "--quiet"]) == 0
    found = lines(capsys)
    assert list(found) == ["python", "packages", "file", "driver", "card", "storage", "data"]
    assert all(text.startswith("ok: ") for text in found.values())
    assert found["storage"] == f"ok: {tmp_path}/results/config"
    assert found["driver"] == "ok: no GPU, and none was asked for"
    assert found["data"] == "ok: digits"
    assert not (tmp_path / "results").exists(), "nothing is left behind"


def test_without_a_file_the_machine_alone_is_checked(
    capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    driver = NvidiaDriver("570.86.15", (12, 8), ("NVIDIA A40", "NVIDIA A40"))
    gpus("NVIDIA A40", "NVIDIA A40", driver=driver)
    assert main([]) == 0
    found = lines(capsys)
    assert found["driver"] == "ok: driver 570.86.15 (CUDA 12.8), PyTorch 2.11.0 (CUDA 12.8)"
    assert found["card"] == "ok: NVIDIA A40 (sm_86), NVIDIA A40 (sm_86)"


def test_a_driver_that_is_too_old_for_the_wheel_is_a_problem(
    capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus(driver=NvidiaDriver("570.86.15", (12, 8), ("NVIDIA A40",)), built="13.0")
    assert main([]) == 2
    assert "driver 570.86.15 supports CUDA 12.8, PyTorch 2.11.0 is built for CUDA 13.0" in lines(capsys)["driver"]


def test_one_card_of_several_that_is_too_old_for_the_wheel_is_a_problem(
    capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus("NVIDIA A40", "NVIDIA TITAN Xp", driver=NvidiaDriver("570.86.15", (12, 8), ("NVIDIA A40", "NVIDIA TITAN Xp")))
    assert main([]) == 2
    assert "PyTorch cannot use the NVIDIA TITAN Xp: its compute capability is 6.1" in lines(capsys)["card"]


@pytest.mark.parametrize(
    ("variables", "changes", "reason"),
    [
        ({}, {"device": "cuda"}, "device: cuda asks for a GPU, but PyTorch sees no CUDA device; device: cpu trains"),
        ({}, {"device": "auto", "sweep": {"resources": {"gpu": 0.5}}}, "sweep.resources.gpu: 0.5 asks for a GPU"),
        ({"SLURM_GPUS_ON_NODE": "1"}, {"device": "auto"}, "the Slurm job (SLURM_GPUS_ON_NODE=1) asks for a GPU"),
        ({"SLURM_GPUS_PER_NODE": "a100:2"}, {"device": "auto"}, "the Slurm job (SLURM_GPUS_PER_NODE=a100:2) asks"),
        (
            {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, {"device": "cuda"},
            "Slurm gave this job none (CUDA_VISIBLE_DEVICES=NoDevFiles; sbatch --gpus-per-node=1 asks for one)",
        ),
        (
            {"CUDA_VISIBLE_DEVICES": "MIG-41b3", "SLURM_GPUS_ON_NODE": "1"}, {"device": "auto"},
            "the Slurm job (SLURM_GPUS_ON_NODE=1) asks for a GPU, but PyTorch sees no CUDA device "
            "(CUDA_VISIBLE_DEVICES=MIG-41b3)",
        ),
    ],
)  # fmt: skip
def test_no_gpu_where_one_was_asked_for_is_a_problem(
    variables: dict[str, str], changes: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch,
    sweep: Callable[..., str], capsys: pytest.CaptureFixture[str], gpus: Callable[..., None],
) -> None:  # fmt: skip
    gpus()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([sweep(**changes)]) == 2
    assert reason in lines(capsys)["driver"]


@pytest.mark.parametrize(
    ("variables", "device", "gpu"),
    [
        ({"SLURM_GPUS_ON_NODE": "0"}, "auto", "auto"),
        ({"SLURM_GPUS_PER_NODE": "0"}, "auto", "auto"),
        ({"SLURM_GPUS_ON_NODE": "1"}, "cpu", "auto"),
        ({"SLURM_GPUS_ON_NODE": "1"}, "auto", 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, "auto", "auto"),
    ],
)
def test_who_asks_for_no_gpu_needs_none(
    variables: dict[str, str], device: str, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert asked_for_gpu(device, gpu) is None


def test_cuda_that_slurm_hides_is_named_by_a_training_too(
    gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    with pytest.raises(ValueError, match="device: cuda was asked for, but Slurm gave this job none"):
        device.prepare_device("cuda", threads=None)


def test_missing_and_old_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("torch>=99.1\nno-such-package[all]>=1.0  # for\nnumpy>=1.0\n# Development\nneither-this>=1\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", wanted)
    assert main(["nowhere.yaml"]) == 2
    found = lines(capsys)
    assert list(found) == ["python", "packages"], "the other checks need the packages"
    assert "must be 99.1 or newer, no-such-package is missing; " in found["packages"]
    assert found["packages"].endswith(f"{sys.executable} -m pip install -r {wanted}")


@pytest.mark.parametrize(
    ("found", "lowest", "is_enough"),
    [
        ("2.11.0+cu128", "2.11", True), ("2.9.1", "2.10", False), ("1.0.0", "1", True), ("2026.1.0", "2026.1", True),
        ("3.0.0rc1", "3.0", True), ("0.3.9", "0.3.10", False),
    ],
)  # fmt: skip
def test_releases_are_compared_by_their_numbers(
    found: str, lowest: str, is_enough: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text(f"torch>={lowest}\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", tmp_path / "requirements.txt")
    monkeypatch.setattr(doctor, "version", lambda name: found)
    if is_enough:
        assert check_packages() == "all 1 of requirements.txt"
    else:
        with pytest.raises(doctor.Unfit, match=f"torch is {found}, must be {lowest} or newer"):
            check_packages()


def test_every_package_that_runs_a_sweep_is_checked() -> None:
    text = (ROOT / "requirements.txt").read_text()
    before = [line for line in text.partition("# Development")[0].splitlines() if line and not line.startswith("#")]
    assert len(before) == len(dict(requirements(text))) > 15


def test_an_old_python_is_a_problem_and_reads_the_file_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ast.parse(Path(doctor.__file__).read_text(), feature_version=(3, 8))
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 1))
    assert main([]) == 2
    assert lines(capsys)["python"].endswith("is too old, must be 99.1 or newer")


def test_the_top_of_the_file_needs_no_package() -> None:
    top = [node for node in ast.parse(Path(doctor.__file__).read_text()).body if isinstance(node, ast.ImportFrom)]
    assert all(str(node.module).partition(".")[0] in sys.stdlib_module_names for node in top)


def test_a_storage_that_cannot_be_written_is_a_problem(
    sweep: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus()
    (tmp_path / "file").write_text("")
    assert main([sweep(), "--storage", str(tmp_path / "file" / "results")]) == 2
    assert "cannot be written" in lines(capsys)["storage"]
    assert main([sweep(save_dir=str(tmp_path / "file")), "--single"]) == 2
    assert f"{tmp_path}/file cannot be written" in lines(capsys)["storage"]


def test_a_study_that_does_not_answer_is_a_problem(
    sweep: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus()
    path = sweep(sweep={"study": f"sqlite:///{tmp_path}/missing/study.db"})
    assert main([path]) == 2
    assert "sweep.study" in lines(capsys)["storage"]


def test_drivers_that_share_no_study_are_a_problem(
    sweep: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus()
    assert main([sweep(), "--shared"]) == 2
    assert "is null, so that each driver would train all trials" in lines(capsys)["study"]
    assert main([sweep(), "--shared", "--set", f"sweep.study=sqlite:///{tmp_path}/study.db"]) == 0


def test_packages_that_do_not_fit_together_are_one_line(
    sweep: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(template: Any) -> None:
        raise RuntimeError("torchvision is compiled\nfor another CUDA")

    monkeypatch.setattr("codeq.execution.session.fetch_data", refuse)
    assert main([sweep()]) == 2
    assert lines(capsys)["data"] == "RuntimeError: torchvision is compiled for another CUDA"


def test_missing_data_is_a_problem(
    sweep: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweep(dataset="imagefolder", model="resnet20", img_size=32, data_dir=str(tmp_path / "photos"))
    assert main([path]) == 2
    assert f"{tmp_path}/photos" in lines(capsys)["data"]


def test_a_file_with_mistakes_has_its_lines_and_the_machine_is_checked_all_the_same(
    sweep: Callable[..., str], capsys: pytest.CaptureFixture[str], gpus: Callable[..., None]
) -> None:
    gpus()
    path = sweep(epochs=0)
    assert main([path]) == 2
    found = lines(capsys)
    assert found["file"].startswith(f"{path}:") and "epochs: " in found["file"]
    assert list(found) == ["python", "packages", "driver", "card", "file"]
