"""The table of metrics: complete, and the only list of their names."""

from __future__ import annotations

import ast
import math

import pytest

from codeq.config.metrics import MAIN, METRICS, REPORTED, SCORES, describe_row, finite_metrics
from tests.conftest import ROOT


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_says_what_it_is(metric: object) -> None:
    one = METRICS[metric.name]  # type: ignore[attr-defined]
    assert one.meaning and one.description.startswith(one.meaning)
    assert one.low is None or one.high is None or one.low < one.high
    assert one.scale > 0


def test_the_test_accuracy_is_a_score_that_no_epoch_reports() -> None:
    assert {*METRICS} - {*REPORTED} == {"test_acc"}
    assert "test_acc" in MAIN and "test_acc" in SCORES


def test_a_description_has_the_meaning_the_unit_and_the_bounds() -> None:
    assert METRICS["val_acc"].description == "accuracy on the validation split, percent, 0 to 100"
    assert METRICS["loss"].description == "mean training loss, added terms included"


def test_rows_are_described_in_columns_of_one_width() -> None:
    low, high = {"val_acc": 9.5, "sparsity": 0.25}, {"val_acc": 100.0, "sparsity": 1.0, "epoch": 3}
    assert describe_row(low) == "val_acc   9.50  sparsity 0.2500"
    assert describe_row(high) == "val_acc 100.00  sparsity 1.0000"
    assert describe_row({"lr": 0.0012345}, ["lr"]) == "lr 0.001234"


def test_only_finite_numbers_of_reported_metrics_are_kept() -> None:
    row = {"epoch": 1, "val_acc": 50.0, "loss": math.nan, "test_acc": 51.0, "status": "running"}
    assert finite_metrics(row) == {"val_acc": 50.0}


def test_no_other_file_of_the_package_lists_the_metrics() -> None:
    """Three names in one literal are a list that a new metric would be missing from."""
    for path in [*(ROOT / "codeq").rglob("*.py"), ROOT / "tune_main.py"]:
        if path.name == "metrics.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
                items = node.keys if isinstance(node, ast.Dict) else node.elts
                named = {item.value for item in items if isinstance(item, ast.Constant)} & {*METRICS}
                assert len(named) < 3, f"{path}:{node.lineno} lists {sorted(map(str, named))}"
