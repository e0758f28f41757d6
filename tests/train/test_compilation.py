import copy
import logging
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from codeq.train import compilation
from codeq.train.compilation import can_compile, faster_forward

EAGER_S = 0.008
STEPS_LEFT = 100_000


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()


@pytest.fixture
def step(model):
    """A training step that takes EAGER_S, or `forward.seconds` where the forward pass says so."""
    images, labels = torch.randn(6, 4), torch.arange(6) % 3

    def run(forward):
        time.sleep(getattr(forward, "seconds", EAGER_S))
        F.cross_entropy(forward(images), labels).backward()

    return run


@pytest.fixture
def compiler(monkeypatch, model):
    """Stands in for the compiler; `seconds` is what its step takes."""

    class Compiled:
        seconds = EAGER_S / 10
        asked = 0

        def __call__(self, images):
            return model(images)

    forward = Compiled()

    def compiled(model):
        forward.asked += 1
        return forward

    monkeypatch.setattr(compilation, "compiled", compiled)
    monkeypatch.setattr(compilation, "can_compile", lambda device: True)
    return forward


def test_a_long_run_that_compiling_speeds_up_is_compiled(model, step, compiler, caplog):
    with caplog.at_level(logging.INFO):
        assert faster_forward(model, step, STEPS_LEFT) is compiler
    assert "100000 steps left: compiled" in caplog.text


def test_a_run_that_compiling_slows_down_is_not_compiled(model, step, compiler):
    compiler.seconds = 3 * EAGER_S
    assert faster_forward(model, step, STEPS_LEFT) is model


def test_compiling_must_be_paid_back_by_the_steps_left(model, step, compiler, monkeypatch):
    monkeypatch.setattr(compilation, "WORTH_TRYING_S", 0)
    monkeypatch.setattr(compilation, "LATER_COMPILES", 1e6)
    assert faster_forward(model, step, STEPS_LEFT) is model
    assert compiler.asked == 1


def test_a_short_run_is_not_even_tried(model, step, compiler):
    assert faster_forward(model, step, steps_left=10) is model
    assert compiler.asked == 0


def test_without_a_compiler_nothing_is_measured(model, compiler, monkeypatch):
    monkeypatch.setattr(compilation, "can_compile", lambda device: False)
    assert faster_forward(model, lambda forward: pytest.fail("measured"), STEPS_LEFT) is model


def test_a_failing_compiler_is_one_line_of_the_log(model, step, compiler, monkeypatch, caplog):
    def broken(model):
        def forward(images):
            raise RuntimeError("g++: no such header\nand a page more")

        return forward

    monkeypatch.setattr(compilation, "compiled", broken)
    assert faster_forward(model, step, STEPS_LEFT) is model
    assert caplog.messages == ["use_compile: compiling failed, training without: g++: no such header"]


def test_the_probe_leaves_the_model_and_the_generators_as_they_were(model, step, compiler):
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    faster_forward(model, step, STEPS_LEFT)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_interrupt_during_the_probe_is_not_taken_for_a_failing_compiler(model, compiler, monkeypatch):
    def interrupted(forward):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        faster_forward(model, interrupted, STEPS_LEFT)
    assert not model.training


def test_a_step_that_fails_eagerly_too_is_an_error(model, compiler):
    def failing(forward):
        raise ValueError("loss")

    with pytest.raises(ValueError, match="loss"):
        faster_forward(model, failing, STEPS_LEFT)


@pytest.mark.parametrize(("path", "expected"), [("", False), (None, True)])
def test_a_cpu_compiles_where_a_c_compiler_is_on_the_path(path, expected, monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    compiler = tmp_path / "g++"
    compiler.write_text("")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if path is None else path)
    assert can_compile(torch.device("cpu")) is expected
    assert not can_compile(torch.device("mps"))


def test_the_real_compiler_gives_the_same_step(model):
    images = torch.randn(6, 4)
    forward = compilation.compiled(model)
    torch.testing.assert_close(forward(images), model(images))
