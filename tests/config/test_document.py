"""Reading YAML safely: what is plain is read with its lines, what could surprise is refused with its line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codeq.config.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_document, read_document, to_yaml
from codeq.config.errors import ConfigError

KEYS = st.text(max_size=5).filter(lambda key: key != "<<")
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def value_of(text: str) -> Any:
    return parse_document(f"key: {text}\n", "t.yaml").data["key"]


def refusal(text: str) -> str:
    """The problems of `text`, one a line; empty if it is read."""
    try:
        return "\n".join(map(str, parse_document(text, "t.yaml").problems))
    except ConfigError as error:
        return str(error)


def refusal_of_bytes(raw: bytes) -> str:
    Path("t.yaml").write_bytes(raw)
    try:
        read_document(Path("t.yaml"))
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("+1.e2", 100.0), ("5.", 5.0), ("3", 3), ("-7", -7), ("010", 10),
        (".inf", math.inf), ("-.Inf", -math.inf), ("1e400", math.inf),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("[]", []), ("{a: 1}", {"a": 1}),
        ("1_000", "1_000"), ("0x10", "0x10"), ("0o7", "0o7"), ("yes", "yes"), ("no", "no"), ("on", "on"),
        ("nan", "nan"), ("inf", "inf"), ("1e", "1e"), ("1:30", "1:30"), ("2001-01-01", "2001-01-01"), ("=", "="),
        ("'1e-3'", "1e-3"),
    ],
)  # fmt: skip
def test_scalars_are_read_without_yaml_1_1_surprises(text: str, value: Any) -> None:
    read = value_of(text)
    assert (read, type(read)) == (value, type(value))


def test_not_a_number_is_a_float() -> None:
    assert math.isnan(value_of(".nan"))


def test_an_integer_too_long_to_convert_stays_text() -> None:
    assert value_of("9" * 300) == 10**300 - 1
    assert value_of("9" * 5000) == "9" * 5000


def test_every_value_knows_its_line() -> None:
    document = parse_document("# comment\na: 1\nb:\n  c: [x,\n      {d: 1}]\n", "t.yaml")
    lines = {path: location.line for path, location in document.locations.items()}
    assert lines == {(): 2, ("a",): 2, ("b",): 3, ("b", "c"): 4, ("b", "c", 0): 4, ("b", "c", 1): 5,
                     ("b", "c", 1, "d"): 5}  # fmt: skip
    assert str(document.location(("b", "c", 1, "nothing", 7))) == "t.yaml:5"


@pytest.mark.parametrize("text", ["", "# a comment\n", "---\n", "null", "~\n"])
def test_an_empty_file_is_no_data(text: str) -> None:
    assert parse_document(text, "t.yaml").data is None


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("a: &x 1\nb: *x\n", "t.yaml:2: *x: aliases are not read; repeat the value (templates: {same_as: other.key})"),
        ("a: 1\nb: !!int 3\n", "t.yaml:2: !!int: tags are not read; write the plain value"),
        ("a: !!python/object/apply:os.system [ls]\n", "t.yaml:1: !!python/object/apply:os.system: tags are not read"),
        ("a: !x 3\n", "t.yaml:1: !x: tags are not read"),
        ("b:\n  <<: {a: 1}\n", "t.yaml:2: b.<<: merge keys are not read; repeat the keys (templates: extends: FILE)"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "t.yaml:4: a.b: duplicate key, first written in line 2"),
        ("a: 1\n? [b, c]\n: 2\n", "t.yaml:2: a key must be a plain word"),
        ("a:\n  ? {b: c}\n  : 2\n", "t.yaml:2: a: a key must be a plain word"),
        ("a: 1\n---\nb: 2\n", "t.yaml:2: a second document in one file is not read"),
        ("a: 1\nb: [1, 2\nc: 3\n", "t.yaml:3: is not valid YAML: expected ',' or ']', but got ':' (while parsing a "
                                   "flow sequence that begins in line 2)"),
        ('a: 1\nb: "x\n', "t.yaml:3: is not valid YAML: found unexpected end of stream (while scanning a quoted scalar "
                          "that begins in line 2)"),
        ("a: 1\n\tb: 2\n", "t.yaml:2: is not valid YAML: found character '\\t' that cannot start any token; indent "
                           "with spaces"),
        ("a: >= 90\n", "t.yaml:1: is not valid YAML: expected chomping or indentation indicators, but found '='; put "
                       "text that begins with a sign in quotes"),
        ("a: @x\n", "t.yaml:1: is not valid YAML: found character '@' that cannot start any token; put text that "),
        ("a: 1\nb: x\x07y\n", "t.yaml:2: holds the character '\\x07', must be plain text"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_line(text: str, refused: str) -> None:
    assert refusal(text).startswith(refused)


def test_every_alias_and_tag_is_reported() -> None:
    assert refusal("a: &x 1\nb: *x\nc: !!int 2\nd: *x\n").count("\n") == 2


def test_the_rest_of_a_file_with_duplicate_keys_is_still_read() -> None:
    document = parse_document("a: 1\na: 2\n<<: {b: 3}\nc: 4\n", "t.yaml")
    assert document.data == {"a": 1, "c": 4}
    assert len(document.problems) == 2


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse_document("1: a\nnull: b\ntrue: c\n'': d\n1.5: e\n", "t.yaml").data == {
        "1": "a", "null": "b", "true": "c", "": "d", "1.5": "e",
    }  # fmt: skip


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_before_anything_recurses(opening: str) -> None:
    assert f"is nested more than {MAX_DEPTH} levels deep" in refusal(opening * 5000)


def test_nesting_up_to_the_limit_is_read() -> None:
    assert refusal("[" * MAX_DEPTH + "]" * MAX_DEPTH) == ""


def test_up_to_10_000_keys_and_values_are_read() -> None:
    assert refusal(f"[{'1,' * (MAX_VALUES - 1)}]") == ""
    assert refusal(f"a:\n  [{'1,' * (MAX_VALUES - 1)}]") == "t.yaml:2: holds more than 10,000 keys and values"


def test_a_file_of_256_kb_is_read_and_one_byte_more_is_refused() -> None:
    comment = b"a: 1\n#" + b"x" * (MAX_BYTES - 6)
    assert refusal_of_bytes(comment) == ""
    assert refusal_of_bytes(comment + b"x") == "t.yaml: is larger than 256 KB"


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="is larger than 256 KB"):
        read_document(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("raw", "refused"),
    [
        ("a: 1\n".encode("utf-16"), "t.yaml:1: is not UTF-8 text: byte 0 of the file; save it as UTF-8"),
        ("a: 1\n".encode("utf-16-le"), "t.yaml:1: holds the character '\\x00', must be plain text"),
        (b"a: 1\nb: \xff\n", "t.yaml:2: is not UTF-8 text: byte 8 of the file; save it as UTF-8"),
        (b"\x7fELF\x00\x01", "t.yaml:1: holds the character"),
    ],
)
def test_files_that_are_not_plain_text_are_refused_with_their_line(raw: bytes, refused: str) -> None:
    assert refusal_of_bytes(raw).startswith(refused)


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfa: 1\nb: 2\n", b"a: 1\r\nb: 2\r\n", b"a: 1\rb: 2\r"])
def test_byte_order_marks_and_line_endings_change_nothing(raw: bytes) -> None:
    Path("t.yaml").write_bytes(raw)
    document = read_document(Path("t.yaml"))
    assert document.data == {"a": 1, "b": 2}
    assert document.locations[("b",)].line == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nothing.yaml", "No such file or directory"),
        (".", "Is a directory"),
        ("x" * 5000, "File name too long"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(Path(name))
    assert str(caught.value).endswith(f": cannot be read: {reason}")
    assert "\n" not in str(caught.value)


def test_a_file_without_permission_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match=r"^t\.yaml: cannot be read: Permission denied$"):
        read_document(Path("t.yaml"))


@given(data=DATA)
@settings(deadline=None)
@example(data=["1e3", "08", "010", "no", "0x10", "1_000", "null", "", "<<", "=", "*a", "- x", "a: b", ".", "1:30"])
@example(data=[1e-5, 1e16, 5e-324, math.inf, -0.0, 2**53])
def test_written_data_reads_back_equal_here_and_in_yaml_1_1(data: Any) -> None:
    text = to_yaml({"data": data})
    for read in (parse_document(text, "t.yaml").data, yaml.safe_load(text)):
        assert read == {"data": data}


def test_repeated_parts_are_written_out_because_aliases_are_not_read() -> None:
    part = {"lr": 0.1}
    assert parse_document(to_yaml({"a": part, "b": part}), "t.yaml").data == {"a": part, "b": part}
