"""`use_compile`: the compiled step where its gradients are right and it pays, the step as written elsewhere."""

from __future__ import annotations

import copy
import logging
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codeq.config import RunConfig
from codeq.train import torch_compile as compilation
from codeq.train.loop import create_train_state
from codeq.train.torch_compile import choose_loss, missing_compiler
from codeq.train.training_loss import Loss, TrainingLoss
from tests.train.test_training_loss import TERMS, network

Run = Callable[..., subprocess.CompletedProcess[str]]

STEPS_LEFT = 1_000_000
BATCH = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


@pytest.fixture
def loss() -> TrainingLoss:
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
    return TrainingLoss(nn.Sequential(*layers).eval(), [])


class Compiler:
    """Stands in for the compiler. seconds: by which its step takes longer. scale: of its loss."""

    seconds = 0.0
    scale = 1.0
    asked = 0

    def __call__(self, loss: Loss, options: object) -> Loss:
        self.asked += 1

        def compiled(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            time.sleep(self.seconds)
            value, logits = loss(images, labels)
            return value * self.scale, logits

        return compiled


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    stand_in = Compiler()
    monkeypatch.setattr(torch, "compile", stand_in)
    monkeypatch.setattr(compilation, "missing_compiler", lambda device: "")
    times = iter([5.0, 1.0] * 10)  # the step as written, then the compiled one
    monkeypatch.setattr(compilation, "_step_s", lambda *_: next(times))
    return stand_in


def test_a_step_is_compiled_where_that_is_asked_for(loss: TrainingLoss, compiler: Compiler) -> None:
    assert choose_loss(loss, 1, BATCH, steps_left=1) is not loss


def test_auto_compiles_where_it_pays(
    loss: TrainingLoss, compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_loss(loss, "auto", BATCH, STEPS_LEFT) is not loss
    assert caplog.messages == ["use_compile: 1000.0 ms a step compiled, 5000.0 ms without"]
    times = iter([1.0, 5.0])
    monkeypatch.setattr(compilation, "_step_s", lambda *_: next(times))
    assert choose_loss(loss, "auto", BATCH, STEPS_LEFT) is loss


def test_auto_does_not_even_try_in_a_short_run(loss: TrainingLoss, compiler: Compiler) -> None:
    assert choose_loss(loss, "auto", BATCH, steps_left=10) is loss
    assert compiler.asked == 0


@pytest.mark.parametrize("use_compile", [1, "auto"])
@pytest.mark.parametrize("scale", [1.1, math.nan])
def test_a_compiled_step_with_other_gradients_is_refused(
    loss: TrainingLoss, compiler: Compiler, caplog: pytest.LogCaptureFixture, scale: float, use_compile: object
) -> None:
    compiler.scale = scale
    assert choose_loss(loss, use_compile, BATCH, STEPS_LEFT) is loss  # type: ignore[arg-type]
    assert caplog.messages == [
        "use_compile: training without: the compiled step has other gradients in group base"
    ]


def test_a_failing_compiler_is_one_line_of_the_log(
    loss: TrainingLoss, compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(loss: Loss, options: object) -> Loss:
        raise RuntimeError("g++: no such header\nand a page more")

    monkeypatch.setattr(torch, "compile", broken)
    assert choose_loss(loss, 1, BATCH, STEPS_LEFT) is loss
    assert caplog.messages == ["use_compile: training without: g++: no such header"]


def test_choosing_leaves_the_model_and_the_generators_as_they_were(loss: TrainingLoss, compiler: Compiler) -> None:
    before, random = copy.deepcopy(loss.model.state_dict()), torch.get_rng_state()
    choose_loss(loss, 1, BATCH, STEPS_LEFT)
    assert all(torch.equal(value, before[name]) for name, value in loss.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in loss.model.modules())
    assert all(parameter.grad is None for parameter in loss.model.parameters())


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the only programs that are found; there are none."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    (folder / name).chmod(0o755)


def test_a_cpu_needs_the_compiler_that_pytorch_calls(compilers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(compilers, "clang++")
    wanted = "there is no C++ compiler g++ (Debian, Ubuntu: apt install g++)"
    assert missing_compiler(torch.device("cpu")) == wanted
    install(compilers, "g++")
    assert missing_compiler(torch.device("cpu")) == ""
    monkeypatch.setenv("CXX", "/opt/g++-13")
    assert missing_compiler(torch.device("cpu")).startswith("there is no C++ compiler /opt/g++-13")
    assert missing_compiler(torch.device("mps")) == "PyTorch cannot compile for mps"


def test_a_compiler_that_is_asked_for_and_missing_is_told_before_the_start(
    compilers: Path, tiny: dict[str, Any]
) -> None:
    expected = "use_compile: there is no C++ compiler g++ (Debian, Ubuntu: apt install g++); install it, or write "
    with pytest.raises(ValueError) as raised:
        create_train_state(RunConfig.model_validate({**tiny, "use_compile": 1}))
    assert str(raised.value) == expected + "use_compile: auto or 0"
    for use_compile in ("auto", 0):
        create_train_state(RunConfig.model_validate({**tiny, "use_compile": use_compile}))


def test_where_it_is_left_open_a_run_without_a_compiler_trains_as_it_is(
    loss: TrainingLoss, compilers: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_loss(loss, "auto", BATCH, STEPS_LEFT) is loss
    assert caplog.messages == [
        "use_compile: training without: there is no C++ compiler g++ (Debian, Ubuntu: apt install g++)"
    ]


def test_compiling_for_a_cpu_does_not_complain_about_cuda(run_python: Run) -> None:
    """PyTorch looks for CUDA's files when it first compiles, and finds some, but no GPU."""
    code = (
        "import sys, torch; from codeq.train.torch_compile import choose_loss; from codeq.train.training_loss import *;"
        "torch.cuda.is_available = lambda: False; torch.compile = lambda loss, options: loss;"
        "choose_loss(TrainingLoss(nn.Linear(4, 3), []), 1, (torch.ones(6, 4), torch.zeros(6, dtype=torch.long)), 1);"
        "assert 'torch.utils.cpp_extension' in sys.modules"
    )
    done = run_python("-c", code, CUDA_HOME="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_real_compiler_has_the_gradients_of_the_step_as_written(caplog: pytest.LogCaptureFixture) -> None:
    """With quantizers, added terms and dropout. A refused step, or one that falls back, would be a warning."""
    model = nn.Sequential(network("mlp"), nn.Dropout(0.5))
    loss = TrainingLoss(model, TERMS)
    images, labels = torch.randn(4, 3, 16, 16), torch.arange(4)
    compiled = choose_loss(loss, 1, (images, labels), steps_left=1)
    assert compiled is not loss
    assert not [each for each in caplog.records if each.name.startswith("codeq") and each.levelno > logging.INFO]
    found = []
    for each in (loss, compiled):
        model.zero_grad()
        torch.manual_seed(0)
        each(images, labels)[0].backward()
        found.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)

