"""`python -m codeq.train`: its files, its exit codes, resuming, interrupting."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from codeq.config import RunConfig, Template
from codeq.data import limits, load
from codeq.train import loop, single_run
from codeq.train.__main__ import _train, main
from codeq.train.loop import EpochMetrics, TrainState
from codeq.train.single_run import checkpoint_path
from codeq.train.step import TrainStep
from codeq.train.tracking import Tracker
from tests.conftest import ROOT
from tests.wandb_runs import wandb_runs

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def config(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Path:
    return write_yaml({**tiny, "save_dir": str(tmp_path / "out")})


def read_rows(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "out").glob("metrics_*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("epoch_s", "images_per_s")} for row in rows]


def test_a_run_leaves_checkpoint_and_rows_under_its_name(run_python: Run, config: Path, tmp_path: Path) -> None:
    done = run_python("-m", "codeq.train", config, "--set", "save_dir=$CODEQ_HERE/out", CODEQ_HERE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "checkpoint_mlp_deadzone4b_e4_lr0.005.th").is_file()
    assert [row["epoch"] for row in read_rows(tmp_path)] == [1, 2, 3, 4]
    for line in ("Attached weight quantizer to layer: fc1", "W&B is off", "epoch 4/4", "test_acc "):
        assert line in done.stdout


def test_a_run_that_is_resumed_ends_as_one_that_was_not_interrupted(
    run_python: Run, config: Path, tmp_path: Path
) -> None:
    wandb = ("--set", "wandb_project=team/project")
    run_python("-m", "codeq.train", config, *wandb, WANDB_MODE="offline")
    expected = metrics(read_rows(tmp_path))
    checkpoint = tmp_path / "out" / "checkpoint_mlp_deadzone4b_e4_lr0.005.th"
    checkpoint.unlink()
    stop_after_two = (
        "import codeq.train.loop as loop, codeq.train.single_run as single, sys\n"
        "from codeq.train.__main__ import main\n"
        "fit = loop.fit\n"
        "def two(state, grace):\n"
        "    for row in fit(state, grace):\n"
        "        yield row\n"
        "        if row.epoch == 2: raise KeyboardInterrupt\n"
        "single.fit = two\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    stopped = run_python("-c", stop_after_two, config, *wandb, WANDB_MODE="offline")
    assert stopped.returncode == 130
    resumed = run_python("-m", "codeq.train", config, *wandb, "--resume", WANDB_MODE="offline")  # its own checkpoint
    assert resumed.returncode == 0, resumed.stderr
    assert "after epoch 2" in resumed.stdout
    assert metrics(read_rows(tmp_path)) == expected

    other, before, after = wandb_runs(tmp_path / "out")
    assert other.id != before.id == after.id
    assert [each.steps for each in (other, before, after)] == [[1, 2, 3, 4], [1, 2], [3, 4]]


def test_a_damaged_checkpoint_is_replaced_by_the_one_of_the_epoch_before(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    template = Template.load(config)
    assert _train(template, template.run_config(), None) == 0
    expected = metrics(read_rows(tmp_path))
    newest = tmp_path / "out" / "checkpoint_mlp_deadzone4b_e4_lr0.005.th"
    previous = newest.with_name(f"previous_{newest.name}")
    assert newest.exists() and not previous.exists()

    def three(state: TrainState, grace_epochs: int) -> Iterator[EpochMetrics]:
        for row in loop.fit(state, grace_epochs):
            yield row
            if row.epoch == 3:
                raise KeyboardInterrupt

    for damage in (lambda content: b"", lambda content: content[: len(content) // 2], lambda content: b"rubbish", None):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(single_run, "fit", three)
            _train(template, template.run_config(), None)
        if damage is None:
            newest.unlink()  # killed after it had moved the older checkpoint aside
        else:
            newest.write_bytes(damage(newest.read_bytes()))
        caplog.clear()
        assert _train(template, template.run_config(), newest) == 0
        (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
        assert warning.message.startswith(f"{newest}: ")
        assert warning.message.endswith(f"; goes on after epoch 2, from {previous}")
        assert metrics(read_rows(tmp_path)) == expected
        assert not previous.exists()


def test_where_no_checkpoint_can_be_used_what_helps_is_told(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = Template.load(config)
    (tmp_path / "empty.th").write_bytes(b"")
    assert _train(template, template.run_config(), tmp_path / "empty.th") == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/empty.th: ")
    assert line.endswith("; without --resume it trains from the first epoch")


def test_a_damaged_row_of_a_run_is_left_out_with_a_warning(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    template = Template.load(config)
    assert _train(template, template.run_config(), None) == 0
    (path,) = (tmp_path / "out").glob("metrics_*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:30] + b"\n", *lines[2:]]))
    assert _train(template, template.run_config(), checkpoint_path(template.run_config())) == 0
    assert [row["epoch"] for row in read_rows(tmp_path)] == [1, 3, 4]
    assert f"{path}: 1 damaged line left out" in caplog.text


def test_out_of_memory_is_one_line_with_what_to_change(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(TrainStep, "__call__", call)
    assert main([str(config)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("out of memory: a smaller batch_size")


class Told(Tracker):
    """Keeps what it is told of runs."""

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def start(self, key: int, name: str, config: dict[str, Any], memory: Path) -> None:
        self.runs.append(name)

    def finish(self, key: int, status: str, reason: str = "") -> None:
        self.runs.append((status, reason))

    def finish_all(self) -> None:
        self.runs.append("interrupted")


@pytest.mark.parametrize(
    ("raised", "end"),
    [
        (None, ("finished", "")),
        (KeyboardInterrupt(), "interrupted"),
        (RuntimeError("out of memory\nat step 3"), ("failed", "RuntimeError: out of memory")),
    ],
)
def test_the_trackers_run_ends_as_the_training_does(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException | None, end: Any
) -> None:
    def fit(state: TrainState, grace_epochs: int) -> Iterator[EpochMetrics]:
        yield from loop.fit(state, grace_epochs)
        if raised:
            raise raised

    told = Told()
    monkeypatch.setattr(single_run, "open_tracker", lambda project, folder: told)
    monkeypatch.setattr(single_run, "fit", fit)
    state = loop.create_train_state(RunConfig.model_validate({**tiny, "epochs": 1, "save_dir": str(tmp_path)}))
    with contextlib.nullcontext() if raised is None else pytest.raises(type(raised)):
        single_run.train_single(state, 5)
    assert told.runs == [state.config.run_name, end]


def test_a_completed_run_that_is_resumed_is_no_new_run_of_the_tracker(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    monkeypatch.setattr(single_run, "open_tracker", lambda project, folder: told)
    state = loop.create_train_state(RunConfig.model_validate({**tiny, "save_dir": str(tmp_path)}))
    state.epoch = state.config.epochs
    with caplog.at_level("INFO"):
        assert single_run.train_single(state, 5) is None
    assert told.runs == []
    assert "test_acc" in caplog.text


def test_sigterm_ends_a_run_with_143_and_a_checkpoint_that_resumes(
    run_python: Run, config: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "codeq.train", str(config), "--set", "epochs=100000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/checkpoint_*.th")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "--resume goes on" in errors
    assert len(list(tmp_path.glob("out/checkpoint_*.th"))) == 1


def test_a_run_that_is_resumed_before_its_first_checkpoint_trains_from_the_first_epoch(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(config), "--set", "epochs=1", "--resume"]) == 0
    said = f"{tmp_path}/out/checkpoint_mlp_deadzone4b_e1_lr0.005.th is not there: training starts"
    assert said in capsys.readouterr().out
    assert [row["epoch"] for row in read_rows(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "optimizer.param_groups.base.lr=1e30"], 3,
         "diverged at epoch 1: loss is nan; try a smaller lr or lambda"),
        (["--set", "epoch=3"], 2, "--set: epoch: unknown key; did you mean epochs?"),
        (["--set", "epochs={distribution: int, low: 1, high: 5}"], 2, "epochs: is a distribution (int [1, 5])"),
        (["--set", "model=timm/no_such_model"], 2, "no_such_model"),
        (["--resume", os.devnull], 4, "not a readable checkpoint"),
        (["--set", "save_dir=/dev/null/x"], 2, "/dev/null"),
        (["--resume", "~/no_such.th"], 4, f"{Path.home()}/no_such.th: cannot be read: No such file"),
        (["--resume", "$CODEQ_NOWHERE/x.th"], 2, "--resume: is '$CODEQ_NOWHERE/x.th', but the environment variable"),
        (["--resume="], 2, "--resume: is empty, must be the name of a file"),
        (["--device="], 2, "--device: device: is '', must be auto, cpu, cuda, cuda:N or mps"),
        (["--device", "cpu #1"], 2, "--device: device: is 'cpu #1', must be auto, cpu, cuda, cuda:N or mps"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_exit_code(
    config: Path, arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(config), *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_run_whose_reader_goes_away_trains_on_in_silence(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codeq.train", str(config)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith("Attached weight quantizer")
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(60), errors) == (0, "")
    assert [row["epoch"] for row in read_rows(tmp_path)] == [1, 2, 3, 4]
    assert len(list(tmp_path.glob("out/checkpoint_*.th"))) == 1


@pytest.mark.parametrize(
    ("weight_decay", "said"),
    [(50.0, "a smaller weight_decay or lambda prunes less"), (0.0, "it has not learned: try another lr")],
)
def test_a_run_that_collapses_is_told_what_to_change(
    weight_decay: float, said: str, tiny: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    write_yaml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "diagnose", lambda **given: ("collapsed", "for a test"))
    groups = {"base": {"lr": 0.01}, "dz": {"lr": 0.01, "weight_decay": weight_decay}}
    optimizer = {"type": "adamw", "param_groups": groups}
    template = Template.load(write_yaml({**tiny, "optimizer": optimizer, "save_dir": str(tmp_path)}))
    assert _train(template, template.run_config(), None) == 3
    assert capsys.readouterr().err == f"collapsed at epoch 1: for a test; {said}\n"


@pytest.mark.parametrize(("damaged", "epochs"), [("train/bee/7.png", 0), ("test/bee/2.png", 2)])
def test_an_image_that_is_damaged_ends_a_run_with_one_line_that_names_it(
    damaged: str, epochs: int, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], write_yaml: Callable[..., Path],
) -> None:  # fmt: skip
    """The set counts as too large for memory, and its statistics do not reach the image, so an epoch meets it first."""
    for part, count in (("train", 8), ("test", 3)):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (12, 12), (number, 20, 30)).save(tmp_path / part / name / f"{number}.png")
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:40])
    monkeypatch.setattr(limits, "RESIDENT_BYTES", 100)
    monkeypatch.setattr(load, "STATISTICS_FILES", 1)
    # The classes look alike, and a run that ends at chance reads no test set.
    monkeypatch.setattr(loop, "diagnose", lambda **measured: ("healthy", ""))
    data = {"dataset": "imagefolder", "data_dir": str(tmp_path), "img_size": 12, "batch_size": 4, "workers": 0}
    run = {**tiny, **data, "val_fraction": 0.25, "epochs": 2, "save_dir": str(tmp_path / "out")}
    template = Template.load(write_yaml(run))
    assert _train(template, template.run_config(), None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / damaged}: not a readable image (")
    assert len(read_rows(tmp_path)) == epochs


def test_a_sweeps_file_trains_by_itself_once_every_value_is_given(tmp_path: Path) -> None:
    values = ("base.lr=0.01", "dz.lr=0.001", "dz.weight_decay=2.5")
    given = [argument for value in values for argument in ("--set", f"optimizer.param_groups.{value}")]
    more = ["--set", "loss_terms=[]", "--set", "epochs=1", "--set", f"save_dir={tmp_path}"]
    assert main([str(ROOT / "sweeps" / "dz_wd.yaml"), *given, *more]) == 0


def test_help_does_not_import_torch(run_python: Run) -> None:
    check = (
        "import sys; from codeq.train.__main__ import _parser; _parser().format_help();"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    assert run_python("-c", check).returncode == 0
