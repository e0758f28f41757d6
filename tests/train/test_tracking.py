"""W&B: when it is on, what it records offline, and that a server that does not answer stops nothing."""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import wandb

from codeq.train.tracking import SweepReport, Tracker, open_tracker, wandb_off_reason
from tests.conftest import ROOT
from tests.wandb_runs import wandb_runs

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


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def row(epoch: int, val_acc: float) -> dict[str, Any]:
    return {"epoch": epoch, "val_acc": val_acc, "status": "running", "reason": ""}


def test_two_runs_at_once_are_recorded_whole(offline: None, tmp_path: Path) -> None:
    tracker = open_tracker("project", tmp_path, group="sweep")
    for key in (0, 1):
        tracker.start(key, f"run-{key}", {"optimizer": {"lr": 0.5 + key}}, tmp_path / f"{key}.json")
    for epoch in (1, 2):
        for key in (0, 1):
            tracker.log(key, row(epoch, 10.0 * epoch + key))
    tracker.finish(0, "finished")
    tracker.finish(1, "diverged", "loss is nan")
    tracker.close()
    runs = {run.run.display_name: run for run in wandb_runs(tmp_path)}
    assert set(runs) == {"run-0", "run-1"}
    for key in (0, 1):
        run = runs[f"run-{key}"]
        where = (run.run.project, run.run.entity, run.run.run_group, run.run.job_type)
        assert where == ("project", "", "sweep", "trial")
        assert run.config["optimizer"] == {"lr": 0.5 + key}
        assert [(each["_step"], each["val_acc"]) for each in run.history] == [(1, 10.0 + key), (2, 20.0 + key)]
    for text in ("finished (exit code 0)", "20", "optimizer", "0.5"):  # as wandb itself reads it
        assert text in inspect(next(path for path in tmp_path.glob(f"wandb/*-{runs['run-0'].id}")))


@pytest.mark.parametrize(
    ("status", "exit_code"), [("finished", 0), ("stopped", 0), ("diverged", 1), ("collapsed", 1), ("failed", 1)]
)
def test_a_run_is_marked_for_how_its_trial_ended(offline: None, tmp_path: Path, status: str, exit_code: int) -> None:
    tracker = open_tracker("team/project", tmp_path, group="sweep")
    tracker.start(0, "run", {}, tmp_path / "run.json")
    tracker.log(0, row(1, 50.0))
    tracker.finish(0, status, "because")
    tracker.close()
    (run,) = wandb_runs(tmp_path)
    assert (run.run.entity, run.run.project) == ("team", "project")
    assert (run.exit_code, list(run.run.tags)) == (exit_code, [status])
    assert (run.summary["status"], run.summary["reason"], run.summary["val_acc"]) == (status, "because", 50.0)
    assert not run.is_preempting


def test_a_resumed_run_goes_on_under_its_id_after_its_last_step(offline: None, tmp_path: Path) -> None:
    memory = tmp_path / "trial" / "wandb.json"
    first = open_tracker("project", tmp_path, group="sweep")
    first.start(0, "run", {}, memory)
    for epoch in (1, 2):
        first.log(0, row(epoch, 10.0))
    first.close()  # an interrupt
    second = open_tracker("project", tmp_path, group="sweep")
    second.start(0, "run", {}, memory)
    for epoch in (1, 2, 3, 4):
        second.log(0, row(epoch, 20.0))
    second.finish(0, "finished")
    second.close()
    before, after = wandb_runs(tmp_path)
    assert before.id == after.id
    assert (before.steps, after.steps) == ([1, 2], [3, 4])
    assert (before.summary["status"], before.exit_code, before.is_preempting) == ("interrupted", 1, True)
    assert (after.summary["status"], after.exit_code, after.is_preempting) == ("finished", 0, False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "x"}', '{"project": "other", "id": "x", "step": 9}'])
def test_a_run_that_is_not_remembered_in_this_project_is_a_new_one(
    offline: None, tmp_path: Path, content: str
) -> None:
    (tmp_path / "run.json").write_text(content)
    tracker = open_tracker("project", tmp_path)
    tracker.start(0, "run", {}, tmp_path / "run.json")
    tracker.log(0, row(1, 10.0))
    tracker.close()
    (run,) = wandb_runs(tmp_path)
    assert run.id != "x" and run.steps == [1]


def test_the_report_the_front_and_the_winners_are_attached_to_the_group(offline: None, tmp_path: Path) -> None:
    tracker = open_tracker("project", tmp_path, group="sweep")
    columns, rows = ["trial", "val_acc", "model"], [[3, 97.5, "mlp"], [5, 96.0, None]]
    configs = {"best.yaml": b"model: mlp\n", "front/0003.yaml": b"seed: 3\n"}
    tracker.report(SweepReport({"hypervolume": 0.75, "winner": 3}, columns, rows, b"<html>", configs))
    tracker.close()
    (run,) = wandb_runs(tmp_path)
    assert (run.run.run_group, run.run.job_type, run.exit_code) == ("sweep", "report", 0)
    assert (run.summary["hypervolume"], run.summary["winner"]) == (0.75, 3)
    assert run.artifacts["sweep-report"] == ["report.html"]
    assert run.artifacts["sweep-winners"] == ["best.yaml", "front/0003.yaml"]
    tables = [json.loads(path.read_text()) for path in tmp_path.glob("wandb/*/files/media/table/*.json")]
    assert tables and all((table["columns"], table["data"]) == (columns, rows) for table in tables)
    kept = [path.read_bytes() for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert b"<html>" in kept and b"model: mlp\n" in kept  # for `wandb sync`


def inspect(run: Path) -> str:
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--summary", run]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


SCRIPT = """\
import sys, time
from pathlib import Path
from codeq.train import tracking, wandb_tracker
assert wandb_tracker.CLOSE_TIMEOUT_S + 1 < 30
wandb_tracker.INIT_TIMEOUT_S, wandb_tracker.CLOSE_TIMEOUT_S = 3, int(sys.argv[2])
folder = Path(sys.argv[1])
tracker = tracking.open_tracker('project', folder, 'sweep')
started = time.monotonic()
tracker.start(0, 'run', {}, folder / 'run.json')
tracker.log(0, {'epoch': 1, 'val_acc': 1.0})
tracker.report(tracking.SweepReport({}, ['trial'], [[0]], b'<html>', {'best.yaml': b''}))
print('waited', time.monotonic() - started, flush=True)
input()
print('closing', flush=True)
tracker.close()
"""


class Graphql(BaseHTTPRequestHandler):
    """A W&B server that accepts a run, then answers nothing more."""

    run = {"id": "cnVu", "name": "r", "displayName": "r", "config": "{}", "historyLineCount": 0,
           "eventsLineCount": 0, "logLineCount": 0,
           "project": {"id": "cHJv", "name": "project", "entity": {"id": "e", "name": "me"}}}  # fmt: skip
    answers: ClassVar = {
        "RunResumeStatus": {"model": {"id": "cHJv", "name": "project", "entity": {"name": "me"}, "bucket": None}},
        "UpsertBucket": {"upsertBucket": {"bucket": run, "inserted": True}},
    }
    accepted: ClassVar = threading.Event()
    over: ClassVar = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        operation = json.loads(body).get("operationName") if self.path == "/graphql" else None
        if self.accepted.is_set() or operation is None:
            self.over.wait(60)
            return
        content = json.dumps({"data": self.answers.get(operation, {})}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        if operation == "UpsertBucket":
            self.accepted.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(params=["dead", "silent", "stalled"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A server that refuses connections, one that never answers, one that stops to answer: its kind and port."""
    if request.param == "stalled":
        with ThreadingHTTPServer(("127.0.0.1", 0), Graphql) as stalled:
            threading.Thread(target=stalled.serve_forever, daemon=True).start()
            yield request.param, stalled.server_port
            Graphql.over.set()
            stalled.shutdown()
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listening.listen(50)
        yield request.param, listening.getsockname()[1]


def test_a_server_that_does_not_answer_delays_only_the_end(tmp_path: Path, server: tuple[str, int]) -> None:
    kind, port = server
    timeout_s = 4 if kind == "stalled" else 25  # the others are given up before that
    environment = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": f"http://127.0.0.1:{port}"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path, str(timeout_s)], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    assert float(process.stdout.readline().split()[1]) < 1
    if kind == "stalled":
        assert Graphql.accepted.wait(30)
    began = time.monotonic()
    _, errors = process.communicate("\n", timeout=60)
    assert time.monotonic() - began < timeout_s + 3  # and ending
    assert process.returncode == 0, errors
    assert ("W&B did not answer within" if kind == "stalled" else "W&B is off from here on") in errors
    assert "Traceback" not in errors
    assert not any(KEY in path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
