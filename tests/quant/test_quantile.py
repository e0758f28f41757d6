import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq.quant.quantile import quantile

GROUPED = 16_384  # from here on groups are selected first
FLOATS = st.floats(-1e6, 1e6, width=32)


def shaped(count: int, pattern: str, seed: int) -> torch.Tensor:
    """`count` numbers, some arranged so that the largest share few groups, or none, or are hard to tell apart."""
    x = torch.randn(count, generator=torch.Generator().manual_seed(seed))
    match pattern:
        case "ascending":
            return x.sort().values
        case "descending":
            return x.sort(descending=True).values
        case "tied":
            return x.round()
        case "constant":
            return torch.full_like(x, 0.25)
        case "one group":  # a group is every count // 10 elements
            return torch.where(torch.arange(count) % (count // 10) == 3, x.abs() + 10, x)
    return x


@given(
    st.lists(FLOATS, min_size=1, max_size=60),
    st.floats(0, 1),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None)
def test_it_equals_torch_quantile_but_for_rounding(values, q, dtype):
    x = torch.tensor(values, dtype=dtype)
    rounding = 1e-6 * x.abs().max().item() * len(values)  # of the rank, between two neighbours far apart
    torch.testing.assert_close(quantile(x, q), torch.quantile(x, q), rtol=1e-6, atol=rounding)


@given(
    st.integers(GROUPED, 80_000),
    st.sampled_from(["random", "ascending", "descending", "tied", "constant", "one group"]),
    st.sampled_from([0.0, 0.3, 0.9, 0.99, 0.9999, 1.0]),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_it_lies_between_the_neighbours_that_sorting_finds(count, pattern, q, seed):
    x = shaped(count, pattern, seed)
    rank = q * (count - 1)
    lower, upper = x.sort().values[[math.floor(rank), math.ceil(rank)]].double().tolist()
    expected = lower + (rank - math.floor(rank)) * (upper - lower)
    assert lower <= quantile(x, q).item() <= upper
    assert quantile(x, q).item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("count", [7, GROUPED])
def test_rows_have_the_quantiles_that_they_have_alone(count):
    x = torch.randn(5, 3, count)
    assert torch.equal(quantile(x, 0.9), torch.stack([torch.stack([quantile(row, 0.9) for row in rows]) for rows in x]))


def test_the_quantile_of_one_element_is_that_element():
    assert quantile(torch.tensor([0.7]), 0.99).item() == pytest.approx(0.7)


@pytest.mark.parametrize("count", [1, 2, 200, GROUPED, 50_001])
@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("q", [0.0, 0.5, 0.99, 1.0])
def test_a_nan_anywhere_gives_nan(count, where, q):
    x = torch.rand(count)
    x[0 if where == "first" else -1] = math.nan
    assert quantile(x, q).isnan()


def test_more_elements_than_float32_can_count_are_no_limit():
    count = 2**24 + 1
    x = torch.arange(count, dtype=torch.float32)
    assert quantile(x, 0.99).item() == pytest.approx(0.99 * (count - 1), rel=1e-7)


@pytest.mark.parametrize("count", [1, 300, 2 * GROUPED])
def test_vmap_equals_the_loop(count):
    x = torch.randn(4, count)
    assert torch.equal(torch.func.vmap(lambda row: quantile(row, 0.99))(x), torch.stack([quantile(r, 0.99) for r in x]))


@pytest.mark.parametrize("count", [500, 2 * GROUPED])
def test_its_argument_is_not_written_to(count):
    x = torch.randn(count)
    before = x.clone()
    quantile(x, 0.9)
    assert torch.equal(x, before)


@pytest.mark.parametrize("count", [500, 2 * GROUPED])
def test_no_value_is_read_back_from_the_device(count):
    assert quantile(torch.empty(count, device="meta"), 0.99).shape == ()


@pytest.mark.parametrize("count", [500, 2 * GROUPED])
def test_it_compiles_into_one_graph(count):
    compiled = torch.compile(lambda x: quantile(x, 0.99), backend="eager", fullgraph=True)
    x = torch.randn(count)
    assert torch.equal(compiled(x), quantile(x, 0.99))


def test_it_carries_no_gradient():
    assert not quantile(torch.randn(100, requires_grad=True), 0.99).requires_grad


@pytest.mark.parametrize(("count", "q"), [(0, 0.5), (3, 1.01), (3, -0.01), (3, math.nan)])
def test_no_elements_and_no_such_quantile_are_refused(count, q):
    with pytest.raises(ValueError, match=f"{count} elements at q = {q}"):
        quantile(torch.rand(count), q)
