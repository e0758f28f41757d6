"""What each precision means on each device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from codeq.config import RunConfig
from codeq.train.loop import create_train_state, fit
from codeq.train.precision import set_precision


@pytest.fixture(autouse=True)
def restored() -> Any:
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize(
    ("wanted", "device", "capability", "expected", "products"),
    [
        ("auto", "cpu", (0, 0), "fp32", None),
        ("auto", "mps", (0, 0), "fp32", None),
        ("auto", "cuda", (9, 0), "bf16", "high"),
        ("auto", "cuda", (8, 0), "bf16", "high"),
        ("auto", "cuda", (7, 5), "fp32", "highest"),
        ("bf16", "cpu", (0, 0), "bf16", None),
        ("fp32", "cuda", (9, 0), "fp32", "highest"),
        ("tf32", "cuda", (9, 0), "tf32", "high"),
    ],
)
def test_what_a_precision_means(
    wanted: Any,
    device: str,
    capability: tuple[int, int],
    expected: str,
    products: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    torch.set_float32_matmul_precision("medium")
    assert set_precision(wanted, torch.device(device)) == expected
    assert torch.get_float32_matmul_precision() == (products or "medium")
    if products:
        assert torch.backends.cudnn.allow_tf32 is (products == "high")


def test_a_run_in_bf16_learns_what_one_in_float32_learns(tiny: dict[str, Any]) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        *_, row = fit(create_train_state(RunConfig.model_validate({**tiny, "precision": precision})))
        found[precision] = row
    assert found["bf16"].loss != found["fp32"].loss
    assert found["bf16"].val_acc == pytest.approx(found["fp32"].val_acc, abs=5.0)
    assert found["fp32"].val_acc > 60
