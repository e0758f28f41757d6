"""cluster.yaml and cluster.local.yaml: what they start, what they copy, and that they tell nothing."""

from __future__ import annotations

import copy
import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.util import prepare_config

from codeq.execution.doctor import requirements
from tests.conftest import ROOT

NODE_TYPES = ["head", "gpu_spot"]


@pytest.fixture(params=["cluster.yaml", "cluster.local.yaml"])
def text(request: pytest.FixtureRequest) -> str:
    """Each file in turn, as it stands."""
    return (ROOT / request.param).read_text()


@pytest.fixture
def cluster(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)


@pytest.fixture
def aws() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def prepared(aws: dict[str, Any]) -> dict[str, Any]:
    """cluster.yaml as `ray up` sees it, with Ray's defaults wherever it says nothing."""
    return prepare_config(copy.deepcopy(aws))


@pytest.fixture(params=NODE_TYPES)
def node_config(request: pytest.FixtureRequest, aws: dict[str, Any]) -> dict[str, Any]:
    """What Ray asks AWS for, of each node type in turn."""
    return aws["available_node_types"][request.param]["node_config"]


def test_the_node_types_are_the_ones_tested_here(aws: dict[str, Any]) -> None:
    assert list(aws["available_node_types"]) == NODE_TYPES


def test_ray_makes_and_changes_no_security_group(
    prepared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of Ray's own making, or one described to it, lets every address reach port 22."""

    def ask_aws(*_: Any) -> None:
        pytest.fail("Ray would make a security group")

    monkeypatch.setattr(ray_aws, "_resource", ask_aws)
    monkeypatch.setattr(ray_aws, "_client", ask_aws)
    assert ray_aws._configure_security_group(copy.deepcopy(prepared)) == prepared
    assert "security_group" not in prepared["provider"]


def test_the_dashboard_listens_on_loopback_only(cluster: dict[str, Any]) -> None:
    (start,) = [command for command in cluster["head_start_ray_commands"] if "ray start" in command]
    assert re.findall(r"--dashboard-host[= ](\S+)", start) == ["127.0.0.1"]


def test_what_is_run_on_a_node_later_authenticates_too(cluster: dict[str, Any]) -> None:
    assert any(re.search(r"export .*RAY_AUTH_MODE=token.*>> ~/\.bashrc", c) for c in cluster["setup_commands"])


def test_the_token_travels_as_a_file_nobody_else_reads(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in cluster["setup_commands"][0]


def test_no_secret_stands_in_the_file(text: str) -> None:
    assert not re.search(r"\bAKIA|aws_secret|aws_credentials|_TOKEN=|_KEY=|PRIVATE KEY", text)
    assert not re.search(r"[0-9A-Za-z+=]{32,}", text), "long enough to be a key"


def test_the_release_of_ray_that_nodes_install_is_one_that_the_requirements_allow(text: str) -> None:
    lowest = dict(requirements((ROOT / "requirements.txt").read_text()))["ray"]
    (pinned,) = re.findall(r"'ray\[default,tune\]==([\d.]+)'", text)
    assert tuple(map(int, pinned.split("."))) >= tuple(map(int, lowest.split(".")))


def test_workers_are_spot_machines_and_the_head_is_not(aws: dict[str, Any]) -> None:
    types = aws["available_node_types"]
    assert aws["head_node_type"] == "head"
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in types["head"]["node_config"]


def test_idle_workers_go_away_and_stopped_machines_do_not_cost(prepared: dict[str, Any]) -> None:
    workers = prepared["available_node_types"]["gpu_spot"]
    assert (workers["min_workers"], workers["max_workers"], prepared["max_workers"]) == (0, 8, 8)
    assert 0 < prepared["idle_timeout_minutes"] <= 15
    assert prepared["provider"]["cache_stopped_nodes"] is False


def test_no_trial_runs_on_the_head_of_rented_machines(aws: dict[str, Any]) -> None:
    assert aws["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_disks_are_encrypted_and_go_with_their_machine(node_config: dict[str, Any]) -> None:
    disks = [disk["Ebs"] for disk in node_config["BlockDeviceMappings"]]
    assert disks
    assert all(disk["Encrypted"] is True and disk["DeleteOnTermination"] is True for disk in disks)


def test_credentials_are_read_through_the_guarded_metadata_service_only(node_config: dict[str, Any]) -> None:
    assert node_config["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


def test_every_mounted_file_exists_or_the_header_says_how_to_make_it(text: str, cluster: dict[str, Any]) -> None:
    made = {"~/.ray/auth_token": "ray get-auth-token --generate"}
    for source in cluster["file_mounts"].values():
        if source.startswith("~"):
            assert made[source] in text
        else:
            assert (ROOT / source).exists(), source


def test_all_of_the_package_travels(cluster: dict[str, Any]) -> None:
    """An exclusion of `data` or `results` would take the packages of those names with it."""
    sources = [ROOT / source for source in cluster["file_mounts"].values() if not source.startswith("~")]
    assert {ROOT / "codeq", ROOT / "sweeps", ROOT / "tune_main.py", ROOT / "requirements.txt"} <= set(sources)
    modules = (ROOT / "codeq").rglob("*.py")
    assert [str(module) for module in modules if excluded(module, cluster)] == []


def test_no_private_or_local_file_travels(cluster: dict[str, Any]) -> None:
    sources = [ROOT / source for source in cluster["file_mounts"].values() if not source.startswith("~")]
    for name in (".env", ".git", ".venv", "results", "data", "save_temp", "wandb"):
        path = ROOT / name
        inside = any(path.is_relative_to(source) for source in sources)
        assert not inside or excluded(path, cluster), name
    assert excluded(ROOT / "codeq" / ".env", cluster)


def excluded(path: Path, cluster: dict[str, Any]) -> bool:
    """rsync's reading of a pattern without a slash: it holds for a name at any depth."""
    assert all("/" not in pattern for pattern in cluster["rsync_exclude"])
    parts = path.relative_to(ROOT).parts
    return any(fnmatch.fnmatch(part, pattern) for part in parts for pattern in cluster["rsync_exclude"])


def test_nodes_install_the_requirements_that_travelled(cluster: dict[str, Any]) -> None:
    (target,) = [to for to, source in cluster["file_mounts"].items() if source == "requirements.txt"]
    install = f"pip install --quiet --requirement {target}"
    assert any(install in command for command in cluster["setup_commands"])


def test_the_sweep_in_the_header_exists(text: str) -> None:
    named = re.findall(r"sweeps/\w+\.yaml", text)
    assert named
    assert all((ROOT / path).exists() for path in named)
