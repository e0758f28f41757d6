"""Reads what W&B keeps of a run on disk: the transaction log of records that it sends, or that `wandb sync` sends."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 32768


@dataclass(frozen=True)
class WandbRun:
    """One recorded run. history: logged rows. exit_code: None if it was never finished."""

    id: str
    run: Any
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    is_preempting: bool
    artifacts: dict[str, list[str]]

    @property
    def steps(self) -> list[int]:
        """The steps of its rows."""
        return [row["_step"] for row in self.history]


def wandb_runs(folder: Path) -> list[WandbRun]:
    """The runs below W&B's folder, in the order in which they ended; those of this process are ended."""
    wandb.teardown()  # its service writes after a run has been finished
    logs = sorted(folder.glob("wandb/*run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [_read(path) for path in logs]


def _read(path: Path) -> WandbRun:
    records = list(_records(path.read_bytes()))
    kinds = {kind: [r for r in records if r.WhichOneof("record_type") == kind] for kind in ("run", "history", "exit")}
    summary: dict[str, Any] = {}
    for record in records:
        for item in record.summary.update:
            summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    artifacts = [r.artifact for r in records if r.HasField("artifact")]
    artifacts += [r.request.log_artifact.artifact for r in records if r.request.HasField("log_artifact")]
    runs = [record.run for record in kinds["run"]] or [Record().run]  # none if its driver was killed at once
    return WandbRun(
        id=path.stem.removeprefix("run-"),  # a second run in the same second has a folder that ends in -1
        run=runs[-1],  # the newest: tags are added at the end
        config={item.key: json.loads(item.value_json) for item in runs[0].config.update},
        history=[
            {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            | {"_step": record.history.step.num}
            for record in kinds["history"]
        ],
        summary=summary,
        exit_code=kinds["exit"][-1].exit.exit_code if kinds["exit"] else None,
        is_preempting=any(record.HasField("preempting") for record in records),
        artifacts={each.name: sorted(entry.path for entry in each.manifest.contents) for each in artifacts},
    )


def _records(data: bytes) -> Iterator[Any]:
    """The log is LevelDB's, after a header: blocks of 32 KB, a record in one chunk or in several."""
    at, parts = _HEADER, b""
    while at + 7 <= len(data):
        if (left := _BLOCK - at % _BLOCK) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last chunk
            yield Record.FromString(parts)
            parts = b""
