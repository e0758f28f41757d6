"""cluster.yaml: what Ray and AWS would make of it, and that it opens and tells nothing."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.model import Shape, StringShape
from botocore.validate import ParamValidator
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "cluster.yaml").read_text()
NODE_TYPES = ["head", "gpu_spot"]


@pytest.fixture
def cluster() -> dict[str, Any]:
    """The file as it stands."""
    return yaml.safe_load(TEXT)


@pytest.fixture
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    """The file as `ray up` sees it, with Ray's defaults wherever it says nothing."""
    return prepare_config(copy.deepcopy(cluster))


@pytest.fixture(params=NODE_TYPES)
def node_config(request: pytest.FixtureRequest, cluster: dict[str, Any]) -> dict[str, Any]:
    """What Ray asks AWS for, of each node type in turn."""
    return cluster["available_node_types"][request.param]["node_config"]


@pytest.fixture(scope="module")
def run_instances() -> Shape:
    """The request with which Ray starts machines."""
    model = botocore.session.get_session().get_service_model("ec2")
    return model.operation_model("RunInstances").input_shape


def problems(node_config: dict[str, Any], shape: Shape) -> list[str]:
    """What AWS would refuse in a node_config: unknown keys, wrong types, values outside a closed set."""
    report = ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **node_config}, shape)
    errors = report.generate_report().splitlines()
    return errors or list(values_outside_their_set(node_config, shape))


def values_outside_their_set(value: Any, shape: Shape) -> Iterator[str]:
    if shape.type_name == "structure":
        for key, member in value.items():
            yield from values_outside_their_set(member, shape.members[key])
    elif shape.type_name == "list":
        for member in value:
            yield from values_outside_their_set(member, shape.member)
    elif isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield f"{shape.name}: {value}"


def start_command(commands: list[str]) -> str:
    """The one command that starts Ray."""
    (command,) = [command for command in commands if "ray start" in command]
    return command


def test_ray_accepts_the_file(prepared: dict[str, Any]) -> None:
    validate_config(prepared)


def test_the_node_types_are_the_ones_tested_here(cluster: dict[str, Any]) -> None:
    assert list(cluster["available_node_types"]) == NODE_TYPES


def test_aws_accepts_the_nodes(node_config: dict[str, Any], run_instances: Shape) -> None:
    assert problems(node_config, run_instances) == []


@pytest.mark.parametrize(
    "typo",
    [
        {"InstanceTyp": "g5.xlarge"},
        {"InstanceType": "g5.xlrage"},
        {"InstanceMarketOptions": {"MarketType": "sport"}},
        {"MetadataOptions": {"HttpToken": "required"}},
        {"SecurityGroupIds": "sg-1"},
        {"BlockDeviceMappings": [{"Ebs": {"Encrypted": "yes"}}]},
    ],
)
def test_a_typo_in_a_node_is_found(run_instances: Shape, typo: dict[str, Any]) -> None:
    assert problems(typo, run_instances)


def test_nothing_is_bound_or_open_to_all_addresses(prepared: dict[str, Any]) -> None:
    for everywhere in ("0.0.0.0", "::/0"):
        assert everywhere not in TEXT
        assert everywhere not in json.dumps(prepared)


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


def test_the_dashboard_listens_on_loopback_only(prepared: dict[str, Any]) -> None:
    assert re.findall(r"--dashboard-host[= ](\S+)", start_command(prepared["head_start_ray_commands"])) == [
        "127.0.0.1"
    ]


@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_starts_with_token_authentication(prepared: dict[str, Any], role: str) -> None:
    before, _, _ = start_command(prepared[f"{role}_start_ray_commands"]).partition("ray start")
    assert "export RAY_AUTH_MODE=token;" in before


@pytest.mark.parametrize("role", ["head", "worker"])
def test_what_is_run_on_a_node_later_authenticates_too(prepared: dict[str, Any], role: str) -> None:
    assert any(
        re.search(r"export .*RAY_AUTH_MODE=token.*>> ~/\.bashrc", command)
        for command in prepared[f"{role}_setup_commands"]
    )


def test_the_token_travels_as_a_file_nobody_else_reads(prepared: dict[str, Any]) -> None:
    assert prepared["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for role in ("head", "worker"):
        assert "chmod 600 ~/.ray/auth_token" in prepared[f"{role}_setup_commands"][0]


def test_no_secret_stands_in_the_file() -> None:
    assert not re.search(r"\bAKIA|aws_secret|aws_credentials|_TOKEN=|_KEY=|PRIVATE KEY", TEXT)
    assert not re.search(r"[0-9A-Za-z+=]{32,}", TEXT), "long enough to be a key"


def test_workers_are_spot_machines_and_the_head_is_not(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] == "head"
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in types["head"]["node_config"]


def test_idle_workers_go_away_and_stopped_machines_do_not_cost(prepared: dict[str, Any]) -> None:
    workers = prepared["available_node_types"]["gpu_spot"]
    assert (workers["min_workers"], workers["max_workers"], prepared["max_workers"]) == (0, 8, 8)
    assert 0 < prepared["idle_timeout_minutes"] <= 15
    assert prepared["provider"]["cache_stopped_nodes"] is False


def test_disks_are_encrypted_and_go_with_their_machine(node_config: dict[str, Any]) -> None:
    disks = [disk["Ebs"] for disk in node_config["BlockDeviceMappings"]]
    assert disks
    assert all(disk["Encrypted"] is True and disk["DeleteOnTermination"] is True for disk in disks)


def test_credentials_are_read_through_the_guarded_metadata_service_only(node_config: dict[str, Any]) -> None:
    assert node_config["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


def test_every_mounted_file_exists_or_the_header_says_how_to_make_it(cluster: dict[str, Any]) -> None:
    made = {"~/.ray/auth_token": "ray get-auth-token --generate"}
    for source in cluster["file_mounts"].values():
        if source.startswith("~"):
            assert made[source] in TEXT
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


def test_nodes_install_the_requirements_that_travelled(prepared: dict[str, Any]) -> None:
    (target,) = [to for to, source in prepared["file_mounts"].items() if source == "requirements.txt"]
    install = f"pip install --quiet --requirement {target}"
    for role in ("head", "worker"):
        assert any(install in command for command in prepared[f"{role}_setup_commands"])


def test_the_sweep_in_the_header_exists() -> None:
    named = re.findall(r"sweeps/\w+\.yaml", TEXT)
    assert named
    assert all((ROOT / path).exists() for path in named)
