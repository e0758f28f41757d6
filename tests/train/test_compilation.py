from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from codeq.train.compilation import can_compile, compiled


@pytest.mark.parametrize(("path", "expected"), [("", False), (None, True)])
def test_a_cpu_compiles_where_a_c_compiler_is_on_the_path(
    path: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    compiler = tmp_path / "g++"
    compiler.write_text("")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if path is None else path)
    assert can_compile(torch.device("cpu")) is expected
    assert not can_compile(torch.device("mps"))


def test_the_real_compiler_computes_the_same() -> None:
    torch.manual_seed(0)
    model, images = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)), torch.randn(6, 4)
    torch.testing.assert_close(compiled(model)(images), model(images))
