"""`--plugin FILE.py`: a user's own parts, from the command line to the workers, and every mistake in one line."""

from __future__ import annotations

import copy
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from upath import UPath

import tune_main
from codeq import plugins
from codeq.config import ConfigError, RunConfig, Template
from codeq.config.errors import Problem, SourceLocation
from codeq.config.exit_codes import BAD_INPUT, DONE
from codeq.data import load_raw
from codeq.data.augment import AUGMENTS, augment_for
from codeq.models import build_model
from codeq.plugins import load_plugin, load_plugins, load_stored, stored_plugins
from codeq.quant import attach_weight_quantizers, quantized_layers
from codeq.registry import MODELS, PluginError
from codeq.search.sweep_state import open_sweep
from codeq.storage.trial_folder import StateDamaged, TrialRecord, trial_folder
from codeq.train import __main__ as train
from codeq.train.check_parts import check_parts
from codeq.train.loss_terms import added_loss, weighted_terms
from tests.conftest import ROOT

PLUGIN = """\
from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from codeq.plugins import dataset, loss_term, model, quantizer


@model("wide")
def wide(
    *, in_channels: int, img_size: int, num_classes: int, hidden: Annotated[int, Field(ge=1, le=64)] = 16
) -> nn.Module:
    pixels = in_channels * img_size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))


@loss_term("l1")
def l1(model: nn.Module, factor: float = 1.0, power: int = 1) -> Tensor:
    return factor * sum((w.abs() ** power).sum() for w in model.parameters())


@dataset("blobs")
def blobs(*, data_dir: str, classes: Annotated[int, Field(ge=2)] = 3):
    random, labels = np.random.RandomState(0), np.arange(120) % classes
    images = (random.randint(0, 60, (120, 1, 4, 4)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    return (images[:90], labels[:90]), (images[90:], labels[90:])


@quantizer("halves")
class Halves(nn.Module):
    def __init__(self, step: float = 0.5) -> None:
        super().__init__()
        self.step = step
        self.register_buffer("bits", torch.tensor(2.0))

    def forward(self, w: Tensor) -> Tensor:
        return w + (self.step * torch.round(w / self.step) - w).detach()

    def get_bitwidth(self) -> Tensor:
        return self.bits
"""

CONFIG: dict[str, Any] = {
    "model": {"name": "wide", "kwargs": {"hidden": 8}},
    "dataset": {"name": "blobs", "kwargs": {"classes": 3}},
    "augment": "none",
    "epochs": 2,
    "batch_size": 30,
    "threads": 1,
    "device": "cpu",
    "quantizer": {"name": "halves", "kwargs": {"step": 0.125}},
    "optimizer": {"type": "adamw", "param_groups": {"base": {"lr": 0.01}}},
    "loss_terms": [{"name": "l1", "lambda": 0.001, "kwargs": {"factor": 2.0}}],
}


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a file into the test's folder, where the test stands, and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "mine.py") -> str:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.fixture
def config(write: Callable[..., str]) -> Callable[..., RunConfig]:
    """A config of nothing but the plug-in's parts; keyword arguments override its keys."""
    load_plugin(write(PLUGIN))
    return lambda **changes: RunConfig.model_validate({**copy.deepcopy(CONFIG), **changes})


def problem(key: str, reason: str) -> Problem:
    return Problem(SourceLocation("t.yaml"), key, reason)


def refusal(*names: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_plugins(names)
    return str(raised.value)


# The file


def test_a_file_registers_parts_of_every_kind(config: Callable[..., RunConfig]) -> None:
    run = config()
    assert all(part.is_plugin for part in (run.model.part, run.dataset.part, run.loss_terms[0].part))
    assert str(run.model.part.location) == "mine.py:13"
    assert run.as_dict()["model"] == {"name": "wide", "kwargs": {"hidden": 8}}
    assert re.fullmatch(r"wide-[0-9a-f]{6}_halves_e2_lr0.01", run.run_name)


def test_images_of_a_plugin_are_augmented_only_if_the_config_asks_for_it(config: Callable[..., RunConfig]) -> None:
    assert augment_for(config(augment="auto")) is AUGMENTS["none"]
    assert augment_for(config(augment="standard")) is AUGMENTS["standard"]


MODEL = "from codeq.plugins import model\n\n\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def f(:\n", "mine.py:1: is not valid Python: invalid syntax"),
        ("x = 1\n\ny = foo()\n", "mine.py:3: NameError: name 'foo' is not defined"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')\n", "mine.py:2: JSONDecodeError: Expecting property name"),
        ("raise ValueError('two\\nlines')\n", "mine.py:1: ValueError: two lines"),
        ("import sys\nsys.exit(3)\n", "mine.py:2: SystemExit: 3"),
        ("import nothing_of_that_name\n", "mine.py:1: ModuleNotFoundError: No module named 'nothing_of"),
        ("x = 1\n", "mine.py: registers nothing: put @model, @dataset, @loss_term or @quantizer"),
        (f'{MODEL}@model("mlp")\ndef f(): ...\n', "mine.py:4: model mlp: this name is built in; choose"),
        (f'{MODEL}@model("timm/a")\ndef f(): ...\n', "mine.py:4: model: the name is 'timm/a', must be at most 64"),
        (f'{MODEL}@model("a")\ndef f(x=3): ...\n', "mine.py:4: model a: parameter x has no type; write x: int = 3"),
        (f'{MODEL}@model("a")\ndef f(x: object()): ...\n', "mine.py:4: model a: the type of x is <object"),
        (f'{MODEL}@model\ndef f(): ...\n', "mine.py:4: model: the decorator needs a name in parentheses and quotes"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_in_one_line_and_leaves_nothing_registered(
    write: Callable[..., str], text: str, line: str
) -> None:
    before = MODELS.names()
    told = refusal(write(text))
    assert told.startswith(line) and "\n" not in told
    assert MODELS.names() == before


def test_what_was_registered_before_a_mistake_is_forgotten_and_the_mended_file_loads(write: Callable[..., str]) -> None:
    assert refusal(write(PLUGIN + "oops\n")).endswith("NameError: name 'oops' is not defined")
    assert MODELS.find("wide") is None
    load_plugin(write(PLUGIN))
    assert MODELS.find("wide") is not None


def test_a_file_that_cannot_be_read_or_is_no_python_file_is_told(write: Callable[..., str]) -> None:
    assert refusal("no.py") == "no.py: cannot be read: No such file or directory"
    assert refusal(write("a: 1\n", "a.yaml")) == "a.yaml: must be a Python file, its name ending in .py"
    Path("folder").mkdir()
    assert refusal("folder/") == "folder/: is a folder, must be a Python file; a plug-in is one file"


def test_a_path_may_hold_spaces_other_alphabets_and_variables(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(PLUGIN, "größe 1/mein netz.py")
    monkeypatch.setenv("MY_PLUGINS", str(tmp_path / "größe 1"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (first,) = load_plugins(["$MY_PLUGINS/mein netz.py"])
    (second,) = load_plugins(["~/größe 1/mein netz.py"])
    assert first == second and first.name == "mein netz.py"


def test_a_process_runs_a_file_once_wherever_its_copies_lie(write: Callable[..., str]) -> None:
    counting = PLUGIN + "import codeq\ncodeq.runs = getattr(codeq, 'runs', 0) + 1\n"
    for name in ("mine.py", "sweep/plugins/mine.py", "mine.py"):
        load_plugin(write(counting, name))
    load_stored(Path("sweep"))
    import codeq

    assert vars(codeq).pop("runs") == 1


def test_two_files_of_one_name_or_with_one_part_are_refused(write: Callable[..., str]) -> None:
    first, second = write(PLUGIN), write(PLUGIN + "# changed\n", "other/mine.py")
    assert refusal(first, second) == "other/mine.py: is a second --plugin called mine.py, after mine.py; rename one"
    third = write(PLUGIN, "third.py")
    assert refusal(first, third) == "third.py:13: model wide: this name is registered by mine.py:13; choose another"


def test_a_file_that_is_given_twice_counts_once(write: Callable[..., str]) -> None:
    assert [plugin.path for plugin in load_plugins([write(PLUGIN), "./mine.py"])] == ["mine.py"]


def test_a_part_that_a_plugin_imports_belongs_to_it(write: Callable[..., str]) -> None:
    """Its location is the line that registers it, its exceptions name the plug-in."""
    text = "import functools, collections\nfrom codeq.plugins import model, dataset\n\n\n"
    text += "def build(depth: int, *, num_classes: int):\n    raise KeyError('boom')\n\n\n"
    text += "model('part')(functools.partial(build, 4))\ndataset('counter')(collections.OrderedDict.fromkeys)\n"
    assert "parameter iterable" in refusal(write(text))
    load_plugin(write(text.replace("dataset('counter')(collections.OrderedDict.fromkeys)", "")))
    part = MODELS["part"]
    assert (part.plugin, str(part.location)) == ("mine.py", "mine.py:9")
    with pytest.raises(PluginError, match="^mine.py:6: model part: KeyError: 'boom'$"):
        build_model("part", in_channels=1, img_size=4, num_classes=2)


def test_a_module_beside_a_plugin_is_reported(
    write: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("WIDTH = 3\n", "helper_of_mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    load_plugin(write(PLUGIN + "import helper_of_mine\n"))
    assert caplog.messages == [
        "mine.py: imports helper_of_mine.py, which a sweep does not store: other machines and --resume may not find it."
        " A plug-in is one file: put what is needed into it"
    ]


def test_an_argument_may_be_called_name(write: Callable[..., str]) -> None:
    text = MODEL + "from torch import nn\n\n\n@model('named')\n"
    text += "def named(*, num_classes: int, name: str = 'ReLU') -> nn.Module:\n"
    text += "    return nn.Sequential(nn.Flatten(), getattr(nn, name)(), nn.Linear(16, num_classes))\n"
    load_plugin(write(text))
    model = build_model("named", {"name": "GELU"}, in_channels=1, img_size=4, num_classes=2)
    assert isinstance(model[1], nn.GELU)


# The template


def problems(write: Callable[..., str], *overrides: str, data: dict[str, Any] | None = None) -> list[str]:
    path = write(yaml.safe_dump(CONFIG if data is None else data, sort_keys=False), "t.yaml")
    try:
        Template.load(path, overrides)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_kwargs_of_a_plugin_are_checked_at_both_ends_of_a_range_with_file_and_line(
    config: Callable[..., RunConfig], write: Callable[..., str]
) -> None:
    data = copy.deepcopy(CONFIG)
    data["model"]["kwargs"]["hidden"] = {"distribution": "int", "low": 0, "high": 65}
    data["dataset"]["kwargs"]["classes"] = 1
    data["loss_terms"][0]["kwargs"] = {"factor": {"distribution": "choice", "choices": [1.0, "x"]}, "facto": 1}
    lines = [line.partition(":")[2].partition(": ")[2] for line in problems(write, data=data)]
    assert lines == [
        "model.kwargs.hidden: low is 0, must be greater than or equal to 1",
        "model.kwargs.hidden: high is 65, must be less than or equal to 64",
        "dataset.kwargs.classes: is 1, must be greater than or equal to 2",
        "loss_terms.l1.kwargs.factor: is 'x', must be a number",
        "loss_terms.l1.kwargs.facto: unknown key; did you mean factor?",
    ]
    assert problems(write, data=data)[0].startswith("t.yaml:")


def test_kwargs_are_searched_by_their_dotted_path_and_may_refer_to_each_other(
    config: Callable[..., RunConfig], write: Callable[..., str]
) -> None:
    data = copy.deepcopy(CONFIG)
    data["model"] = {"distribution": "choice", "choices": ["wide", {"name": "wide", "kwargs": {"hidden": {
        "distribution": "int", "low": 2, "high": 4}}}]}  # fmt: skip
    data["loss_terms"][0]["kwargs"]["power"] = {"same_as": "dataset.kwargs.classes"}
    template = Template.load(write(yaml.safe_dump(data), "t.yaml"))
    assert [parameter.name for parameter in template.parameters] == ["model", "model.kwargs.hidden"]
    drawn = template.draw(lambda name, distribution: distribution.bounds()["choices.1" if name == "model" else "low"])
    assert (drawn.model.kwargs, drawn.loss_terms[0].kwargs["power"]) == ({"hidden": 2}, 3)


def test_a_name_whose_plugin_is_not_given_says_so(write: Callable[..., str]) -> None:
    assert problems(write)[0] == (
        "t.yaml:2: model.name: is 'wide', must be one of resnet20, resnet32, resnet44, resnet56, resnet110, mlp, vit "
        "or timm/NAME; a name of your own needs --plugin FILE.py"
    )


def test_the_reason_of_a_validator_is_shown_as_it_is(write: Callable[..., str]) -> None:
    check = "def even(x):\n    if x % 2:\n        raise ValueError('must be even')\n    return x\n\n\n"
    text = PLUGIN.replace("@model", "from pydantic import AfterValidator\n\n\n" + check + "@model")
    load_plugin(write(text.replace("Field(ge=1, le=64)", "AfterValidator(even)")))
    assert problems(write, "model.kwargs.hidden=3") == ["--set: model.kwargs.hidden: is 3, must be even"]


def test_a_missing_argument_is_told_at_its_key(write: Callable[..., str]) -> None:
    load_plugin(write(PLUGIN.replace("le=64)] = 16", "le=64)]")))
    assert problems(write, "model.kwargs={}") == ["--set: model.kwargs.hidden: is missing"]
    assert problems(write, "model=wide") == ["--set: model.kwargs.hidden: is missing"]


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("mlp", "mlp"),
        ({"name": "mlp"}, "mlp"),
        ({"name": "mlp", "kwargs": {"hidden": [120, 84]}}, "mlp"),
        ({"name": "mlp", "kwargs": {"hidden": [1024, 256]}}, {"name": "mlp", "kwargs": {"hidden": [1024, 256]}}),
        ({"name": "timm/vit", "kwargs": {"x": [1, None]}}, {"name": "timm/vit", "kwargs": {"x": [1, None]}}),
    ],
)
def test_a_model_with_its_defaults_is_written_as_its_name(tiny: dict[str, Any], model: Any, written: Any) -> None:
    config = RunConfig.model_validate({**tiny, "model": model})
    assert config.as_dict()["model"] == written
    assert RunConfig.model_validate(config.as_dict()) == config


def test_a_plain_config_has_a_hash_and_a_name_that_stay(tiny: dict[str, Any]) -> None:
    config = RunConfig.model_validate(tiny)
    assert (config.config_hash, config.run_name) == ("97a2ae29d462", "mlp_deadzone4b_e4_lr0.005")


def test_a_name_is_overridden_by_a_file_that_extends_and_kwargs_by_set(
    tiny: dict[str, Any], write: Callable[..., str]
) -> None:
    base = write(yaml.safe_dump({**tiny, "model": {"name": "mlp", "kwargs": {"hidden": [5]}}}), "base.yaml")
    over = write(f"extends: {base}\nmodel: {{name: vit, kwargs: {{depth: 2}}}}\n", "over.yaml")
    assert Template.load(over).run_config().model.kwargs == {"depth": 2}
    plain = write(yaml.safe_dump(tiny), "plain.yaml")
    assert Template.load(plain, ["model.kwargs.hidden=[7]"]).run_config().model.kwargs == {"hidden": [7]}


# The parts at work


def test_kwargs_reach_the_network_the_images_the_loss_and_the_quantizer(config: Callable[..., RunConfig]) -> None:
    run = config()
    raw = load_raw(run)
    assert (raw.name, raw.num_classes, raw.train.pixels.shape) == ("blobs", 3, (90, 1, 4, 4))  # type: ignore[union-attr]
    net = build_model("wide", {"hidden": 8}, in_channels=1, img_size=4, num_classes=3)
    assert isinstance(net, nn.Sequential) and net[1].weight.shape == (8, 16)
    attach_weight_quantizers(net, [], "halves", {"step": 0.125})
    assert ((net[1].weight / 0.125) % 1 == 0).all()
    assert [quantizer.get_bitwidth().item() for _, _, quantizer in quantized_layers(net)] == [2.0, 2.0]
    added = added_loss(net, weighted_terms(run.loss_terms))
    expected = 0.002 * sum(parameter.abs().sum() for parameter in net.parameters())
    torch.testing.assert_close(added, expected)


def test_shipped_mlp_takes_its_layers() -> None:
    net = build_model("mlp", {"hidden": [5, 6, 7]}, in_channels=1, img_size=8, num_classes=10)
    assert {name: tuple(p.shape) for name, p in net.named_parameters() if "weight" in name} == {
        "fc1.weight": (5, 64), "fc2.weight": (6, 5), "fc3.weight": (7, 6), "fc4.weight": (10, 7),
    }  # fmt: skip
    linear = build_model("mlp", {"hidden": []}, in_channels=1, img_size=8, num_classes=10)
    assert linear(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_timm_takes_its_builders_arguments_and_names_the_one_it_does_not_know() -> None:
    size = {"in_channels": 3, "img_size": 32, "num_classes": 10}
    assert len(build_model("timm/test_vit", {"depth": 2}, **size).blocks) == 2  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be built for 3x32x32 images: .*'drop_path_rat'"):
        build_model("timm/test_vit", {"drop_path_rat": 0.1}, **size)
    with pytest.raises(ValueError, match="kwargs.checkpoint_path cannot be given: weights come from pretrained"):
        build_model("timm/test_vit", {"checkpoint_path": "x"}, **size)


BROKEN = """\
import numpy as np
import torch
from torch import nn

from codeq.plugins import dataset, loss_term, model, quantizer

IMAGES, LABELS = np.zeros((20, 1, 4, 4), np.uint8), np.arange(20) % 3


@model("broken")
def broken(*, num_classes: int, how: str) -> nn.Module:
    if how == "raises":
        raise KeyError("gone")
    return {"none": None, "size": nn.Linear(5, 3), "logits": nn.Sequential(nn.Flatten(), nn.Linear(16, 2))}[how]


@loss_term("broken")
def term(net: nn.Module, how: str):
    return {"vector": torch.ones(3), "number": 1.0}[how] if how != "raises" else net.no_such_layer


@dataset("broken")
def images(*, how: str):
    good = (IMAGES, LABELS)
    return {
        "pair": good, "dtype": ((IMAGES * 1.0, LABELS), good), "shape": ((IMAGES[:, :, 1:], LABELS), good),
        "empty": (good, (IMAGES[:0], LABELS[:0])), "labels": ((IMAGES, LABELS[1:]), good),
        "kind": ((IMAGES, LABELS * 1.0), good),
        "below": ((IMAGES, LABELS - 1), good), "above": (good, (IMAGES, LABELS + 1)),
        "sizes": (good, (IMAGES[:, :, 1:, 1:], LABELS)), "one": ((IMAGES, LABELS * 0), (IMAGES, LABELS * 0)),
    }[how]


@quantizer("broken")
class Quantizer(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, w):
        return w.flatten() if self.how == "shape" else w.no_such_thing if self.how == "raises" else w

    def get_bitwidth(self):
        return 3 if self.how == "number" else torch.tensor(3.0)
"""


@pytest.mark.parametrize(
    ("key", "how", "reason"),
    [
        ("model", "raises", "12: model broken: KeyError: 'gone'"),
        ("model", "none", "10: model broken: returned NoneType, must return a torch.nn.Module"),
        ("model", "size", "10: model broken: does not take 1x4x4 images: RuntimeError: "),
        ("model", "logits", "10: model broken: its output for one image is of shape [1, 2], must be logits"),
        ("dataset", "pair", "23: data set broken: returned tuple, must return ((images, labels), (images, labels))"),
        ("dataset", "dtype", "23: data set broken: training images are float64 [20, 1, 4, 4], must be uint8"),
        ("dataset", "shape", "23: data set broken: training images are uint8 [20, 1, 3, 4], must be uint8"),
        ("dataset", "empty", "23: data set broken: test images are [0, 1, 4, 4], must be some"),
        ("dataset", "labels", "23: data set broken: training labels are int64 [19], must be integers [20]"),
        ("dataset", "kind", "23: data set broken: training labels are float64 [20], must be integers [20]"),
        ("dataset", "below", "23: data set broken: a training label is -1, must be 0 or more"),
        ("dataset", "above", "23: data set broken: a test label is 3, the largest training label is 2"),
        ("dataset", "sizes", "23: data set broken: training and test images are [1, 4, 4] and [1, 3, 3], must be"),
        ("dataset", "one", "23: data set broken: all training labels are 0, must be of two classes or more"),
        ("quantizer", "shape", "44: quantizer broken: forward of a weight [8, 16] gives [128], must keep the shape"),
        ("quantizer", "raises", "44: quantizer broken: forward: AttributeError: 'Parameter' object"),
        ("quantizer", "number", "44: quantizer broken: get_bitwidth gives 3, must give a scalar tensor"),
        ("loss_terms", "vector", "18: loss term broken: gives a tensor [3], must give a scalar tensor"),
        ("loss_terms", "number", "18: loss term broken: gives 1.0, must give a scalar tensor"),
        ("loss_terms", "raises", "20: loss term broken: AttributeError: 'Sequential' object"),
    ],
)  # fmt: skip
def test_a_part_that_is_wrong_is_told_with_its_line_before_a_sweep_starts(
    config: Callable[..., RunConfig], write: Callable[..., str], key: str, how: str, reason: str
) -> None:
    load_plugin(write(BROKEN, "broken.py"))
    part = {"name": "broken", "kwargs": {"how": how}}
    run = config(**{key: [part] if key == "loss_terms" else part})
    with pytest.raises(PluginError) as raised:
        check_parts([run], problem, {run.images_key: load_raw(run)})
    told = str(raised.value)
    # Where a part raises it is the line that raised, otherwise that of its definition.
    assert re.sub(r"^broken.py:\d+", "", told).startswith(reason[reason.index(":") :]) and "\n" not in told
    assert told.startswith("broken.py:")


def test_good_parts_pass_the_check_and_what_ships_without_arguments_is_not_checked(
    config: Callable[..., RunConfig], tiny: dict[str, Any]
) -> None:
    run = config()
    assert check_parts([run], problem, {run.images_key: load_raw(run)}) == []
    assert config().has_own_parts and not RunConfig.model_validate(tiny).has_own_parts
    assert RunConfig.model_validate({**tiny, "model": {"name": "mlp", "kwargs": {"hidden": [3]}}}).has_own_parts


def test_images_are_shared_by_configs_that_read_the_same(config: Callable[..., RunConfig]) -> None:
    assert config().images_key == config(seed=3, img_size=8).images_key
    others = [
        config(data_dir="x"),
        config(dataset="blobs"),
        config(dataset={"name": "blobs", "kwargs": {"classes": 4}}),
    ]
    assert len({run.images_key for run in others}) == 3
    assert config(dataset="blobs").images_key == config(dataset={"name": "blobs", "kwargs": {"classes": 3}}).images_key


# The commands


def test_a_single_run_trains_and_resumes_with_its_plugin(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(yaml.safe_dump(CONFIG), "t.yaml")
    command = [path, "--plugin", write(PLUGIN), "--set", "save_dir=out"]
    assert train.main(command) == DONE
    (checkpoint,) = Path("out").glob("*.th")
    assert train.main([*command, "--resume", str(checkpoint)]) == DONE
    assert "resumed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["tune_main.py", "-m codeq.train", "-m codeq.config check"])
def test_a_plugin_that_raises_is_exit_2_without_a_traceback(
    write: Callable[..., str], command: str, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    path, plugin = (
        tmp_path / write(text, name) for text, name in ((yaml.safe_dump(CONFIG), "t.yaml"), ("x = y\n", "m.py"))
    )
    done = run_python(*command.split(), path, "--plugin", plugin)
    assert (done.returncode, done.stderr) == (BAD_INPUT, f"{plugin}:1: NameError: name 'y' is not defined\n")


def test_a_network_that_fails_in_training_is_told_by_a_single_run_and_by_the_probe(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = PLUGIN.replace("return nn.Sequential(nn.Flatten(),", "return nn.Sequential(nn.Flatten(), Fails(),")
    text += "\n\nclass Fails(nn.Module):\n    def forward(self, x):\n        return x.gone if self.training else x\n"
    line = len(text.splitlines())
    path, plugin = write(yaml.safe_dump({**CONFIG, "sweep": {"trials": 1}}), "t.yaml"), write(text)
    for command in (train.main, lambda arguments: tune_main.main([*arguments, "--probe"])):
        assert command([path, "--plugin", plugin]) == BAD_INPUT
        told = capsys.readouterr().err
        assert told == f"mine.py:{line}: AttributeError: 'Tensor' object has no attribute 'gone'\n"


# The sweep


def test_a_sweep_keeps_its_plugins_and_goes_on_with_the_same_only(write: Callable[..., str], tmp_path: Path) -> None:
    load_plugin(write(PLUGIN))
    path = write(yaml.safe_dump({**CONFIG, "sweep": {"trials": 1, "storage": str(tmp_path), "name": "s"}}), "t.yaml")
    template, folder = Template.load(path), UPath(tmp_path / "s")
    write("stale\n", "s/plugins/stale.py")  # of a start that came to nothing
    mine = load_plugins(["mine.py"])
    with open_sweep(template, False, mine) as state:
        assert [plugin.name for plugin in stored_plugins(folder)] == ["mine.py"]
        state.study.ask()
        trial_folder(folder, 0).write_record(TrialRecord(0, "run", 0))
    with open_sweep(template, True, mine):
        pass
    with pytest.raises(StateDamaged, match=r"s: was begun with a plug-in; give it again: --plugin \S*plugins/mine.py$"):
        with open_sweep(template, True):
            pass
    changed = [plugins.Plugin("mine.py", "mine.py", b"# another\n")]
    with pytest.raises(
        StateDamaged, match=r"^mine.py: differs from \S*plugins/mine.py, .* goes on with the stored one"
    ):
        with open_sweep(template, True, changed):
            pass
    with open_sweep(template, True, load_plugins([str(tmp_path / "s" / "plugins" / "mine.py")])):
        pass


def test_plugins_are_read_from_a_folder_behind_a_url() -> None:
    folder = UPath("memory://bucket/plugged")
    (folder / "plugins").mkdir(parents=True, exist_ok=True)
    (folder / "plugins" / "remote.py").write_text(PLUGIN)
    load_stored(folder)
    assert MODELS.find("wide") is not None
    assert load_plugins([str(folder / "plugins" / "remote.py")])[0].name == "remote.py"


def test_a_resume_without_the_plugin_names_the_stored_copy(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(PLUGIN, "results/t/plugins/my mine.py")
    path = write(yaml.safe_dump(CONFIG), "t.yaml")
    assert tune_main.main([path, "--resume"]) == BAD_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert any("model.name: is 'wide', must be one of" in line for line in lines), lines
    assert lines[-1] == "the sweep was begun with a plug-in; give it again: --plugin 'results/t/plugins/my mine.py'"


def test_a_whole_sweep_of_own_parts_trains_confirms_and_its_winner_trains_again(
    write: Callable[..., str], tmp_path: Path
) -> None:
    data = copy.deepcopy(CONFIG)
    data["model"]["kwargs"]["hidden"] = {"distribution": "int", "low": 4, "high": 8, "step": 4}
    data["loss_terms"][0]["kwargs"]["factor"] = {"distribution": "uniform", "low": 0.5, "high": 2.0}
    data["sweep"] = {
        "name": "own", "trials": 3, "scheduler": {"name": "none"},
        "confirm": {"top": 1, "seeds": 1},
    }  # fmt: skip
    write(yaml.safe_dump(data), "own.yaml")
    write(PLUGIN, "my plugin.py")
    command = [sys.executable, str(ROOT / "tune_main.py"), "own.yaml", "--plugin", "my plugin.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == DONE, done.stderr
    folder = tmp_path / "results" / "own"
    assert (folder / "plugins" / "my plugin.py").read_text() == PLUGIN
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 3
    assert {row["model.kwargs.hidden"] for row in rows} <= {"4", "8"}
    assert all(0.5 <= float(row["loss_terms.l1.kwargs.factor"]) <= 2.0 for row in rows)
    assert len(list((folder / "confirm").glob("*/metrics.jsonl"))) == 1
    with (folder / "confirm.csv").open() as file:
        assert float(next(csv.DictReader(file))["test_acc_mean"]) > 0

    best = (folder / "best.yaml").read_text()
    (again,) = re.findall(r"^# Train it again: python (.*)$", best, re.MULTILINE)
    assert again == f"-m codeq.train {folder}/best.yaml --plugin '{folder}/plugins/my plugin.py'"
    assert train.main([str(folder / "best.yaml"), "--plugin", str(folder / "plugins" / "my plugin.py")]) == DONE


# docs/your-own-network.md


def test_the_example_on_its_page_is_what_it_says(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "your-own-network.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (_, python), (_, template), (_, command) = blocks
    assert [kind for kind, _ in blocks] == ["python", "yaml", ""]
    assert len(python.splitlines()) < 25
    write(python, "mine.py")
    write(template, "mine.yaml")
    shutil.copytree(ROOT / "sweeps", "sweeps")
    interpreter, script, *arguments = command.split()
    assert (interpreter, script) == ("python", "tune_main.py")
    # Two epochs of a narrow network are enough to see that it trains.
    tiny = ["--set", "epochs=2", "--set", "device=cpu", "--set", "model.kwargs.width.high=16"]
    assert tune_main.main([*arguments, *tiny, "--probe"]) == DONE
    shown = capsys.readouterr().out
    assert "model.kwargs.width: int [8, 16]" in shown and "an epoch of small_cnn-" in shown
    assert np.isfinite(float(re.findall(r"an epoch of \S+ batch 32: ([\d.e+-]+) s", shown)[0]))
