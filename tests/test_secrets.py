"""Keys and passwords are used and written nowhere: canaries in every place where people keep them, and a real sweep."""

from __future__ import annotations

import base64
import http.server
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, TINY
from tests.postgresql import MISSING, PROGRAMS, PostgreSQL

pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
pytestmark = [
    pytest.mark.skipif(not PROGRAMS, reason=MISSING),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc, for the list of processes"),
]


class RefusingServer(http.server.ThreadingHTTPServer):
    """In W&B's place: refuses every key. received: the headers with which it was asked."""

    received: set[str]

    class _Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.server.received.add(self.headers.get("Authorization", ""))  # type: ignore[attr-defined]
            self.send_response(401)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self._Handler)
        self.received = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


@dataclass
class Setting:
    """Where people keep secrets, and the secrets.

    home: with ~/.netrc. work: the current folder, with .env. temporary: for Ray's session. wandb: in W&B's place.
    port: of PostgreSQL.
    """

    home: Path
    work: Path
    temporary: Path
    wandb: RefusingServer
    port: int = 0
    environment_key: str = field(default_factory=lambda: secrets.token_hex(20))
    netrc_key: str = field(default_factory=lambda: secrets.token_hex(20))
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    s3_secret: str = field(default_factory=lambda: secrets.token_hex(20))

    @property
    def canaries(self) -> dict[str, bytes]:
        """What must not be found, by its name; the keys also as W&B sends them."""
        plain = {name: getattr(self, name) for name in ("environment_key", "netrc_key", "password", "s3_secret")}
        keys = {name: key for name, key in plain.items() if name.endswith("key")}
        sent = {f"{name}, sent": base64.b64encode(f"api:{key}".encode()).decode() for name, key in keys.items()}
        return {name: text.encode() for name, text in {**plain, **sent}.items()}

    def url(self, password: str = "") -> str:
        """The study's, without a password unless one is given."""
        return f"postgresql://codeq{password and ':' + password}@127.0.0.1:{self.port}/codeq"


@dataclass
class Run:
    """A sweep that has ended. processes: command lines, other than the driver's, that held a canary while it ran.
    driver: whether the driver's own held one after it had begun to train.
    """

    code: int
    output: str
    processes: set[bytes]
    driver: bool


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("secrets")
    temporary = Path(tempfile.mkdtemp(prefix="cq"))  # Ray's sockets need a short path
    found = Setting(folder / "home", folder / "work", temporary, RefusingServer())
    found.home.mkdir()
    found.work.mkdir()
    with PostgreSQL(temporary / "postgresql", found.password) as found.port:
        (found.home / ".netrc").write_text(
            f"machine 127.0.0.1:{found.wandb.server_port} login user password {found.netrc_key}\n"
        )
        (found.home / ".netrc").chmod(0o600)
        (found.work / ".env").write_text(f"PGPASSWORD={found.password}\n")
        lr = {"distribution": "loguniform", "low": 1e-3, "high": 1e-2}
        groups = {**TINY["optimizer"]["param_groups"], "base": {"lr": lr}}
        template = {**TINY, "epochs": 2, "wandb_project": "p", "optimizer": {"type": "adamw", "param_groups": groups}}
        template["sweep"] = {"name": "s", "trials": 2, "scheduler": {"name": "none"}}
        (found.work / "t.yaml").write_text(yaml.safe_dump(template))
        yield found
    found.wandb.shutdown()
    found.wandb.server_close()
    shutil.rmtree(temporary)


def sweep(setting: Setting, *more: str, **environment: str) -> Run:
    """Run the sweep and watch the list of processes meanwhile."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "RAY_", "PG"))}
    variables = {"HOME": str(setting.home), "TMPDIR": str(setting.temporary), **environment}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tune_main.py"), "t.yaml", "--verbose", *more],
        cwd=setting.work, env={**clean, **variables}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    output: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=output.extend, args=(process.stdout,), daemon=True)
    reader.start()
    others: set[bytes] = set()
    driver = False
    while process.poll() is None:
        holding = _command_lines_with(setting)
        driver = holding.pop(process.pid, None) is not None
        others |= set(holding.values())
        time.sleep(0.1)
    reader.join(60)
    return Run(process.returncode, "".join(output), others, driver)


def _command_lines_with(setting: Setting) -> dict[int, bytes]:
    """The command lines that hold a canary, by process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has ended
            continue
        if any(canary in line for canary in setting.canaries.values()):
            found[int(path.parent.name)] = line
    return found


def files_with_canaries(setting: Setting) -> list[str]:
    """Files with a canary, other than those that were given them, each with the canary's name."""
    given = {setting.home / ".netrc", setting.work / ".env"}
    found, read = [], 0
    for root in (setting.home, setting.work, setting.temporary):
        for path in root.rglob("*"):
            is_servers = setting.temporary / "postgresql" in path.parents
            if not path.is_file() or path.is_symlink() or path in given or is_servers:
                continue
            content, read = path.read_bytes(), read + 1
            found += [f"{path}: {name}" for name, canary in setting.canaries.items() if canary in content]
    assert read > 30, "hardly anything was searched"
    return found


@pytest.fixture(scope="module")
def offline(setting: Setting) -> Run:
    """A sweep with the password in the study's URL, on the command line, and W&B's key and S3's in the environment."""
    study = f"sweep.study={setting.url(setting.password)}"
    keys = {"WANDB_API_KEY": setting.environment_key, "AWS_SECRET_ACCESS_KEY": setting.s3_secret}
    return sweep(setting, "--set", study, WANDB_MODE="offline", **keys)


@pytest.fixture(scope="module")
def online(setting: Setting, offline: Run) -> Run:
    """The sweep goes on with the password from .env and the key from ~/.netrc."""
    url = f"http://127.0.0.1:{setting.wandb.server_port}"
    more = ["--set", f"sweep.study={setting.url()}", "--resume", "--trials", "3"]
    return sweep(setting, *more, WANDB_BASE_URL=url)


def test_the_password_of_the_url_opens_the_study(setting: Setting, offline: Run) -> None:
    import psycopg

    assert offline.code == 0, offline.output
    with psycopg.connect(setting.url(setting.password)) as connection:
        assert connection.execute("select count(*) from trials").fetchone() is not None


def test_the_password_of_the_env_file_and_the_key_of_netrc_are_used(
    setting: Setting, online: Run
) -> None:
    assert online.code == 0, online.output
    assert setting.wandb.received - {""} == {f"Basic {setting.canaries['netrc_key, sent'].decode()}"}


def test_no_file_holds_a_secret(setting: Setting, offline: Run, online: Run) -> None:
    assert files_with_canaries(setting) == []
    masked = setting.url("***")
    assert masked in (setting.work / "results" / "s" / "runs.json").read_text()
    (record, *_) = (setting.work / "results" / "s" / "wandb").glob("wandb/offline-run-*/*.wandb")
    assert masked.encode() in record.read_bytes(), "W&B records the command"


def test_no_output_and_no_process_shows_a_secret(
    setting: Setting, offline: Run, online: Run
) -> None:
    for run in (offline, online):
        assert [name for name, canary in setting.canaries.items() if canary.decode() in run.output] == []
        assert (run.processes, run.driver) == (set(), False)


def test_the_database_holds_no_password(setting: Setting, offline: Run, online: Run) -> None:
    dump = [PROGRAMS[-1].with_name("pg_dump"), "--dbname", setting.url()]
    environment = {**os.environ, "PGPASSWORD": setting.password}
    text = subprocess.run(dump, env=environment, capture_output=True, text=True, check=True).stdout
    assert "codeq@127.0.0.1" in text, "the template is stored with the study"
    assert [name for name, canary in setting.canaries.items() if canary.decode() in text] == []
