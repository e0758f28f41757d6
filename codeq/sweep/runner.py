"""Run a sweep from a checked template to its last trial, or to the signal that interrupts it."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from codeq.config import Template
from codeq.config.run import EMBEDDED_DATASETS
from codeq.config.sweep import parse_duration
from codeq.sweep.cluster import BadInput, expect_room, gpus_per_trial, start_ray
from codeq.sweep.state import SweepState, open_sweep
from codeq.train.tracking import open_tracker

if TYPE_CHECKING:
    from codeq.data import RawImages
    from codeq.sweep.packs import Packs
    from codeq.train.trial_folder import TrialFolder
Images = dict[tuple[str, str], Any]
"""References to raw images in Ray's object store by (dataset, data_dir)."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the template. address: of a Ray cluster, None: a local one."""

    address: str | None = None
    dashboard: bool = False
    resume: bool = False


@dataclass
class Interrupt:
    """The signal that ended the sweep early, if one did."""

    number: int | None = None


@dataclass(frozen=True)
class SweepEnd:
    """interrupted_by: the signal, if one ended the sweep early. test_accuracy: measures a trial where the trials were
    trained, None: nobody is left there to do it."""

    interrupted_by: int | None
    test_accuracy: Callable[[TrialFolder], float] | None


def run_sweep(template: Template, options: RunOptions) -> SweepEnd:
    """Train the sweep's trials; everything it leaves behind is in `sweep_folder(template)`.

    Raises StateDamaged if what is there already cannot be gone on with, BadInput if the data set's files, the storage,
    the cluster or a trial's resources are not to be had.
    """
    with open_sweep(template, options.resume) as state:
        interrupt, packs = Interrupt(), None
        if state.remaining > 0:
            raw = _fetch_data(template) if options.address is None else {}
            with _own_sigterm():
                dashboard = start_ray(options.address, options.dashboard)
            if dashboard:
                print(f"Ray dashboard: {dashboard} (it wants the token that `ray get-auth-token` prints)", flush=True)
            with tempfile.TemporaryDirectory(prefix="codeq-tune-") as scratch, _signals(interrupt):
                images = _share(raw)
                del raw  # the driver has no use for them
                packs = _tune(state, options.address, scratch, images, reuse_actors=not dashboard)
            if interrupt.number is None and template.sweep.time_budget:
                state.note_unfinished(f"time budget of {template.sweep.time_budget}; --resume goes on")
            state.upload_study()
        return SweepEnd(interrupt.number, packs.test_accuracy if packs else None)


def _fetch_data(template: Template) -> dict[tuple[str, str], RawImages]:
    """Download what is missing once and before anything starts, so that it is not every trial that fails.

    Returns the images of data sets that do not come with a package, by (dataset, data_dir).
    """
    needed = {(str(config.dataset), str(Path(config.data_dir).absolute())): config for config in template.examples}
    found = {}
    for (dataset, data_dir), config in needed.items():
        if dataset not in EMBEDDED_DATASETS:
            from codeq.data import DataUnavailable, load_raw  # torch's seconds of import, for these data sets only

            try:
                found[dataset, data_dir] = load_raw(config.model_copy(update={"data_dir": data_dir}))
            except DataUnavailable as error:
                raise BadInput(str(error)) from None
    return found


def _share(raw: dict[tuple[str, str], RawImages]) -> Images:
    """Put the images into Ray's object store, where all processes of a machine read one copy."""
    import ray

    return {key: ray.put(images) for key, images in raw.items()}


def _tune(
    state: SweepState, address: str | None, scratch: str, images: Images, reuse_actors: bool
) -> Packs | None:
    """Run Tune to its end; the packs that trained, if any.

    images: see `_share`. reuse_actors: saves each trial its process start, but a dashboard would show the first
    trial's name for all.
    """
    import ray
    from ray import tune

    from codeq.sweep.early_stopping import build_scheduler
    from codeq.sweep.fused_trial import FUSED_TRIAL_BYTES, FusedTrial
    from codeq.sweep.searcher import OptunaSearcher
    from codeq.sweep.trainable import SweepTrial

    sweep = state.template.sweep
    gpus = gpus_per_trial(sweep.resources.gpu, str(state.template.tree.get("device", "auto")))
    if address is None:
        expect_room(sweep.resources.cpu, gpus)
    # Ray hides no GPU from a trial that asked for none.
    device = "cpu" if gpus == 0 and ray.cluster_resources().get("GPU", 0.0) > 0 else None
    packs = _packs(state, address, gpus, scratch)
    kind = FusedTrial if packs else SweepTrial
    needs = {"memory": float(FUSED_TRIAL_BYTES)} if packs else {"cpu": sweep.resources.cpu, "gpu": gpus}
    trainable = tune.with_resources(kind, needs)
    trainable.__name__ = trainable.__qualname__ = kind.__name__  # what the dashboard calls its class
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearcher(
                state.template, state.study, state.folder, state.unfinished, device=device, packs=packs, images=images
            ),
            scheduler=build_scheduler(state.template),
            num_samples=state.remaining,
            max_concurrent_trials=sweep.max_concurrent,
            time_budget_s=parse_duration(sweep.time_budget) if sweep.time_budget else None,
            reuse_actors=reuse_actors,
            trial_name_creator=lambda trial: f"{sweep.name}_{trial.config['trial']:04d}",
            trial_dirname_creator=lambda trial: f"{trial.config['trial']:04d}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            callbacks=_callbacks(state),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
            verbose=0,
        ),
    )
    if packs is None:
        tuner.fit()
        return None
    # Their trials start at once, or Tune would give the process of one that ends to one that is starting.
    with _environment("TUNE_MAX_PENDING_TRIALS_PG", str(state.remaining)):
        tuner.fit()
    packs.stop()
    return packs


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets what a library reads from its environment alone, for the time of a `with` block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _packs(state: SweepState, address: str | None, gpus: float, scratch: str) -> Packs | None:
    """Who trains the trials together; None where each is to have a process of its own. scratch: for their journals."""
    import ray

    from codeq.sweep.early_stopping import decision_epochs
    from codeq.sweep.pack_actor import PackOptions
    from codeq.sweep.packs import GUESS, Packs, pays

    sweep, there = state.template.sweep, ray.cluster_resources()
    fuse = sweep.resources.fuse
    compiles = any(config.use_compile for config in state.template.examples)
    if compiles or not pays(fuse, gpus, state.remaining):  # compiled models of one process push each other out
        return None
    options = PackOptions(
        name="",
        sweep_folder=str(state.folder),
        grace_epochs=sweep.scheduler.grace_epochs,
        max_failures=sweep.max_failures,
        journals=scratch,
        decisions=decision_epochs(state.template),
        fuse=None if fuse == "auto" else fuse,
    )
    fitting = int(there.get("GPU", 0.0) / gpus) if gpus else int(there.get("CPU", 0.0) / sweep.resources.cpu)
    # A cluster may grow for packs that find no place yet.
    limit = fitting if address is None else max(fitting, state.remaining // GUESS.runs)
    return Packs(
        options,
        cpu=sweep.resources.cpu,
        gpu=gpus,
        limit=max(1, limit),
        trials=state.remaining,
        concurrent=sweep.max_concurrent,
        epochs=state.template.max_epochs,
        cores=int(there.get("CPU", 1.0)),
    )


def _callbacks(state: SweepState) -> list[Any]:
    from codeq.sweep.callbacks import TensorBoardWriter, TrackerFeed, TrialRecorder

    sweep = state.template.sweep
    tracker = open_tracker(state.template.tree.get("wandb_project"), state.local / "wandb", group=sweep.name)
    return [TrialRecorder(state.folder, sweep.scheduler), TensorBoardWriter(state.local), TrackerFeed(tracker)]


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM by one that exits with 15; here it interrupts, as before and after."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as exit:
        raise KeyboardInterrupt(int(signal.SIGTERM)) if exit.code == signal.SIGTERM else exit from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _signals(interrupt: Interrupt) -> Iterator[None]:
    """SIGINT and SIGTERM end the sweep after the reports in flight; a second one ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if interrupt.number is not None or signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            raise KeyboardInterrupt(number)
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
