"""Draw one config from a template's tree: a choice before its contents, references last."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from codeq.config.distributions import Choice, Distribution, Int, LogUniform, SameAs, Uniform
from codeq.config.document import KeyPath
from codeq.config.tree import get_dotted, walk

SuggestFn = Callable[[KeyPath, Distribution], Any]
"""(path of a distribution, the distribution) -> value; a Choice is answered with one of its labels."""


MAX_PASSES = 64
"""Limit on references that lead to references, one behind the other."""
MAX_READ = 10_000
"""Limit on values copied to resolve references: nested references could expand to billions of values."""


class SampledConfig:
    """One drawn config.

    data: plain data, unless `unresolved` is not empty.
    origin: for every path of `data`, the path in the file that its value came from.
    unresolved: the references whose target was not drawn or leads in a circle, by their path in `data`.
    """

    def __init__(self, tree: Any, suggest: SuggestFn) -> None:
        self._suggest = suggest
        self.origin: dict[KeyPath, KeyPath] = {}
        self.unresolved: dict[KeyPath, str] = {}
        self.data = self._instantiate(tree, (), ())
        self._resolve_references()

    def _instantiate(self, value: Any, path: KeyPath, origin: KeyPath) -> Any:
        self.origin[path] = origin
        match value:
            case Choice():
                index = value.labels.index(self._suggest(origin, value))
                return self._instantiate(value.choices[index], path, (*origin, "choices", index))
            case Uniform() | LogUniform() | Int():
                return self._suggest(origin, value)
            case SameAs():
                self.unresolved[path] = value.same_as
            case dict():
                return {key: self._instantiate(item, (*path, key), (*origin, key)) for key, item in value.items()}
            case list():
                return [self._instantiate(item, (*path, i), (*origin, i)) for i, item in enumerate(value)]
        return value

    def _resolve_references(self) -> None:
        """Copy targets over references until none is left or a whole pass resolves none, at most MAX_PASSES times."""
        progress, read, passes = True, 0, 0
        while self.unresolved and progress and passes < MAX_PASSES:
            progress, passes = False, passes + 1
            for path, key in [(path, key) for path, key in self.unresolved.items() if self.has(key)]:
                target = get_dotted(self.data, key)
                parts = [value for _, _, value in walk(target)]
                read += len(parts)
                if read > MAX_READ:
                    return
                if not any(isinstance(value, SameAs) for value in parts):
                    _assign(self.data, path, copy.deepcopy(target))
                    del self.unresolved[path]
                    progress = True

    def has(self, key: str) -> bool:
        """Whether the drawn config has a value at a dotted key."""
        try:
            get_dotted(self.data, key)
        except KeyError:
            return False
        return True


def _assign(data: Any, path: KeyPath, value: Any) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value
