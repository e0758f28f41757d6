"""W&B: when it is on, what it records offline, and that a dead server stops nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from codeq.train.tracking import Tracker, open_tracker, wandb_off_reason
from tests.conftest import ROOT

KEY = "0" * 40


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    wandb.teardown()  # it remembers keys


def test_it_is_off_without_a_project() -> None:
    assert wandb_off_reason(None) == "wandb_project is not set"


def test_it_is_off_without_a_key_and_says_what_to_set() -> None:
    assert "WANDB_API_KEY" in str(wandb_off_reason("project"))
    assert "WANDB_MODE=offline" in str(wandb_off_reason("project"))


@pytest.mark.parametrize(("name", "value"), [("WANDB_API_KEY", KEY), ("WANDB_MODE", "offline")])
def test_a_key_or_offline_mode_turns_it_on(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert wandb_off_reason("project") is None


def test_the_key_that_wandb_login_writes_is_a_key(tmp_path: Path) -> None:
    wandb.login(key=KEY, verify=False)
    assert KEY in (tmp_path / "netrc").read_text()
    wandb.teardown()
    assert wandb_off_reason("project") is None


def test_the_key_that_older_releases_of_wandb_wrote_is_a_key(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert wandb_off_reason("project") is None


def test_the_key_of_another_server_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(f"machine wandb.example.com login user password {KEY}\n")
    assert "wandb login" in str(wandb_off_reason("project"))
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    assert wandb_off_reason("project") is None


def test_a_key_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password short\n")
    assert wandb_off_reason("project") == "API key must have 40+ characters, has 5."


def test_disabled_mode_wins_over_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_off_reason("project") == "WANDB_MODE=disabled"


def test_when_it_is_off_one_line_says_so_and_nothing_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tracker = open_tracker("project", tmp_path)
    assert type(tracker) is Tracker
    assert len(caplog.records) == 1
    assert caplog.text.count("W&B is off") == 1


def test_two_runs_at_once_are_recorded_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = open_tracker("project", tmp_path, group="sweep")
    for key in (0, 1):
        tracker.start(key, f"run-{key}", {"optimizer": {"lr": 0.5 + key}})
    for epoch in (1, 2):
        for key in (0, 1):
            tracker.log(key, {"epoch": epoch, "val_acc": 10.0 * epoch + key, "status": "running", "reason": ""})
    tracker.finish(0, "finished")
    tracker.finish(1, "diverged", "loss is nan")
    tracker.close()
    runs = {summary.split()[1]: summary for summary in map(inspect, sorted(tmp_path.glob("wandb/offline-run-*")))}
    assert set(runs) == {"run-0", "run-1"}
    for text in ("finished (exit code 0)", "20", "optimizer", "0.5"):
        assert text in runs["run-0"]
    for text in ("diverged", "loss is nan", "21", "1.5"):
        assert text in runs["run-1"]


def inspect(run: Path) -> str:
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--summary", run]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_dead_server_turns_it_off_and_holds_nobody_up(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from codeq.train import tracking\n"
        "tracking.INIT_TIMEOUT_S = 1\n"
        "tracker = tracking.open_tracker('project', Path(sys.argv[1]))\n"
        "started = time.monotonic()\n"
        "tracker.start(0, 'run', {})\n"
        "tracker.log(0, {'epoch': 1, 'val_acc': 1.0})\n"
        "tracker.finish(0, 'finished')\n"
        "print('waited', time.monotonic() - started)\n"
        "tracker.close()\n"
    )
    environment = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert float(done.stdout.split()[1]) < 1
    assert "W&B is off from here on" in done.stderr
    assert "Traceback" not in done.stderr
