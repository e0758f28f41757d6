"""The forecast of time: what is measured, and what is reckoned from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from codeq.config import RunConfig, Template
from codeq.config.epoch_budget import epoch_budget
from codeq.config.text import format_duration
from codeq.execution import forecast
from codeq.execution.forecast import NEXT_S, REPORT_S, START_S, forecast_lines, trials_at_once
from codeq.train import epoch_time
from codeq.train.epoch_time import EpochTime, measure_epoch
from codeq.train.loop import create_train_state

Make = Callable[..., Template]


@pytest.fixture
def template(tiny: dict[str, Any], write_yaml: Callable[..., Path]) -> Make:
    def make(sweep: dict[str, Any], **changes: Any) -> Template:
        tiny["optimizer"]["param_groups"]["base"]["lr"] = {"distribution": "uniform", "low": 0.001, "high": 0.01}
        return Template.load(write_yaml({**tiny, **changes, "sweep": {"name": "s", **sweep}}))

    return make


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def have(cpus: int, gpus: int) -> None:
        monkeypatch.setattr(forecast, "usable_cpus", lambda: cpus)
        monkeypatch.setattr(forecast, "gpu_count", lambda: gpus)
        monkeypatch.setattr(forecast, "nvidia_driver", lambda: None)

    have(2, 0)
    return have


@pytest.fixture
def epoch_s(monkeypatch: pytest.MonkeyPatch) -> dict[int, EpochTime]:
    """What an epoch is said to take, by the batch size."""
    times = {128: EpochTime(0.5, 2.0, 1.0)}
    monkeypatch.setattr(forecast, "measure_epoch", lambda state: times[state.config.batch_size])
    return times


def test_few_batches_are_enough_where_they_take_long(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen, clock = [], 0.0

    def ten_seconds_a_step(state: Any) -> None:
        nonlocal clock
        seen.append(len(state.data.train))
        clock += 10.0 * len(state.data.train)

    def second() -> None:
        nonlocal clock
        clock += 1.0

    monkeypatch.setattr(epoch_time, "train_steps", ten_seconds_a_step)
    monkeypatch.setattr(epoch_time.time, "perf_counter", lambda: clock)
    monkeypatch.setattr(epoch_time, "_end_s", lambda state: 0.0)
    monkeypatch.setattr(epoch_time, "evaluate", lambda state, batches: second())
    state = create_train_state(RunConfig.model_validate(tiny))
    epoch = 10.0 * len(state.data.train)
    monkeypatch.setattr(epoch_time, "PASS_S", 35.0)
    assert measure_epoch(state).train_s == pytest.approx(epoch)
    monkeypatch.setattr(epoch_time, "PASS_S", 5.0)
    assert measure_epoch(state).train_s == pytest.approx(epoch)
    assert seen == [1, 2, 3, 3, 3] + [1, 2]


def test_an_epoch_is_its_steps_and_what_follows_them(tiny: dict[str, Any]) -> None:
    found = measure_epoch(create_train_state(RunConfig.model_validate(tiny)))
    assert min(found.build_s, found.train_s, found.rest_s) > 0
    assert found.epoch_s == found.train_s + found.rest_s


def test_a_whole_epoch_is_measured_where_it_is_quick(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(epoch_time, "train_steps", lambda state: seen.append(len(state.data.train)))
    monkeypatch.setattr(epoch_time, "_end_s", lambda state: 0.0)
    state = create_train_state(RunConfig.model_validate(tiny))
    measure_epoch(state)
    assert seen[2:] == [len(state.data.train)] * 3


def test_the_time_is_that_of_the_trial_epochs_over_the_trials_at_once(
    template: Make, machine: Callable[..., None], epoch_s: dict[int, EpochTime]
) -> None:
    loaded = template({"trials": 12, "scheduler": {"grace_epochs": 1}}, epochs=9)
    found, planned = forecast.forecast(loaded), epoch_budget(loaded)
    assert planned is not None and found.expected is not None and found.p10_p90 is not None
    assert found.at_once == 2
    start_s = START_S + 12 * (0.5 + NEXT_S) / 2
    assert found.worst == pytest.approx(start_s + 12 * 9 * (3.0 + REPORT_S) / 2)
    assert found.expected == pytest.approx(start_s + planned.expected * (3.0 + REPORT_S) / 2)
    assert found.p10_p90[0] < found.expected < found.p10_p90[1] < found.worst


def test_no_sweep_is_done_before_one_of_its_trials(
    template: Make, machine: Callable[..., None], epoch_s: dict[int, EpochTime]
) -> None:
    machine(64, 0)
    found = forecast.forecast(template({"trials": 8, "scheduler": {"grace_epochs": 1}}, epochs=9))
    assert found.expected is not None and found.expected > START_S + 9 * 3.0


def test_every_shape_is_measured_once_and_the_worst_case_has_the_slowest(
    template: Make, machine: Callable[..., None], epoch_s: dict[int, EpochTime]
) -> None:
    epoch_s[64] = EpochTime(0.5, 4.0, 1.0)
    sizes = {"distribution": "choice", "choices": [64, 128]}
    found = forecast.forecast(template({"trials": 2, "scheduler": {"name": "none"}}, batch_size=sizes))
    assert sorted(probe.name for probe in found.probes) == ["mlp_deadzone4b, batch 128", "mlp_deadzone4b, batch 64"]
    assert found.worst == pytest.approx(START_S + 0.5 + NEXT_S + 4 * (5.0 + REPORT_S))
    assert found.expected == pytest.approx(START_S + 0.5 + NEXT_S + 4 * (4.0 + REPORT_S))


@pytest.mark.parametrize(
    ("cpus", "gpus", "sweep", "device", "expected"),
    [
        (8, 0, {}, "auto", 8),
        (8, 0, {"trials": 3}, "auto", 3),
        (8, 0, {"resources": {"cpu": 3}}, "auto", 2),
        (8, 0, {"max_concurrent": 5}, "auto", 5),
        (8, 2, {}, "auto", 2),
        (8, 2, {"resources": {"gpu": 0.25}}, "auto", 8),
        (8, 2, {}, "cpu", 8),
    ],
)
def test_trials_at_once_are_those_that_ray_would_place(
    template: Make, machine: Callable[..., None], cpus: int, gpus: int, sweep: Any, device: str, expected: int
) -> None:
    machine(cpus, gpus)
    assert trials_at_once(template({"trials": 24, **sweep}, device=device)) == expected


def test_resources_that_are_not_there_are_named(template: Make, machine: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="sweep.resources.cpu is 9, but this machine has 2"):
        trials_at_once(template({"resources": {"cpu": 9}}))
    with pytest.raises(ValueError, match="sweep.resources.gpu is 1, but this machine has 0"):
        trials_at_once(template({"resources": {"gpu": 1}}, device="auto"))


def test_published_weights_are_not_fetched(
    template: Make, machine: Callable[..., None], epoch_s: dict[int, EpochTime], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[RunConfig] = []

    def build_nothing(config: RunConfig, data: object) -> Any:
        built.append(config)
        return SimpleNamespace(config=config)

    monkeypatch.setattr(forecast, "create_train_state", build_nothing)
    forecast.forecast(template({"resources": {"cpu": 2}}, model="vit", pretrained=True, img_size=32, threads=None))
    assert [(config.pretrained, config.threads) for config in built] == [(False, 2)]


def test_the_lines_say_what_was_measured_and_what_follows(
    template: Make, machine: Callable[..., None], epoch_s: dict[int, EpochTime], tmp_path: Path
) -> None:
    epoch_s[128] = EpochTime(0.0, 300.0, 0.0)
    absent = {"dataset": "cifar10", "data_dir": str(tmp_path / "no")}
    times = {
        "{name: median, grace_epochs: 1}": "time: at most 40 min",
        "{name: none}": "time: about 40 min",
        "{name: asha, grace_epochs: 1}": "time: about 28 min expected (23 min to 40 min), at most 40 min",
    }
    for scheduler, line in times.items():
        loaded = template({"trials": 4, "scheduler": yaml.safe_load(scheduler)}, **absent)
        assert list(forecast_lines(forecast.forecast(loaded))) == [
            "an epoch of mlp_deadzone4b, batch 128: 300 s (made-up images: the data set is not there)",
            "at once: 2",
            line,
        ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.6, "60 s"), (119, "119 s"), (180, "3 min"), (7200, "2.0 h"), (4e5, "4.6 days")]
)
def test_times_are_given_in_a_unit_that_fits(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
