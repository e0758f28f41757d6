import copy

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from codeq.quant import Quantizer, build_quantizer
from codeq.quant.dead_zone import DeadZoneLDZCompander
from codeq.quant.uniform import UniformSymmetric
from codeq.registry import QUANTIZERS

every_quantizer = pytest.mark.parametrize("name", QUANTIZERS.names())


@pytest.fixture
def w():
    """A weight [20, 15] with exact zeros in it."""
    w = torch.randn(20, 15, generator=torch.Generator().manual_seed(0))
    w[:, 3] = 0
    return w


def test_the_two_quantizers_are_registered():
    assert QUANTIZERS.names() == ("deadzone", "uniform")
    assert type(build_quantizer("deadzone")) is DeadZoneLDZCompander
    assert type(build_quantizer("uniform")) is UniformSymmetric


def test_keywords_reach_the_constructor():
    assert build_quantizer("uniform", bitwidth=3).get_bitwidth().item() == 3
    with pytest.raises(ValueError, match="max_bit"):
        build_quantizer("deadzone", max_bit=3)


def test_an_unknown_name_lists_the_choices_and_the_nearest():
    with pytest.raises(ValueError, match="'deadzne', must be one of deadzone, uniform; did you mean deadzone?"):
        build_quantizer("deadzne")


def test_a_quantizer_that_lacks_a_method_is_refused_when_it_is_built():
    class NoBitwidth(Quantizer):
        def forward(self, w):
            return w

    with pytest.raises(TypeError, match="get_bitwidth"):
        NoBitwidth()


# What every quantizer promises


@every_quantizer
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 2, 2), (7,), (1,), ()], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_are_kept(name, shape, dtype):
    w = torch.randn(shape, dtype=dtype)
    out = build_quantizer(name)(w)
    assert out.shape == w.shape and out.dtype == w.dtype and out.isfinite().all()


@every_quantizer
def test_zeros_stay_zero_and_the_input_is_not_written_to(name, w):
    before = w.clone()
    out = build_quantizer(name)(w)
    assert not out[:, 3].any() and out.any() and torch.equal(w, before)


@every_quantizer
def test_it_is_odd_and_scales_with_the_weight(name, w):
    quantizer = build_quantizer(name)
    assert torch.equal(quantizer(-w), -quantizer(w))
    torch.testing.assert_close(quantizer(8 * w), 8 * quantizer(w), rtol=1e-5, atol=1e-6)


@every_quantizer
def test_the_bit_width_is_a_scalar_that_bounds_the_number_of_values(name):
    quantizer = build_quantizer(name)
    bits = quantizer.get_bitwidth()
    assert bits.shape == () and 2 <= bits.item() <= 8
    assert quantizer(torch.linspace(-1, 1, 5000)).unique().numel() <= 2 ** bits.item() - 1


@every_quantizer
def test_a_nonzero_weight_gets_the_incoming_gradient(name, w):
    w, incoming = w.requires_grad_(), torch.randn(20, 15)
    (mine,) = torch.autograd.grad(build_quantizer(name)(w), w, incoming)
    kept = w != 0
    torch.testing.assert_close(mine[kept], incoming[kept], rtol=1e-6, atol=0)


@every_quantizer
def test_a_nan_stays_visible(name, w):
    w[2, 2] = torch.nan
    assert build_quantizer(name)(w).isnan().any()


@every_quantizer
def test_vmap_over_stacked_quantizers_equals_the_loop(name):
    several, w = [build_quantizer(name) for _ in range(3)], torch.randn(3, 8, 6)
    state = {k: v for part in stack_module_state(several) for k, v in part.items()}
    fused = vmap(lambda s, w: functional_call(several[0], s, (w,)))(state, w)
    assert torch.equal(fused, torch.stack([quantizer(x) for quantizer, x in zip(several, w, strict=True)]))


@every_quantizer
def test_a_copy_and_a_loaded_state_compute_the_same(name, w):
    quantizer, loaded = build_quantizer(name), build_quantizer(name)
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.mul_(0.2)
    loaded.load_state_dict(quantizer.state_dict())
    assert torch.equal(quantizer(w), copy.deepcopy(quantizer)(w))
    assert torch.equal(quantizer(w), loaded(w))
