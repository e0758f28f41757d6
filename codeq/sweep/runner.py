"""Run a sweep from a checked template to its last trial, or to the signal that interrupts it."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from upath import UPath

from codeq.config import Template
from codeq.config.run import EMBEDDED_DATASETS
from codeq.config.sweep import parse_duration
from codeq.sweep.cluster import gpus_per_trial, start_ray
from codeq.train.files import is_local, write_atomically
from codeq.train.tracking import open_tracker
from codeq.train.trial_folder import TrialRecord, trial_folders


class BadInput(Exception):
    """What the template asks for is not to be had; one line that says what to do."""


class SweepExists(Exception):
    """The sweep's folder holds trials already, and going on was not asked for."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the template. address: of a Ray cluster, None: a local one."""

    address: str | None = None
    dashboard: bool = False
    resume: bool = False


@dataclass
class Interrupt:
    """The signal that ended the sweep early, if one did."""

    number: int | None = field(default=None)


def sweep_folder(template: Template) -> UPath:
    """Where the sweep leaves everything: storage/name."""
    storage = UPath(template.sweep.storage)
    return (storage.absolute() if is_local(storage) else storage) / str(template.sweep.name)


def local_folder(template: Template) -> Path:
    """Where the sweep's database and event files are while it runs, which a URL cannot hold: `sweep_folder` itself, or
    results/NAME here if that is behind a URL."""
    folder = sweep_folder(template)
    return Path(str(folder)) if is_local(folder) else Path("results").absolute() / str(template.sweep.name)


def run_sweep(template: Template, options: RunOptions) -> Interrupt:
    """Train the sweep's trials; everything it leaves behind is in `sweep_folder(template)`.

    Raises SweepExists if the folder holds trials and `options.resume` is not set, BadInput, before Ray starts, if
    the data set's files are not to be had.
    """
    folder = sweep_folder(template)
    records = [record for trial in trial_folders(folder) if (record := trial.read_record())]
    if records and not options.resume:
        raise SweepExists(
            f"{folder} holds {len(records)} trials already; "
            "--resume goes on with them, --name NAME starts another sweep"
        )
    if options.address is None:
        _fetch_data(template)
    write_atomically(folder / "template.yaml", template.to_yaml())
    unfinished = [record for record in records if record.status == "running"]
    remaining = int(template.sweep.trials or 1) - (len(records) - len(unfinished))
    interrupt = Interrupt()
    if remaining > 0:
        dashboard = start_ray(options.address, options.dashboard)
        if dashboard:
            print(f"Ray dashboard: {dashboard} (it asks for the token that `ray get-auth-token` prints)", flush=True)
        with tempfile.TemporaryDirectory(prefix="codeq-tune-") as scratch, _signals(interrupt):
            _tune(template, folder, unfinished, remaining, scratch, reuse_actors=not dashboard)
        _upload_study(template, folder)
    return interrupt


def _upload_study(template: Template, folder: UPath) -> None:
    """Put a copy of the SQLite study beside the trials that are behind a URL."""
    database = local_folder(template) / "study.db"
    if not is_local(folder) and database.exists():
        write_atomically(folder / "study.db", database.read_bytes())


def _fetch_data(template: Template) -> None:
    """Download what is missing once and before anything starts, so that it is not every trial that fails."""
    needed = {(config.dataset, config.data_dir): config for config in template.examples}
    for (dataset, _), config in needed.items():
        if dataset not in EMBEDDED_DATASETS:
            from codeq.data import DataUnavailable, load_raw  # torch's seconds of import, for these data sets only

            try:
                load_raw(config)
            except DataUnavailable as error:
                raise BadInput(str(error)) from None


def _tune(
    template: Template,
    folder: UPath,
    unfinished: list[TrialRecord],
    trials: int,
    scratch: str,
    reuse_actors: bool,
) -> None:
    """reuse_actors: saves each trial its process start, but a dashboard would show the first trial's name for all."""
    from ray import tune

    from codeq.sweep.early_stopping import build_scheduler
    from codeq.sweep.searcher import OptunaSearcher
    from codeq.sweep.study import open_study
    from codeq.sweep.trainable import SweepTrial

    sweep = template.sweep
    gpus = gpus_per_trial(sweep.resources.gpu, str(template.tree.get("device", "auto")))
    study = open_study(sweep, local_folder(template))
    budget = parse_duration(sweep.time_budget) if sweep.time_budget else None
    trainable = tune.with_resources(SweepTrial, {"cpu": sweep.resources.cpu, "gpu": gpus})
    trainable.__name__ = trainable.__qualname__ = SweepTrial.__name__  # what the dashboard calls its class
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearcher(template, study, folder, unfinished),
            scheduler=build_scheduler(template),
            num_samples=trials,
            max_concurrent_trials=sweep.max_concurrent,
            time_budget_s=budget,
            reuse_actors=reuse_actors,
            trial_name_creator=lambda trial: f"{sweep.name}_{trial.config['trial']:04d}",
            trial_dirname_creator=lambda trial: f"{trial.config['trial']:04d}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            callbacks=_callbacks(template, folder),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
            verbose=0,
        ),
    )
    tuner.fit()


def _callbacks(template: Template, folder: UPath) -> list[Any]:
    from codeq.sweep.callbacks import TensorBoardWriter, TrackerFeed, TrialRecorder

    local = local_folder(template)
    tracker = open_tracker(template.tree.get("wandb_project"), local / "wandb", group=template.sweep.name)
    return [TrialRecorder(folder, template.sweep.scheduler), TensorBoardWriter(local), TrackerFeed(tracker)]


@contextlib.contextmanager
def _signals(interrupt: Interrupt) -> Iterator[None]:
    """SIGINT and SIGTERM end the sweep after the reports in flight; a second one ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if interrupt.number is not None or signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            raise KeyboardInterrupt
        interrupt.number = number
        os.kill(os.getpid(), signal.SIGUSR1)  # Tune's own handler: finish the step and return

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    usr1 = signal.getsignal(signal.SIGUSR1)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGUSR1, usr1)


