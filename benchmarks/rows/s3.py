"""The results of a thousand trials on an S3 server against a local folder.

The server is moto's, on this machine: it answers in milliseconds, where AWS takes tens of them, but takes its processor
time from the sweep. Trials only report, so nearly all of the time is the driver's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.command import run_command, temporary_folder
from benchmarks.options import ROOT, Options
from benchmarks.row import Row, interleave

TRIALS, QUICK_TRIALS = 1000, 8
BUCKET = "codeq-benchmark"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
START_S = 60.0


def s3(options: Options) -> list[Row]:
    """Measure whole commands in pairs."""
    trials = QUICK_TRIALS if options.quick else TRIALS
    name = f"{trials:,} no-op trials, results on an S3 server of this machine, whole command"
    against = "the same in a local folder"
    if importlib.util.find_spec("moto") is None:
        return [Row(name, "s", against, not_run="moto is not installed")]

    def stored(where: str, environment: Mapping[str, str]) -> float:
        with temporary_folder() as scratch:
            sizes = ["--trials", str(trials), "--epochs", "1", "--storage", where or f"{scratch}/results"]
            command = ["-m", "benchmarks.noop.ours", *sizes]
            return run_command(command, Path(scratch), follow=False, environment=environment).seconds

    def remote() -> float:
        with temporary_folder() as scratch, s3_server(Path(scratch)) as environment:
            try:
                return stored(f"s3://{BUCKET}/sweeps", environment)
            finally:
                shutil.rmtree(ROOT / "results" / "s3" / BUCKET, ignore_errors=True)

    seconds = interleave(remote, lambda: stored("", {}), options.rounds(2), warmups=0)
    return [Row(name, "s", against, *seconds, lower_is_better=True)]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """The environment variables that lead to an S3 server with the bucket BUCKET, during the `with` block."""
    import boto3  # type: ignore[import-untyped]

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "s3.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.1)
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        client = boto3.client(
            "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id="any", aws_secret_access_key="any",
        )  # fmt: skip
        client.create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        server.terminate()
        server.wait()
