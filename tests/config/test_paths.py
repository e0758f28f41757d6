"""One rule for every path: `~` and `$VAR` expand once, relative means relative to where the user stands, URLs stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from upath import UPath

from codeq.config import ConfigError, Template
from codeq.config.__main__ import main
from codeq.config.paths import escape_path, expand_path, option_path
from codeq.config.space import space_text
from codeq.storage.trial_folder import TrialFolder
from tests.config.texts import PLAIN, load, problems

UNSET = "but the environment variable NOWHERE is not set; write $$ for a $ of a file's name"
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
        ("a$$HOME/$$", "a$HOME/$"),
        ("$$${DISK}", "${0}/disk"),
        ("sqlite:///~/$$x.db?timeout=1", "sqlite:///{0}/home/$x.db?timeout=1"),
        ("sqlite+pysqlite:///${DISK}/x.db", "sqlite+pysqlite:///{0}/disk/x.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://me:$NOWHERE@host/~", "postgresql://me:$NOWHERE@host/~"),
        ("./~x", "./~x"),
        ("s3://~/$NOWHERE", "s3://~/$NOWHERE"),
        ("file:///$HOME", "file:///$HOME"),
    ],
)
def test_home_and_variables_are_replaced_and_urls_are_not(text: str, expanded: str, folder: Path) -> None:
    assert expand_path(text) == expanded.format(folder)
    if "://" not in text:
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
        ("sweep: {study: 'sqlite:///$NOWHERE/x'}", "sweep.study"),
    ],
)
def test_a_variable_that_is_not_set_is_named_with_file_and_line(line: str, key: str) -> None:
    (said,) = problems(f"{PLAIN}{line}\n")
    assert said.startswith(f"t.yaml:15: {key}: is '")
    assert said.endswith(f"$NOWHERE/x', {UNSET}")


def test_an_empty_variable_and_an_unknown_user_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOWHERE", "")
    assert problems(f"{PLAIN}data_dir: ${{NOWHERE}}/x\nsave_dir: ~no_such_user/x\n") == [
        "t.yaml:15: data_dir: is '${NOWHERE}/x', but the environment variable NOWHERE is empty; write $$ for a $ of a "
        "file's name",
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
    assert main(["check", "~/none.yaml", "$NOWHERE/x.yaml", "", "file:///x.yaml"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{folder}/home/none.yaml: cannot be read: No such file or directory",
        f"FILE: is '$NOWHERE/x.yaml', {UNSET}",
        "FILE: is empty, must be the name of a file",
        "FILE: is 'file:///x.yaml', must be the name of a file, not a URL",
    ]
    for plugin, line in {
        "~/none.py": f"{folder}/home/none.py: cannot be read: No such file or directory",
        "$NOWHERE/x.py": f"--plugin: is '$NOWHERE/x.py', {UNSET}",
        "": "--plugin: is empty, must be the name of a file",
    }.items():
        assert main(["check", "home/good.yaml", "--plugin", plugin]) == 2
        assert capsys.readouterr().err == f"{line}\n"


def test_a_path_of_an_option_that_cannot_expand_names_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^--resume: is '~no_such_user/x', but there is no user no_such_user"):
        option_path("--resume", "~no_such_user/x")


ODD = "$HOME ~ $x ${y} $$"
"""A folder's name in which everything but the `~` would expand."""


def everything(home: str) -> str:
    """A template all of whose paths are below `home`."""
    sweep = f"{{storage: '{home}/results', study: 'sqlite:///{home}/s.db', search: {{warm_start: '{home}/old'}}}}"
    return f"{SEARCHED}data_dir: '{home}/data'\nsave_dir: '{home}/out'\nsweep: {sweep}\n"


@pytest.mark.parametrize("home", ["~", "${HOME}"])
def test_what_is_stored_is_the_expanded_path_and_reads_back_as_it_stands(
    home: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the variable is no longer set, and in a folder whose name looks like variables."""
    monkeypatch.setenv("HOME", f"{folder}/{ODD}")
    template = load(everything(home))
    for _ in range(2):
        sweep, config = template.sweep, template.boundary_configs[0]
        assert [config.data_dir, config.save_dir] == [f"{folder}/{ODD}/data", f"{folder}/{ODD}/out"]
        assert [sweep.storage, sweep.search.warm_start] == [f"{folder}/{ODD}/results", f"{folder}/{ODD}/old"]
        assert sweep.study == f"sqlite:///{folder}/{ODD}/s.db"
        monkeypatch.setenv("HOME", "/elsewhere")
        template = load(template.to_yaml(), name="again.yaml")


def test_a_trial_and_a_file_written_from_a_config_keep_its_paths(folder: Path) -> None:
    literal = ODD.replace("$", "$$")
    config = load(f"{PLAIN}data_dir: ~/{literal}\nsave_dir: ./~x/{literal}\n").run_config()
    assert (config.data_dir, config.save_dir) == (f"{folder}/home/{ODD}", f"./~x/{ODD}")
    trial = TrialFolder(UPath("trial"))
    trial.write_config(config)
    assert trial.read_config() == config
    assert Template.load("trial/config.yaml").run_config() == config
    Path("space.yaml").write_text(space_text(Path("trial/config.yaml")))
    assert Template.load("space.yaml").boundary_configs[0].data_dir == config.data_dir


@pytest.mark.parametrize("path", [ODD, "~", "~x/y", "a$b", "s3:/x", "s3://b/$x", "plain", "sqlite:////a/$b?c=$d"])
def test_an_escaped_path_expands_to_itself(path: str) -> None:
    assert expand_path(escape_path(path)) == (f"./{path}" if path.startswith(("~", "s3:/x")) else path)


@pytest.mark.parametrize("name", ["$NOWHERE", "$HOME", "~", "~no_such_user", "a$$b"])
def test_an_argument_that_exists_as_it_stands_is_not_expanded(name: str) -> None:
    """A shell that completes a file's name gives it as it is, and so do the commands that are printed for pasting."""
    Path(name).mkdir()
    assert option_path("FOLDER", name) == name


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://", "must name a bucket: s3://BUCKET/PATH"),
        ("gs:///x", "must name a bucket: gs://BUCKET/PATH"),
        ("s3:/bucket/x", "must begin with s3://; write ./s3:/bucket/x for a local file"),
        ("s3:bucket/x", "must begin with s3://; write ./s3:bucket/x for a local file"),
        ("S3://bucket/x", "must begin with s3://"),
        ("http:/host/x", "must begin with http://; write ./http:/host/x for a local file"),
        ("http://host/x", "but http:// is only read; must be a folder or a URL such as s3://bucket/path"),
        ("memory://x", "but memory:// is seen by one process alone; must be a folder or a URL such as s3://bucket/path"),
        ("https://host", "but https:// is only read; must be a folder or a URL such as s3://bucket/path"),
    ],
)
def test_a_url_where_nothing_can_be_stored_is_refused(url: str, reason: str) -> None:
    line = f"is '{url}', {reason}"
    assert problems(f"{PLAIN}sweep: {{storage: '{url}'}}\n") == [f"t.yaml:15: sweep.storage: {line}"]
    assert problems(PLAIN, options={"--storage": url}) == [f"--storage: sweep.storage: {line}"]


@pytest.mark.parametrize("extends", ["''", "file:///x.yaml", "s3://bucket/x.yaml", "[x.yaml]"])
def test_what_is_no_file_to_extend_is_refused(extends: str) -> None:
    (line,) = problems(f"{PLAIN}extends: {extends}\n")
    assert line.startswith("t.yaml:15: extends: is ") and line.endswith(", must be the name of a YAML file")
