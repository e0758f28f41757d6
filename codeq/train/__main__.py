"""`python -m codeq.train CONFIG`: train one config, without Ray."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import dotenv

from codeq.config import ConfigError, Template
from codeq.config.run import RunConfig

log = logging.getLogger("codeq.train")

EXIT_BAD_INPUT, EXIT_FAILED, EXIT_DAMAGED = 2, 3, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 trained to the end, 2 bad input, 3 diverged or collapsed, 4 checkpoint damaged, 130/143 interrupted and saved.
    """
    options = _parser().parse_args(arguments)
    dotenv.load_dotenv(Path.cwd() / ".env")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    overrides = [*options.set, *([f"device={options.device}"] if options.device else [])]
    try:
        template = Template.load(options.config, overrides)
        config = template.run_config()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _train(config, options.resume, template.sweep.scheduler.grace_epochs)
    except KeyboardInterrupt as interrupt:
        print("interrupted; --resume goes on from the last finished epoch", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codeq.train", description="Train one config, without Ray.")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file without distributions")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps; overrides the file")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from this file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the file")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _train(config: RunConfig, resume: Path | None, grace_epochs: int) -> int:
    # Imported here: a bad file and --help must answer before torch's seconds of import.
    from codeq.data import DataUnavailable
    from codeq.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
    from codeq.train.loop import build, evaluate, fit
    from codeq.train.tracking import WandbTracker, wandb_off_reason

    try:
        state = build(config)
    except (DataUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    if resume is not None:
        try:
            load_checkpoint(resume, state)
        except CheckpointError as error:
            print(error, file=sys.stderr)
            return EXIT_DAMAGED
        log.info("resumed %s after epoch %d", resume, state.epoch)

    folder = Path(config.save_dir)
    checkpoint = folder / f"checkpoint_{config.run_name}.th"
    metrics = folder / f"metrics_{config.run_name}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    tracker = None
    if (off := wandb_off_reason(config.wandb_project)) is None and config.wandb_project:
        tracker = WandbTracker(config.wandb_project, folder)
        tracker.start(0, config.run_name, config.as_dict())
    else:
        log.info("W&B is off: %s", off)
    log.info("%s on %s, %d images of %s an epoch", config.run_name, state.device, state.data.train.num_images,
             config.dataset)  # fmt: skip

    status, reason = "finished", ""
    try:
        with metrics.open("a" if resume else "w") as rows:
            for row in fit(state, grace_epochs):
                save_checkpoint(checkpoint, state)
                rows.write(json.dumps(row.as_dict()) + "\n")
                rows.flush()
                log.info(
                    "epoch %d/%d  loss %.4f  train_acc %.2f  val_acc %.2f  sparsity %.4f  rel_bops %.4f  bits %.2f  %.1f s",
                    row.epoch, config.epochs, row.loss, row.train_acc, row.val_acc, row.sparsity, row.rel_bops,
                    row.mean_bits, row.epoch_s,
                )  # fmt: skip
                if tracker:
                    tracker.log(0, row.as_dict())
                status, reason = row.status, row.reason
    finally:
        if tracker:
            tracker.finish(0, status, reason)
            tracker.close()
    if status in ("diverged", "collapsed"):
        print(f"{status} at epoch {state.epoch}: {reason}", file=sys.stderr)
        return EXIT_FAILED
    log.info("test_acc %.2f  checkpoint %s", evaluate(state, state.data.test), checkpoint)
    return 0


if __name__ == "__main__":
    sys.exit(main())
