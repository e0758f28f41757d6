"""Searched values that no training reads are refused at their line, and all others are not."""

from __future__ import annotations

import pytest

from tests.config.texts import PLAIN, WEIGHT_DECAY, edited, problems, with_quantizer

RANGE = "{distribution: uniform, low: 1, high: 2}"
BITS = "{distribution: int, low: 2, high: 8}"
SEARCHED = ("weight_decay: 2.5", f"weight_decay: {RANGE}")
BIT_GROUP = ("    dz: {", f"    bit: {{lr: {RANGE}}}\n    dz: {{")


def with_kwargs(kwargs: str, *changes: tuple[str, str]) -> str:
    return edited(("{max_bits: 8}", f"{{{kwargs}}}"), *changes)


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (edited(SEARCHED, text=with_quantizer("null")), WEIGHT_DECAY, "quantizer is null"),
        (edited(SEARCHED, text=with_quantizer("{name: uniform}")), WEIGHT_DECAY, "the quantizer uniform has no logits"),
        (edited(SEARCHED, text=with_quantizer("{distribution: choice, choices: [null, {name: uniform}]}")),
         WEIGHT_DECAY, "quantizer is null"),
        (with_kwargs("learnable_deadzone: false", SEARCHED), WEIGHT_DECAY,
         "quantizer.kwargs.learnable_deadzone is false"),
        (with_kwargs("learnable_bit: false", BIT_GROUP), "optimizer.param_groups.bit.lr",
         "quantizer.kwargs.learnable_bit is false"),
        (with_kwargs(f"learnable_bit: false, max_bits: {BITS}"), "quantizer.kwargs.max_bits",
         "quantizer.kwargs.learnable_bit is false"),
        (with_kwargs(f"fixed_bit_val: {BITS}"), "quantizer.kwargs.fixed_bit_val",
         "quantizer.kwargs.learnable_bit is true"),
        (edited(("lambda: 1.0", f"lambda: 0.0\n    kwargs: {{lambda_conv: {RANGE}}}")),
         "loss_terms.group_lasso.kwargs.lambda_conv", "loss_terms.group_lasso.lambda is 0"),
        (f"{PLAIN}warmup_epochs: {BITS}\n", "warmup_epochs", "lr_scheduler is cosine"),
        (edited(("type: adamw", "type: sgd"),
                ("lr: 0.001}", "lr: 0.1, dampening: {distribution: choice, choices: [0.1, 0.2]}}")),
         "optimizer.param_groups.base.dampening", "its momentum is 0"),
        (edited(("{lr: 0.001, weight_decay: 2.5}", "{distribution: choice, choices: [{lr: 0.1}, {lr: 0.2}]}"),
                text=with_quantizer("null")), "optimizer.param_groups.dz", "quantizer is null"),
        (edited(("dz: {lr: 0.001,", "dz: {lr: 0.0,"), SEARCHED), WEIGHT_DECAY, "its lr is 0"),
        (edited(("lambda: 1.0", f"lambda: {RANGE}\n    kwargs: {{lambda_conv: 0.0, lambda_linear: 0.0}}")),
         "loss_terms.group_lasso.lambda", "lambda_linear and lambda_conv are 0"),
    ],
)  # fmt: skip
def test_a_searched_value_that_nothing_reads_is_refused(text: str, key: str, reason: str) -> None:
    (line,) = problems(text)
    number, _, said = line.removeprefix("t.yaml:").partition(": ")
    assert said == f"{key}: is searched, but nothing reads it: {reason}; write one value"
    assert "distribution" in text.splitlines()[int(number) - 1]


@pytest.mark.parametrize(
    "text",
    [
        edited(SEARCHED),
        edited(SEARCHED, text=with_quantizer("{distribution: choice, choices: [null, {name: deadzone}]}")),
        with_kwargs("learnable_bit: {distribution: choice, choices: [true, false]}, "
                    f"fixed_bit_val: {BITS}, max_bits: {BITS}", BIT_GROUP),
        edited(("lambda: 1.0", "lambda: {distribution: choice, choices: [0.0, 1.0]}\n"
                               f"    kwargs: {{lambda_conv: {RANGE}}}")),
        f"{PLAIN}lr_scheduler: {{distribution: choice, choices: [cosine, warmup_cosine]}}\nwarmup_epochs: {BITS}\n",
        edited(("dz: {lr: 0.001,", "dz: {lr: {distribution: choice, choices: [0.0, 0.1]},"), SEARCHED),
        edited(("lambda: 1.0", f"lambda: {RANGE}\n    kwargs: {{lambda_conv: 0.0}}")),
        with_kwargs("init_deadzone_logit: {distribution: choice, choices: [1.0, 3.0]}, learnable_deadzone: false"),
    ],
)  # fmt: skip
def test_what_some_config_reads_may_be_searched(text: str) -> None:
    assert problems(text) == []


def test_a_value_that_another_one_refers_to_is_read() -> None:
    tied = ("base: {lr: 0.001}", "base: {lr: {same_as: optimizer.param_groups.bit.lr}}")
    bit = ("    dz: {", "    bit: {lr: {same_as: optimizer.param_groups.dz.lr}}\n    dz: {")
    text = edited(tied, bit, ("dz: {lr: 0.001,", f"dz: {{lr: {RANGE},"), text=with_quantizer("null"))
    assert problems(text) == []
    (line,) = problems(edited(("{same_as: optimizer.param_groups.bit.lr}", "0.1"), text=text))
    assert "optimizer.param_groups.dz.lr: is searched, but nothing reads it" in line
