"""Ray and Tune as one driver uses them: started when there is something to train, shared by all that it trains."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.config.run import EMBEDDED_DATASETS
from codeq.execution.cluster import expect_room, free_places, gpus_per_trial, start_ray, trials_that_fit
from codeq.registry import PluginError

if TYPE_CHECKING:
    from ray.tune import Callback, Trainable
    from ray.tune.search import Searcher

    from codeq.data import RawImages
    from codeq.execution.capacity import Room
    from codeq.execution.schedulers import StartAll

Images = dict[str, Any]
"""References to raw images in Ray's object store by `RunConfig.images_key`."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the template. address: of a Ray cluster, None: a local one."""

    address: str | None = None
    dashboard: bool = False


class Session:
    """One driver's Ray. images: see `Images`. gpus: that each trial occupies. device: where trials run whatever their
    config says, None: as it says. interrupted_by: the signal that ended the training early, if one did."""

    def __init__(self, template: Template, options: RunOptions) -> None:
        """Starts nothing yet."""
        self.template, self.options = template, options
        self.images: Images = {}
        self.gpus = 0.0
        self.device: str | None = None
        self.interrupted_by: int | None = None
        self._reuse_actors = True
        self._is_started = False

    def start(self) -> None:
        """Start or join Ray, once. Raises BadInput if the data, the cluster or a trial's resources are not there."""
        if self._is_started:
            return
        raw = _fetch_data(self.template) if self.options.address is None else {}
        with _own_sigterm():
            dashboard = start_ray(self.options.address, self.options.dashboard)
        if dashboard:
            print(f"Ray dashboard: {dashboard} (it wants the token that `ray get-auth-token` prints)", flush=True)
        # A dashboard would show the first trial's name for all that a process takes.
        self._reuse_actors = not dashboard
        self._find_room()
        self.images = _share(raw)
        self._is_started = True

    def end(self, meanwhile: str | None = None) -> None:
        """End Ray, or leave the cluster: nothing more is to be trained. A local Ray takes a second and more to end.

        meanwhile: a module that will be needed then, and takes its time to import.
        """
        if not self._is_started:
            return
        import ray

        self.images, self._is_started = {}, False
        gc.collect()  # what Tune has left refers to Ray's objects, which must go before Ray does
        if meanwhile:
            threading.Thread(target=importlib.import_module, args=(meanwhile,)).start()
        ray.shutdown()

    def tune(
        self,
        trainable: type[Trainable],
        needs: dict[str, float],
        *,
        searcher: Searcher,
        scheduler: StartAll,
        callbacks: Sequence[Callback],
        trials: int,
        time_budget_s: float | None = None,
    ) -> None:
        """Train `trials` configs of the searcher to their ends, or until a signal or the time budget ends it.

        needs: what Ray sets aside for each. Trials that need processors are limited to those that there is room for;
        the others the searcher limits. Tune's own files go to a scratch folder that nobody reads.
        """
        from ray import tune

        from codeq.execution.capacity import Started, WhileThereIsRoom
        from codeq.execution.trial import folder_name

        sweep, started = self.template.sweep, Started()
        placed = tune.with_resources(trainable, needs)
        placed.__name__ = placed.__qualname__ = trainable.__name__  # what the dashboard calls its class
        with tempfile.TemporaryDirectory(prefix="codeq-tune-") as scratch, self._signals():
            tune.Tuner(
                placed,
                tune_config=tune.TuneConfig(
                    search_alg=WhileThereIsRoom(searcher, lambda: self._room(needs, trials), started),
                    scheduler=scheduler,
                    num_samples=trials,
                    time_budget_s=time_budget_s,
                    reuse_actors=self._reuse_actors,
                    trial_name_creator=lambda trial: f"{sweep.name}_{folder_name(trial.config)}",
                    trial_dirname_creator=lambda trial: folder_name(trial.config),
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    callbacks=[started, *callbacks],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
                    verbose=0,
                ),
            ).fit()

    def _find_room(self) -> None:
        import ray

        resources = self.template.sweep.resources
        self.gpus = gpus_per_trial(resources.gpu, str(self.template.tree.get("device", "auto")))
        if self.options.address is None:
            expect_room(resources.cpu, self.gpus)
        # Ray hides no GPU from a trial that asked for none.
        self.device = "cpu" if self.gpus == 0 and ray.cluster_resources().get("GPU", 0.0) > 0 else None

    def _room(self, needs: Mapping[str, float], trials: int) -> Room:
        """For how many trials there is room; those that need no processor the searcher limits itself."""
        from codeq.execution.capacity import Room

        wanted, joined = self.template.sweep.max_concurrent, self.options.address is not None
        if "cpu" not in needs or (joined and wanted):
            return Room(wanted or trials, wanted or trials)
        fitting = trials_that_fit(needs["cpu"], needs["gpu"])
        if joined:  # it grows with what waits for room: one trial more than fits; and others may be at work there
            return Room(fitting + 1, free_places(needs["cpu"], needs["gpu"]))
        return Room(max(1, min(wanted or fitting, fitting)), fitting)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the training after the reports in flight; a second one ends it at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self.interrupted_by is not None or signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
                raise KeyboardInterrupt(number)
            self.interrupted_by = number
            os.kill(os.getpid(), signal.SIGUSR1)  # Tune's own handler: finish the step and return

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        usr1 = signal.getsignal(signal.SIGUSR1)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGUSR1, usr1)


def _fetch_data(template: Template) -> dict[str, RawImages]:
    """Download what is missing once and before anything starts, so that it is not every trial that fails.

    Returns the images of data sets that do not come with a package, by `RunConfig.images_key`.
    """
    found = {}
    for key, config in {config.images_key: config for config in template.boundary_configs}.items():
        if config.dataset.name not in EMBEDDED_DATASETS:
            from codeq.data import DataUnavailable, load_raw  # torch's seconds of import, for these data sets only

            try:
                found[key] = load_raw(config)
            except (DataUnavailable, PluginError) as error:
                raise BadInput(str(error)) from None
    return found


def _share(raw: dict[str, RawImages]) -> Images:
    """Put the images into Ray's object store, where all processes of a machine read one copy."""
    import ray

    return {key: ray.put(images) for key, images in raw.items()}


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM by one that exits with 15; here it interrupts, as before and after."""
    before = signal.getsignal(signal.SIGTERM)
    # What a handler raises is lost where it interrupts a finalizer; the numbers of the signals come here all the same.
    heard, told = socket.socketpair()
    with heard, told:
        heard.setblocking(False)
        told.setblocking(False)
        before_fd = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            signal.signal(signal.SIGTERM, before)
            for number in _received(heard):
                raise KeyboardInterrupt(number) from None


def _received(heard: socket.socket) -> list[int]:
    """The numbers of the signals that end a sweep, in the order in which they came."""
    with contextlib.suppress(BlockingIOError):
        return [number for number in heard.recv(4096) if number in (signal.SIGINT, signal.SIGTERM)]
    return []
