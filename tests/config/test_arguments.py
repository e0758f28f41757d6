"""Options of the command line: texts as they stand, numbers, and bytes that the locale cannot decode."""

from __future__ import annotations

import os
from typing import Any

import pytest

from codeq.config.arguments import ArgumentParser, as_number, as_text
from codeq.config.errors import format_value
from tests.config.texts import PLAIN, load, problems

NAME = "must be at most 64 letters, digits, '.', '_' and '-', the first a letter or digit"


@pytest.mark.parametrize("text", ["42", "null", "true", "1e3", "0.5"])
def test_a_name_is_a_text_as_it_stands(text: str) -> None:
    assert load(PLAIN, options={"--name": text}).sweep.name == text


@pytest.mark.parametrize("text", ["x #2", "null", "{a: b}", "'x'", "- x", "a: b", " x"])
def test_a_storage_is_a_text_as_it_stands(text: str) -> None:
    template = load(PLAIN, options={"--storage": text})
    assert template.sweep.storage == text
    assert load(template.to_yaml()).sweep.storage == text


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--name", "v1 #2", f"sweep.name: is 'v1 #2', {NAME}"),
        ("--name", "", f"sweep.name: is '', {NAME}"),
        ("--name", "é", f"sweep.name: is 'é', {NAME}"),
        ("--storage", "", "sweep.storage: is '', must not be empty"),
        ("--storage", "a\nb", "sweep.storage: is 'a\\nb', must not hold line breaks or control characters"),
        ("--storage", "a\udce9", "sweep.storage: is 'a\\udce9', must be UTF-8 text"),
        ("--device", "", "device: is '', must be auto, cpu, cuda, cuda:N or mps"),
        ("--device", "cpu #1", "device: is 'cpu #1', must be auto, cpu, cuda, cuda:N or mps; did you mean cpu?"),
        ("--trials", "", "sweep.trials: is '', must be a whole number"),
        ("--trials", "null", "sweep.trials: is 'null', must be a whole number"),
        ("--trials", 0, "sweep.trials: is 0, must be greater than or equal to 1"),
        ("--trials", 1000.0, "sweep.trials: is 1000.0, must be a whole number; write 1000"),
    ],
)
def test_a_problem_with_an_option_names_the_option(option: str, value: Any, line: str) -> None:
    assert problems(PLAIN, options={option: value}) == [f"{option}: {line}"]


def test_a_file_that_leaves_no_place_for_an_option_is_told_under_its_name() -> None:
    assert problems(f"{PLAIN}sweep: 3\n", options={"--name": "x"}) == [
        "--name: sweep.name: no such key: sweep is 3 and holds no keys",
        "t.yaml:15: sweep: is 3, must be a mapping of keys to values",
    ]


def test_an_option_wins_over_set_and_both_over_the_file() -> None:
    text = f"{PLAIN}sweep: {{name: file}}\n"
    assert load(text, "sweep.name=set").sweep.name == "set"
    assert load(text, "sweep.name=set", options={"--name": "option"}).sweep.name == "option"


@pytest.mark.parametrize(
    ("argument", "value"), [("3", 3), ("-1", -1), ("1e3", 1000.0), ("x", "x"), ("", ""), ("null", "null")]
)
def test_a_number_is_read_as_one_and_anything_else_stays_text(argument: str, value: object) -> None:
    assert (as_number(argument), type(as_number(argument))) == (value, type(value))


def test_bytes_that_the_locale_cannot_decode_are_read_as_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_text("é") == "é"
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))  # LC_ALL=C PYTHONUTF8=0
    assert as_text("\udcc3\udca9.yaml") == "é.yaml"
    assert as_text("\udce9") == "\udce9"  # latin-1


def test_a_byte_that_is_no_text_is_named_as_a_byte() -> None:
    (line,) = problems(PLAIN, "wandb_project=caf\udce9")
    assert line == "--set: wandb_project: holds the byte 0xe9, must be UTF-8 text"


def test_bytes_that_the_locale_cannot_decode_are_shown_as_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser(prog="p")
    parser.add_subparsers().add_parser("list")
    with pytest.raises(SystemExit):
        parser.parse_args(["l\udcc3\udca9st"])
    assert "invalid choice: 'lést' (choose from " in capsys.readouterr().err
    assert format_value("\udcc3\udca9") == "'é'"
