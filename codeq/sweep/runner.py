"""Run a sweep from a checked template to its last trial, or to the signal that interrupts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeq.config.decisions import decision_epochs
from codeq.config.resources import trains_together
from codeq.config.sweep import parse_duration
from codeq.sweep.session import Session
from codeq.sweep.state import SweepState
from codeq.train.tracking import open_tracker

if TYPE_CHECKING:
    from codeq.sweep.packs import Packs
    from codeq.train.trial_folder import TrialFolder


@dataclass(frozen=True)
class SweepEnd:
    """What is left of the workers. packs: those that trained the trials, None: each had a process of its own."""

    packs: Packs | None = None

    @property
    def test_accuracy(self) -> Callable[[TrialFolder], float] | None:
        """Measures a trial where the trials were trained; None: nobody is left there to do it."""
        return self.packs.test_accuracy if self.packs else None

    def release(self) -> None:
        """Give up the workers: other trials may want their devices."""
        if self.packs:
            self.packs.close()


def run_sweep(state: SweepState, session: Session) -> SweepEnd:
    """Train the sweep's trials; everything it leaves behind is in `state.folder`.

    Raises BadInput if the data set's files, the cluster or a trial's resources are not to be had.
    """
    packs, budget = None, state.template.sweep.time_budget
    if state.warm_start:
        print(f"{len(state.warm_start)} trials of {state.template.sweep.search.warm_start} to learn from", flush=True)
    if state.remaining > 0:
        session.start()
        packs = _tune(state, session)
        if session.interrupted_by is None and budget:
            state.note_unfinished(f"time budget of {budget}; --resume goes on")
    return SweepEnd(packs)


def _tune(state: SweepState, session: Session) -> Packs | None:
    """Run Tune to its end; the packs that trained, if any."""
    from codeq.sweep.early_stopping import build_scheduler
    from codeq.sweep.fused_trial import FUSED_TRIAL_BYTES, FusedTrial
    from codeq.sweep.searcher import OptunaSearcher
    from codeq.sweep.trainable import SweepTrial

    sweep = state.template.sweep
<<<<<<< HEAD
    packs = _packs(state, session.options.address, session.gpus)
    needs = {"memory": float(FUSED_TRIAL_BYTES)} if packs else {"cpu": sweep.resources.cpu, "gpu": session.gpus}
    session.tune(
        FusedTrial if packs else SweepTrial,
        needs,
        searcher=OptunaSearcher(
            state.template,
            state.study,
            state.folder,
            state.warm_start,
            device=session.device,
            packs=packs,
            images=session.images,
=======
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
>>>>>>> b3fa70e35bc49d67446f02b21ac7b8f3af05ce1d
        ),
        scheduler=build_scheduler(state.template, state.rows()),
        callbacks=_callbacks(state),
        trials=state.remaining,
        start_at_once=packs is not None,
        time_budget_s=parse_duration(sweep.time_budget) if sweep.time_budget else None,
    )
<<<<<<< HEAD
    if packs:
        packs.hear_out()
=======
    if packs is None:
        tuner.fit()
        return None
    # Their trials start at once, or Tune would give the process of one that ends to one that is starting.
    with _environment("TUNE_MAX_PENDING_TRIALS_PG", str(state.remaining)):
        tuner.fit()
    packs.stop()
>>>>>>> b3fa70e35bc49d67446f02b21ac7b8f3af05ce1d
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

    from codeq.sweep.pack_actor import PackOptions
    from codeq.sweep.packs import GUESS, Packs

    sweep, there = state.template.sweep, ray.cluster_resources()
    fuse = sweep.resources.fuse
    if not trains_together(state.template, gpus, state.remaining):
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
    return [TrialRecorder(sweep.scheduler), TensorBoardWriter(state.local), TrackerFeed(tracker)]
