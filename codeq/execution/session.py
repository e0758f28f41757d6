"""The driver's connection to Ray and Tune; Ray is started once, before the first training."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeq.config import ConfigError, Template
from codeq.config.errors import BadInput
from codeq.config.run import EMBEDDED_DATASETS
from codeq.config.signals import interrupt, on_first_signal
from codeq.config.unread import needs_network
from codeq.execution.capacity import check_resources, describe_sharing, free_slots, gpus_per_trial, trials_that_fit
from codeq.execution.cluster.start import start_ray
from codeq.execution.disk import check_disk
from codeq.execution.progress.terminal import Terminal
from codeq.plugins import error_line
from codeq.registry import PluginError
from codeq.train.nvidia import nvidia_driver

if TYPE_CHECKING:
    from ray.tune import Callback, Trainable
    from ray.tune.search import Searcher

    from codeq.data import RawImages
    from codeq.execution.limiter import Capacity
    from codeq.execution.schedulers import NoStopping
    from codeq.execution.study_dashboard import StudyDashboard
    from codeq.execution.trial import Placement
    from codeq.search.sweep_state import SweepState

log = logging.getLogger(__name__)

NVIDIA_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""Devices of the NVIDIA driver, the second one in Windows' Linux: there may be a GPU though NVML tells of none."""

Images = dict[str, Any]
"""References to raw images in Ray's object store by `RunConfig.images_key`."""


@dataclass(frozen=True)
class RunOptions:
    """Options of the command line. address: of a Ray cluster; None: start a local one."""

    address: str | None = None
    dashboard: bool = False


class Session:
    """One driver's connection to Ray.

    images: see `Images`. gpus: GPUs per trial. device: overrides the configs' device; None: no override.
    interrupt_signal: the signal that interrupted the training, or None. fault: one line about the fault of the machine
    that ended it, or None.
    """

    def __init__(self, template: Template, options: RunOptions, terminal: Terminal | None = None) -> None:
        """Does not start Ray. terminal: shows what the session waits for and its trials; None: one without a view."""
        self.template, self.options = template, options
        self.terminal = terminal or Terminal("quiet")
        self.images: Images = {}
        self.gpus = 0.0
        self.device: str | None = None
        self.interrupt_signal: int | None = None
        self.fault: str | None = None
        self._reuse_actors = True
        self._is_started = False
        self._study_dashboard: StudyDashboard | None = None

    def start(self) -> None:
        """Start or join Ray, once. Raises BadInput if the data, the cluster or a trial's resources are missing."""
        if self._is_started:
            return
        self.terminal.wait(f"reading the data: {self.template.boundary_configs[0].dataset.name}")
        raw = fetch_data(self.template) if self.options.address is None else {}
        if self.options.address is None:
            _check_device(self.template)
        self.terminal.wait("checking the networks")
        check_networks(self.template, raw, fetch_weights=self.options.address is None)
        check_disk(self.template)
        self.terminal.wait("joining the Ray cluster" if self.options.address else "starting Ray")
        log_level = logging.INFO if self.terminal.verbosity == "verbose" else logging.CRITICAL
        with _preserve_sigterm():
            dashboard = start_ray(self.options.address, self.options.dashboard, log_level)
        import ray  # reads its environment at import, so it is imported after start_ray

        if dashboard:
            log.info("Ray dashboard: %s (it needs the token that `ray get-auth-token` prints)", dashboard)
        # The dashboard shows a reused actor under the name of its first trial.
        self._reuse_actors = not dashboard
        self._check_resources()
        if sharing := describe_sharing(self.gpus):
            log.info("%s", sharing)
        # In Ray's object store all processes of a machine share one copy.
        self.images = {key: ray.put(images) for key, images in raw.items()}
        self._is_started = True

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal or a fault of the machine has ended the training before its end."""
        return self.interrupt_signal is not None or self.fault is not None

    def stop_for(self, fault: str) -> None:
        """End the training after the current reports because of a fault of the machine; fault: one line about it."""
        if self.fault is None:
            self.fault = fault
            _finish_step()

    def placement(self, token: str) -> Placement:
        """Return where the trials of the driver with this token run."""
        from codeq.execution.trial import Placement

        return Placement(self.device, self.images, token)

    def check_storage(self, state: SweepState) -> None:
        """Raise BadInput if a node of the cluster that was joined cannot write into the sweep's folder."""
        if self.options.address is not None:
            from codeq.execution.cluster.nodes import check_storage_on_nodes

            self.terminal.wait("trying the storage on every node")
            check_storage_on_nodes(state.folder, state.token, self.template.sweep.resources.cpu, self.gpus)

    def show_study(self, state: SweepState) -> None:
        """Start Optuna's dashboard of the sweep's study, if the command asks for dashboards, and print its address."""
        if self.options.dashboard:
            from codeq.execution.study_dashboard import StudyDashboard
            from codeq.search.study import study_url  # imports Optuna, as does the line above

            self._study_dashboard = StudyDashboard(state.study, study_url(self.template.sweep, state.local))
            if self._study_dashboard.address:
                log.info("Optuna dashboard: %s", self._study_dashboard.address)

    def end(self, meanwhile: str | None = None) -> None:
        """Shut down a local Ray, which takes more than a second, or disconnect from the cluster.

        meanwhile: the name of a module that is needed afterwards; it is imported in a thread during the shutdown.
        """
        if self._study_dashboard is not None:
            self._study_dashboard.end()
        if not self._is_started:
            return
        import ray

        self.images, self._is_started = {}, False
        gc.collect()  # frees Tune's references to Ray objects, which must not outlive Ray
        if meanwhile:
            threading.Thread(target=importlib.import_module, args=(meanwhile,)).start()
        with _preserve_sigterm():
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
        """Train `trials` configs of the searcher; returns when all have ended, on a signal or after the time budget.

        needs: the resources of each trial, `cpu` and `gpu`. Tune's own files go to a temporary folder and are not used.
        """
        from ray import tune
        from ray.tune.execution import class_cache

        from codeq.execution.callbacks import FreeStatistics
        from codeq.execution.cluster.nodes import WaitNotice
        from codeq.execution.limiter import CapacityLimiter, StartedTrials
        from codeq.execution.trial import folder_name

        sweep, started = self.template.sweep, StartedTrials()
        name = sweep.name  # Tune pickles into a file what the lambdas below refer to; the study's URL has a password
        # Tune would send the driver's AWS credentials to the processes of trials in a way that Ray logs. A local Ray's
        # processes inherit them, and the nodes of a cluster have their own.
        class_cache.ENV_VARS_TO_PROPAGATE = {
            variable for variable in class_cache.ENV_VARS_TO_PROPAGATE if not variable.startswith("AWS_")
        }
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
                    trial_name_creator=lambda trial: f"{name}_{folder_name(trial.config)}",
                    trial_dirname_creator=lambda trial: folder_name(trial.config),
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    callbacks=[started, *callbacks, WaitNotice(needs["cpu"], needs["gpu"]), FreeStatistics()],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=sweep.max_failures),
                    verbose=0,
                ),
            ).fit()

    def _check_resources(self) -> None:
        import ray

        resources, device = self.template.sweep.resources, str(self.template.tree.get("device", "auto"))
        self.gpus = gpus_per_trial(resources.gpu, device)
        if self.options.address is None:
            check_resources(resources.cpu, self.gpus)
        elif device.startswith("cuda") and resources.gpu == "auto":
            self.gpus = 1.0  # no node may have one yet
        if self.gpus > 0 and device == "auto":
            self.device = "cuda"  # a node whose PyTorch cannot use its GPU must not train on the CPU instead
        elif self.gpus == 0 and ray.cluster_resources().get("GPU", 0.0) > 0:
            self.device = "cpu"  # Ray does not hide GPUs from a trial that requested none

    def _capacity(self, needs: Mapping[str, float]) -> Capacity:
        """Return how many trials may be live and how many fit into the free resources."""
        from codeq.execution.limiter import Capacity

        if self.is_interrupted:  # before Tune could be told
            _finish_step()
        wanted, joined = self.template.sweep.max_concurrent, self.options.address is not None
        if joined and wanted:
            return Capacity(wanted, wanted)
        fitting = trials_that_fit(needs["cpu"], needs["gpu"])
        if joined:  # one waiting trial lets the cluster scale up; other jobs may use it too
            return Capacity(fitting + 1, free_slots(needs["cpu"], needs["gpu"]))
        return Capacity(max(1, min(wanted or fitting, fitting)), fitting)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """A first SIGINT or SIGTERM ends the training after the current reports."""

        def stop(number: int) -> None:
            self.interrupt_signal = number
            self.terminal.wait("interrupted, ending the running epochs")
            if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:  # Tune has not begun
                raise KeyboardInterrupt(number)
            _finish_step()

        usr1 = signal.getsignal(signal.SIGUSR1)
        with on_first_signal(stop):
            try:
                yield
            finally:
                signal.signal(signal.SIGUSR1, usr1)


def _finish_step() -> None:
    """Let Tune finish the current step and return, which it does on this signal."""
    if signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL:
        os.kill(os.getpid(), signal.SIGUSR1)


def fetch_data(template: Template) -> dict[str, RawImages]:
    """Download missing data sets before Ray starts, so that a failure is reported once and not by every trial.

    Returns the images of data sets that no installed package contains, by `RunConfig.images_key`.
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


def check_networks(template: Template, raw: dict[str, RawImages] | None = None, *, fetch_weights: bool = False) -> None:
    """Build the networks of which the template alone does not tell whether they are possible: see `check_parts`, or
    whether they read what is searched: see `unread_by_network`.

    Prints what is probably a mistake. Raises BadInput with the problems of the file, or the plug-in's line that raised.
    """
    configs = template.boundary_configs
    if not any(config.needs_building for config in configs) and not needs_network(template.tree, configs):
        return
    from codeq.train.check_parts import check_parts  # imports torch, which takes seconds
    from codeq.train.unread_by_network import unread_by_network

    try:
        for note in check_parts(configs, template.problem, raw, fetch_weights=fetch_weights):
            print(note, file=sys.stderr, flush=True)
        if unread := unread_by_network(template, raw):
            raise ConfigError(unread)
    except Exception as error:
        line = error_line(error) or (str(error) if isinstance(error, ConfigError) else None)
        if line is None:
            raise
        raise BadInput(line) from None


def _check_device(template: Template) -> None:
    """Raise BadInput if this machine lacks the device that the template names, or the compiler that it asks for, and if
    PyTorch cannot use the GPU that Ray would give to a trial, or Ray does not see the one that PyTorch would use."""
    device = str(template.tree.get("device", "auto"))
    compiles = any(config.use_compile == 1 for config in template.boundary_configs)
    wants_gpu = device not in ("cpu", "mps") and template.sweep.resources.gpu != 0
    has_gpu = wants_gpu and nvidia_driver() is not None
    may_have_gpu = has_gpu or (wants_gpu and any(Path(file).exists() for file in NVIDIA_FILES))
    if device == "auto" and not wants_gpu:
        device = "cpu"
    if device in ("auto", "cpu") and not compiles and not may_have_gpu:
        return
    from codeq.train.device import is_nvidia, prepare_device  # imports torch, which takes seconds
    from codeq.train.torch_compile import check_compiler

    try:
        prepared = prepare_device(device, threads=None)
        check_compiler(1 if compiles else 0, prepared)
        if wants_gpu and not has_gpu and prepared.type == "cuda" and is_nvidia():
            reason = "PyTorch sees a GPU, but Ray does not: the driver's library libnvidia-ml.so.1 (NVML) is missing"
            raise ValueError(f"device: {reason}; install all of the NVIDIA driver; device: cpu trains without the GPU")
    except ValueError as error:
        key, _, reason = str(error).partition(": ")
        raise BadInput(str(template.problem(key, reason))) from None


@contextlib.contextmanager
def _preserve_sigterm() -> Iterator[None]:
    """Keep SIGTERM's handler while Ray starts, which replaces it with one that exits with code 15, or ends, which
    replaces it with the system's."""
    before = signal.getsignal(signal.SIGTERM)
    # Python discards an exception that a handler raises inside a finalizer; the wakeup socket gets the number anyway.
    read_end, write_end = socket.socketpair()
    with read_end, write_end:
        read_end.setblocking(False)
        write_end.setblocking(False)
        before_fd = signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before_fd)
            signal.signal(signal.SIGTERM, before)
            for number in _received(read_end):
                interrupt(number)


def _received(read_end: socket.socket) -> list[int]:
    """Return the received numbers of SIGINT and SIGTERM, in order."""
    with contextlib.suppress(BlockingIOError):
        return [number for number in read_end.recv(4096) if number in (signal.SIGINT, signal.SIGTERM)]
    return []
