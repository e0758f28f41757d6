import torch
from hypothesis import given
from hypothesis import strategies as st

from codeq.quant.straight_through import round_through


def test_halves_are_rounded_to_even():
    assert round_through(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])).tolist() == [0, 2, 2, 0, -2]


@given(st.floats(-(2.0**99), 2.0**99, width=32))
def test_the_result_is_exactly_the_nearest_integer(value):
    x = torch.tensor(value)
    assert torch.equal(round_through(x), x.round())


def test_the_gradient_passes_unchanged():
    x, incoming = torch.randn(7, requires_grad=True), torch.randn(7)
    assert torch.equal(torch.autograd.grad(round_through(x), x, incoming)[0], incoming)


def test_it_works_under_vmap():
    slope = torch.func.vmap(torch.func.grad(lambda row: round_through(row).sum()))
    assert torch.equal(slope(torch.randn(3, 4)), torch.ones(3, 4))
