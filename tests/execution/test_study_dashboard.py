"""Optuna's dashboard ends with the driver, however that ends, and costs no sweep."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import optuna
import pytest

from codeq.execution.study_dashboard import StudyDashboard
from codeq.search.study import sqlite_url
from tests.conftest import ROOT

DRIVER = """\
import sys
import optuna
from codeq.execution.study_dashboard import StudyDashboard
study = optuna.create_study(study_name="sweep", storage=sys.argv[1])
print(StudyDashboard(study, sys.argv[1]).address, flush=True)
input()
raise RuntimeError
"""


@pytest.mark.parametrize("ending", ["kill", "crash"])
def test_it_shows_the_study_and_ends_when_its_driver_is_killed_or_crashes(tmp_path: Path, ending: str) -> None:
    url = sqlite_url(tmp_path / "a {study}.db")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert driver.stdin is not None and driver.stdout is not None
    address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/dashboard/studies/1\n", line := driver.stdout.readline())
    assert address, line
    with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/api/studies", timeout=20) as response:
        assert [study["study_name"] for study in json.load(response)["study_summaries"]] == ["sweep"]
    if ending == "kill":
        driver.send_signal(signal.SIGKILL)
    driver.communicate("\n")
    deadline = time.monotonic() + 20
    while is_listening(int(address[1])):
        assert time.monotonic() < deadline, "it outlives its driver"
        time.sleep(0.1)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_one_that_cannot_start_is_a_line_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dashboard = StudyDashboard(optuna.create_study(), "sqlite:////no/such/folder/study.db")
    assert dashboard.address is None
    assert "no Optuna dashboard: " in caplog.text and "StorageInternalError" in caplog.text
    dashboard.end()
