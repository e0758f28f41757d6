"""How problems read: one line each, with the place first, whatever the file holds."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeq.config.errors import ConfigError, Problem, SourceLocation, closest, did_you_mean, format_value


def test_a_problem_is_file_line_key_reason() -> None:
    location = SourceLocation("sweeps/a.yaml", 22)
    problem = Problem(location, "quantizer.kwargs.max_bit", "unknown key; did you mean max_bits?")
    assert str(problem) == "sweeps/a.yaml:22: quantizer.kwargs.max_bit: unknown key; did you mean max_bits?"


def test_what_a_problem_lacks_leaves_no_empty_colons() -> None:
    assert str(Problem(SourceLocation("a.yaml"), "", "cannot be read")) == "a.yaml: cannot be read"
    assert str(Problem(SourceLocation("--set"), "epochs", "is 0")) == "--set: epochs: is 0"


@given(source=st.text(), key=st.text(), reason=st.text())
@settings(deadline=None)
def test_a_problem_is_one_printable_line(source: str, key: str, reason: str) -> None:
    line = str(Problem(SourceLocation(source, 1), key, reason))
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_a_huge_key_does_not_make_a_huge_line() -> None:
    assert len(str(Problem(SourceLocation("a.yaml", 1), "k" * 100_000, "unknown key"))) < 300


def test_problems_are_listed_once_each_in_the_order_of_the_file() -> None:
    late, early = Problem(SourceLocation("a.yaml", 10), "k", "late"), Problem(SourceLocation("a.yaml", 9), "k", "early")
    assert str(ConfigError([late, early, late])) == "a.yaml:9: k: early\na.yaml:10: k: late"


def test_an_error_survives_the_way_between_processes() -> None:
    error = ConfigError([Problem(SourceLocation("a.yaml", 3), "epochs", "is 0")])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.problems) == (str(error), error.problems)


@pytest.mark.parametrize(
    ("written", "meant"), [("max_bit", "max_bits"), ("AdamW", "adamw"), ("RESNET20", "resnet20"), ("xyz", None)]
)
def test_the_nearest_name_is_found_whatever_its_case(written: str, meant: str | None) -> None:
    assert closest(written, ["max_bits", "adamw", "resnet20"]) == meant
    assert did_you_mean(written, ["max_bits", "adamw", "resnet20"]) == (f"; did you mean {meant}?" if meant else "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("300", "'300'"),
        (0.5, "0.5"),
        ({"low": 1, "on": None}, '{"low": 1, "on": null}'),
        (["bn"], '["bn"]'),
        ("x" * 1000, "'" + "x" * 56 + "..."),
    ],
)
def test_a_value_is_shown_as_the_file_spells_it(value: object, text: str) -> None:
    assert format_value(value) == text


def test_the_first_100_problems_are_listed_and_the_rest_is_counted() -> None:
    found = [Problem(SourceLocation("t.yaml", line), f"k{line}", "unknown key") for line in range(1, 1235)]
    lines = str(ConfigError(found)).splitlines()
    assert lines[99:] == ["t.yaml:100: k100: unknown key", "t.yaml: 1,134 more"]
    assert len(str(ConfigError(found[:100])).splitlines()) == 100
