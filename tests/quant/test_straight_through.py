import torch
from hypothesis import given
from hypothesis import strategies as st

from codeq.quant.straight_through import ste_round


def test_halves_are_rounded_to_even():
    assert ste_round(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])).tolist() == [0, 2, 2, 0, -2]


@given(st.floats(-(2.0**99), 2.0**99, width=32))
def test_the_result_is_exactly_the_nearest_integer(value):
    x = torch.tensor(value)
    assert torch.equal(ste_round(x), x.round())


def test_the_gradient_passes_unchanged():
    x, incoming = torch.randn(7, requires_grad=True), torch.randn(7)
    assert torch.equal(torch.autograd.grad(ste_round(x), x, incoming)[0], incoming)


def test_it_works_under_vmap():
    slope = torch.func.vmap(torch.func.grad(lambda row: ste_round(row).sum()))
    assert torch.equal(slope(torch.randn(3, 4)), torch.ones(3, 4))
