"""A user's own models, data sets, loss terms and quantizers: one Python file, given by `--plugin FILE.py`.

    from codeq.plugins import model

    @model("wide_mlp")
    def wide_mlp(*, in_channels: int, img_size: int, num_classes: int, hidden: int = 256) -> nn.Module: ...

`hidden` is then what `model: {name: wide_mlp, kwargs: {hidden: 512}}` may hold, of that type, or a distribution of it.
"""

from __future__ import annotations

import argparse
import hashlib
import linecache
import os
import re
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codeq.config.errors import ConfigError, Problem, SourceLocation
from codeq.registry import (
    DATASETS,
    LOSS_TERMS,
    MODELS,
    PLUGIN_MODULE,
    QUANTIZERS,
    REGISTRIES,
    Definition,
    PluginError,
    RegistrationError,
    line_in,
)

if TYPE_CHECKING:
    from upath import UPath

FOLDER = "plugins"
"""Where a sweep keeps its plug-ins, below its own folder."""

_loaded: set[tuple[str, str]] = set()
"""Base name and digest of the content of every plug-in that this process has run."""
_sources: set[str] = set()
_lock = threading.RLock()


def model(name: str) -> Callable[[Definition], Definition]:
    """Register a function that builds a network: (B, C, S, S) float images in, (B, num_classes) logits out.

    It may declare in_channels, img_size, num_classes and pretrained, which it is then given.
    """
    return MODELS.register(name)


def dataset(name: str) -> Callable[[Definition], Definition]:
    """Register a function that returns ((images, labels), (images, labels)), the training and the test set.

    Images are uint8 [N, C, S, S], labels integers [N] from 0. It may declare data_dir, img_size (None: the data set's
    own) and workers (loader processes), which it is then given.
    """
    return DATASETS.register(name)


def loss_term(name: str) -> Callable[[Definition], Definition]:
    """Register a function of (model, **kwargs) that returns a scalar tensor; it is added to the cross-entropy."""
    return LOSS_TERMS.register(name)


def quantizer(name: str) -> Callable[[Definition], Definition]:
    """Register a module class (or a function that builds one): forward(w) gives w's shape, get_bitwidth() a scalar."""
    return QUANTIZERS.register(name)


@dataclass(frozen=True)
class Plugin:
    """A plug-in file that has run in this process. path: as it was given. name: its base name."""

    path: str
    name: str
    content: bytes


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Let a command line take `--plugin FILE.py`, any number of times, as `options.plugin`."""
    text = "a Python file that registers models, data sets, loss terms or quantizers; repeatable"
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help=text)


def load_plugins(paths: Iterable[str]) -> list[Plugin]:
    """Run each file, `~` and `$VAR` in its path expanded; see `load_plugin`.

    Raises ConfigError also if two files have one base name: a sweep keeps its copies in one folder.
    """
    plugins: dict[str, Plugin] = {}
    for given in paths:
        path = os.path.expanduser(os.path.expandvars(given))
        name = os.path.basename(path)
        if name in plugins:
            raise _refused(path, None, f"is a second --plugin called {name}, after {plugins[name].path}; rename one")
        plugins[name] = load_plugin(path)
    return list(plugins.values())


def load_stored(sweep_folder: Path | UPath) -> None:
    """Run the plug-ins that a sweep keeps. A process runs each of them once."""
    for path in stored_plugins(sweep_folder):
        load_plugin(path)


def stored_plugins(sweep_folder: Path | UPath) -> list[Path | UPath]:
    """The plug-ins that a sweep keeps, by name."""
    folder = sweep_folder / FOLDER
    return sorted(folder.glob("*.py"), key=lambda path: path.name) if folder.exists() else []


def load_plugin(path: str | Path | UPath) -> Plugin:
    """Run the file at `path`, unless this process has run a file of that name and content, and keep what it registers.

    Raises ConfigError, with the file's own line, if it cannot be read, raises, or registers nothing; what it had
    registered is forgotten then.
    """
    source, name = str(path), os.path.basename(str(path))
    if not name.endswith(".py"):
        raise _refused(source, None, "must be a Python file, its name ending in .py")
    try:
        content = Path(path).read_bytes() if isinstance(path, str) else path.read_bytes()
    except (OSError, ValueError) as error:
        raise _refused(source, None, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    digest = hashlib.sha256(content).hexdigest()
    with _lock:
        if (name, digest) not in _loaded:
            before = [registry.snapshot() for registry in REGISTRIES.values()]
            try:
                _run(source, f"{PLUGIN_MODULE}{re.sub(r'[^A-Za-z0-9_]', '_', name[:-3])}_{digest[:12]}", content)
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


def error_line(error: BaseException) -> str | None:
    """One line on an exception that came out of a plug-in's code, with the plug-in's file and line; else None."""
    if isinstance(error, PluginError):
        return str(error)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _sources:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return f"{SourceLocation(frame.filename, frame.lineno)}: {reason}"
    return None


def _run(source: str, module_name: str, content: bytes) -> None:
    """Run a plug-in's `content` as a module of its own. Raises ConfigError for whatever it raises."""
    module = types.ModuleType(module_name)
    module.__file__ = source
    sys.modules[module_name] = module  # classes and dataclasses look their module up while they are made
    # Tracebacks and inspect show the source as it ran, wherever the file lies.
    text = content.decode("utf-8", errors="replace")
    linecache.cache[source] = (len(content), None, text.splitlines(keepends=True), source)
    try:
        exec(compile(content, source, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _failed(source, error) from None


def _failed(source: str, error: BaseException) -> ConfigError:
    """Why running a plug-in failed, at its own line."""
    if isinstance(error, SyntaxError) and error.filename == source:
        return _refused(source, error.lineno, f"is not valid Python: {error.msg}")
    reason = str(error) if isinstance(error, RegistrationError) else f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        reason += "; install it, or put what is needed into the plug-in, which is one file"
    return _refused(source, line_in(error, source), " ".join(reason.split()))


def _refused(source: str, line: int | None, reason: str) -> ConfigError:
    return ConfigError([Problem(SourceLocation(source, line), "", reason)])
