"""`python -m codeq.execution.cluster check`: what Ray or AWS would refuse, or open to everyone, has a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codeq.execution.cluster import aws
from codeq.execution.cluster.__main__ import main
from tests.conftest import ROOT

PLACEHOLDERS = {"ami-CHANGE": "ami-0123456789abcdef0", "sg-CHANGE": "sg-0123456789abcdef0"}
MACHINES = {"_ip: CHANGE": "_ip: 192.0.2.1", "[CHANGE, CHANGE]": "[192.0.2.2, 192.0.2.3]", "user: CHANGE": "user: me"}
FILES = {"cluster.yaml": PLACEHOLDERS, "cluster.local.yaml": MACHINES}

Check = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The token of a user whose home holds an SSH key, and nothing else."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("00")
    path.chmod(0o600)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").touch()
    return path


@pytest.fixture
def check(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Checks a shipped file whose placeholders are filled in, after some texts in it are replaced by others.

    Returns the exit code and the lines on standard error, without the name of the file.
    """
    monkeypatch.chdir(ROOT)

    def run(changes: dict[str, str] | None = None, name: str = "cluster.yaml") -> tuple[int, list[str]]:
        text = (ROOT / name).read_text()
        for before, after in {**FILES[name], **(changes or {})}.items():
            assert before in text, before
            text = text.replace(before, after)
        (tmp_path / name).write_text(text)
        code = main(["check", str(tmp_path / name)])
        return code, [line.removeprefix(f"{tmp_path / name}:") for line in capsys.readouterr().err.splitlines()]

    return run


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_files_are_valid_once_their_placeholders_are_filled_in(check: Check, name: str) -> None:
    assert check(name=name) == (0, [])


@pytest.mark.parametrize("name", FILES)
def test_every_placeholder_has_a_line_and_nothing_else_has(
    token: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    lines = (ROOT / name).read_text().splitlines()
    values = [(n, line) for n, line in enumerate(lines, 1) if "CHANGE" in line.partition("#")[0]]
    assert main(["check", name]) == 2
    found = capsys.readouterr().err.splitlines()
    assert all("a placeholder; write your own" in line for line in found)
    assert {int(line.split(":")[1]) for line in found} == {number for number, _ in values}


HEAD = "ray start --head --port=6379 --object-manager-port=8076"
TYPE = "available_node_types"
GPU = f"{TYPE}.gpu_spot.node_config"
PIN = "'ray[default,tune]==2.60.0'"


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        # Ray's schema
        ({"max_workers: 8\nupscaling": "max_worker: 8\nupscaling"}, "max_worker", "did you mean max_workers?"),
        ({"  type: aws": "  typ: aws"}, "provider.type", "is missing"),
        ({"idle_timeout_minutes: 5": "idle_timeout_minutes: soon"}, "idle_timeout_minutes", "must be a number"),
        ({"    min_workers: 0": "    min_worker: 0"}, f"{TYPE}.gpu_spot.min_worker", "did you mean min_workers?"),
        ({"head_node_type: head": "head_node_type: main"}, "head_node_type", "must be one of `available_node_types`"),
        ({"stopped_nodes: false": "stopped_nodes: no"}, "provider.cache_stopped_nodes", "Ray reads as false"),
        # AWS
        ({"InstanceType: g5.xlarge": "InstanceTyp: g5.xlarge"}, f"{GPU}.InstanceTyp", "did you mean InstanceType?"),
        ({"InstanceType: g5.xlarge": "InstanceTyp: g5.xlarge"}, f"{GPU}.InstanceType", "is missing"),
        ({"g5.xlarge  ": "g5.xlrage  "}, f"{GPU}.InstanceType", "AWS does not know; did you mean g5.xlarge?"),
        ({"MarketType: spot": "MarketType: sport"}, f"{GPU}.InstanceMarketOptions.MarketType", "did you mean spot?"),
        ({"HttpTokens": "HttpToken"}, f"{GPU}.MetadataOptions.HttpToken", "did you mean HttpTokens?"),
        ({"[sg-0123456789abcdef0]": "[codeq-tune]"}, f"{GPU}.SecurityGroupIds.0", "must be a group's id"),
        ({"SecurityGroupIds: [sg-0123456789abcdef0]": "NetworkInterfaces: [{DeviceIndex: 0}]"},
         f"{GPU}.NetworkInterfaces", "at least one is missing a subnet"),
        ({"region: us-west-2": "region: us-wets-2"}, "provider.region", "AWS does not know; did you mean us-west-2?"),
        ({"  region: us-west-2": "  # us-west-2"}, "provider.region", "is missing"),
        ({"[sg-0123456789abcdef0]": "sg-0123456789abcdef0"}, f"{GPU}.SecurityGroupIds", "must be a list"),
        ({"Encrypted: true": "Encrypted: 1"}, f"{GPU}.BlockDeviceMappings.0.Ebs.Encrypted", "must be true or false"),
        ({"VolumeSize: 150": "VolumeSize: true"}, f"{GPU}.BlockDeviceMappings.0.Ebs.VolumeSize", "must be an integer"),
        # open to others
        ({"=127.0.0.1": "=0.0.0.0"}, "head_start_ray_commands.1", "binds to all interfaces"),
        ({"=127.0.0.1": " '::'"}, "head_start_ray_commands.1", "lets other machines reach the dashboard (::)"),
        ({"=127.0.0.1": "=192.0.2.1"}, "head_start_ray_commands.1", "write --dashboard-host=127.0.0.1"),
        ({"head_start_ray_commands:": "metadata:\n  unused:"}, "head_start_ray_commands",
         "is missing; by Ray's default the dashboard binds to all interfaces"),
        ({"SecurityGroupIds": "# SecurityGroupIds"}, f"{GPU}.SecurityGroupIds", "everyone can reach port 22"),
        *(
            ({"  region:": f"  security_group: {{IpPermissions: [{{FromPort: 22, ToPort: 22, {rule}}}]}}\n  region:"},
             f"provider.security_group.IpPermissions.0.{key}", f"lets every address in ({cidr})")
            for rule, key, cidr in [
                ("IpRanges: [{CidrIp: 0.0.0.0/0}]", "IpRanges.0.CidrIp", "0.0.0.0/0"),
                ("Ipv6Ranges: [{CidrIpv6: '::/0'}]", "Ipv6Ranges.0.CidrIpv6", "::/0"),
            ]
        ),
        # the token
        ({f"export RAY_AUTH_MODE=token; ulimit -n 65536; {HEAD}": HEAD}, "head_start_ray_commands.1",
         "starts Ray without token authentication"),
        ({"worker_start_ray_commands:": "metadata:\n  unused:"}, "worker_start_ray_commands",
         "starts Ray without token authentication"),
        ({HEAD: f"export RAY_AUTH_MODE=disabled; {HEAD}"}, "head_start_ray_commands.1", "without token authentication"),
        ({"  ~/.ray/auth_token: ~/.ray/auth_token\n": ""}, "file_mounts", "lacks the token"),
        ({"  - ray stop": "  - export RAY_AUTH_TOKEN=00\n  - ray stop"}, "head_start_ray_commands.0", "holds a secret"),
        # what may change
        ({"ami-0123456789abcdef0": "resolve:ssm:/aws/latest/ami-id"}, f"{GPU}.ImageId", "write the id that it has now"),
        ({"ami-0123456789abcdef0": "latest"}, f"{GPU}.ImageId", "is 'latest', which may change"),
        ({"ImageId": "# ImageId"}, f"{GPU}.ImageId", "is missing"),
        *(
            ({"\nauth:": f"\ndocker: {{container_name: c, image: {image}}}\n\nauth:"}, "docker.image", "which changes")
            for image in ("rayproject/ray", "rayproject/ray:latest", "ray:latest-py311-gpu", "host:5000/ray:nightly")
        ),
        ({PIN: "'ray[default]>=2.60'"}, "setup_commands.2", "installs ray[default]>=2.60, whose release changes"),
        ({PIN: "ray"}, "setup_commands.2", "installs ray, whose release changes"),
        ({PIN: "'ray[default] @ https://x/latest/r.whl'"}, "setup_commands.2", "whose release changes"),
        ({f" {PIN}": ""}, "setup_commands", "install no release of Ray by name"),
        # workers
        ({"--autoscaling-config=": "--labels-file="}, "head_start_ray_commands.1", "to which no worker is added"),
        # files
        ({"  ssh_user: ubuntu": "  ssh_user: ubuntu\n  ssh_private_key: ~/no_key"}, "auth.ssh_private_key",
         "~/no_key does not exist"),
        ({": sweeps\n": ": no_sweeps\n"}, "file_mounts.~/codeq-tune/sweeps", "no_sweeps does not exist"),
    ],
)  # fmt: skip
def test_what_would_not_start_or_be_open_is_refused_with_its_line(
    check: Check, change: dict[str, str], key: str, reason: str
) -> None:
    code, lines = check(change)
    assert code == 2
    assert any(reason in line for line in lines if re.match(rf"\d+: {re.escape(key)}: ", line)), lines


def test_a_pinned_image_with_its_own_ray_is_accepted(check: Check) -> None:
    digest = "docker: {container_name: c, image: 'rayproject/ray@sha256:" + "0" * 64 + "'}"
    release = "docker: {container_name: c, image: 'rayproject/ray:2.60.0-py311-gpu'}"
    for image in (digest, release):
        assert check({"\nauth:": f"\n{image}\n\nauth:", f" {PIN}": ""}) == (0, [])


def test_a_missing_token_is_said_with_the_command_that_makes_it(check: Check, token: Path) -> None:
    token.unlink()
    code, (line,) = check()
    assert code == 2
    assert "does not exist; make it: (umask 077; ray get-auth-token --generate >/dev/null); chmod 600" in line


def test_a_token_that_others_can_read_is_refused(check: Check, token: Path) -> None:
    token.chmod(0o644)
    code, (line,) = check()
    assert code == 2 and "can be read by other users; chmod 600 ~/.ray/auth_token" in line


WORKERS = "[192.0.2.2, 192.0.2.3]"


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({f"  worker_ips: {WORKERS}": "  # none"}, "", "supply a `head_ip` and list of `worker_ips`"),
        ({WORKERS: "[192.0.2.1, 192.0.2.2]"}, "provider.worker_ips.0", "is 192.0.2.1, which is named before"),
        ({WORKERS: "[192.0.2.2, 192.0.2.2]"}, "provider.worker_ips.1", "is 192.0.2.2, which is named before"),
        ({"  ssh_user: me": ""}, "auth.ssh_user", "is missing"),
        ({" RAY_enable_autoscaler_v2=0;": ";"}, "head_start_ray_commands.1", "adds no machines of one's own"),
    ],
)
def test_machines_of_ones_own_are_named_once_and_reachable(
    check: Check, change: dict[str, str], key: str, reason: str
) -> None:
    code, (line,) = check(change, "cluster.local.yaml")
    assert code == 2
    assert reason in line and f": {key}" in f": {line}", line


def test_without_botocore_what_to_install_is_said(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    aws._run_instances.cache_clear()
    code, (line,) = check()
    assert code == 2 and line.endswith("provider.type: needs boto3, which is not installed; pip install boto3")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        ("", "must be a mapping"),
        ("a: *b\n", "aliases are not read; repeat the value"),
        ("cluster_name: a\ncluster_name: b\n", "cluster_name: duplicate key"),
        ("provider: [aws]\n", "provider: is [\"aws\"], must be a mapping"),
        ("cluster_name: c\nprovider: {type: nowhere}\n", "nowhere"),
    ],
)
def test_a_file_that_is_no_cluster_file_is_one_line(
    token: Path, tmp_path: Path, content: str | None, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_text(content)
    assert main(["check", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(reason in line for line in lines), lines
    assert all(line.startswith(f"{path}:") for line in lines)
