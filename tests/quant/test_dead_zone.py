import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.reference.dead_zone import literal_bits, literal_dead_zone, literal_quantize
from codeq.quant.dead_zone import (
    DeadZoneLDZCompander,
    dead_zone_quantize,
    dead_zone_width,
    largest_level,
    quantize_layers,
    step_size,
    weight_range,
)
from codeq.quant.uniform import uniform_quantize

SHAPES = {
    "linear": (24, 17),
    "convolution": (8, 4, 3, 3),
    "norm": (64,),
    "one weight": (1,),
    "large": (190, 180),
}
LOGITS = [(3.0, 3.0), (0.8, 0.5), (-0.4, -1.1), (0.05, 0.2), (20.0, 20.0)]

every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def weights(shape, dtype=torch.float32):
    """Normal weights with some exact zeros among them."""
    w = 0.1 * torch.randn(shape, dtype=dtype)
    return torch.where(torch.rand(shape) < 0.05, torch.zeros_like(w), w) if w.numel() > 1 else w


def compander(logit_dz=0.8, logit_bit=0.5, dtype=torch.float32, **kwargs):
    return DeadZoneLDZCompander(init_deadzone_logit=logit_dz, init_bit_logit=logit_bit, **kwargs).to(dtype)


def grid(w, logit_dz, bits):
    """Dead zone, step and largest level of `w` on `bits` bits, as keyword arguments."""
    range_ = weight_range(w)
    dead_zone = dead_zone_width(torch.tensor(logit_dz, dtype=w.dtype), range_)
    q_max = largest_level(torch.tensor(float(bits), dtype=w.dtype))
    return {"dead_zone": dead_zone, "step": step_size(range_, dead_zone, q_max), "q_max": q_max}


def but_at_zero(gradient, w):
    """The literal gradient of a weight with our deviation: at w = 0 it is the incoming one, which tests leave out."""
    return torch.where(w == 0, torch.zeros_like(w), gradient)


def literal_on_our_range(w, *logits, **kwargs):
    """The literal equations with the range as we compute it, for float32 weights.

    Some releases of PyTorch round the rank of `torch.quantile` to float32. A weight next to the middle between two
    levels then lands on the other one. The range has a test of its own.
    """
    return literal_dead_zone(w, *logits, quantile=weight_range, **kwargs)


def gradients(output, incoming, *tensors):
    return torch.autograd.grad(output, tensors, incoming, allow_unused=True)


# Equality with the transcription


@every_shape
@pytest.mark.parametrize(("logit_dz", "logit_bit"), LOGITS)
@pytest.mark.parametrize("learnable_bit", [True, False])
def test_outputs_and_gradients_equal_the_literal_equations(shape, logit_dz, logit_bit, learnable_bit):
    quantizer = compander(logit_dz, logit_bit, torch.float64, fixed_bit_val=3, learnable_bit=learnable_bit)
    w, incoming = weights(shape, torch.float64).requires_grad_(), torch.randn(shape, dtype=torch.float64)
    logits = [quantizer.logit_dz, *([quantizer.logit_bit] if learnable_bit else [])]

    mine, literal = quantizer(w), literal_dead_zone(w, *logits, fixed_bit_val=3)

    torch.testing.assert_close(mine, literal, rtol=1e-12, atol=0)
    (of_w, *ours), (of_literal_w, *theirs) = (gradients(x, incoming, w, *logits) for x in (mine, literal))
    torch.testing.assert_close(but_at_zero(of_w, w), of_literal_w, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@every_shape
@pytest.mark.parametrize(("logit_dz", "logit_bit"), LOGITS)
@pytest.mark.parametrize("learnable_bit", [True, False])
def test_float32_outputs_equal_the_literal_equations_to_1e_6(shape, logit_dz, logit_bit, learnable_bit):
    quantizer, w = (
        compander(logit_dz, logit_bit, fixed_bit_val=3, learnable_bit=learnable_bit),
        weights(shape),
    )
    logits = [quantizer.logit_dz, *([quantizer.logit_bit] if learnable_bit else [])]
    torch.testing.assert_close(quantizer(w), literal_on_our_range(w, *logits, fixed_bit_val=3), rtol=1e-6, atol=0)


@every_shape
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_range_is_the_quantile_of_the_magnitudes(shape, dtype):
    w = weights(shape, dtype)
    expected = torch.quantile(w.double().abs().flatten(), 0.99)
    torch.testing.assert_close(weight_range(w).double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(24, 17), (8, 4, 3, 3), (64,), (190, 180)], ids=str)
@pytest.mark.parametrize(("logit_dz", "logit_bit"), [(3.0, 3.0), (0.8, 0.5), (-0.4, -1.1)])
def test_float32_gradients_agree_with_the_literal_equations_to_1e_5(shape, logit_dz, logit_bit):
    """At 4 bits, for the gradient of the quantization error: other literal sums are mostly rounding."""
    quantizer, w = compander(logit_dz, logit_bit, max_bits=4), weights(shape).requires_grad_()
    at = (w, quantizer.logit_dz, quantizer.logit_bit)
    mine, literal = quantizer(w), literal_on_our_range(*at, max_bits=4)
    error = (mine - w).detach()  # 0 where w is 0, so that our deviation there does not show
    for ours, theirs in zip(gradients(mine, error, *at), gradients(literal, error, *at), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("width", [0.0, 0.01, 0.1, 0.4])
def test_the_closed_form_gradients_are_those_of_any_grid(bits, width):
    """Also where the dead zone is narrower than a step, i.e. where the shift is negative."""
    w = weights((40, 30), torch.float64).requires_grad_()
    dead_zone, step = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (width, 0.3 / 2**bits))
    q_max = torch.tensor(2.0 ** (bits - 1) - 1, dtype=torch.float64)
    incoming = torch.randn_like(w)

    mine = gradients(dead_zone_quantize(w, dead_zone=dead_zone, step=step, q_max=q_max), incoming, w, dead_zone, step)
    theirs = gradients(literal_quantize(w, dead_zone, step, q_max), incoming, w, dead_zone, step)

    torch.testing.assert_close(but_at_zero(mine[0], w), theirs[0])
    torch.testing.assert_close(mine[1:], theirs[1:], rtol=1e-10, atol=1e-10)


def test_the_gradients_are_the_slopes_of_the_linearized_quantizer():
    """Finite differences of the quantizer with its straight-through operators replaced by their tangents."""
    w = weights((12, 10), torch.float64)
    scales = {name: x for name, x in grid(w, 0.6, 4).items() if name != "q_max"}
    q_max = torch.tensor(7.0, dtype=torch.float64)
    sign = w.sign()

    def affine(dead_zone, step):
        return (w.abs() - (dead_zone - step) / 2).double()

    positive = affine(**scales).relu()
    level = (positive / scales["step"]).round().clip(max=q_max)
    frozen = level - positive / scales["step"]

    def tangent(dead_zone, step):
        ratio = (positive + affine(dead_zone, step) - affine(**scales)) / step
        return step * sign * (ratio + frozen) + (dead_zone - step) / 2 * sign * (level > 0)

    inputs = {name: x.clone().requires_grad_() for name, x in scales.items()}
    loss = torch.randn_like(w)
    mine = gradients(dead_zone_quantize(w, q_max=q_max, **inputs), loss, *inputs.values())
    for name, ours in zip(inputs, mine, strict=True):
        up, down = ({**scales, name: scales[name] + h} for h in (1e-6, -1e-6))
        slope = (loss * (tangent(**up) - tangent(**down))).sum() / 2e-6
        torch.testing.assert_close(ours, slope, rtol=1e-6, atol=1e-6)


# Properties the method states


LAYERS = {
    "w": st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50).map(lambda x: torch.tensor(x).double()),
    "logit_dz": st.floats(-4, 4),
    "bits": st.integers(2, 8),
}


@given(**LAYERS)
@settings(deadline=None)
def test_a_weight_is_zero_exactly_where_it_lies_in_the_dead_zone(w, logit_dz, bits):
    scales = grid(w, logit_dz, bits)
    pruned = dead_zone_quantize(w, **scales) == 0
    distance = w.abs() - scales["dead_zone"] / 2
    clear = distance.abs() > 1e-12  # on the edge itself, rounding decides
    assert torch.equal(pruned[clear], (distance <= 0)[clear])


def test_a_weight_on_the_edge_of_the_dead_zone_is_zero():
    scales = {"dead_zone": torch.tensor(0.5), "step": torch.tensor(0.125), "q_max": torch.tensor(7.0)}
    w = torch.tensor([0.25, -0.25, torch.tensor(0.25).nextafter(torch.tensor(1.0)).item()])
    assert (dead_zone_quantize(w, **scales) == 0).tolist() == [True, True, False]


@given(**LAYERS)
@settings(deadline=None)
def test_there_are_at_most_two_to_the_bits_minus_one_values(w, logit_dz, bits):
    assert dead_zone_quantize(w, **grid(w, logit_dz, bits)).unique().numel() <= 2**bits - 1


def test_a_fine_layer_uses_every_level():
    w = torch.linspace(-1, 1, 10_001)
    assert dead_zone_quantize(w, **grid(w, 0.5, 4)).unique().numel() == 15


@given(**LAYERS)
@settings(deadline=None)
def test_the_quantizer_is_odd(w, logit_dz, bits):
    scales = grid(w, logit_dz, bits)
    assert torch.equal(dead_zone_quantize(-w, **scales), -dead_zone_quantize(w, **scales))


@given(w=LAYERS["w"].filter(lambda w: w.abs().max() > 1e-3), bits=LAYERS["bits"])
@settings(deadline=None)
def test_a_dead_zone_of_one_step_is_the_plain_uniform_quantizer(w, bits):
    q_max = 2.0 ** (bits - 1) - 1
    width = w.abs().max() / q_max
    mine = dead_zone_quantize(w, dead_zone=width, step=width, q_max=torch.tensor(q_max).double())
    torch.testing.assert_close(mine, uniform_quantize(w, q_max), rtol=1e-12, atol=0)


def test_a_fully_pruned_layer_stays_finite():
    quantizer, w = compander(logit_dz=0.0), weights((30, 20)).requires_grad_()
    out = quantizer(w)
    out.pow(2).sum().backward()
    assert torch.equal(out == 0, w.abs() <= weight_range(w))
    for tensor in (out, w.grad, quantizer.logit_dz.grad, quantizer.logit_bit.grad):
        assert tensor.isfinite().all()


def test_an_all_zero_layer_stays_zero_and_finite():
    quantizer, w = compander(), torch.zeros(6, 5, requires_grad=True)
    out = quantizer(w)
    out.sum().backward()
    assert not out.any()
    assert torch.equal(w.grad, torch.ones_like(w))
    for logit in (quantizer.logit_dz, quantizer.logit_bit):
        assert logit.grad.item() == 0


def test_a_nan_weight_is_not_hidden_as_a_zero():
    w = weights((10, 10))
    w[3, 4] = torch.nan
    assert compander()(w).isnan().all()
    assert dead_zone_quantize(w, **grid(weights((10, 10)), 0.8, 4))[3, 4].isnan()


def test_a_weight_gets_the_incoming_gradient_also_where_it_is_exactly_zero():
    w = weights((20, 20)).requires_grad_()
    incoming = torch.randn(20, 20)
    (mine,) = gradients(compander()(w), incoming, w)
    assert (w == 0).any()
    assert torch.equal(mine, incoming)


@pytest.mark.parametrize("way", ["eager", "many layers", "vmap", "compiled"])
def test_a_layer_that_starts_at_zero_leaves_it_with_the_first_step(way):
    """Eager, with other layers, under vmap and compiled: the gradient of a zero weight is the incoming one."""
    quantizer, incoming = compander(3.0, 3.0), torch.randn(5, 4)
    w = torch.zeros(5, 4, requires_grad=True)

    def under_vmap(w):
        return vmap(lambda w: functional_call(quantizer, dict(quantizer.named_parameters()), (w,)))(w[None])[0]

    ways = {
        "eager": quantizer,
        "many layers": lambda w: quantize_layers([quantizer, compander()], [w, weights((5, 4))])[0],
        "vmap": under_vmap,
        "compiled": torch.compile(quantizer, backend="aot_eager", fullgraph=True),
    }
    (slope,) = gradients(ways[way](w), incoming, w)
    assert torch.equal(slope, incoming)
    moved = (w - 0.01 * slope).detach()
    assert (quantizer(moved) != 0).any()


def test_the_gradient_is_not_differentiated_again():
    w = weights((5, 5)).requires_grad_()
    (first,) = torch.autograd.grad(compander()(w).pow(3).sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# The module


def test_the_bit_logit_spans_two_to_the_most_bits():
    logits = [0.0, 0.3, -0.3, 1.0, 3.0, 30.0]
    bits = [compander(logit_bit=x, max_bits=6).get_bitwidth().item() for x in logits]
    assert bits == [literal_bits(torch.tensor(x), 6).item() for x in logits] == [2, 3, 3, 5, 6, 6]


def test_the_bit_width_passes_its_gradient_to_its_logit():
    quantizer = compander(logit_bit=0.5, max_bits=8)
    quantizer.get_bitwidth().backward()
    assert quantizer.logit_bit.grad.item() == pytest.approx(6 * (1 - torch.tensor(0.5).tanh().item() ** 2))


@pytest.mark.parametrize("bits", range(2, 25))
def test_the_largest_level_is_an_exact_integer(bits):
    assert largest_level(torch.tensor(float(bits))).item() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("learnable_bit", [True, False])
@pytest.mark.parametrize("learnable_deadzone", [True, False])
def test_a_frozen_logit_gets_no_gradient_but_keeps_its_value_and_its_key(learnable_bit, learnable_deadzone):
    quantizer = compander(0.7, 0.4, learnable_bit=learnable_bit, learnable_deadzone=learnable_deadzone)
    w = weights((10, 10)).requires_grad_()
    quantizer(w).pow(2).sum().backward()
    assert w.grad is not None
    assert (quantizer.logit_bit.grad is not None) == learnable_bit
    assert (quantizer.logit_dz.grad is not None) == learnable_deadzone
    assert {"logit_dz", "logit_bit"} <= quantizer.state_dict().keys()


def test_a_frozen_bit_width_is_the_fixed_one_and_a_frozen_dead_zone_still_prunes():
    frozen = compander(0.3, 3.0, fixed_bit_val=3, learnable_bit=False, learnable_deadzone=False)
    w = weights((40, 40))
    assert frozen.get_bitwidth().item() == 3
    literal = literal_on_our_range(w, torch.tensor(0.3), fixed_bit_val=3)
    torch.testing.assert_close(frozen(w), literal, rtol=1e-6, atol=0)
    assert (frozen(w) == 0).float().mean() > 0.5


@pytest.mark.parametrize("name", ["fixed_bit_val", "max_bits"])
def test_fewer_than_two_bits_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 1, must be at least 2"):
        DeadZoneLDZCompander(**{name: 1})


def test_the_state_dict_holds_the_logits_and_the_five_scalar_buffers():
    state = DeadZoneLDZCompander(fixed_bit_val=5, max_bits=7).state_dict()
    assert {name: value.item() for name, value in state.items()} == {
        "logit_dz": 3.0,
        "logit_bit": 3.0,
        "fixed_bit": 5.0,
        "max_bits": 7.0,
        "min_bits": 2.0,
        "learnable_bit": True,
        "learnable_deadzone": True,
    }


@pytest.mark.parametrize("as_stored", [torch.tensor, lambda x: torch.tensor([float(x)])], ids=["scalar", "vector"])
def test_an_older_state_dict_loads_and_decides(as_stored):
    values = {"logit_dz": 0.4, "logit_bit": 0.6, "fixed_bit": 3, "max_bits": 6, "min_bits": 2}
    older = {name: as_stored(x) for name, x in {**values, "learnable_bit": False, "learnable_deadzone": False}.items()}
    quantizer = DeadZoneLDZCompander()
    quantizer.load_state_dict(older)
    w = weights((20, 20))
    literal = literal_on_our_range(w, torch.tensor(0.4), fixed_bit_val=3)
    torch.testing.assert_close(quantizer(w), literal, rtol=1e-6, atol=0)
    assert not quantizer.logit_bit.requires_grad and not quantizer.logit_dz.requires_grad


# How it may be run


def stacked(companders):
    """Parameters and buffers of several quantizers, as one stack of each."""
    parameters, buffers = stack_module_state(companders)
    return {**parameters, **buffers}


@pytest.mark.parametrize("learnable_bit", [True, False])
def test_vmap_over_stacked_quantizers_and_weights_equals_the_loop(learnable_bit):
    bits = [2, 3, 5]
    several = [compander(0.3 + 0.3 * b, 0.2 * b, fixed_bit_val=b, learnable_bit=learnable_bit) for b in bits]
    state = stacked(several)
    learned = {"logit_dz", "logit_bit"} if learnable_bit else {"logit_dz"}
    w, target = weights((3, 95, 96)), torch.randn(3, 95, 96)

    def loss(w, logits, rest, target):
        return (functional_call(several[0], {**logits, **rest}, (w,)) - target).pow(2).mean()

    logits = {name: x for name, x in state.items() if name in learned}
    rest = {name: x for name, x in state.items() if name not in learned}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an operator that vmap has to loop over warns
        fused = vmap(grad(loss, argnums=(0, 1)))(w, logits, rest, target)
    for i, quantizer in enumerate(several):
        own = w[i].clone().requires_grad_()
        (quantizer(own) - target[i]).pow(2).mean().backward()
        torch.testing.assert_close(fused[0][i], own.grad, rtol=1e-6, atol=0)
        for name in learned:
            torch.testing.assert_close(fused[1][name][i], getattr(quantizer, name).grad, rtol=1e-4, atol=1e-9)


def differentiated(companders, weights, incoming):
    """What a loop over the quantizers gives: outputs, and the gradients of weights and logits by name, stacked."""
    leaves = [w.detach().clone().requires_grad_() for w in weights]
    outputs = [quantizer(w) for quantizer, w in zip(companders, leaves, strict=True)]
    torch.autograd.backward(outputs, list(incoming))
    slopes = {"w": [w.grad for w in leaves]}
    for name in ("logit_dz", "logit_bit"):
        slopes[name] = [getattr(q, name).grad for q in companders]
    known = {name: torch.stack(each) for name, each in slopes.items() if each[0] is not None}
    return torch.stack(outputs).detach(), known


def under_vmap(quantizer, w, state):
    return vmap(lambda state, w: functional_call(quantizer, state, (w,)))(state, w)


@pytest.mark.parametrize("learnable_bit", [True, False])
@pytest.mark.parametrize("shape", [(16, 10), (8, 4, 3, 3), (190, 180), (1,), ()], ids=str)
def test_a_stack_differentiated_outside_vmap_equals_the_loop(learnable_bit, shape):
    """As many trials train together. Wide and narrow dead zones, i.e. both signs of the shift, in one stack."""
    bits = [2, 3, 5]
    several = [compander(0.3 + 0.5 * b, 0.2 * b, fixed_bit_val=b, learnable_bit=learnable_bit) for b in bits]
    several[0].logit_dz.data.fill_(0.1)
    state = {name: x.detach().requires_grad_(name.startswith("logit")) for name, x in stacked(several).items()}
    w, incoming = weights((3, *shape)).requires_grad_(), torch.randn(3, *shape)

    out = under_vmap(several[0], w, state)
    out.backward(incoming)

    outputs, slopes = differentiated(several, w, incoming)
    torch.testing.assert_close(out, outputs, rtol=1e-6, atol=0)
    torch.testing.assert_close(w.grad, slopes.pop("w"), rtol=1e-6, atol=0)
    assert len(slopes) == 1 + learnable_bit
    for name, slope in slopes.items():
        torch.testing.assert_close(state[name].grad, slope, rtol=1e-4, atol=1e-5)


def test_nested_vmap_equals_the_loop():
    several = [compander(0.2 * i, 0.3) for i in range(6)]
    state = {name: x.detach().view(2, 3) for name, x in stacked(several).items()}
    w = weights((2, 3, 7, 5))
    twice = vmap(lambda state, w: under_vmap(several[0], w, state))(state, w)
    assert torch.equal(twice.flatten(0, 1), differentiated(several, w.flatten(0, 1), w.flatten(0, 1))[0])


@pytest.mark.parametrize("learnable_bit", [True, False])
def test_a_channels_last_weight_is_quantized_the_same_and_stays_channels_last(learnable_bit):
    quantizer, other = (compander(learnable_bit=learnable_bit) for _ in range(2))
    w, incoming = weights((16, 8, 3, 3)), torch.randn(16, 8, 3, 3)
    last = w.to(memory_format=torch.channels_last)
    (out, slopes), (expected, plain) = (
        differentiated([q], [x], [incoming]) for q, x in ((quantizer, last), (other, w))
    )
    assert torch.equal(out, expected)
    for name in plain:
        torch.testing.assert_close(slopes[name], plain[name], rtol=1e-5, atol=1e-5)
    assert quantizer(last).is_contiguous(memory_format=torch.channels_last)


def test_an_infinite_weight_or_gradient_is_no_occasion_for_a_warning():
    quantizer, w = compander(), weights((4, 5))
    w[:] = torch.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        differentiated([quantizer], [w], [torch.full((4, 5), torch.inf)])


def test_a_logit_of_another_precision_gets_a_gradient_of_its_own():
    quantizer, w = compander(), weights((9, 9), torch.float64).requires_grad_()
    quantizer(w).pow(2).sum().backward()
    assert w.grad.dtype == torch.float64 and quantizer.logit_dz.grad.dtype == torch.float32


def test_vmap_over_logits_or_incoming_gradients_alone_works_on_one_shared_weight():
    quantizer, w = compander(), weights((12, 9))
    logits = torch.tensor([0.2, 0.6, 1.2])
    incoming = torch.randn(3, 12, 9)

    def out(logit, w):
        return functional_call(quantizer, {"logit_dz": logit}, (w,))

    def slopes(logit, incoming):
        return grad(lambda *at: (out(*at) * incoming).sum(), argnums=(0, 1))(logit, w)

    assert torch.equal(vmap(out, (0, None))(logits, w), torch.stack([out(x, w) for x in logits]))
    for in_dims, at in {(0, 0): (logits, incoming), (None, 0): (logits[1], incoming)}.items():
        fused = vmap(slopes, in_dims)(*at)
        for i in range(3):
            alone = slopes(logits[i] if in_dims[0] == 0 else logits[1], incoming[i])
            torch.testing.assert_close(tuple(x[i] for x in fused), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("learnable_bit", [True, False])
def test_no_value_is_read_back_from_the_device(learnable_bit):
    """On the meta device there are no values: reading one, as a GPU would have to wait for, raises."""
    quantizer = compander(learnable_bit=learnable_bit).to("meta")
    w = torch.empty(200, 100, device="meta", requires_grad=True)
    quantizer(w).sum().backward()
    assert w.grad.shape == w.shape and quantizer.get_bitwidth().is_meta


def test_it_compiles_into_one_graph():
    quantizer, w = compander(), weights((100, 90))
    compiled = torch.compile(quantizer, backend="aot_eager", fullgraph=True)
    incoming, at = torch.randn(100, 90), (w.requires_grad_(), quantizer.logit_dz, quantizer.logit_bit)
    torch.testing.assert_close(compiled(w), quantizer(w), rtol=1e-6, atol=0)
    for ours, theirs in zip(gradients(compiled(w), incoming, *at), gradients(quantizer(w), incoming, *at), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_layers_quantized_at_once_are_those_quantized_one_by_one():
    companders = [compander(0.3, learnable_bit=False), compander(1.0), compander(0.05, learnable_deadzone=False)]
    at = [weights(shape).requires_grad_() for shape in ((9, 7), (190, 180), (4, 3, 3, 3))]
    incoming = [torch.randn_like(w) for w in at]
    learned = [*at, *(p for each in companders for p in each.parameters() if p.requires_grad)]
    one_by_one = [quantizer(w) for quantizer, w in zip(companders, at, strict=True)]
    at_once = quantize_layers(companders, at)
    for ours, alone in zip(at_once, one_by_one, strict=True):
        assert torch.equal(ours, alone)
    for ours, alone in zip(*(torch.autograd.grad(x, learned, incoming) for x in (at_once, one_by_one)), strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-6, atol=0)
