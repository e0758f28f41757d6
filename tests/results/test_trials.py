"""The table of trials, read back from their folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from upath import UPath

from codeq.config import RunConfig, Template
from codeq.config.distributions import Choice
from codeq.config.metrics import REPORTED
from codeq.results.trials import load_trials, write_csv
from codeq.storage.trial_folder import TrialRecord, trial_folder

LR = "optimizer.param_groups.base.lr"


def leave_trial(folder: UPath, tiny: dict[str, Any], number: int, epochs: int = 1, **fields: Any) -> None:
    trial = trial_folder(folder, number)
    trial.write_config(RunConfig.model_validate(tiny))
    trial.write_record(TrialRecord(number, "run", 0, {LR: 0.1 * number}, **fields))
    for epoch in range(1, epochs + 1):
        metrics = {name: float(epoch) for name in REPORTED}
        trial.append_row({"epoch": epoch, **metrics, "status": "running", "reason": ""})


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_csv_has_a_row_per_trial_with_the_last_epoch_and_the_drawn_values(
    tmp_path: Path, tiny: dict[str, Any]
) -> None:
    folder = UPath(tmp_path)
    leave_trial(folder, tiny, 0, epochs=3, status="finished", duration_s=2.5)
    leave_trial(folder, tiny, 1, epochs=1, status="diverged", reason="loss is nan, alas")
    write_csv(folder / "trials.csv", load_trials(folder), [LR])
    first, second = read(tmp_path / "trials.csv")
    assert (first["trial"], first["status"], first["epoch"], first["val_acc"]) == ("0", "finished", "3", "3.0")
    assert (first["duration_s"], first["seed"], first["run_name"]) == ("2.5", "0", "run")
    assert (second["status"], second["reason"], second[LR]) == ("diverged", "loss is nan, alas", "0.1")


def test_a_drawn_value_named_like_a_fixed_column_has_no_second_column(tmp_path: Path, tiny: dict[str, Any]) -> None:
    """`seed` can be searched; a part of a user's own may bring the others."""
    leave_trial(UPath(tmp_path), tiny, 0)
    (trial,) = load_trials(UPath(tmp_path))
    trial.record.parameters.update({"seed": 0, "loss": 9.0, "epoch": 9})
    write_csv(UPath(tmp_path) / "trials.csv", [trial], [LR, "seed", "loss", "epoch"])
    header = (tmp_path / "trials.csv").read_text().splitlines()[0].split(",")
    others = ["trial", "status", "reason", "epoch", *REPORTED, LR, "run_name", "duration_s"]
    assert sorted(header) == sorted([*others, "seed"])
    (row,) = read(tmp_path / "trials.csv")
    assert (row["seed"], row["loss"], row["epoch"]) == ("0", "1.0", "1")


def test_drawn_values_are_spelled_as_in_the_template(tmp_path: Path, tiny: dict[str, Any], write_yaml: Any) -> None:
    choices: dict[str, list[Any]] = {
        "quantizer.kwargs.learnable_bit": [True, False],
        "img_size": [None, 8],
        "optimizer.param_groups.base.betas": [[0.9, 0.99], [0.8, 0.99]],
        "model": [{"name": "mlp", "kwargs": {"hidden": [32, 16]}}, {"name": "mlp", "kwargs": {"hidden": [8]}}],
        "lr_scheduler": ["cosine", "constant"],
    }
    searched = [f"{key}={json.dumps({'distribution': 'choice', 'choices': values})}" for key, values in choices.items()]
    template = Template.load(write_yaml(tiny), searched)
    drawn = {p.name: p.distribution.labels[0] for p in template.parameters if isinstance(p.distribution, Choice)}
    leave_trial(UPath(tmp_path), tiny, 0)
    (trial,) = load_trials(UPath(tmp_path))
    trial.record.parameters.update(drawn)
    write_csv(UPath(tmp_path) / "trials.csv", [trial], drawn)
    (row,) = read(tmp_path / "trials.csv")
    assert [row[name] for name in choices] == ["true", "null", "[0.9, 0.99]", "kwargs.hidden=[32, 16]", "cosine"]


def test_a_trial_that_never_completed_an_epoch_has_a_row_too(tmp_path: Path, tiny: dict[str, Any]) -> None:
    leave_trial(UPath(tmp_path), tiny, 0, epochs=0, status="failed", reason="no such device")
    write_csv(UPath(tmp_path) / "trials.csv", load_trials(UPath(tmp_path)), [LR])
    (row,) = read(tmp_path / "trials.csv")
    assert (row["status"], row["epoch"], row["val_acc"]) == ("failed", "0", "")


def test_a_trial_that_was_interrupted_is_stopped_and_says_how_to_go_on(tmp_path: Path, tiny: dict[str, Any]) -> None:
    leave_trial(UPath(tmp_path), tiny, 0)
    row = load_trials(UPath(tmp_path))[0].as_row()
    assert row["status"] == "stopped"
    assert "--resume" in row["reason"]


def test_trials_come_in_the_order_of_their_numbers(tmp_path: Path, tiny: dict[str, Any]) -> None:
    for number in (10, 2, 1):
        leave_trial(UPath(tmp_path), tiny, number)
    assert [trial.record.trial for trial in load_trials(UPath(tmp_path))] == [1, 2, 10]


def test_a_sweep_without_trials_gives_an_empty_table(tmp_path: Path) -> None:
    write_csv(UPath(tmp_path) / "trials.csv", load_trials(UPath(tmp_path)), [LR])
    assert read(tmp_path / "trials.csv") == []
