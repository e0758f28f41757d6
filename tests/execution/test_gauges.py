"""The Grafana dashboard that ships draws what trials export."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from codeq.execution import gauges
from codeq.execution.gauges import GAUGES


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return dict(json.loads(Path(gauges.__file__).with_name("grafana.json").read_text()))


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Every PromQL expression of its panels, and the queries of its variables."""
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"]
    return [*panels, *variables]


def test_every_expression_names_an_exported_gauge_and_every_gauge_is_drawn(dashboard: dict[str, Any]) -> None:
    """What a sweep really exports: tests/test_cluster_and_dashboard.py."""
    found = [re.findall(r"ray_\w+", expression) for expression in expressions(dashboard)]
    assert all(len(names) == 1 for names in found)
    assert {name for names in found for name in names} == {f"ray_codeq_{name}" for name in GAUGES}


def test_expressions_use_the_labels_of_the_gauges_and_variables_that_exist(dashboard: dict[str, Any]) -> None:
    variables = {each["name"] for each in dashboard["templating"]["list"]}
    text = json.dumps(dashboard)
    assert set(re.findall(r"\$\{?(\w+)", text)) - {"__all"} == variables == {"datasource", "sweep"}
    for expression in expressions(dashboard):
        assert set(re.findall(r"by \(([\w, ]+)\)", expression)) <= {"sweep, trial"}
        assert set(re.findall(r"(\w+)=~", expression)) <= {"sweep"}
        assert expression.count("(") == expression.count(")")


def test_it_has_the_fields_that_grafana_needs(dashboard: dict[str, Any]) -> None:
    """https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/"""
    assert dashboard["title"] and dashboard["schemaVersion"] >= 39 and "id" not in dashboard
    assert {"uid", "time", "refresh", "templating", "annotations", "panels"} <= set(dashboard)
    places = set()
    for panel in dashboard["panels"]:
        assert {"id", "type", "title", "datasource", "gridPos", "targets", "fieldConfig", "options"} <= set(panel)
        assert panel["type"] in ("timeseries", "stat")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all({"refId", "expr", "datasource"} <= set(target) for target in panel["targets"])
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & places  # no panel lies over another one
        places |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
