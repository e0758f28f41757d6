"""Ray's token belongs to its user alone, and its sockets have names that the system takes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from codeq.config.errors import BadInput
from codeq.execution.cluster import start
from codeq.execution.cluster.start import SHORT_FOLDER, _keep_token_private, _short_temporary_folder
from codeq.train.nvidia import NvidiaDriver
from tests.conftest import ROOT
from tests.terminals import InTerminal


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_a_new_token_is_readable_by_its_user_alone_whatever_the_umask(token: Path, umask: int) -> None:
    _keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(token.read_text())) == 32


def test_a_token_that_others_could_read_is_kept_and_made_private(token: Path, umask: int) -> None:
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o666)
    _keep_token_private()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() == "secret"


@pytest.mark.parametrize(("length", "is_long"), [(4, False), (39, False), (40, True), (118, True)])
def test_a_temporary_folder_with_too_long_a_name_for_sockets_is_replaced_and_told(
    length: int, is_long: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/" + "t" * (length - 1))
    assert _short_temporary_folder() == (SHORT_FOLDER if is_long else None)
    socket_name = f"{'/' + 't' * (length - 1)}/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
    assert (len(socket_name) > 107) == is_long
    assert caplog.messages == (
        [f"TMPDIR has too long a name for Ray's sockets: Ray's files are in {SHORT_FOLDER}"] if is_long else []
    )


def test_a_joined_cluster_gets_the_whole_package_and_the_s3_server_but_no_credentials(
    token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    server = {"AWS_ENDPOINT_URL": "http://10.0.0.9:9000", "AWS_REGION": "eu-central-1"}
    secret = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "secret"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    monkeypatch.setattr(os, "environ", {**clean, **server, **secret, "AWS_DEFAULT_REGION": ""})
    monkeypatch.setattr(start, "_check_answers", lambda address: None)
    monkeypatch.setattr("ray.init", lambda **options: given.update(options) or SimpleNamespace(dashboard_url=None))
    start.start_ray("10.0.0.1:6379", dashboard=False)
    assert given["runtime_env"] == {"py_modules": [str(ROOT / "codeq")], "env_vars": server}


def test_a_local_ray_has_every_mig_device_and_the_cores_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would count the one GPU that the devices are parts of."""
    monkeypatch.setattr(start, "usable_cpus", lambda: 8)
    driver = NvidiaDriver("570.86.15", (12, 8), ("MIG-41b36624", "MIG-8fbc6e3a"))
    monkeypatch.setattr(start, "nvidia_driver", lambda: driver)
    assert start._resources_here() == {"num_cpus": 8, "num_gpus": 2}
    monkeypatch.setattr(start, "nvidia_driver", lambda: None)
    assert start._resources_here() == {"num_cpus": 8}, "Ray knows the GPUs of others than NVIDIA"


def test_nodes_that_have_not_joined_a_jobs_ray_in_time_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {1: SimpleNamespace(state=GcsNodeInfo.ALIVE), 2: SimpleNamespace(state=GcsNodeInfo.DEAD)}
    monkeypatch.setattr("ray._raylet.GcsClient", lambda address: SimpleNamespace(get_all_node_info=lambda: nodes))
    monkeypatch.setattr(start, "_check_answers", lambda address: None)
    monkeypatch.setattr(start, "JOIN_S", 0.0)
    start.wait_for_nodes("10.0.0.1:6379", 1)
    with pytest.raises(BadInput, match="^10.0.0.1:6379: 1 of 2 nodes have joined within 0 s$"):
        start.wait_for_nodes("10.0.0.1:6379", 2)


JOIN = """
import sys
from codeq.config.errors import BadInput
from codeq.execution.cluster import start
start.ANSWER_S = 6.0
try:
    start.start_ray(sys.argv[1], False)
except BadInput as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("is_silent", [True, False])
def test_an_address_where_no_ray_answers_is_one_line_within_seconds(
    is_silent: bool, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        if not is_silent:
            server.close()
        done = run_python("-c", JOIN, f"127.0.0.1:{port}", timeout=60)
    reason = "no answer within 6 s" if is_silent else "[Errno 111] Connection refused"
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"--address 127.0.0.1:{port}") and line.endswith(f": no Ray answers there: {reason}")


@pytest.mark.parametrize(("calls", "written"), [("", "\x1b[0m"), ("start._write_nothing_at_exit()", "")])
def test_at_exit_nothing_is_written_to_the_terminal(calls: str, written: str) -> None:
    lines = ["from codeq.execution.cluster import start", "import ray.autoscaler._private.cli_logger", calls]
    command = InTerminal([sys.executable, "-c", "\n".join(lines)], 80, env={"TERM": "dumb"})
    assert command.wait() == 0
    assert command.shown == written
