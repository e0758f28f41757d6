"""What is asked of the nodes of a cluster: to write where the driver writes, and room for a trial."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest
from s3fs import S3FileSystem
from upath import UPath

from codeq.execution.cluster import nodes
from codeq.execution.cluster.nodes import WaitNotice, try_storage
from codeq.storage.driver_lock import driver_lock

HERE = f"node {socket.gethostname()}"


def test_a_node_that_can_write_into_the_sweeps_folder_leaves_nothing_there(tmp_path: Path) -> None:
    with driver_lock(UPath(tmp_path), tmp_path) as token:
        before = set(tmp_path.iterdir())
        assert try_storage(str(tmp_path), token, "node") is None
        assert set(tmp_path.iterdir()) == before


def test_a_node_that_has_another_folder_of_that_name_says_so_and_makes_none(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    said = try_storage(str(folder), "token", "node")
    assert said == (
        f"{HERE} does not find in {folder} what the driver wrote there (No such file or directory); "
        "name a --storage that all nodes share under one path, or a URL such as s3://BUCKET/sweeps"
    )
    assert not folder.exists()


def test_a_node_that_cannot_write_into_the_folder_says_why(tmp_path: Path) -> None:
    (tmp_path / ".writable-node").mkdir()  # stands for what even root may not write
    with driver_lock(UPath(tmp_path), tmp_path) as token:
        assert try_storage(str(tmp_path), token, "node") == f"{HERE} cannot write into {tmp_path}: Is a directory"


def test_a_node_without_credentials_says_so_and_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    S3FileSystem.clear_instance_cache()  # of other tests' servers
    assert try_storage("s3://bucket/s", "token", "node") == (
        f"{HERE} cannot read s3://bucket/s: Unable to locate credentials; "
        "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def test_that_no_node_has_room_is_said_once_after_half_a_minute_with_what_they_have(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    large = {"Alive": True, "NodeManagerHostname": "n1", "NodeManagerAddress": "10.0.0.1", "Resources": {"CPU": 4.0}}
    spot = {**large, "NodeManagerHostname": "n2", "Resources": {"CPU": 2.0, "GPU": 1.0}}
    found = [large, spot]
    monkeypatch.setattr("ray.nodes", lambda: found)
    monkeypatch.setattr(nodes.time, "monotonic", lambda: clock[0])
    caplog.set_level(logging.WARNING, nodes.__name__)
    notice = WaitNotice(1.0, 1.0)

    def pass_seconds(seconds: int) -> list[str]:
        caplog.clear()
        for _ in range(seconds):
            clock[0] += 1.0
            notice.on_step_end(0, [])
        return caplog.messages

    assert pass_seconds(60) == []
    found[1] = {**spot, "Alive": False}
    assert pass_seconds(29) == []
    assert pass_seconds(60) == [
        "no node has what a trial needs, 1 CPU and 1 GPU: node n1 (10.0.0.1) has 4 CPU and 0 GPU; trials wait for one; "
        "`ray status` shows whether the cluster is scaling up; if not, change sweep.resources"
    ]
