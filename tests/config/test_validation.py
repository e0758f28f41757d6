"""Every refusal in our words: the user's own key, its line, its value, what it must be and the nearest name."""

from __future__ import annotations

import pytest

from tests.config.texts import PLAIN, QUANTIZER, edited, problems, with_quantizer

TOP = (
    "model, pretrained, dataset, data_dir, img_size, val_fraction, augment, workers, epochs, batch_size, quantizer, "
    "optimizer, lr_scheduler, warmup_epochs, loss_terms, seed, device, threads, precision, use_compile, save_dir, "
    "wandb_project, "
    "sweep, extends"
)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("epochs: 10", "epochs: 1_000", ["2: epochs: is '1_000', must be a whole number"]),
        ("epochs: 10", "epochs: '10'", ["2: epochs: is '10', must be a whole number; write it without quotes"]),
        ("epochs: 10", "epochs: 1e3", ["2: epochs: is 1000.0, must be a whole number; write 1000"]),
        ("epochs: 10", "epochs: 1.5", ["2: epochs: is 1.5, must be a whole number"]),
        ("epochs: 10", "epochs: .inf", ["2: epochs: is inf, must be a whole number"]),
        ("epochs: 10", "epochs: .nan", ["2: epochs: is nan, must be a whole number"]),
        ("epochs: 10", "epochs: yes", ["2: epochs: is 'yes', must be a whole number"]),
        ("epochs: 10", "epochs: true", ["2: epochs: is true, must be a whole number"]),
        ("epochs: 10", "epochs:", ["2: epochs: is null, must be a whole number"]),
        ("epochs: 10", "epochs: [10]", ["2: epochs: is [10], must be a whole number"]),
        ("epochs: 10", "epochs: {low: 1, high: 5}", [
            '2: epochs: is {"low": 1, "high": 5}; write {distribution: int, low: 1, high: 5}']),
        ("epochs: 10", f"epochs: {'9' * 400}", [f"2: epochs: is '{'9' * 56}..., must be a whole number"]),
        ("epochs: 10", "wandb_project: 3", ["2: wandb_project: is 3, must be text; put it in quotes"]),
        ("epochs: 10", "pretrained: 1", ["2: pretrained: is 1, must be true or false"]),
        ("epochs: 10", "pretrained: true", ["2: pretrained: is true, but resnet20 has no published weights, only vit "
            "and timm/NAME have"]),
        ("epochs: 10", "dataset: cifar-10", ["2: dataset: is 'cifar-10', must be one of cifar10, cifar100, "
            "fashion_mnist, digits, imagefolder, synthetic; did you mean cifar10?"]),
        ("epochs: 10", "use_compile: 2", ["2: use_compile: is 2, must be one of 0, 1, auto"]),
        ("epochs: 10", "epoch: 10", ["2: epoch: unknown key; did you mean epochs?"]),
        ("epochs: 10", "swep: {}", ["2: swep: unknown key; did you mean sweep?"]),
        ("epochs: 10", "1: 2", [f"2: 1: unknown key; allowed: {TOP}"]),
        ("epochs: 10", "'': 2", [f'2: "": unknown key; allowed: {TOP}']),
        ("epochs: 10", '"ep\\nochs": 2', ["2: ep\\nochs: unknown key; did you mean epochs?"]),
        ("epochs: 10", "distribution: int", [f"2: distribution: unknown key; allowed: {TOP}"]),
        ("model: resnet20", "modle: resnet20", ["1: modle: unknown key; did you mean model?"]),
        ("model: resnet20", 'model: "resnet\\n\\x1b20"', ["1: model: is 'resnet\\n\\x1b20', must be one of resnet20, "
            "resnet32, resnet44, resnet56, resnet110, mlp, vit or timm/NAME; did you mean resnet20?"]),
        ("model: resnet20\n", "", ["1: model: is missing"]),
        ("{max_bits: 8}", "{max_bit: 8}", ["5: quantizer.kwargs.max_bit: unknown key; did you mean max_bits?"]),
        ("{max_bits: 8}", "{bitwidth: 8}", ["5: quantizer.kwargs.bitwidth: unknown key; allowed for deadzone: "
            "fixed_bit_val, max_bits, init_deadzone_logit, init_bit_logit, learnable_bit, learnable_deadzone"]),
        ("{max_bits: 8}", "null", ["5: quantizer.kwargs: is null, must be a mapping of keys to values"]),
        ("  name: deadzone\n", "", ["3: quantizer.name: is missing"]),
        ("name: deadzone", "name: 3", ["4: quantizer.name: is 3, must be one of deadzone, uniform"]),
        ("name: deadzone", "name: [x]", ['4: quantizer.name: is ["x"], must be one of deadzone, uniform']),
        ("[bn]", "bn", ["6: quantizer.exclude_layers: is 'bn', must be a list; write [bn]"]),
        ("[bn]", "[bn, 3, '']", ["6: quantizer.exclude_layers.1: is 3, must be text; put it in quotes",
                                 "6: quantizer.exclude_layers.2: is '', must not be empty"]),
        ("type: adamw", "type: rmsprop", ["8: optimizer.type: is 'rmsprop', must be one of adamw, adam, sgd"]),
        ("base:", "bas:", ["10: optimizer.param_groups.bas: unknown key; did you mean base?"]),
        ("base: {lr: 0.001}", "base: {}", ["10: optimizer.param_groups.base.lr: is missing"]),
        ("lr: 0.001}", "lr: '1e-3'}", ["10: optimizer.param_groups.base.lr: is '1e-3', must be a number; write it "
            "without quotes"]),
        ("lr: 0.001}", "lr: .inf}", ["10: optimizer.param_groups.base.lr: is inf, must be a finite number"]),
        ("lr: 0.001}", "lr: 0.001, momentum: 0.9}", ["10: optimizer.param_groups.base.momentum: unknown key; allowed "
            "for adamw: lr, weight_decay, betas, eps, amsgrad"]),
        ("lr: 0.001}", "lr: 0.001, betas: [0.9]}", ["10: optimizer.param_groups.base.betas: is [0.9], must hold 2 or "
            "more entries"]),
        ("name: group_lasso", "name: group_laso", ["13: loss_terms.group_laso.name: is 'group_laso', must be "
            "group_lasso; did you mean group_lasso?"]),
        ("lambda: 1.0", "lamda: 1.0", ["14: loss_terms.group_lasso.lamda: unknown key; did you mean lambda?"]),
        ("lambda: 1.0", "lambda_: 1.0", ["14: loss_terms.group_lasso.lambda_: unknown key; did you mean lambda?"]),
        ("    lambda: 1.0\n", "  - name: group_lasso\n", ["12: loss_terms: holds group_lasso twice; a term is known "
            "by its name"]),
    ],
)  # fmt: skip
def test_a_refused_value_is_told_at_its_line_with_what_to_write(old: str, new: str, lines: list[str]) -> None:
    assert problems(edited((old, new))) == [f"t.yaml:{line}" for line in lines]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (with_quantizer("deadzone"), "3: quantizer: is 'deadzone', must be a mapping of keys to values; write "
                                     "{name: deadzone}"),
        (f"{PLAIN}sweep: 3\n", "15: sweep: is 3, must be a mapping of keys to values"),
        (f"{PLAIN}sweep: []\n", "15: sweep: is [], must be a mapping of keys to values"),
        (f"{PLAIN}sweep: {{search: tpe}}\n", "15: sweep.search: is 'tpe', must be a mapping of keys to values; write "
                                             "{sampler: tpe}"),
        (f"{PLAIN}sweep: {{scheduler: none}}\n", "15: sweep.scheduler: is 'none', must be a mapping of keys to values; "
                                                 "write {name: none}"),
        (f"{PLAIN}sweep: {{search: {{sampler: TPE}}}}\n", "15: sweep.search.sampler: is 'TPE', must be one of tpe, "
         "nsga2, gp, random, grid; did you mean tpe?"),
        (f"{PLAIN}sweep: {{resources: {{gpu: cuda}}}}\n", "15: sweep.resources.gpu: is 'cuda', must be a number or "
         "auto"),
        (f"{PLAIN}sweep: {{resources: {{gpu: -1}}}}\n", "15: sweep.resources.gpu: is -1, must be greater than or equal "
         "to 0 or auto"),
        (f"{PLAIN}sweep: {{objectives: {{}}}}\n", "15: sweep.objectives: is {}, must hold 1 or more entries"),
        (f"{PLAIN}sweep: {{objectives: {{val_ac: max}}}}\n", "15: sweep.objectives.val_ac: is not reported, must be "
         "one of loss, train_acc, val_acc, sparsity, structured_sparsity, rel_bops, structured_bops, mean_bits, lr, "
         "epoch_s, images_per_s; did you mean val_acc?"),
        (f"{PLAIN}sweep: {{constraints: {{val_acc: 90}}}}\n", '15: sweep.constraints.val_acc: is 90, must be ">= '
         'NUMBER" or "<= NUMBER", in quotes'),
        (f"{PLAIN}sweep:\n  constraints:\n    val_acc: '>= 50'\n    sparsity: '>= 95'\n", "18: sweep.constraints: "
         "sparsity >= 95 cannot be met: sparsity is never above 1"),
        (f"{PLAIN}sweep: {{constraints: {{lr: '<= -1'}}}}\n", "15: sweep.constraints: lr <= -1 cannot be met: "
         "lr is never below 0"),
        (f"{PLAIN}sweep: {{name: ../x}}\n", "15: sweep.name: is '../x', must be at most 64 letters, digits, '.', '_' "
         "and '-', the first a letter or digit"),
        (f"{PLAIN}sweep: {{time_budget: 90}}\n", "15: sweep.time_budget: is 90, must be a number with s, m, h or d, "
         "such as 90s or 2h"),
    ],
)  # fmt: skip
def test_a_refused_section_is_told_with_what_to_write(text: str, line: str) -> None:
    assert problems(text) == [f"t.yaml:{line}"]


def test_a_block_that_is_to_blame_for_one_key_is_told_at_that_key() -> None:
    group = "\n      lr: 1\n      momentum: 0.0\n      nesterov: true"
    text = edited(("type: adamw", "type: sgd"), ("base: {lr: 0.001}", f"base:{group}"))
    assert problems(text) == [
        "t.yaml:13: optimizer.param_groups.base: nesterov is true, which needs momentum above 0 and dampening 0"
    ]


def test_a_misspelt_kind_hides_nothing_below_it() -> None:
    text = edited(("name: deadzone", "name: deadzon"), ("max_bits: 8", "max_bit: 8"), ("type: adamw", "type: adamW"),
                  ("lr: 0.001}", "lr: -1}"))  # fmt: skip
    assert problems(text) == [
        "t.yaml:4: quantizer.name: is 'deadzon', must be one of deadzone, uniform; did you mean deadzone?",
        "t.yaml:5: quantizer.kwargs.max_bit: unknown key; did you mean max_bits?",
        "t.yaml:8: optimizer.type: is 'adamW', must be one of adamw, adam, sgd; did you mean adamw?",
        "t.yaml:10: optimizer.param_groups.base.lr: is -1, must be greater than or equal to 0",
    ]


def test_every_problem_of_a_file_is_told_once_at_its_line() -> None:
    text = edited(
        ("resnet20", "resnet-20"), ("epochs: 10", "epochs: 0\nepochs: 5"), ("max_bits: 8", "max_bits: 99"),
        ("[bn]", "[bn, 3]"), ("type: adamw", "type: adamw\n  lr: 3"), ("0.001}", "-0.001}"),
        ("weight_decay: 2.5", "weight_decay: {distribution: loguniform, low: 50, high: 0.1}"),
        ("lambda: 1.0", "lambda: {same_as: nothing}"),
    )  # fmt: skip
    assert [line.split(": ")[:2] for line in problems(f"{text}sweep:\n  name: a/b\n  trial: 3\n")] == [
        ["t.yaml:1", "model"],
        ["t.yaml:2", "epochs"],
        ["t.yaml:3", "epochs"],
        ["t.yaml:6", "quantizer.kwargs.max_bits"],
        ["t.yaml:7", "quantizer.exclude_layers.1"],
        ["t.yaml:10", "optimizer.lr"],
        ["t.yaml:12", "optimizer.param_groups.base.lr"],
        ["t.yaml:13", "optimizer.param_groups.dz.weight_decay"],
        ["t.yaml:16", "loss_terms.group_lasso.lambda"],
        ["t.yaml:18", "sweep.name"],
        ["t.yaml:19", "sweep.trial"],
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "null\n", "{}\n", "---\n"])
def test_an_empty_file_lacks_model_and_optimizer(text: str) -> None:
    lines = [line.partition(": ")[2] for line in problems(text)]
    assert lines == ["model: is missing", "optimizer: is missing"]


@pytest.mark.parametrize("text", ["[]\n", "- a\n- b\n", "hello\n", "3\n"])
def test_a_file_that_is_no_mapping_is_told(text: str) -> None:
    assert problems(text) == ["t.yaml:1: must be a mapping of keys to values"]


def test_a_section_named_like_one_of_its_kinds_confuses_nothing() -> None:
    text = edited((QUANTIZER, "quantizer: {name: deadzon, deadzone: {name: x}, kwargs: {uniform: 3}}\n"))
    assert [line.split(": ")[1] for line in problems(text)] == [
        "quantizer.deadzone", "quantizer.kwargs.uniform", "quantizer.name"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ("{objectives: val_acc}", "objectives: is 'val_acc', must be a mapping of metrics to max or min; write "
         "{val_acc: max}"),
        ("{objectives: [val_acc, rel_bops]}", 'objectives: is ["val_acc", "rel_bops"], must be a mapping of metrics to '
         "max or min; write {val_acc: max, rel_bops: min}"),
        ("{objectives: {name: val_acc, goal: maximize}}", 'objectives: is {"name": "val_acc", "goal": "maximize"}, '
         "must be a mapping of metrics to max or min; write {val_acc: max}"),
        ("{objectives: {val_acc: maximize}}", "objectives.val_acc: is 'maximize', must be one of max, min; did you "
         "mean max?"),
        ("{objectives: {accuracy: maximize}}", "objectives.accuracy: is not reported, must be one of loss, train_acc, "
         "val_acc, sparsity, structured_sparsity, rel_bops, structured_bops, mean_bits, lr, epoch_s, images_per_s; "
         "did you mean val_acc?"),
        ("{constraints: {val_acc: '>= 0.9'}}", "constraints: val_acc >= 0.9 is a share, but val_acc is in percent; "
         "write >= 90"),
        ("{search: bayes}", "search: is 'bayes', must be a mapping of keys to values; write {sampler: ...} with one of "
         "tpe, nsga2, gp, random, grid"),
        ("{search: {sampler: TPESampler}}", "search.sampler: is 'TPESampler', must be one of tpe, nsga2, gp, random, "
         "grid; did you mean tpe?"),
        ("{scheduler: median}", "scheduler: is 'median', must be a mapping of keys to values; write {name: median}"),
        ("{confirm: true}", "confirm: is true, must be a mapping of keys to values; write {} for its defaults"),
        ("{enqueue: {epochs: 10}}", "enqueue: is {\"epochs\": 10}, must be a list; begin each entry with '- '"),
    ],
)  # fmt: skip
def test_a_section_of_the_sweep_in_another_form_is_told_in_ours(sweep: str, line: str) -> None:
    assert problems(f"{PLAIN}sweep: {sweep}\n") == [f"t.yaml:15: sweep.{line}"]


def test_only_a_number_in_quotes_is_to_be_written_without_them() -> None:
    assert problems(edited(("epochs: 10", "epochs: '10'"))) == [
        "t.yaml:2: epochs: is '10', must be a whole number; write it without quotes"
    ]
    assert problems(edited(("epochs: 10", "epochs: 1-5"))) == ["t.yaml:2: epochs: is '1-5', must be a whole number"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (with_quantizer("{type: deadzone}"), "3: quantizer.type: unknown key; did you mean name?"),
        (with_quantizer("{name: DeadZoneLDZCompander}"), "3: quantizer.name: is 'DeadZoneLDZCompander', must be one of "
         "deadzone, uniform; did you mean deadzone?"),
        (with_quantizer("{name: deadzone, max_bits: 4}"), "3: quantizer.max_bits: unknown key; write kwargs: "
         "{max_bits: ...}"),
        (with_quantizer("{name: deadzone, exclude_layers: bn}"), "3: quantizer.exclude_layers: is 'bn', must be a "
         "list; write [bn]"),
        (with_quantizer("false"), "3: quantizer: is false, must be a mapping of keys to values; write null for none"),
        (with_quantizer("none"), "3: quantizer: is 'none', must be a mapping of keys to values; write null for none"),
        (edited(("type: adamw", "type: torch.optim.AdamW")), "8: optimizer.type: is 'torch.optim.AdamW', must be one "
         "of adamw, adam, sgd; did you mean adamw?"),
        (edited(("base: {lr: 0.001}", "base: 0.001")), "10: optimizer.param_groups.base: is 0.001, must be a mapping "
         "of keys to values; write {lr: 0.001}"),
        (edited(("base: {lr: 0.001}", "base: {learning_rate: 0.001}")), "10: optimizer.param_groups.base.learning_rate:"
         " unknown key; did you mean lr?"),
        (edited(("0.001}", "0.001, betas: (0.9, 0.99)}")), "10: optimizer.param_groups.base.betas: is '(0.9, 0.99)', "
         "must be a list; write [0.9, 0.99]"),
        (edited(("loss_terms:\n  - name: group_lasso\n    lambda: 1.0", "loss_terms: group_lasso")), "12: loss_terms: "
         "is 'group_lasso', must be a list; write [{name: group_lasso}]"),
        (edited(("name: group_lasso\n    lambda: 1.0", "group_lasso: 1.0")), "13: loss_terms.0.group_lasso: unknown "
         "key; did you mean name: group_lasso?"),
        (edited(("lambda: 1.0", "weight: 1.0")), "14: loss_terms.group_lasso.weight: unknown key; did you mean "
         "lambda?"),
        (f"{PLAIN}dataset: {{name: imagefolder, data_dir: x}}\n", "15: dataset.data_dir: unknown key; data_dir stands "
         "at the top level of the file"),
        (f"{PLAIN}img_size: [32, 32]\n", "15: img_size: is [32, 32]; write 32"),
        (f"{PLAIN}val_fraction: 10%\n", "15: val_fraction: is '10%', must be a number; write 0.1"),
        (f"{PLAIN}device: 0\n", "15: device: is 0, must be auto, cpu, cuda, cuda:N or mps"),
        (f"{PLAIN}device: gpu\n", "15: device: is 'gpu', must be auto, cpu, cuda, cuda:N or mps; did you mean cuda?"),
        (f"{PLAIN}device: CPU\n", "15: device: is 'CPU', must be auto, cpu, cuda, cuda:N or mps; did you mean cpu?"),
    ],
)  # fmt: skip
def test_what_other_programs_write_is_one_line_with_our_form(text: str, line: str) -> None:
    assert problems(text) == [f"t.yaml:{line}"]
