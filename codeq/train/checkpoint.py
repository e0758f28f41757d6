"""Checkpoints: written atomically, read without executing code from the file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from upath import UPath

from codeq.config.differences import differences
from codeq.config.run import RUNTIME_KEYS
from codeq.config.text import first_line
from codeq.quant import is_norm
from codeq.storage.atomic_files import write_atomically
from codeq.storage.out_of_memory import out_of_memory

if TYPE_CHECKING:
    from codeq.train.loop import TrainState

_REQUIRED = ("epoch", "model")


class CheckpointError(Exception):
    """The file is damaged, is not a checkpoint, or belongs to another model; the message names the file."""


class CheckpointDamaged(CheckpointError):
    """The file cannot be read: an older checkpoint, or training from the first epoch, is the way out."""


def save_checkpoint(path: Path | UPath, state: TrainState) -> None:
    """Write everything that a bit-exact continuation needs (`load_checkpoint` lists the keys)."""
    content = io.BytesIO()
    torch.save(
        {
            "epoch": state.epoch,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "scheduler": state.scheduler.state_dict(),
            "best_prec1": state.best_val_acc,
            "config": state.config.as_dict(),
            "rng": rng_state(state.device),
        },
        content,
    )
    write_atomically(path, content.getvalue())


def load_checkpoint(path: Path | UPath, state: TrainState) -> None:
    """Load a checkpoint into `state`, which was created from the same config.

    Keys: epoch (completed), model, optimizer, scheduler, best_prec1 (best validation accuracy, percent), config, rng.
    Only epoch and model are required, so checkpoints of the method's older scripts, which have no rng, can be loaded.
    Raises CheckpointError if the file cannot be used; `state` may then be partly overwritten.
    """
    saved = read_checkpoint(path, state.device)
    _refuse_another_config(path, saved, state)
    try:
        weights = _without_prefix(saved["model"])
        _refuse_quantized_norms(path, weights, state.model)
        state.model.load_state_dict(weights)
        if "optimizer" in saved:
            state.optimizer.load_state_dict(saved["optimizer"])
        if "scheduler" in saved:
            state.scheduler.load_state_dict(saved["scheduler"])
        state.epoch = int(saved["epoch"])
        state.best_val_acc = float(saved.get("best_prec1", 0.0))
        if "rng" in saved:
            set_rng_state(saved["rng"], state.device)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(f"{path}: does not fit the config: {' '.join(lines[:3])}") from None
    _freeze_what_is_not_optimized(state)


def read_checkpoint(path: Path | UPath, device: torch.device) -> dict[str, Any]:
    """Return the checkpoint's mapping with its tensors on `device`.

    Raises CheckpointError if the file is missing, damaged (every record's checksum is verified), holds anything but
    plain data and tensors, or lacks a required key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        _refuse_more_than(len(content), sum(record.file_size for record in archive.infolist()), path)
        damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointDamaged(f"{path}: damaged: the checksum of {damaged} does not match")
        on_meta = torch.load(io.BytesIO(content), map_location="meta", weights_only=True)  # allocates nothing
        tensors = list(_tensors(on_meta))
        storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
        # Strides of 0 make a large tensor of a few bytes, which a conversion to another type would write out.
        largest = max((tensor.numel() * tensor.element_size() for tensor in tensors), default=0)
        _refuse_more_than(len(content), max(largest, sum(storages.values())), path)
        saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except CheckpointDamaged:
        raise
    except Exception as error:  # zipfile and PyTorch raise many types for bytes that are no checkpoint
        if out_of_memory(error):
            raise
        raise CheckpointDamaged(f"{path}: not a readable checkpoint: {first_line(error)}") from None
    missing = [key for key in _REQUIRED if not isinstance(saved, dict) or key not in saved]
    if missing:
        raise CheckpointDamaged(f"{path}: not a checkpoint of ours: it has no {' and no '.join(missing)}")
    return dict(saved)


def _refuse_more_than(held: int, declared: int, path: Path | UPath) -> None:
    """Raise CheckpointDamaged for a file of `held` bytes that declares more: reading it would take that memory."""
    if declared > held:
        reason = f"it declares {declared:,} bytes, the file holds {held:,}"
        raise CheckpointDamaged(f"{path}: not a readable checkpoint: {reason}")


def _tensors(data: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested mappings and lists."""
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, dict | list | tuple):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _tensors(item)


def _without_prefix(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the weights without the `module.` prefix that DataParallel adds to each name."""
    return {name.removeprefix("module."): weight for name, weight in weights.items()}


def _refuse_another_config(path: Path | UPath, saved: dict[str, Any], state: TrainState) -> None:
    """Raise CheckpointError for changed settings: loading the stored state would silently replace them.

    Checkpoints of the older scripts (without rng) use other names for their settings and are not compared.
    """
    before, now = saved.get("config"), state.config.as_dict()
    if "rng" not in saved or not isinstance(before, dict):
        return
    if isinstance(before.get("quantizer"), dict) and now["quantizer"]:  # older files do not have the key
        before["quantizer"].setdefault("quantize_norms", now["quantizer"]["quantize_norms"])
    compared = [key for key in now if key in before and key not in RUNTIME_KEYS]
    changed = differences({key: before[key] for key in compared}, {key: now[key] for key in compared})
    if what := ", ".join(f"{found.key} {found}" for found in changed):
        raise CheckpointError(f"{path}: was written with another config: {what}; resume with the same one")


def _refuse_quantized_norms(path: Path | UPath, weights: Mapping[str, Any], model: nn.Module) -> None:
    """Raise CheckpointError if only the file has quantizers on norm layers, as every file of older versions has."""
    for name, module in model.named_modules():
        if f"{name}.parametrizations.weight.original" in weights and is_norm(module) and not is_parametrized(module):
            more = "write quantizer.quantize_norms: true"
            raise CheckpointError(f"{path}: has quantizers on norm layers such as {name}: {more}")


def _freeze_what_is_not_optimized(state: TrainState) -> None:
    """Freeze the logits whose group the config omits: loading a quantizer's flags makes them trainable again."""
    optimized = {id(parameter) for group in state.optimizer.param_groups for parameter in group["params"]}
    for parameter in state.model.parameters():
        parameter.requires_grad_(id(parameter) in optimized)


def rng_state(device: torch.device) -> dict[str, Any]:
    """The state of PyTorch's global generators that a run on `device` draws from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the state that `rng_state` returned."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
