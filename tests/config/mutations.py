"""Mutations of the shipped templates: what people and machines do to a YAML file, as Hypothesis strategies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from hypothesis import strategies as st

from tests.conftest import ROOT

TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "sweeps").glob("*.yaml"))}


@dataclass(frozen=True)
class Mutant:
    """A template after one mutation.

    valid: whether the file must load; None: it may. line: where a problem must be reported, None: anywhere.
    """

    template: str
    mutation: str
    content: bytes
    valid: bool | None = None
    line: int | None = None

    def write(self) -> Path:
        """Write the file, beside the shipped ones that it may extend, into the current folder; returns its path."""
        for name, text in TEMPLATES.items():
            if not Path(name).exists():
                Path(name).write_text(text, encoding="utf-8")
        path = Path("mutant.yaml")
        path.write_bytes(self.content)
        return path


WRONG_VALUES = [
    "zebra", '"zebra"', "''", "null", "true", "[]", "{}", "[1, 2]", "{zebra: 1}",
    "-1", "-0.5", "0", "1e400", "-.inf",
    ".nan", "9" * 30, "9" * 400, "9" * 5000, "1e-320", "0.1.2", "1_000", "08", "1:30", "2001-01-01", "~", "=", "<<",
    "'1e-3'", "[[[[[[]]]]]]", "[" * 100 + "]" * 100, "{a: " * 100 + "1" + "}" * 100, "x" * 10_000,
    "{distribution: uniform, low: 1, high: 0}", "{distribution: zebra}", "{distribution: [1]}",
    "{distribution: choice}",
    "{distribution: choice, choices: []}", "{distribution: choice, choices: [1, 1]}", "{distribution: uniform, low: 0}",
    "{distribution: choice, choices: [{distribution: choice, choices: [1, a]}, {}]}",
    "{distribution: int, low: 0, high: 1e400}", "{distribution: loguniform, low: 0, high: 1}",
    "{distribution: int, low: 1, high: 999999999999999999999}", "{distribution: uniform, low: -1e308, high: 1e308}",
    "{same_as: zebra}", "{same_as: epochs}", "{same_as: optimizer}", "{same_as: ''}", "{same_as: [1]}", "{same_as: .}",
    "{distribution: uniform, low: 0, high: 1, same_as: epochs}",
]  # fmt: skip
"""Values of every type that a template may hold, and some that none may."""

NEVER_READ = [
    "*zebra", "&zebra 1", "!!int 1", "!zebra 1", "!!python/object/apply:os.mkdir [hacked]",
    "!!python/name:os.system ''", "[", "{", "'", '"', "]", "}", "@zebra", "`zebra", "%zebra", "a: b: c", "- - -\n-",
    "[" * 5000, "{a: " * 5000,
    "\x00", "\x07",
]  # fmt: skip
"""Texts that make a file unreadable, or that are refused, wherever a value stands; `&zebra 1` alone is no more."""

UNREADABLE_BYTES = [b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x1b[31m", b"\xef\xbf\xbe"]
VALID_VALUES = {
    "epochs": st.integers(40, 10_000).map(str),
    "batch_size": st.integers(2, 4096).map(str),
    "val_fraction": st.floats(0.05, 0.9).map(repr),
    "seed": st.integers(0, 2**31).map(str),
    "trials": st.integers(1, 10_000).map(str),
    "lr": st.floats(1e-6, 1.0).map(repr) | st.just("{distribution: uniform, low: 0, high: 0.1}"),
    "weight_decay": st.floats(0, 100).map(repr) | st.just("{distribution: choice, choices: [0, 1]}"),
    "lambda": st.floats(1e-6, 100).map(repr) | st.just("1e-3"),
    "name": st.just("zebra"),
    "startup_trials": st.integers(1, 1000).map(str),
    "grace_epochs": st.integers(1, 30).map(str),
    "reduction_factor": st.integers(2, 10).map(str),
}
"""Other values of keys, each of which leaves any of the templates valid."""


@dataclass(frozen=True)
class _Place:
    """A key of a mapping in the text: offsets of the key and of its value's ends, whether the mapping is a {flow}."""

    key: str
    above: tuple[str, ...]
    begin: int
    value_begin: int
    value_end: int
    line: int
    value_line: int
    column: int
    flow: bool
    scalar: bool


def _places(node: yaml.Node | None, above: tuple[str, ...] = ()) -> Iterator[_Place]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _places(item, above)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            begin, end = key.start_mark, value.end_mark
            yield _Place(
                key.value, above, begin.index, value.start_mark.index, end.index, begin.line + 1,
                value.start_mark.line + 1, begin.column, bool(node.flow_style), isinstance(value, yaml.ScalarNode),
            )  # fmt: skip
            yield from _places(value, (*above, key.value))


PLACES = {name: list(_places(yaml.compose(text, Loader=yaml.SafeLoader))) for name, text in TEMPLATES.items()}


def _inserted(name: str, text: str, place: _Place, entry: str) -> str:
    return text[: place.begin] + entry + (", " if place.flow else "\n" + " " * place.column) + text[place.begin :]


@st.composite
def value_mutants(draw: st.DrawFn) -> Mutant:
    """A value is replaced by one that may be of another type, out of range or no YAML."""
    name = draw(st.sampled_from([*TEMPLATES]))
    text, place = TEMPLATES[name], draw(st.sampled_from(PLACES[name]))
    never = draw(st.booleans())
    value = draw(st.sampled_from(NEVER_READ if never else WRONG_VALUES))
    end = "" if place.scalar or place.flow else "\n"
    changed = f"{text[: place.value_begin]}{value}{end}{text[place.value_end :]}"
    refused = never and value != "&zebra 1"
    return Mutant(name, f"{place.key}: {value[:40]}", changed.encode(), valid=False if refused else None)


@st.composite
def valid_mutants(draw: st.DrawFn) -> Mutant:
    """A scalar is replaced by another one that is allowed there."""
    name = draw(st.sampled_from([n for n in TEMPLATES if any(_is_free(place) for place in PLACES[n])]))
    text, place = TEMPLATES[name], draw(st.sampled_from([place for place in PLACES[name] if _is_free(place)]))
    value = draw(VALID_VALUES[place.key])
    if "distribution" in value and "sweep" not in text:
        value = "1e-3"
    changed = f"{text[: place.value_begin]}{value}{text[place.value_end :]}"
    return Mutant(name, f"{place.key}: {value}", changed.encode(), valid=True)


def _is_free(place: _Place) -> bool:
    is_part = place.key == "name" and place.above != ("sweep",)
    return place.scalar and place.key in VALID_VALUES and not is_part


@st.composite
def key_mutants(draw: st.DrawFn) -> Mutant:
    """A key is added, written twice, or misspelt: all of them are refused, at their line."""
    name = draw(st.sampled_from([*TEMPLATES]))
    text, place = TEMPLATES[name], draw(st.sampled_from(PLACES[name]))
    kind = draw(st.sampled_from(["unknown", "duplicate", "misspelt", "merge"]))
    if kind == "misspelt":
        changed = text[: place.begin] + "x" + text[place.begin :]
        return Mutant(name, f"misspelt {place.key}", changed.encode(), valid=False)
    entry = {"unknown": "zebra: 1", "duplicate": f"{place.key}: 1", "merge": "<<: {zebra: 1}"}[kind]
    line = place.line + (kind == "duplicate" and not place.flow)
    changed = _inserted(name, text, place, entry)
    return Mutant(name, f"{kind} {place.key}", changed.encode(), valid=False, line=line)


@st.composite
def byte_mutants(draw: st.DrawFn) -> Mutant:
    """Bytes that are no text are inserted: refused, at their line."""
    name = draw(st.sampled_from([*TEMPLATES]))
    raw, bad = TEMPLATES[name].encode(), draw(st.sampled_from(UNREADABLE_BYTES))
    at = draw(st.integers(0, len(raw)).filter(lambda at: at == len(raw) or raw[at] & 0xC0 != 0x80))
    changed = raw[:at] + bad + raw[at:]
    return Mutant(name, f"{bad!r} at {at}", changed, valid=False, line=changed.count(b"\n", 0, at) + 1)


@st.composite
def damaged(draw: st.DrawFn) -> Mutant:
    """The file is cut off, a tab or a piece of another place is inserted, lines are lost or swapped."""
    name = draw(st.sampled_from([*TEMPLATES]))
    raw = TEMPLATES[name].encode()
    at = draw(st.integers(0, len(raw)))
    lines = raw.splitlines(keepends=True)
    first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    kind = draw(st.sampled_from(["truncated", "tab", "lost", "swapped", "joined", "inserted"]))
    match kind:
        case "truncated":
            changed = raw[:at]
        case "tab":
            changed = raw[:at] + b"\t" + raw[at:]
        case "lost":
            changed = b"".join(lines[:first] + lines[first + 1 :])
        case "swapped":
            lines[first], lines[second] = lines[second], lines[first]
            changed = b"".join(lines)
        case "joined":
            changed = raw.replace(b"\n", b" ")
        case _:
            changed = raw[:at] + draw(st.sampled_from(lines)).strip() + raw[at:]
    return Mutant(name, f"{kind} {at} {first} {second}", changed)


@st.composite
def respelt(draw: st.DrawFn) -> Mutant:
    """The same data in other characters: every one of them loads to the same template."""
    name = draw(st.sampled_from([*TEMPLATES]))
    text, place = TEMPLATES[name], draw(st.sampled_from(PLACES[name]))
    key_end = place.begin + len(place.key)
    spellings = {
        "byte order mark": "\ufeff" + text,
        "carriage returns": text.replace("\n", "\r\n"),
        "comments": text.replace("\n", "  # a comment, é\n"),
        "blank lines": text.replace("\n", "\n\n"),
        "quoted key": f'{text[: place.begin]}"{place.key}"{text[key_end:]}',
        "document marks": f"---\n{text}...\n",
        "no end of line": text.rstrip("\n"),
    }
    kind = draw(st.sampled_from([*spellings]))
    return Mutant(name, kind, spellings[kind].encode(), valid=True)


REFUSED = key_mutants() | byte_mutants() | value_mutants().filter(lambda mutant: mutant.valid is False)
"""Mutants that must be refused."""
ANY = value_mutants() | valid_mutants() | key_mutants() | byte_mutants() | damaged()
