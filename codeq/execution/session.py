"""The driver's use of Ray and Tune: Ray is started once, when there is something to train."""

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
from types import FrameType
from typing import TYPE_CHECKING, Any

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.config.run import EMBEDDED_DATASETS
from codeq.execution.capacity import check_resources, describe_sharing, free_slots, gpus_per_trial, trials_that_fit
from codeq.execution.cluster import start_ray
from codeq.plugins import error_line
from codeq.registry import PluginError

if TYPE_CHECKING:
    from ray.tune import Callback, Trainable
    from ray.tune.search import Searcher

    from codeq.data import RawImages
    from codeq.execution.limiter import Capacity
    from codeq.execution.schedulers import NoStopping

Images = dict[str, Any]
"""References to raw images in Ray's object store by `RunConfig.images_key`."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the template. address: of a Ray cluster, None: a local one."""

    address: str | None = None
    dashboard: bool = False


class Session:
    """One driver's connection to Ray.

    images: see `Images`. gpus: GPUs per trial. device: overrides the configs' device, None: does not.
    interrupt_signal: the signal that ended the training early, if one did.
    """

    def __init__(self, template: Template, options: RunOptions) -> None:
        """Does not start Ray."""
        self.template, self.options = template, options
        self.images: Images = {}
        self.gpus = 0.0
        self.device: str | None = None
        self.interrupt_signal: int | None = None
        self._reuse_actors = True
        self._is_started = False

    def start(self) -> None:
        """Start or join Ray, once. Raises BadInput if the data, the cluster or a trial's resources are not there."""
        if self._is_started:
            return
        raw = _fetch_data(self.template) if self.options.address is None else {}
        if self.options.address is None:
            _check_parts(self.template, raw)
        with _preserve_sigterm():
            dashboard = start_ray(self.options.address, self.options.dashboard)
        import ray  # reads its environment when it is imported, so not before start_ray

        if dashboard:
            print(f"Ray dashboard: {dashboard} (it wants the token that `ray get-auth-token` prints)", flush=True)
        # With reused actors the dashboard would show the name of a process's first trial for all its trials.
        self._reuse_actors = not dashboard
        self._check_resources()
        if sharing := describe_sharing(self.gpus):
            print(sharing, flush=True)
        # In Ray's object store all processes of a machine share one copy.
        self.images = {key: ray.put(images) for key, images in raw.items()}
        self._is_started = True

    def end(self, meanwhile: str | None = None) -> None:
        """End Ray, or leave the cluster. Ending a local Ray takes more than a second.

        meanwhile: a slow module that is needed afterwards, imported in the meantime.
        """
        if not self._is_started:
            return
        import ray

        self.images, self._is_started = {}, False
        gc.collect()  # Tune's leftovers refer to Ray's objects, which must be freed before Ray ends
        if meanwhile:
            threading.Thread(target=importlib.import_module, args=(meanwhile,)).start()
        ray.shutdown()

    def tune(
        self,
        trainable: type[Trainable],
        needs: dict[str, float],
        *,
        searcher: Searcher,
        scheduler: NoStopping,
        callbacks: Sequence[Callback],
        trials: int,
        time_budget_s: float | None = None,
    ) -> None:
        """Train `trials` configs of the searcher to their ends, or until a signal or the time budget ends it.

        needs: the resources of each trial, `cpu` and `gpu`. Tune's own files go to a scratch folder and are not used.
        """
        from ray import tune

        from codeq.execution.limiter import CapacityLimiter, StartedTrials
        from codeq.execution.trial import folder_name

        sweep, started = self.template.sweep, StartedTrials()
        placed = tune.with_resources(trainable, needs)
        placed.__name__ = placed.__qualname__ = trainable.__name__  # the class name in the dashboard
        with tempfile.TemporaryDirectory(prefix="codeq-tune-") as scratch, self._signals():
            tune.Tuner(
                placed,
                tune_config=tune.TuneConfig(
                    search_alg=CapacityLimiter(searcher, lambda: self._capacity(needs), started),
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

    def _check_resources(self) -> None:
        import ray

        resources = self.template.sweep.resources
        self.gpus = gpus_per_trial(resources.gpu, str(self.template.tree.get("device", "auto")))
        if self.options.address is None:
            check_resources(resources.cpu, self.gpus)
        # Ray does not hide GPUs from a trial that requested none.
        self.device = "cpu" if self.gpus == 0 and ray.cluster_resources().get("GPU", 0.0) > 0 else None

    def _capacity(self, needs: Mapping[str, float]) -> Capacity:
        """How many trials fit."""
        from codeq.execution.limiter import Capacity

        wanted, joined = self.template.sweep.max_concurrent, self.options.address is not None
        if joined and wanted:
            return Capacity(wanted, wanted)
        fitting = trials_that_fit(needs["cpu"], needs["gpu"])
        if joined:  # it may scale up for one trial more than fits, and others may use it
            return Capacity(fitting + 1, free_slots(needs["cpu"], needs["gpu"]))
        return Capacity(max(1, min(wanted or fitting, fitting)), fitting)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the training after the current reports; a second signal ends it at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self.interrupt_signal is not None or signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
                raise KeyboardInterrupt(number)
            self.interrupt_signal = number
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
    """Download missing data sets before Ray starts, so that a failure is reported once and not by every trial.

    Returns the images of data sets that do not come with a package, by `RunConfig.images_key`.
    """
    found = {}
    for key, config in {config.images_key: config for config in template.boundary_configs}.items():
        if config.dataset.name not in EMBEDDED_DATASETS:
            from codeq.data import DataUnavailable, load_raw  # imports torch, which takes seconds

            try:
                found[key] = load_raw(config)
            except (DataUnavailable, PluginError) as error:
                raise BadInput(str(error)) from None
    return found


def _check_parts(template: Template, raw: dict[str, RawImages]) -> None:
    """Try the user's own parts once. Raises BadInput with the line that is to blame."""
    if not any(config.has_own_parts for config in template.boundary_configs):
        return
    from codeq.train.check_parts import check_parts  # imports torch, which takes seconds

    try:
        check_parts(template.boundary_configs, raw)
    except Exception as error:
        line = error_line(error) or (str(error) if isinstance(error, ValueError) else None)
        if line is None:
            raise
        raise BadInput(line) from None


@contextlib.contextmanager
def _preserve_sigterm() -> Iterator[None]:
    """Keep SIGTERM's handler while Ray starts: Ray replaces it by one that exits with 15."""
    before = signal.getsignal(signal.SIGTERM)
    # An exception that a handler raises in a finalizer is lost; the wakeup socket receives the signal's number anyway.
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
    """The received numbers of signals that end a sweep, in their order."""
    with contextlib.suppress(BlockingIOError):
        return [number for number in heard.recv(4096) if number in (signal.SIGINT, signal.SIGTERM)]
    return []
