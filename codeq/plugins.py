"""Plug-ins: a user's own models, data sets, loss terms and quantizers in a Python file, given by `--plugin FILE.py`.

    from codeq.plugins import model

    @model("wide_mlp")
    def wide_mlp(*, in_channels: int, img_size: int, num_classes: int, hidden: int = 256) -> nn.Module: ...

A config may then contain `model: {name: wide_mlp, kwargs: {hidden: 512}}`, with a value of that type or a distribution.
"""

from __future__ import annotations

import argparse
import hashlib
import linecache
import logging
import os
import re
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeq.config.errors import ConfigError, Problem, SourceLocation
from codeq.config.paths import option_path
from codeq.config.text import one_line
from codeq.registry import (
    DATASETS,
    LOSS_TERMS,
    MODELS,
    QUANTIZERS,
    REGISTRIES,
    Definition,
    PluginError,
    RegistrationError,
    line_in,
    plugin_source,
)

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

PLUGINS_FOLDER = "plugins"
"""Subfolder of a sweep's folder that contains copies of its plug-ins."""

_loaded: set[tuple[str, str]] = set()
"""Base name and content digest of every plug-in that this process has run."""
_sources: set[str] = set()
_lock = threading.RLock()


def model(name: str) -> Callable[[Definition], Definition]:
    """Register a function that builds a network: (B, C, S, S) float images in, (B, num_classes) logits out.

    The parameters in_channels, img_size, num_classes and pretrained are passed if the function declares them.
    """
    return MODELS.register(name)


def dataset(name: str) -> Callable[[Definition], Definition]:
    """Register a function that returns ((images, labels), (images, labels)), the training and the test set.

    Images are uint8 [N, C, S, S], labels integers [N] from 0. The parameters data_dir, img_size (None: the data set's
    own) and workers (loader processes) are passed if the function declares them.
    """
    return DATASETS.register(name)


def loss_term(name: str) -> Callable[[Definition], Definition]:
    """Register a function of (model, **kwargs) that returns a scalar tensor; it is added to the cross-entropy."""
    return LOSS_TERMS.register(name)


def quantizer(name: str) -> Callable[[Definition], Definition]:
    """Register a module class (or a function that returns a module) with forward(w), which keeps the shape of w, and
    get_bitwidth(), which returns a scalar tensor."""
    return QUANTIZERS.register(name)


@dataclass(frozen=True)
class Plugin:
    """A plug-in file that has run in this process. path: as given. name: its base name."""

    path: str
    name: str
    content: bytes


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Add the repeatable option `--plugin FILE.py`, stored in `options.plugin`."""
    text = "a Python file that registers models, data sets, loss terms or quantizers; repeatable"
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help=text)


def load_plugins(paths: Iterable[str]) -> list[Plugin]:
    """Run each file with `load_plugin`; paths expand as those of templates do. A file that is given twice counts once.

    Also raises ConfigError if two files have the same base name, because a sweep copies them to one folder.
    """
    contents: dict[str, tuple[str, bytes]] = {}
    for given in paths:
        path = option_path("--plugin", given)
        name, content = os.path.basename(path), _read(path)
        first, first_content = contents.setdefault(name, (path, content))
        if first_content != content:
            raise _refused(path, None, f"is a second --plugin called {name}, after {first}; rename one")
    return [load_plugin(path) for path, _ in contents.values()]


def load_stored(sweep_folder: Path | UPath) -> None:
    """Run the plug-ins stored in a sweep's folder. A process runs each of them once."""
    for path in stored_plugins(sweep_folder):
        load_plugin(path)


def stored_plugins(sweep_folder: Path | UPath) -> list[Path | UPath]:
    """Return the paths of the plug-ins stored in a sweep's folder, in order of name."""
    folder = sweep_folder / PLUGINS_FOLDER
    return sorted(folder.glob("*.py"), key=lambda path: path.name) if folder.exists() else []


def load_plugin(path: str | Path | UPath) -> Plugin:
    """Run the file at `path` and register its parts, unless this process has run a file with that name and content.

    Raises ConfigError with the file's line if it cannot be read, raises, or registers nothing; its parts are then
    removed from the registry.
    """
    source, name, content = str(path), os.path.basename(str(path)), _read(path)
    digest = hashlib.sha256(content).hexdigest()
    with _lock:
        if (name, digest) not in _loaded:
            before = [registry.snapshot() for registry in REGISTRIES.values()]
            try:
                _run(source, f"codeq_plugin_{re.sub(r'[^A-Za-z0-9_]', '_', name[:-3])}_{digest[:12]}", content)
                if before == [registry.snapshot() for registry in REGISTRIES.values()]:
                    decorators = "@model, @dataset, @loss_term or @quantizer of codeq.plugins"
                    raise _refused(source, None, f"registers nothing: put {decorators} above a function")
            except BaseException:
                for registry, parts in zip(REGISTRIES.values(), before, strict=True):
                    registry.restore(parts)
                raise
            _loaded.add((name, digest))
            _sources.add(source)
    return Plugin(source, name, content)


def _read(path: str | Path | UPath) -> bytes:
    """Return the content of a plug-in. Raises ConfigError if it is no Python file or cannot be read."""
    source = str(path)
    try:
        from upath import UPath  # takes 0.2 s to import, which every command would wait for

        file = UPath(path)
        if file.is_dir():
            raise _refused(source, None, "is a folder, must be a Python file; a plug-in is one file")
        if not source.endswith(".py"):
            raise _refused(source, None, "must be a Python file, its name ending in .py")
        return file.read_bytes()
    except (OSError, ValueError, ImportError) as error:
        raise _refused(source, None, f"cannot be read: {getattr(error, 'strerror', None) or one_line(error)}") from None


def error_line(error: BaseException) -> str | None:
    """Return one line with the plug-in's file and line for an exception raised in a plug-in; None for others."""
    if isinstance(error, PluginError):
        return str(error)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _sources:
            reason = one_line(f"{type(error).__name__}: {error}")
            return f"{SourceLocation(frame.filename, frame.lineno)}: {reason}"
    return None


def _run(source: str, module_name: str, content: bytes) -> None:
    """Run a plug-in's `content` as a new module. Raises ConfigError for every exception of the plug-in."""
    module = types.ModuleType(module_name)
    module.__file__ = source
    sys.modules[module_name] = module  # dataclasses look up their module while they are created
    # Tracebacks and inspect then show the source, also of a file that is not on a local disk.
    text = content.decode("utf-8", errors="replace")
    linecache.cache[source] = (len(content), None, text.splitlines(keepends=True), source)
    before = set(sys.modules)
    token = plugin_source.set(source)
    try:
        exec(compile(content, source, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _failed(source, error) from None
    finally:
        plugin_source.reset(token)
    _warn_of_neighbours(source, [sys.modules[name] for name in sys.modules.keys() - before])


def _warn_of_neighbours(source: str, imported: Iterable[Any]) -> None:
    """Warn of modules that lie beside a plug-in: they are found only where the plug-in was given, not by workers."""
    folder = os.path.dirname(os.path.abspath(source))
    beside = {os.path.join(folder, f"{m.__name__}.py") for m in imported if "." not in m.__name__}
    for path in sorted(beside.intersection(getattr(m, "__file__", None) or "" for m in imported)):
        log.warning(
            "%s: imports %s, which a sweep does not store: other machines and --resume may not find it. "
            "A plug-in is one file: put what is needed into it", source, os.path.basename(path),
        )  # fmt: skip


def _failed(source: str, error: BaseException) -> ConfigError:
    """Return the error that says why a plug-in failed, with the plug-in's line."""
    if isinstance(error, SyntaxError) and error.filename == source:
        return _refused(source, error.lineno, f"is not valid Python: {error.msg}")
    reason = str(error) if isinstance(error, RegistrationError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        reason += "; install it, or put what is needed into the plug-in, which is one file"
    return _refused(source, line_in(error, source), one_line(reason))


def _refused(source: str, line: int | None, reason: str) -> ConfigError:
    return ConfigError([Problem(SourceLocation(source, line), "", reason)])
