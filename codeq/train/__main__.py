"""`python -m codeq.train CONFIG`: train one config, without Ray."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codeq.config import ConfigError, RunConfig, Template
from codeq.config.arguments import ArgumentParser, as_text
from codeq.config.environment import load_env_file
from codeq.config.errors import BadInput
from codeq.config.exit_codes import ALL_FAILED, BAD_INPUT, DAMAGED, interrupted
from codeq.config.libraries import check_libraries
from codeq.config.passwords import hide_passwords
from codeq.config.paths import option_path
from codeq.config.signals import handled_signals, received_signal
from codeq.config.streams import prepare_streams
from codeq.config.text import first_line
from codeq.plugins import add_plugin_option, error_line, load_plugins

if TYPE_CHECKING:
    from codeq.train.loop import EpochMetrics

log = logging.getLogger("codeq.train")

def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (see `codeq.config.exit_codes`)."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    hide_passwords()
    load_env_file()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    device = {} if options.device is None else {"--device": options.device}
    try:
        load_plugins(options.plugin)
        path = option_path("CONFIG", options.config, local=True)
        template = Template.load(path, options.set, device, single_run=True)
        config = template.run_config()
        check_libraries(template, sweep=False)
        resume = options.resume
        if isinstance(resume, str):
            resume = Path(option_path("--resume", resume, local=True))
    except (ConfigError, BadInput) as error:
        return _refuse(error, BAD_INPUT)
    code = 0
    try:
        with contextlib.suppress(KeyboardInterrupt), handled_signals():
            code = _train(template, config, resume)
    except Exception as error:
        from codeq.storage.out_of_memory import out_of_memory

        if (reason := out_of_memory(error)) is None:
            raise
        return _refuse(reason, ALL_FAILED)
    if (number := received_signal()) is None:
        return code
    print("interrupted; --resume goes on after the last completed epoch", file=sys.stderr)
    return interrupted(number)


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m codeq.train", description="Train one config, without Ray.")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file without distributions")
    text = "auto, cpu, cuda, cuda:N or mps; overrides the file"
    parser.add_argument("--device", type=as_text, metavar="D", help=text)
    text = "go on from this file, or else from the config's own checkpoint, if it has one"
    parser.add_argument("--resume", nargs="?", const=True, metavar="CHECKPOINT", help=text)
    text = "override a value of the file"
    parser.add_argument("--set", action="append", default=[], type=as_text, metavar="KEY=VALUE", help=text)
    add_plugin_option(parser)
    return parser


def _train(template: Template, config: RunConfig, resume: Path | bool | None) -> int:
    """resume: a checkpoint; True: the config's own, if it has one."""
    # Imported here: importing torch takes seconds, and --help and a config error should not wait for it.
    from codeq.data import DataUnavailable
    from codeq.models import WeightsUnavailable
    from codeq.train.check_parts import blamed_key
    from codeq.train.checkpoint import CheckpointError
    from codeq.train.loop import create_train_state
    from codeq.train.single_run import checkpoint_path, resume_single, train_single

    try:
        state = create_train_state(config)
    except DataUnavailable as error:
        return _refuse(error, BAD_INPUT)
    except (WeightsUnavailable, ValueError) as error:
        key = blamed_key(error)
        problem = template.problem(key, first_line(error).removeprefix(f"{key}: "))
        return _refuse(error_line(error) or problem, BAD_INPUT)
    if resume is True:
        own = checkpoint_path(config)
        resume = own if own.exists() else None
        if resume is None:
            log.info("%s is not there: training starts at the first epoch", own)
    if isinstance(resume, Path):
        try:
            resume_single(resume, state)
        except CheckpointError as error:
            return _refuse(error, DAMAGED)
    try:
        row = train_single(state, template.sweep.scheduler.grace_epochs)
    except DataUnavailable as error:  # an image file that is damaged
        return _refuse(error, BAD_INPUT)
    except Exception as error:
        if line := error_line(error):
            return _refuse(line, BAD_INPUT)
        if not isinstance(error, OSError):
            raise
        return _refuse(f"{error.filename or config.save_dir}: {error.strerror or error}", BAD_INPUT)
    if row is not None and row.status != "finished":
        return _refuse(f"{row.status} at epoch {row.epoch}: {row.reason}; {_what_to_change(row)}", ALL_FAILED)
    return 0


def _what_to_change(row: EpochMetrics) -> str:
    """The likeliest cure for a run that diverged or collapsed."""
    if row.status == "diverged":
        return "try a smaller lr or lambda"
    is_pruned = row.sparsity >= 0.5
    return "a smaller weight_decay or lambda prunes less" if is_pruned else "it has not learned: try another lr"


def _refuse(reason: object, exit_code: int) -> int:
    print(reason, file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
