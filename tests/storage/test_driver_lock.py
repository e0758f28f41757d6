"""The lock and the token of a sweep's driver when their files are damaged."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from upath import UPath

from codeq.storage.driver_lock import SweepInUse, SweepTakenOver, check_token, driver_lock


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeq.storage.driver_lock.DAMAGED_S", 0.2)


def test_a_damaged_lock_that_nobody_renews_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a power cut may leave it: the file is there, and empty."""
    (tmp_path / ".driver.lock").touch()
    with driver_lock(UPath(tmp_path), tmp_path) as token:
        check_token(UPath(tmp_path), token)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert ".driver.lock: damaged; whether a driver holds this lock of" in caplog.text


def test_a_damaged_lock_that_is_renewed_is_respected(tmp_path: Path) -> None:
    lock, ended = tmp_path / ".driver.lock", threading.Event()
    lock.write_bytes(b"\x00\xff")

    def renew() -> None:
        while not ended.wait(0.05):
            os.utime(lock)

    driver = threading.Thread(target=renew)
    driver.start()
    with pytest.raises(SweepInUse, match="another process works on this sweep"), driver_lock(UPath(tmp_path), tmp_path):
        pass
    ended.set()
    driver.join()


@pytest.mark.parametrize("damage", [b"", b"\x00\xff\x13" * 20, b"another\n"])
def test_a_worker_whose_drivers_token_is_damaged_stops_writing_and_a_new_driver_begins(
    damage: bytes, tmp_path: Path
) -> None:
    folder = UPath(tmp_path)
    with driver_lock(folder, tmp_path) as token:
        (tmp_path / "driver").write_bytes(damage)
        with pytest.raises(SweepTakenOver):  # a fault of the machine, which never ends a trial for good
            check_token(folder, token)
    with driver_lock(folder, tmp_path, lambda: "5ec2") as token:
        assert token.startswith("5ec2-")
    with driver_lock(folder, tmp_path, lambda: "other") as token:
        assert token.startswith("5ec2-")
        check_token(folder, token)
