import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq.quant import quantile as module
from codeq.quant.quantile import quantile, row_quantiles

SAMPLED = 32_768  # from here on the CPU samples before it selects
STRIDE = 61  # every how many elements
FLOATS = st.floats(-1e6, 1e6, width=32)


def shaped(count: int, pattern: str, seed: int) -> torch.Tensor:
    """`count` numbers, some arranged so that a sample misleads about the largest, or these are hard to tell apart."""
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
        case "sampled high" | "sampled low":  # the sample holds only the largest, or none of them
            sampled = torch.arange(count) % STRIDE == 0
            return torch.where(sampled == (pattern == "sampled high"), x.abs() + 10, x)
    return x


@given(
    st.lists(FLOATS, min_size=1, max_size=60),
    st.floats(0, 1),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None)
def test_it_equals_torch_quantile_bit_for_bit(values, q, dtype):
    x = torch.tensor(values, dtype=dtype)
    assert torch.equal(quantile(x, q), torch.quantile(x, q))


@given(
    st.integers(SAMPLED, 80_000),
    st.sampled_from(["random", "ascending", "descending", "tied", "constant", "sampled high", "sampled low"]),
    st.sampled_from([0.0, 0.3, 0.9, 0.99, 0.9999, 1.0]),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=60)
def test_it_equals_torch_quantile_where_it_samples_first(count, pattern, q, seed):
    x = shaped(count, pattern, seed)
    assert torch.equal(quantile(x, q), torch.quantile(x, q))


def test_a_tensor_of_several_dimensions_counts_as_one():
    x = torch.randn(5, 7, 3, 3)
    assert torch.equal(quantile(x, 0.9), torch.quantile(x.flatten(), 0.9))
    assert quantile(x, 0.9).shape == ()


def test_the_quantile_of_one_element_is_that_element():
    assert quantile(torch.tensor([0.7]), 0.99).item() == pytest.approx(0.7)
    assert quantile(torch.tensor(0.7), 0.99).item() == pytest.approx(0.7)


@pytest.mark.parametrize("count", [1, 2, 200, SAMPLED, 50_001])
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


@pytest.mark.parametrize("count", [1, 300, 2 * SAMPLED])
def test_vmap_equals_the_loop(count):
    x = torch.randn(4, count)
    assert torch.equal(torch.func.vmap(lambda row: quantile(row, 0.99))(x), torch.stack([quantile(r, 0.99) for r in x]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 300, 2 * SAMPLED])
def test_a_row_has_the_quantile_it_has_alone(count, dtype):
    x = torch.randn(2, 3, count, dtype=dtype)
    x[1, 0, count // 2] = math.nan
    rows = row_quantiles(x, 0.99)
    assert rows.isnan().tolist() == [[False] * 3, [True, False, False]]
    alone = torch.stack([quantile(row, 0.99) for row in x.flatten(0, 1)]).view(2, 3)
    assert torch.equal(rows.nan_to_num(), alone.nan_to_num())


@pytest.mark.parametrize("count", [1, 2, 150, 10_001])
@pytest.mark.parametrize("q", [0.0, 0.5, 0.99, 1.0])
def test_it_is_selected_on_a_gpu_as_on_the_host(count, q, monkeypatch):
    x = torch.randn(4, count)
    x[2, 0] = math.nan
    host = row_quantiles(x, q)
    monkeypatch.setattr(module, "on_host", lambda _: False)
    assert torch.equal(row_quantiles(x, q).nan_to_num(), host.nan_to_num())
    assert row_quantiles(x, q).isnan().equal(host.isnan())


def test_neither_selection_writes_to_its_argument():
    x = torch.randn(3, 500)
    before = x.clone()
    row_quantiles(x, 0.9)
    assert torch.equal(x, before)


def test_it_compiles_into_one_graph():
    compiled = torch.compile(
        lambda x: quantile(x, 0.99) + row_quantiles(x, 0.99).sum(), backend="eager", fullgraph=True
    )
    x = torch.randn(2, 500)
    assert torch.equal(compiled(x), quantile(x, 0.99) + row_quantiles(x, 0.99).sum())


def test_it_carries_no_gradient():
    assert not quantile(torch.randn(100, requires_grad=True), 0.99).requires_grad


@pytest.mark.parametrize(("count", "q"), [(0, 0.5), (3, 1.01), (3, -0.01), (3, math.nan)])
def test_no_elements_and_no_such_quantile_are_refused(count, q):
    with pytest.raises(ValueError, match=f"{count} elements at q = {q}"):
        quantile(torch.rand(count), q)
