"""One rule for every path: `~` and `$VAR` expand, relative means relative to where the user stands, URLs stay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from codeq.config import ConfigError, Template
from codeq.config.__main__ import main
from codeq.config.paths import expand_path, option_path
from tests.config.texts import PLAIN, load, problems

SEARCHED = PLAIN.replace("lr: 0.001}", "lr: {distribution: loguniform, low: 1e-4, high: 1e-2}}", 1)


@pytest.fixture(autouse=True)
def variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME and DISK are folders; NOWHERE is not set."""
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("DISK", str(folder / "disk"))
    monkeypatch.delenv("NOWHERE", raising=False)
    (folder / "home").mkdir()
    (folder / "disk").mkdir()


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("~", "{0}/home"),
        ("~/data", "{0}/home/data"),
        ("$HOME/data", "{0}/home/data"),
        ("${DISK}s", "{0}/disks"),
        ("a/$DISK", "a/{0}/disk"),
        ("data", "data"),
        ("a/~/b", "a/~/b"),
        ("a$", "a$"),
        ("./~x", "./~x"),
        ("s3://~/$NOWHERE", "s3://~/$NOWHERE"),
        ("file:///$HOME", "file:///$HOME"),
    ],
)
def test_home_and_variables_are_replaced_and_urls_are_not(text: str, expanded: str, folder: Path) -> None:
    assert expand_path(text) == expanded.format(folder)
    if text != "file:///$HOME" and not text.startswith("s3"):
        assert load(f"{PLAIN}save_dir: '{text}'\n").run_config().save_dir == expanded.format(folder)


def test_every_path_of_a_template_expands(folder: Path) -> None:
    sweep = "sweep: {storage: $DISK/results, search: {warm_start: ~/old}}"
    template = load(f"{SEARCHED}data_dir: ~/data\nsave_dir: ${{DISK}}/out\n{sweep}\n")
    config = template.boundary_configs[0]
    assert (config.data_dir, config.save_dir) == (f"{folder}/home/data", f"{folder}/disk/out")
    assert template.sweep.storage == f"{folder}/disk/results"
    assert template.sweep.search.warm_start == f"{folder}/home/old"
    template = load(PLAIN, "data_dir=$DISK/data", options={"--storage": "~/results"})
    assert template.run_config().data_dir == f"{folder}/disk/data"
    assert template.sweep.storage == f"{folder}/home/results"


def test_an_extended_file_is_relative_to_its_file_and_all_else_to_where_the_user_stands(folder: Path) -> None:
    Path("home/base.yaml").write_text(f"{PLAIN}data_dir: data\n")
    Path("home/near.yaml").write_text("extends: base.yaml\n")
    for extends in ("~/base.yaml", "$HOME/near.yaml", "home/near.yaml"):
        config = load(f"extends: {extends}\n").run_config()
        assert config.data_dir == "data"
        assert config.absolute_data_dir == f"{folder}/data"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("data_dir: $NOWHERE/x", "data_dir"),
        ("save_dir: $NOWHERE/x", "save_dir"),
        ("extends: $NOWHERE/x", "extends"),
        ("sweep: {storage: $NOWHERE/x}", "sweep.storage"),
        ("sweep: {search: {warm_start: $NOWHERE/x}}", "sweep.search.warm_start"),
    ],
)
def test_a_variable_that_is_not_set_is_named_with_file_and_line(line: str, key: str) -> None:
    assert problems(f"{PLAIN}{line}\n") == [
        f"t.yaml:15: {key}: is '$NOWHERE/x', but the environment variable NOWHERE is not set"
    ]


def test_an_empty_variable_and_an_unknown_user_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOWHERE", "")
    assert problems(f"{PLAIN}data_dir: ${{NOWHERE}}/x\nsave_dir: ~no_such_user/x\n") == [
        "t.yaml:15: data_dir: is '${NOWHERE}/x', but the environment variable NOWHERE is empty",
        "t.yaml:16: save_dir: is '~no_such_user/x', but there is no user no_such_user; "
        "write ./~no_such_user/x for a file of that name",
    ]


def test_a_folder_that_can_only_be_local_is_no_url() -> None:
    assert problems(f"{PLAIN}data_dir: s3://bucket/x\nsave_dir: gs://bucket/x\n") == [
        "t.yaml:16: save_dir: is 'gs://bucket/x', must be a folder, not a URL"
    ]
    assert problems(f"{PLAIN}data_dir: s3://bucket/x\n") == [
        "t.yaml:15: data_dir is 's3://bucket/x', must be a folder: cifar10 reads no URL"
    ]
    embedded = load(f"{PLAIN}dataset: digits\ndata_dir: s3://bucket/x\n").run_config()
    assert embedded.absolute_data_dir == "s3://bucket/x"


@pytest.mark.parametrize(("text", "encoding"), [("é/data", "ascii"), ("日本", "latin-1")])
def test_a_path_that_the_locale_cannot_spell_is_refused(
    text: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode(encoding))
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: encoding)
    reason = f"is '{text}', which the locale's encoding, {encoding}, cannot spell; set PYTHONUTF8=1"
    with pytest.raises(ValueError, match=reason):
        expand_path(text)


def test_every_path_of_the_command_line_expands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("home/good.yaml").write_text(PLAIN)
    assert main(["check", "~/good.yaml"]) == 0
    assert main(["check", "~/none.yaml", "$NOWHERE/x.yaml", ""]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder}/home/none.yaml: cannot be read: No such file or directory",
        "FILE: is '$NOWHERE/x.yaml', but the environment variable NOWHERE is not set",
        "FILE: is empty, must be the name of a file",
    ]
    for plugin, line in {
        "~/none.py": f"{folder}/home/none.py: cannot be read: No such file or directory",
        "$NOWHERE/x.py": "--plugin: is '$NOWHERE/x.py', but the environment variable NOWHERE is not set",
        "": "--plugin: is empty, must be the name of a file",
    }.items():
        assert main(["check", "home/good.yaml", "--plugin", plugin]) == 2
        assert capsys.readouterr().err == f"{line}\n"


def test_a_path_of_an_option_that_cannot_expand_names_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^--resume: is '~no_such_user/x', but there is no user no_such_user"):
        option_path("--resume", "~no_such_user/x")


def test_a_resolved_template_keeps_its_paths_as_they_were_written(folder: Path) -> None:
    """So that it means the same folder for another user; a run config holds the folder itself."""
    template = load(f"{PLAIN}data_dir: ~/data\n")
    Path("again.yaml").write_text(template.to_yaml())
    tree: dict[str, Any] = Template.load("again.yaml").tree
    assert tree["data_dir"] == "~/data"
    assert template.run_config().as_dict()["data_dir"] == f"{folder}/home/data"
