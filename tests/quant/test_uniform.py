import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq.quant.uniform import UniformSymmetric, uniform_quantize

WEIGHTS = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50).map(torch.tensor)


@given(WEIGHTS.filter(lambda w: w.abs().max() > 1e-3), st.integers(2, 8))
@settings(deadline=None)
def test_it_rounds_to_the_nearest_of_evenly_spaced_levels(w, bits):
    q_max = 2 ** (bits - 1) - 1
    step = w.abs().max() / q_max
    assert torch.equal(UniformSymmetric(bits)(w), step * torch.clip(torch.round(w / step), -q_max, q_max))


def test_the_largest_weight_keeps_its_value():
    w = torch.tensor([0.7, -0.3, 0.01])
    assert UniformSymmetric(4)(w)[0].item() == pytest.approx(0.7)


@given(WEIGHTS, st.integers(2, 8))
@settings(deadline=None)
def test_there_are_at_most_two_to_the_bits_minus_one_values(w, bits):
    assert UniformSymmetric(bits)(w).unique().numel() <= 2**bits - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_all_zero_weight_stays_all_zero_with_a_finite_gradient(dtype):
    w = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    out = UniformSymmetric()(w)
    out.sum().backward()
    assert not out.any() and w.grad.isfinite().all()


def test_the_smallest_weights_do_not_divide_by_zero():
    assert UniformSymmetric()(torch.tensor([1e-45, -1e-40])).isfinite().all()


def test_a_nan_weight_is_not_hidden():
    assert uniform_quantize(torch.tensor([0.1, torch.nan]), 7).isnan().all()


def test_the_gradient_passes_unchanged():
    w, incoming = torch.randn(20, 20, requires_grad=True), torch.randn(20, 20)
    (mine,) = torch.autograd.grad(UniformSymmetric(3)(w), w, incoming)
    torch.testing.assert_close(mine, incoming, rtol=1e-6, atol=0)  # the largest weight included


def test_it_has_no_state_and_eight_bits_unless_told():
    assert not UniformSymmetric().state_dict()
    assert UniformSymmetric().get_bitwidth().item() == 8


def test_fewer_than_two_bits_are_refused():
    with pytest.raises(ValueError, match="bitwidth is 1, must be at least 2"):
        UniformSymmetric(1)
