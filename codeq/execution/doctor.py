"""`python -m codeq.execution.doctor [FILE]`: whether this machine can run the sweep of FILE (--single: one training).

One line for each check, exit code 2 if one of them found a problem. At the top only the standard library is imported,
and Python 3.8 can read this file: an old Python and missing packages are among what it is to find.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codeq.config import Template

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
OLDEST_PYTHON = (3, 11)
SLURM_GPUS = ("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_GPUS")
"""Numbers of GPUs that a Slurm job has, or has asked for."""


class Unfit(Exception):
    """A check has found a problem; the message says what to do."""


class Report:
    """Prints a line for every check. code: the exit code so far."""

    def __init__(self) -> None:
        self.code = 0

    def ok(self, name: str, text: str) -> None:
        print(f"{platform.node()}: {name}: ok: {text}", flush=True)

    def problem(self, name: str, text: str) -> None:
        self.code = 2
        for line in text.splitlines():
            print(f"{platform.node()}: {name}: {line}", file=sys.stderr, flush=True)

    def run(self, name: str, check: Callable[..., str], *arguments: object) -> None:
        """Print what `check` returns, or the problem that it raises."""
        try:
            self.ok(name, check(*arguments))
        except Unfit as problem:
            self.problem(name, str(problem))
        except Exception as error:  # such as that of a package which does not fit to another
            self.problem(name, f"{type(error).__name__}: {' '.join(str(error).split())}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 fit, 2 problems found)."""
    options, _ = _parser().parse_known_args(arguments)
    report = Report()
    report.run("python", check_python)
    report.run("packages", check_packages)
    if report.code:
        return report.code
    template = None if options.file is None else _load(options, report)
    device = str(template.tree.get("device", "auto")) if template else options.device or "auto"
    gpu = template.sweep.resources.gpu if template and not options.single else "auto"
    report.run("driver", check_driver, asked_for_gpu(device, gpu))
    report.run("card", check_card)
    if template:
        report.run("storage", check_storage, template, options.single)
        report.run("data", check_data, template)
        if options.shared:
            report.run("study", check_shared, template)
    return report.code


def _parser() -> argparse.ArgumentParser:
    """The options of tune_main.py and codeq.train that name what is checked; their other options are left to them."""
    parser = argparse.ArgumentParser(prog="python -m codeq.execution.doctor", description=__doc__)
    parser.add_argument("file", nargs="?", metavar="FILE", help="a template; without it only the machine is checked")
    parser.add_argument("--single", action="store_true", help="FILE is for python -m codeq.train")
    parser.add_argument("--shared", action="store_true", help="several drivers are to share the study")
    for option in ("--set", "--plugin"):
        parser.add_argument(option, action="append", default=[], metavar="...")
    for option in ("--name", "--storage", "--device"):
        parser.add_argument(option, metavar="...")
    return parser


def check_python() -> str:
    """The release of Python."""
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        raise Unfit(f"{found} is too old, must be {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return found


def check_packages() -> str:
    """The packages of requirements.txt."""
    wanted = dict(requirements(REQUIREMENTS.read_text(encoding="utf-8")))
    wrong = [reason for name, lowest in wanted.items() for reason in _package_problems(name, lowest)]
    if wrong:
        raise Unfit(f"{', '.join(wrong)}; {sys.executable} -m pip install -r {REQUIREMENTS}")
    return f"all {len(wanted)} of requirements.txt"


def requirements(text: str) -> Iterator[tuple[str, str]]:
    """The name and the lowest release of each package that requirements.txt names, without those for development."""
    for line in text.partition("# Development")[0].splitlines():
        match = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\d.]+)", line)
        if match:
            yield match[1], match[2]


def _package_problems(name: str, lowest: str) -> Iterator[str]:
    try:
        found = version(name)
    except PackageNotFoundError:
        yield f"{name} is missing"
        return
    if _release(found) < _release(lowest):
        yield f"{name} is {found}, must be {lowest} or newer"


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a release, without zeros at its end: (2, 11) for `2.11.0+cu128`."""
    numbers = [int(number) for number in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _load(options: argparse.Namespace, report: Report) -> Template | None:
    """The template that the options name; None, with its problems printed, if it has any."""
    from codeq.config import ConfigError, Template
    from codeq.config.environment import load_env_file
    from codeq.config.paths import option_path
    from codeq.plugins import load_plugins

    given = {f"--{name}": getattr(options, name) for name in ("name", "storage", "device") if getattr(options, name)}
    load_env_file()
    try:
        load_plugins(options.plugin)
        path = option_path("FILE", options.file, local=True)
        template = Template.load(path, options.set, given, single_run=options.single)
        if options.single:
            template.run_config()
    except ConfigError as error:
        report.problem("file", str(error))
        return None
    report.ok("file", options.file)
    return template


def asked_for_gpu(device: str, gpu: float | str = "auto") -> str | None:
    """What has asked for a GPU; None if nothing has.

    device: of the run config. gpu: sweep.resources.gpu.
    """
    if device in ("cpu", "mps") or gpu == 0:
        return None
    if device != "auto":
        return f"device: {device}"
    if gpu != "auto":
        return f"sweep.resources.gpu: {gpu:g}"
    for name in SLURM_GPUS:
        if os.environ.get(name, "0") not in ("", "0"):
            return f"the Slurm job ({name}={os.environ[name]})"
    return None


def check_driver(asked: str | None) -> str:
    """Whether PyTorch can use the NVIDIA driver, and whether there is a GPU; asked: see `asked_for_gpu`."""
    from codeq.train.device import describe_cuda, unusable_driver, visible_gpus, why_no_gpu

    if visible_gpus():
        return describe_cuda()
    if reason := unusable_driver():
        raise Unfit(reason)
    if asked:
        raise Unfit(f"{asked} asks for a GPU, but {why_no_gpu()}; device: cpu trains without one")
    return "no GPU, and none was asked for"


def check_card() -> str:
    """Whether PyTorch is compiled for every GPU that is visible."""
    from codeq.train.device import missing_kernels, visible_gpus

    gpus = visible_gpus()
    problems = [reason for index in range(len(gpus)) if (reason := missing_kernels(index))]
    if problems:
        raise Unfit("\n".join(problems))
    return ", ".join(gpus) or "none"


def check_storage(template: Template, single: bool) -> str:
    """Whether results can be written, and their servers answer."""
    from codeq.config.errors import BadInput
    from codeq.execution.disk import check_disk
    from codeq.search.sweep_state import check_servers, sweep_folder
    from codeq.storage.atomic_files import is_local
    from codeq.storage.machine_fault import MachineFault

    if single:
        return _check_writable(Path(template.run_config().save_dir))
    try:
        check_servers(template)
        folder = sweep_folder(template)
        shown = _check_writable(Path(str(folder))) if is_local(folder) else str(folder)
        check_disk(template)
    except (BadInput, MachineFault) as error:
        raise Unfit(str(error)) from None
    return shown


def check_shared(template: Template) -> str:
    """Whether drivers on several machines can share the sweep: without a common study each would train all trials."""
    from codeq.config.passwords import mask_password

    if template.sweep.study is None:
        reason = "is null, so that each driver would train all trials; --set sweep.study=postgresql://USER@HOST/DATABASE"
        raise Unfit(str(template.problem("sweep.study", reason)))
    return mask_password(template.sweep.study)


def _check_writable(folder: Path) -> str:
    """Write a file into the folder, or into the one in which it would be created; leaves nothing."""
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with contextlib.closing(tempfile.TemporaryFile(dir=existing)) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        raise Unfit(f"{folder} cannot be written: {existing}: {error.strerror or error}") from None
    return str(folder)


def check_data(template: Template) -> str:
    """Whether the data sets are there; missing ones are downloaded, as the sweep would."""
    from codeq.config.errors import BadInput
    from codeq.execution.session import fetch_data

    try:
        fetch_data(template)
    except BadInput as error:
        raise Unfit(str(error)) from None
    return ", ".join(sorted({config.dataset.name for config in template.boundary_configs}))


if __name__ == "__main__":
    sys.exit(main())
