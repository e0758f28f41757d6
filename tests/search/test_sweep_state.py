"""Opening what a sweep left behind: one driver at a time, nothing overwritten, damage said in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from upath import UPath

from codeq.config import Template
from codeq.config.errors import BadInput
from codeq.execution.searcher import OptunaSearcher
from codeq.search.outcome import TrialEnd, for_study, trial_end
from codeq.search.study import end_trial, resume_trial
from codeq.search.sweep_state import SweepState, check_servers, local_folder, open_sweep, sweep_folder
from codeq.storage.trial_folder import StateDamaged, trial_folder
from tests.search.conftest import row

LR = "optimizer.param_groups.base.lr"


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., Template]:
    tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "loguniform", "low": 1e-4, "high": 1e-1}

    def load(*overrides: str, **sweep: Any) -> Template:
        sweep = {"name": "s", "trials": 4, "storage": str(tmp_path), **sweep}
        return Template.load(write_yaml({**tiny, "sweep": sweep}), overrides)

    return load


def learning_rates(state: SweepState, count: int) -> set[float]:
    return {
        trial_folder(state.folder, proposal["trial"]).read_config().optimizer.param_groups.base.lr
        for proposal in propose(state, count)
    }


def propose(state: SweepState, count: int) -> list[dict[str, Any]]:
    searcher = OptunaSearcher(state.template, state.study, state.folder, state.warm_start)
    return [searcher.suggest(f"id{i}") for i in range(count)]


def finish(state: SweepState, number: int) -> None:
    folder = trial_folder(state.folder, number)
    record = folder.read_record()
    assert record is not None
    folder.write_record(replace(record, status="finished"))
    ended = trial_end(row(), state.template.sweep.scheduler)
    trial = optuna.Trial(state.study, state.study.trials[number]._trial_id)
    end_trial(trial, ended, for_study(ended, state.template.sweep))


def begin(template: Template, trials: int = 2) -> None:
    with open_sweep(template, resume=False) as state:
        propose(state, trials)
        for number in range(trials):
            finish(state, number)


def test_a_second_driver_is_refused_while_the_first_is_at_work(template: Callable[..., Template]) -> None:
    with (
        open_sweep(template(), resume=False),
        pytest.raises(BadInput, match=f"process {os.getpid()} on .* works on this sweep; --name NAME"),
        open_sweep(template(), resume=True),
    ):
        pass
    with open_sweep(template(), resume=True):
        pass


def test_what_is_left_to_do_counts_unfinished_trials(template: Callable[..., Template]) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 2)
        finish(state, 0)
    with open_sweep(template(), resume=True) as state:
        assert state.remaining == 3
        assert [proposal["trial"] for proposal in propose(state, 3)] == [1, 2, 3]


def test_a_resumed_sweep_draws_new_configs(template: Callable[..., Template]) -> None:
    for sampler in ("random", "tpe"):
        search = {"sampler": sampler}
        with open_sweep(template(name=sampler, search=search), resume=False) as state:
            first = learning_rates(state, 3)
            for number in range(3):
                finish(state, number)
        with open_sweep(template(name=sampler, search=search), resume=True) as state:
            second = learning_rates(state, 3)
        assert not first & second


RANGE = '{"distribution": "loguniform", "low": 0.0001, "high": 0.1}'


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["epochs=9", f"{LR}.high=0.2"], ["epochs: is 9, was 4", f"{LR}.high: is 0.2, was 0.1"]),
        ([f"{LR}=0.01", "sweep.trials=1"], [f"{LR}: is 0.01, was {RANGE}"]),
        (["loss_terms.group_lasso.lambda=0.5"], ["loss_terms.group_lasso.lambda: is 0.5, was 0.001"]),
        (["seed=1"], ["seed: is 1, was not set"]),
        (
            ["sweep.objectives={val_acc: max}"],
            ['sweep.objectives: is ["val_acc max"], was ["val_acc max", "sparsity max"]'],
        ),
        (
            ["sweep.objectives={sparsity: max, val_acc: max}"],
            [
                "sweep.objectives.0: is 'sparsity max', was 'val_acc max'",
                "sweep.objectives.1: is 'val_acc max', was 'sparsity max'",
            ],
        ),
    ],
)
def test_another_template_is_refused_by_the_keys_that_changed_with_both_values(
    template: Callable[..., Template], tmp_path: Path, overrides: list[str], changes: list[str]
) -> None:
    begin(template())
    with pytest.raises(StateDamaged) as raised, open_sweep(template(*overrides), resume=True):
        pass
    *lines, last = str(raised.value).splitlines()
    assert lines == [f"--set: {change}" for change in changes]
    assert last.startswith(f"{tmp_path}/s/template.yaml: was begun with another template; ")


def test_a_changed_range_is_named_by_its_file_and_line(
    template: Callable[..., Template], tiny: dict[str, Any]
) -> None:
    begin(template())
    tiny["optimizer"]["param_groups"]["base"]["lr"]["high"] = 0.2
    changed = template()
    line = changed.source.read_text().splitlines().index("        high: 0.2") + 1
    with pytest.raises(StateDamaged) as raised, open_sweep(changed, resume=True):
        pass
    assert str(raised.value).startswith(f"{changed.source}:{line}: {LR}.high: is 0.2, was 0.1\n")


def test_a_study_whose_password_is_masked_is_not_opened(template: Callable[..., Template], tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(template(study="postgresql://me:s3cret@host/db").to_yaml())
    with pytest.raises(BadInput, match=r"sweep.study: is postgresql://me:\*\*\*@host/db.*--set sweep.study=URL"):
        with open_sweep(Template.load(again), resume=True):
            pass


def test_more_trials_and_other_resources_are_the_same_sweep(template: Callable[..., Template]) -> None:
    begin(template())
    with open_sweep(template("sweep.trials=9", "sweep.resources.cpu=2", "workers=0"), resume=True) as state:
        assert state.remaining == 7


def states(state: SweepState) -> list[TrialState]:
    return [trial.state for trial in state.study.trials]


def test_nothing_is_running_where_no_driver_is(template: Callable[..., Template]) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 2)
        finish(state, 0)
        assert states(state) == [TrialState.COMPLETE, TrialState.RUNNING]
    assert states(state) == [TrialState.COMPLETE, TrialState.WAITING]
    with pytest.raises(KeyboardInterrupt), open_sweep(template(), resume=True) as state:
        propose(state, 1)
        raise KeyboardInterrupt
    assert states(state) == [TrialState.COMPLETE, TrialState.WAITING]


def test_what_a_killed_driver_left_running_goes_on(template: Callable[..., Template]) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 1)
    resume_trial(state.study, 0)  # and the driver is killed here
    with open_sweep(template(), resume=True) as state:
        assert states(state) == [TrialState.WAITING]
        assert [proposal["trial"] for proposal in propose(state, 2)] == [0, 1]


@pytest.mark.parametrize("gracefully", [True, False])
def test_an_end_that_was_recorded_before_the_study_heard_of_it_is_the_trials_end(
    template: Callable[..., Template], gracefully: bool
) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 2)
        folder = trial_folder(state.folder, 0)
        record = folder.read_record()
        assert record is not None
        folder.append_row(row(status="running", epoch=3))
        folder.write_record(replace(record, status="stopped", reason="asha at epoch 3"))  # the driver is killed here
    if not gracefully:
        resume_trial(state.study, 0)
    with open_sweep(template(), resume=True) as state:
        assert states(state) == [TrialState.PRUNED, TrialState.WAITING]
        end = TrialEnd.of_stored(state.study.trials[0])
        assert end is not None and (end.status, end.reason, end.row["epoch"]) == ("stopped", "asha at epoch 3", 3)
        assert [proposal["trial"] for proposal in propose(state, 2)] == [1, 2]


def test_a_study_with_trials_is_not_gone_on_with_unasked(template: Callable[..., Template], tmp_path: Path) -> None:
    begin(template(study=f"sqlite:///{tmp_path}/shared.db"))
    (tmp_path / "s" / "trials").rename(tmp_path / "elsewhere")
    with pytest.raises(StateDamaged, match="the study s holds 2 trials already; --resume"):
        with open_sweep(template(study=f"sqlite:///{tmp_path}/shared.db"), resume=False):
            pass


def test_a_study_behind_a_url_is_fetched_on_another_machine(
    template: Callable[..., Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/bucket"
    for machine in ("first", "second"):
        (tmp_path / machine).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    with open_sweep(template(storage=url), resume=False) as state:
        propose(state, 2)
        finish(state, 0)
    monkeypatch.chdir(tmp_path / "second")
    with open_sweep(template(storage=url), resume=True) as state:
        assert states(state) == [TrialState.COMPLETE, TrialState.WAITING]
        assert propose(state, 1)[0]["trial"] == 1


@pytest.mark.parametrize("storage", ["/dev/null/x", "nosuchprotocol://bucket/x"])
def test_a_storage_that_cannot_be_used_is_bad_input(template: Callable[..., Template], storage: str) -> None:
    with pytest.raises(BadInput, match=r"config.yaml:\d+: sweep.storage: "), open_sweep(
        template(storage=storage), resume=False
    ):
        pass


def fail(state: SweepState, number: int, status: str = "failed") -> None:
    """The trial ends with this status, as its folder and the study record it."""
    folder = trial_folder(state.folder, number)
    record = folder.read_record()
    assert record is not None
    folder.write_record(replace(record, status=status))  # type: ignore[arg-type]
    ended = trial_end(row(status=status), state.template.sweep.scheduler)
    trial = optuna.Trial(state.study, state.study.trials[number]._trial_id)
    end_trial(trial, ended, for_study(ended, state.template.sweep))


def fail_all(template: Template) -> None:
    with open_sweep(template, resume=False) as state:
        propose(state, 2)
        for number in range(2):
            fail(state, number)
            (local_folder(state.folder) / "trials" / f"{number:04d}").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("storage", ["{}", "file://{}/bucket"])
@pytest.mark.parametrize("study", [None, "sqlite:///{}/shared.db"])
def test_a_sweep_that_failed_in_full_begins_again_under_its_name_with_any_template(
    template: Callable[..., Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, storage: str, study: str | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    where = {"storage": storage.format(tmp_path), "study": study and study.format(tmp_path)}
    fail_all(template(**where))
    other = template("epochs=9", objectives={"loss": "min"}, **where)
    with open_sweep(other, resume=False) as state:
        assert not (state.local / "trials").exists() and not (state.folder / "trials").exists()
        assert [proposal["trial"] for proposal in propose(state, 2)] == [0, 1]
        assert trial_folder(state.folder, 0).read_config().epochs == 9
        assert state.remaining == 4
    assert any("s: all trials (2) had failed, the sweep begins again" in line for line in caplog.messages)


@pytest.mark.parametrize("status", ["collapsed", "diverged", "finished", "running"])
def test_a_sweep_with_any_other_trial_does_not_begin_again(template: Callable[..., Template], status: str) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 2)
        fail(state, 0)
        if status != "running":
            fail(state, 1, status)
    with pytest.raises(StateDamaged, match="holds 2 trials already; --resume"), open_sweep(template(), resume=False):
        pass
    with open_sweep(template(), resume=True) as state:
        assert len(state.study.trials) == 2


def test_a_failed_sweep_goes_on_if_asked_to(template: Callable[..., Template]) -> None:
    fail_all(template())
    with open_sweep(template(), resume=True) as state:
        assert [proposal["trial"] for proposal in propose(state, 1)] == [2]


def test_trials_that_lost_their_folders_are_not_removed_with_failed_ones(
    template: Callable[..., Template], tmp_path: Path
) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 2)
        fail(state, 0)
        finish(state, 1)
    (tmp_path / "s" / "trials" / "0001").rename(tmp_path / "elsewhere")
    with pytest.raises(StateDamaged, match="holds trials that have no folder"), open_sweep(template(), resume=False):
        pass
    assert (tmp_path / "s" / "trials" / "0000").exists()


def test_sweeps_of_one_name_behind_two_urls_do_not_know_each_other(
    template: Callable[..., Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    urls = [f"file://{tmp_path}/{bucket}" for bucket in ("one", "two")]
    with open_sweep(template(storage=urls[0]), resume=False) as first:
        propose(first, 1)
        with open_sweep(template(storage=urls[1]), resume=False) as second:
            assert propose(second, 1)[0]["trial"] == 0
    assert first.local != second.local
    assert all((state.local / "study.db").exists() for state in (first, second))
    assert (tmp_path / "one" / "s" / "study.db").exists() and (tmp_path / "two" / "s" / "study.db").exists()


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("s3://bucket/a/b", "results/s3/bucket/a/b/s"),
        ("s3://bucket", "results/s3/bucket/s"),
        ("gs://bucket/a", "results/gs/bucket/a/s"),
        ("gs://x/../y", "results/gs/x/y/s"),
        ("/abs/folder", "/abs/folder/s"),
    ],
)
def test_what_a_sweep_keeps_on_this_machine_is_named_like_its_url(
    template: Callable[..., Template], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder(sweep_folder(template(storage=url))) == tmp_path / folder


def test_why_trials_did_not_finish_is_noted_and_they_stay_unfinished(template: Callable[..., Template]) -> None:
    with open_sweep(template(), resume=False) as state:
        propose(state, 1)
        state.note_unfinished("time budget of 8s")
    record = trial_folder(UPath(str(state.folder)), 0).read_record()
    assert record is not None
    assert (record.status, record.reason) == ("running", "time budget of 8s")


def test_the_recorded_rows_come_with_the_number_of_their_trial(template: Callable[..., Template]) -> None:
    begin(template())
    with open_sweep(template(), resume=True) as state:
        row = {"epoch": 1, "val_acc": 90.0, "status": "running", "reason": ""}
        trial_folder(state.folder, 1).append_row(row)
        assert list(state.rows()) == [(0, []), (1, [row])]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"storage": "gs://bucket/x"}, "sweep.storage: gs:// needs another package: pip install gcsfs"),
        ({"storage": "foo://bucket/x"}, "sweep.storage: is 'foo://bucket/x', must be a folder or a URL such as s3://"),
        ({"study": "hello"}, "sweep.study: is no URL that SQLAlchemy knows, must be like postgresql://USER"),
    ],
)
@pytest.mark.parametrize("connect", [True, False])
def test_a_server_that_cannot_be_used_is_bad_input_with_the_files_line(
    template: Callable[..., Template], keys: dict[str, Any], line: str, connect: bool
) -> None:
    loaded = template(**keys)
    number = next(i for i, text in enumerate(loaded.source.read_text().splitlines(), 1) if f" {[*keys][0]}:" in text)
    with pytest.raises(BadInput) as raised:
        check_servers(loaded, connect=connect)
    assert str(raised.value).startswith(f"{loaded.source}:{number}: {line}")
    with pytest.raises(BadInput), open_sweep(loaded, resume=False):
        pass


def test_a_link_that_leads_out_of_the_storage_is_refused(template: Callable[..., Template], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=r"sweep.name: .*results/s is a link to .*elsewhere, outside"):
        sweep_folder(template(storage=str(tmp_path / "results")))
    (tmp_path / "results" / "inside").mkdir()
    (tmp_path / "results" / "t").symlink_to(tmp_path / "results" / "inside")
    assert sweep_folder(template(storage=str(tmp_path / "results"), name="t")).name == "t"
