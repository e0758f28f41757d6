"""The group lasso against its definition, and how terms are added."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from codeq.config.run import LossTermConfig
from codeq.quant import attach_weight_quantizers
from codeq.train.loss_terms import added_loss, column_norms, group_lasso, weighted_terms


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def test_group_lasso_sums_the_norms_of_linear_columns_and_convolution_columns() -> None:
    net = model()
    linear = sum(net[3].weight[:, i].norm() for i in range(16))
    conv = sum(net[0].weight.reshape(4, 27)[:, i].norm() for i in range(27))
    assert group_lasso(net, 0.3, 0.7).item() == pytest.approx((0.3 * linear + 0.7 * conv).item(), rel=1e-5)


def test_group_lasso_gives_a_zero_column_a_zero_gradient_not_nan() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight[:, 1] = 0.0
    group_lasso(net, 1.0, 1.0).backward()
    gradient = net[0].weight.grad
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, 0] != 0).any()


def test_group_lasso_sees_the_quantized_weight() -> None:
    net = nn.Sequential(nn.Linear(8, 8))
    before = group_lasso(net, 1.0, 1.0).item()
    attach_weight_quantizers(net, [], "deadzone", {"fixed_bit_val": 2, "learnable_bit": False})
    expected = sum(net[0].weight[:, i].norm() for i in range(8)).item()
    assert group_lasso(net, 1.0, 1.0).item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("shape", [(5, 7), (1, 3), (64, 27)])
def test_column_norms_and_their_gradients_are_torchs(shape: tuple[int, int]) -> None:
    w = torch.randn(3, *shape, dtype=torch.float64)
    w[:, :, 1] = 0.0
    assert torch.func.grad(lambda w: column_norms(w).sum())(w[0])[:, 1].eq(0).all()
    ours, torchs, stacked = (w.clone().requires_grad_() for _ in range(3))
    weights = torch.rand(3, shape[1])
    for norms in (
        torch.stack([column_norms(matrix) for matrix in ours]),
        torch.linalg.vector_norm(torchs, dim=1),
        torch.func.vmap(column_norms)(stacked),
    ):
        (norms * weights).sum().backward()
    for leaf in (ours, stacked):
        torch.testing.assert_close(leaf.grad, torchs.grad)
    torch.testing.assert_close(column_norms(w[0]), torch.linalg.vector_norm(w[0], dim=0))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_group_lasso_and_its_gradients_are_those_of_its_definition(memory_format: torch.memory_format) -> None:
    net = model().double().to(memory_format=memory_format)
    with torch.no_grad():
        net[3].weight[:, 2] = 0.0
    parameters = dict(net.named_parameters())
    norms = [torch.linalg.vector_norm(net[at].weight.flatten(1), dim=0).sum() for at in (3, 0)]
    expected = torch.autograd.grad(0.3 * norms[0] + 0.7 * norms[1], parameters.values(), allow_unused=True)
    found = torch.autograd.grad(2.0 * group_lasso(net, 0.3, 0.7), parameters.values(), allow_unused=True)
    for name, ours, theirs in zip(parameters, found, expected, strict=True):
        assert (ours is None) == (theirs is None) == (".weight" not in name or name == "1.weight"), name
        if ours is not None:
            torch.testing.assert_close(ours, 2.0 * theirs)


def test_group_lasso_of_a_model_without_such_layers_is_zero() -> None:
    assert group_lasso(nn.Sequential(nn.BatchNorm1d(3)), 1.0, 1.0).item() == 0.0


def test_the_added_loss_is_lambda_times_the_term() -> None:
    net = model()
    term = LossTermConfig.model_validate({"name": "group_lasso", "lambda": 2.5, "kwargs": {"lambda_linear": 0.1}})
    added = added_loss(net, weighted_terms([term]))
    assert isinstance(added, torch.Tensor)
    assert added.item() == pytest.approx(2.5 * group_lasso(net, 0.1, 1e-4).item())


def test_no_terms_add_nothing() -> None:
    assert added_loss(model(), []) == 0.0
