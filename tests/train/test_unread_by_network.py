"""Searched values that none of the searched networks reads are refused at their line before the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.execution.session import check_networks
from codeq.train import unread_by_network as module
from codeq.train.unread_by_network import unread_by_network

Check = Callable[..., list[str]]
RANGE = "{distribution: loguniform, low: 1e-5, high: 1e-2}"
EITHER = "{distribution: choice, choices: [true, false]}"
BOTH = "{distribution: choice, choices: [mlp, resnet20]}"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """What is said of a template of digits with these values, without the words that all have."""
    monkeypatch.chdir(tmp_path)

    def check(
        model: str = "mlp", norms: str = "false", exclude: str = "[]", lasso: str = "{}", term: str = "1.0"
    ) -> list[str]:
        text = f"model: {model}\ndataset: digits\n"
        text += f"quantizer:\n  name: uniform\n  quantize_norms: {norms}\n  exclude_layers: {exclude}\n"
        text += "optimizer: {type: sgd, param_groups: {base: {lr: 0.1}}}\n"
        text += f"loss_terms:\n  - name: group_lasso\n    lambda: {term}\n    kwargs: {lasso}\n"
        Path("t.yaml").write_text(text)
        lines = [str(problem) for problem in unread_by_network(Template.load("t.yaml"))]
        said = " is searched, but nothing reads it: "
        return [line.removesuffix("; write one value").replace(said, " ") for line in lines if said in line]

    return check


def test_factors_of_layers_that_no_network_has(check: Check) -> None:
    conv = f"{{lambda_conv: {RANGE}}}"
    assert check(lasso=conv) == [
        "t.yaml:11: loss_terms.group_lasso.kwargs.lambda_conv: mlp has no convolutions"
    ]
    assert check("resnet20", lasso=conv) == check(BOTH, lasso=conv) == []
    linear = f"{{lambda_linear: {RANGE}}}"
    assert check("timm/test_convnext.r160_in1k", lasso=linear) == check(lasso=linear) == []


def test_the_lambda_of_a_term_that_is_zero_in_every_network(check: Check) -> None:
    assert check(lasso="{lambda_linear: 0.0}", term=RANGE) == [
        "t.yaml:10: loss_terms.group_lasso.lambda: mlp has no convolutions, and the other factor is 0"
    ]
    assert check(lasso="{lambda_conv: 0.0}", term=RANGE) == check("resnet20", lasso="{lambda_linear: 0.0}", term=RANGE)
    assert check(lasso="{lambda_conv: 0.0}", term=RANGE) == []


def test_quantize_norms_of_networks_without_norms_or_whose_norms_are_excluded(check: Check) -> None:
    assert check(norms=EITHER) == ["t.yaml:5: quantizer.quantize_norms: mlp has no norm layers"]
    assert check("resnet20", norms=EITHER, exclude="[bn, conv1]") == [
        "t.yaml:5: quantizer.quantize_norms: resnet20 has no norm layers that are not excluded"
    ]
    assert check("resnet20", norms=EITHER) == check(BOTH, norms=EITHER) == []


def test_excluded_layers_that_would_not_be_quantized_anyway(check: Check) -> None:
    either = "{distribution: choice, choices: [[], [bn]]}"
    assert check("resnet20", exclude=either) == [
        "t.yaml:6: quantizer.exclude_layers: it excludes no layer of resnet20 that would be quantized"
    ]
    assert check("resnet20", exclude=either, norms="true") == []
    assert check("resnet20", exclude=either.replace("bn", "conv1")) == []
    one = "[fc1, {distribution: choice, choices: [x, y]}]"
    assert check(exclude=one) == [
        "t.yaml:6: quantizer.exclude_layers.1: it excludes no layer of mlp that would be quantized"
    ]
    assert check(exclude=one.replace("x", "fc2")) == []


def test_what_a_network_reads_that_is_not_built_counts_as_read(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHECKED", 0)
    assert check(norms=EITHER) == []


def test_no_network_is_built_where_the_template_tells_everything(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "build_plain", lambda *_: pytest.fail("built"))
    assert check("{distribution: choice, choices: [mlp, resnet20]}", term=RANGE) == []


def test_the_sweep_does_not_start(check: Check) -> None:
    check(norms=EITHER)
    line = "t.yaml:5: quantizer.quantize_norms: is searched, but nothing reads it: mlp has no norm layers"
    with pytest.raises(BadInput, match=f"^{line}; write one value$"):
        check_networks(Template.load("t.yaml"))
