"""Checkpoints: bit-exact continuation, damage, foreign and hostile files."""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from codeq.config import RunConfig
from codeq.train.checkpoint import CheckpointDamaged, CheckpointError, load_checkpoint, read_checkpoint, save_checkpoint
from codeq.train.loop import TrainState, create_train_state, fit

CPU = torch.device("cpu")
SPEC_KEYS = {"epoch", "model", "optimizer", "scheduler", "best_prec1", "config"}


def start(config: dict[str, Any]) -> TrainState:
    return create_train_state(RunConfig.model_validate(config))


def train(state: TrainState, epochs: int) -> list[dict[str, Any]]:
    found = []
    for row in fit(state):
        found.append({key: value for key, value in row.as_dict().items() if key not in ("epoch_s", "images_per_s")})
        if len(found) == epochs:
            break
    return found


def transformer(tiny: dict[str, Any]) -> dict[str, Any]:
    quantizer = {**tiny["quantizer"], "exclude_layers": ["norm"]}
    return {**tiny, "model": "timm/test_vit", "img_size": 32, "quantizer": quantizer}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant", "warmup_cosine"])
def test_four_epochs_straight_equal_two_checkpoint_two_bit_for_bit(
    tiny: dict[str, Any], tmp_path: Path, optimizer: str, schedule: str
) -> None:
    tiny["optimizer"]["type"] = optimizer
    tiny["quantizer"]["kwargs"] = {"learnable_bit": True}
    tiny["optimizer"]["param_groups"]["bit"] = {"lr": 0.01, "weight_decay": 0.5}
    config = {**tiny, "augment": "standard", "lr_scheduler": schedule, "warmup_epochs": 1}
    assert_resumes_exactly(config, tmp_path)


def test_resuming_is_exact_with_batch_norm_in_channels_last(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert_resumes_exactly({**tiny, "model": "resnet20"}, tmp_path)


def test_resuming_is_exact_for_a_transformer(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert_resumes_exactly(transformer(tiny), tmp_path)


def assert_resumes_exactly(config: dict[str, Any], folder: Path) -> None:
    straight = start(config)
    expected = train(straight, 4)
    first = start(config)
    rows = train(first, 2)
    save_checkpoint(folder / "checkpoint.th", first)
    torch.rand(7)  # another process would have other random numbers behind it
    second = start(config)
    load_checkpoint(folder / "checkpoint.th", second)
    assert rows + train(second, 2) == expected
    for name, weight in straight.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name


def test_a_checkpoint_restores_the_random_numbers(tiny: dict[str, Any], tmp_path: Path) -> None:
    state = start(tiny)
    save_checkpoint(tmp_path / "checkpoint.th", state)
    expected = torch.rand(3)
    load_checkpoint(tmp_path / "checkpoint.th", state)
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_has_the_promised_keys_and_is_plain_data(tiny: dict[str, Any], tmp_path: Path) -> None:
    state = start(tiny)
    train(state, 1)
    save_checkpoint(tmp_path / "checkpoint.th", state)
    saved = torch.load(tmp_path / "checkpoint.th", weights_only=True)
    assert saved.keys() >= SPEC_KEYS
    assert saved["epoch"] == 1
    assert RunConfig.model_validate(saved["config"]) == state.config
    assert "fc1.parametrizations.weight.0.quantizer.logit_dz" in saved["model"]
    assert os.listdir(tmp_path) == ["checkpoint.th"]


def test_a_file_of_the_older_scripts_resumes_too(tiny: dict[str, Any], tmp_path: Path) -> None:
    state = start(tiny)
    expected = train(state, 4)
    old = start(tiny)
    train(old, 2)
    parallel = {f"module.{name}": weight for name, weight in old.model.state_dict().items()}
    content = {
        "epoch": 2, "model": parallel, "optimizer": old.optimizer.state_dict(),
        "scheduler": old.scheduler.state_dict(), "best_prec1": 50.0, "config": {"any": "thing"},
    }  # fmt: skip
    torch.save(content, tmp_path / "old.th")
    resumed = start(tiny)
    load_checkpoint(tmp_path / "old.th", resumed)
    assert resumed.best_val_acc == 50.0
    assert train(resumed, 2) == expected[2:]


def test_a_flipped_bit_is_noticed(tiny: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.th"
    save_checkpoint(path, start(tiny))
    content = bytearray(path.read_bytes())
    largest = max(zipfile.ZipFile(path).infolist(), key=lambda info: info.file_size)
    content[largest.header_offset + 2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: the checksum of"):
        read_checkpoint(path, CPU)


@pytest.mark.parametrize("keep", [0, 1, 1000, 50_000])
def test_a_truncated_file_is_refused(tiny: dict[str, Any], tmp_path: Path, keep: int) -> None:
    path = tmp_path / "checkpoint.th"
    save_checkpoint(path, start(tiny))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_checkpoint(path, CPU)


def test_a_missing_file_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none.th: cannot be read: No such file"):
        read_checkpoint(tmp_path / "none.th", CPU)


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["HOSTILE_FOLDER"],)


@pytest.mark.parametrize("as_zip", [True, False])
def test_no_pickle_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_zip: bool) -> None:
    monkeypatch.setenv("HOSTILE_FOLDER", str(tmp_path / "owned"))
    path = tmp_path / "hostile.th"
    if as_zip:
        torch.save({"epoch": 1, "model": Hostile()}, path)
    else:
        path.write_bytes(pickle.dumps({"epoch": 1, "model": Hostile()}))
    with pytest.raises(CheckpointError):
        read_checkpoint(path, CPU)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "forged", [b"\x80\x02h\x05.", b"\x80\x02}}K\x01s.", b"\x80\x02", b""], ids=["memo", "key", "cut", "empty"]
)
def test_a_forged_pickle_with_a_right_checksum_is_damaged(tmp_path: Path, forged: bytes) -> None:
    """The unpickler raises KeyError, TypeError and others."""
    torch.save({"epoch": 1, "model": {}}, tmp_path / "whole.th")
    with zipfile.ZipFile(tmp_path / "whole.th") as whole, zipfile.ZipFile(tmp_path / "forged.th", "w") as file:
        for record in whole.infolist():
            is_pickle = record.filename.endswith("data.pkl")
            file.writestr(record.filename, forged if is_pickle else whole.read(record))
    with pytest.raises(CheckpointDamaged, match="forged.th: not a readable checkpoint"):
        read_checkpoint(tmp_path / "forged.th", CPU)


def test_no_memory_for_a_checkpoint_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a trial that shares its GPU would train from its first epoch."""
    torch.save({"epoch": 1, "model": {}}, tmp_path / "whole.th")

    def fail(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(torch.OutOfMemoryError):
        read_checkpoint(tmp_path / "whole.th", CPU)


def test_a_tensor_that_declares_32_gib_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    torch.save({"epoch": 1, "model": {"w": torch.zeros(4)}}, tmp_path / "small.th")
    four, many = b"K\x04tq", b"\x8a\x05" + (2**33).to_bytes(5, "little") + b"tq"  # 2**33 numbers of 4 bytes
    with zipfile.ZipFile(tmp_path / "small.th") as small, zipfile.ZipFile(tmp_path / "huge.th", "w") as huge:
        for record in small.infolist():
            huge.writestr(record, small.read(record).replace(four, many))
    # PyTorch's own check, which old releases have, finds it first and says it in its words.
    with pytest.raises(CheckpointError, match=r"huge.th: .*34,?359,?738,?368 bytes"):
        read_checkpoint(tmp_path / "huge.th", CPU)


def test_a_tensor_that_repeats_a_few_bytes_32_gib_long_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 1, "model": {}, "optimizer": {"w": torch.zeros(1).expand(2**33)}}, tmp_path / "long.th")
    with pytest.raises(CheckpointError, match=r"long.th: .*it declares 34,359,738,368 bytes, the file holds"):
        read_checkpoint(tmp_path / "long.th", CPU)


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"epoch": 1, "model": {"w": torch.zeros(2**24)}}, tmp_path / "plain.th")
    with zipfile.ZipFile(tmp_path / "plain.th") as plain:
        with zipfile.ZipFile(tmp_path / "bomb.th", "w", zipfile.ZIP_DEFLATED) as bomb:
            for record in plain.infolist():
                bomb.writestr(record.filename, plain.read(record))
    with pytest.raises(CheckpointError, match=r"bomb.th: .*it declares 67,\d\d\d,\d\d\d bytes, the file holds \d"):
        read_checkpoint(tmp_path / "bomb.th", CPU)


@pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"epoch": 1}])
def test_a_torch_file_that_is_no_checkpoint_says_what_is_missing(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.th")
    with pytest.raises(CheckpointError, match="not a checkpoint of ours: it has no"):
        read_checkpoint(tmp_path / "other.th", CPU)


def test_a_checkpoint_of_another_model_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.th", start(tiny))
    with pytest.raises(CheckpointError, match="model is 'resnet20', was 'mlp'"):
        load_checkpoint(tmp_path / "checkpoint.th", start({**tiny, "model": "resnet20"}))


def test_weights_that_do_not_fit_are_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"epoch": 1, "model": {"fc1.weight": torch.zeros(2, 2)}}, tmp_path / "old.th")
    with pytest.raises(CheckpointError, match="does not fit the config"):
        load_checkpoint(tmp_path / "old.th", start(tiny))


def test_another_config_is_refused_by_the_keys_that_changed_with_both_values(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "checkpoint.th", start(tiny))
    tiny["optimizer"]["param_groups"]["dz"]["weight_decay"] = 2.5
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(tmp_path / "checkpoint.th", start({**tiny, "epochs": 8}))
    assert str(raised.value) == (
        f"{tmp_path}/checkpoint.th: was written with another config: epochs is 8, was 4, "
        "optimizer.param_groups.dz.weight_decay is 2.5, was 5.0; resume with the same one"
    )


def test_what_does_not_touch_the_numbers_may_change(tiny: dict[str, Any], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.th", start(tiny))
    load_checkpoint(tmp_path / "checkpoint.th", start({**tiny, "workers": 0, "save_dir": "elsewhere"}))


def test_logits_without_a_group_stay_frozen_after_loading(tiny: dict[str, Any], tmp_path: Path) -> None:
    del tiny["optimizer"]["param_groups"]["dz"]
    save_checkpoint(tmp_path / "checkpoint.th", start(tiny))
    state = start(tiny)
    load_checkpoint(tmp_path / "checkpoint.th", state)
    logits = [p for name, p in state.model.named_parameters() if name.endswith("logit_dz")]
    assert logits and not any(logit.requires_grad for logit in logits)


@pytest.mark.parametrize("broken", [{"epoch": "abc"}, {"best_prec1": None}, {"rng": {}}])
def test_malformed_values_are_refused(tiny: dict[str, Any], tmp_path: Path, broken: dict[str, Any]) -> None:
    save_checkpoint(tmp_path / "checkpoint.th", start(tiny))
    saved = torch.load(tmp_path / "checkpoint.th", weights_only=True)
    torch.save({**saved, **broken}, tmp_path / "checkpoint.th")
    with pytest.raises(CheckpointError, match="does not fit the config"):
        load_checkpoint(tmp_path / "checkpoint.th", start(tiny))


def test_a_checkpoint_is_as_large_as_its_tensors(tiny: dict[str, Any], tmp_path: Path) -> None:
    state = start(tiny)
    train(state, 1)
    save_checkpoint(tmp_path / "checkpoint.th", state)
    weights = io.BytesIO()
    torch.save(state.model.state_dict(), weights)
    assert (tmp_path / "checkpoint.th").stat().st_size < 3 * len(weights.getvalue()) + 50_000


def resnet(tiny: dict[str, Any], **quantizer: Any) -> TrainState:
    quantizer = {**tiny["quantizer"], "exclude_layers": ["downsample"], **quantizer}
    return start({**tiny, "model": "timm/test_resnet", "img_size": 16, "quantizer": quantizer})


@pytest.mark.parametrize("older", ["without the key", "of the older scripts"])
def test_a_file_with_quantizers_on_norm_layers_loads_where_these_are_asked_for(
    tiny: dict[str, Any], tmp_path: Path, older: str
) -> None:
    before = resnet(tiny, quantize_norms=True)
    save_checkpoint(tmp_path / "old.th", before)
    saved = torch.load(tmp_path / "old.th", weights_only=True)
    del saved["config"]["quantizer"]["quantize_norms"]
    if older == "of the older scripts":
        del saved["rng"]
    torch.save(saved, tmp_path / "old.th")
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(tmp_path / "old.th", resnet(tiny))
    where = re.escape(f"{tmp_path / 'old.th'}: has quantizers on norm layers such as ")
    assert re.fullmatch(rf"{where}[\w.]+: write quantizer.quantize_norms: true", str(raised.value))
    state = resnet(tiny, quantize_norms=True)
    load_checkpoint(tmp_path / "old.th", state)
    assert state.model.get_parameter("bn1.parametrizations.weight.original").equal(
        before.model.get_parameter("bn1.parametrizations.weight.original")
    )


def test_a_file_without_the_key_and_without_quantized_norms_loads_as_it_is(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "old.th", resnet(tiny))
    saved = torch.load(tmp_path / "old.th", weights_only=True)
    del saved["config"]["quantizer"]["quantize_norms"]
    torch.save(saved, tmp_path / "old.th")
    load_checkpoint(tmp_path / "old.th", resnet(tiny))
