"""Input shift and no-op layer: the network computes the same, and comes back as it was."""

from __future__ import annotations

import re

import captum.attr
import numpy as np
import pytest
import torch
from decoders import WORDS, gpt2
from model_state import state_of
from sentences import Convolutional, Transformer, sentences
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.interventions.input_shift import Shifted
from pytest_xaisanity.evidence.interventions.no_op_layer import Inserted
from pytest_xaisanity.evidence.same_function import RoundingAlone, check_same_function
from pytest_xaisanity.explainers import LRP

torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def dense():
    return seeded(lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)))


def convolutional(first=None):
    first = nn.Conv2d(2, 8, 3, padding=1) if first is None else first
    layers = [first, nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)]
    return seeded(lambda: nn.Sequential(*layers))


def gradient(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0]


def times_input(model, inputs, targets):
    return gradient(model, inputs, targets) * inputs


def smooth(model, inputs, targets):
    return sum(gradient(model, inputs + 0.1 * torch.randn_like(inputs), targets) for _ in range(3))


class Normalized(nn.Module):
    """Takes images in [0, 255], and normalizes them itself."""

    def __init__(self):
        super().__init__()
        self.inner = convolutional(nn.Conv2d(2, 8, 3, padding="same"))

    def forward(self, x):
        return self.inner((x - 100) / torch.tensor([50.0, 70.0])[:, None, None])


class Skipping(nn.Module):
    """Looks at the inputs once more, above its first layer."""

    def __init__(self):
        super().__init__()
        self.low, self.top = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.top(torch.relu(self.low(x)) + x)


class Squared(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = nn.Linear(6, 3)

    def forward(self, x):
        return self.low(x * x)


IMAGES = normal(10, 2, 8, 8)
SUBJECTS = {
    "dense": (dense, normal(16, 6)),
    "features of other sizes": (dense, normal(16, 6) * torch.tensor([1.0, 10, 1, 0.1, 1, 1])),
    "padded with zeros": (convolutional, IMAGES),
    "no bias": (lambda: convolutional(nn.Conv2d(2, 8, 3, bias=False)), IMAGES),
    "stride, dilation, groups": (
        lambda: convolutional(nn.Conv2d(2, 8, 2, padding=(2, 1), stride=1, dilation=2, groups=2)),
        IMAGES,
    ),
    "same": (lambda: convolutional(nn.Conv2d(2, 8, (4, 3), padding="same")), IMAGES),
    "reflected": (lambda: convolutional(nn.Conv2d(2, 8, 3, padding=1, padding_mode="reflect")), IMAGES),
    "normalized inside": (lambda: seeded(Normalized), 128 + 40 * IMAGES),
    "flattened": (
        lambda: seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.Tanh(), nn.Linear(8, 3))),
        IMAGES,
    ),
    "batch normalization first": (lambda: seeded(lambda: nn.Sequential(nn.BatchNorm2d(2), *convolutional())), IMAGES),
    "a series": (
        lambda: seeded(lambda: nn.Sequential(nn.Conv1d(2, 6, 3, padding=2), nn.Tanh(), nn.Flatten(), nn.Linear(60, 3))),
        normal(10, 2, 8),
    ),
}


# -------------------------------------------------------------------------------------------------------- input shift


@pytest.mark.parametrize(("make", "inputs"), SUBJECTS.values(), ids=SUBJECTS)
def test_gradients_do_not_see_a_shift_and_their_product_with_the_input_does(make, inputs):
    model = make()
    before, bench = state_of(model), Bench(model, inputs)
    for source in (gradient, smooth):
        verdict = bench.explainer(source).invariant_under("input_shift")
        assert verdict, verdict.reason
        assert verdict.evidence.find(Shifted).moved < 1e-4
    verdict = bench.explainer(times_input).invariant_under("input_shift")
    assert verdict.failed
    assert "where zero lies" in verdict.advice
    assert state_of(model) == before


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_a_change_is_seen_in_maps_of_any_size(size):
    """Gradients under a saturated softmax are as small, and their squares are zero in single precision."""
    bench = Bench(dense(), normal(32, 6), device="cpu")
    explainer = bench.explainer(lambda model, inputs, targets: size * times_input(model, inputs, targets))
    assert explainer.invariant_under("input_shift").failed
    assert explainer.invariant_under("batch_order")


def test_a_baseline_that_stays_where_it_was_is_seen():
    bench = Bench(convolutional(), IMAGES)
    assert bench.explainer(captum.attr.IntegratedGradients, n_steps=8).invariant_under("input_shift").failed
    assert bench.explainer(captum.attr.Saliency).invariant_under("input_shift", shift=-2)
    assert bench.explainer(captum.attr.GuidedBackprop).invariant_under("input_shift")


def test_gradient_times_input_moves_by_the_shift_times_the_gradient():
    model, inputs = dense(), normal(16, 6)
    seen = []

    def noted(model, inputs, targets):
        seen.append((inputs.detach().clone(), times_input(model, inputs, targets)))
        return seen[-1][1]

    Bench(model, inputs, batch_size=16).explainer(noted).invariant_under("input_shift", early=False)
    whole = [pair for pair in seen if len(pair[0]) == 16]
    (first, product), (second, shifted) = (
        whole[0],
        next(pair for pair in whole if not torch.equal(pair[0], whole[0][0])),
    )
    by = second - first
    torch.testing.assert_close(by, by[:1].expand_as(by), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(by[0], inputs.std(0, correction=0), rtol=1e-4, atol=1e-5)
    slopes = product / first
    torch.testing.assert_close(shifted - product, by * slopes, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "inputs", "found"),
    [
        (lambda: seeded(Skipping), normal(16, 6), "outputs that moved by"),
        (lambda: seeded(Squared), normal(16, 6), "not shifted by the same constants"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Tanh()), normal(16, 6), "no dense layer or convolution"),
        (lambda: seeded(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))), normal(16, 6), "no dense"),
        (dense, torch.ones(16, 6), "inputs that are constant"),
    ],
    ids=["a skip", "a square", "no layer", "parametrized", "constant"],
)
def test_a_shift_that_cannot_be_taken_back_is_one_error(make, inputs, found):
    model = make()
    before = state_of(model)
    with pytest.raises(XaiError, match=found):
        Bench(model, inputs).explainer(lambda m, x, t: x + normal(*x.shape[1:]), name="map").invariant_under(
            "input_shift"
        )
    assert state_of(model) == before


def test_other_inputs_are_refused():
    with pytest.raises(XaiError, match="which can be shifted"):
        Bench(Convolutional().eval(), sentences(16), embedding="embedding").explainer(
            captum.attr.InputXGradient
        ).invariant_under("input_shift")
    with pytest.raises(XaiError, match=r"a torch\.nn\.Module"):
        Bench(lambda x: x.cumsum(1), normal(16, 4)).explainer(gradient).invariant_under("input_shift")


# -------------------------------------------------------------------------------------------------------- no-op layer

FORMS = ("rotation", "identity", "relu")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("make", "inputs"), [SUBJECTS["dense"], SUBJECTS["padded with zeros"]], ids=["dense", "images"]
)
def test_gradients_do_not_see_how_a_network_is_written(make, inputs, form):
    model = make()
    before, bench = state_of(model), Bench(model, inputs)
    sources = [
        (gradient, {}),
        (smooth, {}),
        (captum.attr.IntegratedGradients, {"n_steps": 4}),
        *([(captum.attr.FeatureAblation, {})] if inputs.ndim == 2 else []),
    ]
    for source, settings in sources:
        verdict = bench.explainer(source, **settings).invariant_under("no_op_layer", form=form)
        assert verdict, verdict.reason
        assert verdict.evidence.find(Inserted).form == form
    assert state_of(model) == before


def test_rules_that_tell_signs_apart_see_it():
    pytest.importorskip("zennit")
    bench = Bench(convolutional(), IMAGES)
    rule = bench.explainer(LRP("zplus"))
    verdict = rule.invariant_under("no_op_layer")
    assert verdict.failed
    assert "how the network is written" in verdict.advice
    assert rule.invariant_under("no_op_layer", form="identity")


@pytest.mark.parametrize("layer", ["0", "2", "6"])
def test_any_layer_may_be_written_as_two(layer):
    bench = Bench(convolutional(), IMAGES)
    verdict = bench.explainer(gradient).invariant_under("no_op_layer", layer=layer)
    assert verdict
    assert verdict.evidence["layers"] == [layer]


def test_tokens_have_no_op_layers_too():
    bench = Bench(Convolutional().eval(), sentences(32), embedding="embedding")
    assert bench.explainer(captum.attr.InputXGradient).invariant_under("no_op_layer")


def test_cams_of_the_layer_follow():
    model = convolutional()
    cam = Bench(model, IMAGES).explainer(captum.attr.LayerGradCam, layer="2")
    assert cam.invariant_under("no_op_layer", layer="2", tolerance=0.02)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.top = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.top(torch.tanh(self.two(torch.tanh(self.one(x)))))


class Particular(nn.Module):
    """Reads the weights of one layer, and wants another to be of a class."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.top = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        if type(self.two) is not nn.Linear:
            raise TypeError("a dense layer is wanted")
        return self.top(torch.tanh(self.two(torch.tanh(self.one(x.to(self.top.weight)))))) / self.top.in_features


def test_a_layer_that_the_model_looks_at_is_written_as_two_or_is_one_error():
    model = seeded(Particular)
    explainer = Bench(model, normal(32, 6)).explainer(gradient)
    before = state_of(model)
    with pytest.raises(XaiError, match=r"raises with a layer more behind two \(TypeError: a dense .*another layer"):
        explainer.invariant_under("no_op_layer")
    assert state_of(model) == before
    assert explainer.invariant_under("no_op_layer", layer="top")


def test_an_encoder_reads_the_weights_of_its_layers():
    bench = Bench(Transformer().eval(), sentences(32), embedding="embedding")
    assert bench.explainer(captum.attr.InputXGradient).invariant_under("no_op_layer")


@pytest.mark.parametrize("form", ["rotation", "identity"])
def test_a_decoder_whose_weights_are_transposed_has_no_op_layers(form):
    """GPT-2's dense layers hold ``(in, out)``; its only other one, the head, is tied to the embedding."""
    pytest.importorskip("transformers")
    model = gpt2()
    prompts = torch.randint(2, WORDS, (24, 6), generator=torch.Generator().manual_seed(0))
    before, bench = state_of(model), Bench(model, {"input_ids": prompts, "attention_mask": torch.ones_like(prompts)})
    explainer = bench.explainer(captum.attr.InputXGradient)
    verdict = explainer.invariant_under("no_op_layer", form=form)
    assert verdict
    assert verdict.evidence["layers"] == ["transformer.h.1.mlp.c_proj"]
    assert explainer.invariant_under("no_op_layer", form=form, layer="transformer.h.0.attn.c_attn")
    assert state_of(model) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_too_much_to_be_rotated(dtype):
    explainer = Bench(convolutional().to(dtype), IMAGES.to(dtype)).explainer(gradient)
    with pytest.raises(XaiError, match=rf"'rotation' of the layer '2' in {dtype}.*expected 'identity'"):
        explainer.invariant_under("no_op_layer")
    assert not explainer.invariant_under("no_op_layer", form="identity").failed


def test_half_precision_is_no_excuse_for_another_function():
    before = torch.tensor([1.0, -2.0]).bfloat16()
    check_same_function("twice", before, before + 0.01, expected="", fix="")
    with pytest.raises(XaiError, match="outputs that moved by"):
        check_same_function("twice", before, 1.5 * before, expected="the same", fix="look")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_shifts_that_are_lost_in_rounding_are_refused(dtype):
    with pytest.raises(XaiError, match=rf"in {dtype}, whose rounding .*torch.float32"):
        Bench(convolutional().to(dtype), IMAGES.to(dtype)).explainer(gradient).invariant_under("input_shift")


def test_what_the_error_of_a_lost_shift_says_helps():
    model, far = convolutional(), 1e5 + IMAGES
    with pytest.raises(XaiError, match=r"in torch.float32, whose rounding .*shift=20 or more.*torch.float64"):
        Bench(model, far).explainer(gradient).invariant_under("input_shift")
    for shift in (20, 1000):
        assert not Bench(model, far).explainer(gradient).invariant_under("input_shift", shift=shift).failed
    assert Bench(model.double(), far.double()).explainer(gradient).invariant_under("input_shift")


@pytest.mark.parametrize("shift", [1e-4, -3e-5])
def test_the_smallest_shift_that_is_told_is_said_and_works(shift):
    explainer = Bench(convolutional(), IMAGES).explainer(gradient)
    with pytest.raises(XaiError, match=r"whose rounding .*give shift=.* or more, or the model") as error:
        explainer.invariant_under("input_shift", shift=shift)
    least = float(re.search(r"shift=(\S+) or more", error.value.fix)[1])
    assert abs(shift) < least < 0.1
    assert explainer.invariant_under("input_shift", shift=least)
    with pytest.raises(XaiError, match="give a larger shift="):
        explainer.invariant_under("input_shift", shift=1e-12)


def kinked(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


def test_what_rounding_alone_does_speaks_against_no_explainer():
    """So large a shift leaves few digits: of one input a ReLU is turned over, by noise of that size as well."""
    explainers = Bench(kinked(), torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    verdict = explainers.explainer(gradient).invariant_under("input_shift", shift=1000)
    moved = np.array(verdict.evidence["scores"]["distance"])
    assert (moved > 0.01).any()  # the seeds are of such a case
    assert verdict.passed
    assert "set aside: the map" in verdict.reason
    assert verdict.estimate == 0
    alone = verdict.evidence["moved_by_rounding_alone"]
    assert len(alone) == (moved > 0.01).sum()
    assert not explainers.explainer(times_input).invariant_under("input_shift", shift=1000).passed


def test_rounding_excuses_no_move_that_is_larger_than_its_own():
    alone = RoundingAlone({3: 0.02})
    assert alone.excuses(3, 0.04)
    assert not alone.excuses(3, 0.05)
    assert not alone.excuses(4, 0.01)


@pytest.mark.parametrize(
    ("make", "settings", "found"),
    [
        (lambda: seeded(Tied), {}, "outputs that moved by"),
        (lambda: nn.Linear(6, 3).eval(), {}, "a model without a dense layer"),
        (dense, {"layer": "9"}, "no_op_layer layer"),
        (dense, {"layer": "1"}, "no_op_layer layer"),
        (lambda: nn.Sequential(nn.Linear(6, 3)).eval(), {"form": "relu"}, "without a module that is a ReLU"),
    ],
    ids=["tied", "a single layer", "no layer", "no affine layer", "no ReLU"],
)
def test_a_layer_that_cannot_be_written_as_two_is_one_error(make, settings, found):
    model = make()
    before = state_of(model)
    with pytest.raises(XaiError, match=found):
        Bench(model, normal(16, 6)).explainer(gradient).invariant_under("no_op_layer", **settings)
    assert state_of(model) == before


@pytest.mark.parametrize(
    ("intervention", "settings", "found"),
    [
        ("input_shift", {"shift": 0}, "input_shift shift: found 0"),
        ("input_shift", {"shift": float("nan")}, "input_shift shift: found nan"),
        ("input_shift", {"shift": "far"}, "input_shift shift: found 'far'"),
        ("no_op_layer", {"form": "copy"}, "no_op_layer form: found 'copy'"),
        ("no_op_layer", {"layer": 3}, "no_op_layer layer: found a int"),
        ("no_op_layer", {"form": "relu", "layer": "0"}, "beside form='relu'"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_one_error(intervention, settings, found):
    with pytest.raises(XaiError) as raised:
        Bench(dense(), normal(16, 6)).explainer(gradient).invariant_under(intervention, **settings)
    assert found in str(raised.value)


@pytest.mark.parametrize("intervention", ["input_shift", "no_op_layer"])
def test_the_model_comes_back_when_the_explainer_raises(intervention):
    model = convolutional()
    before, calls = state_of(model), []

    def breaking(model, inputs, targets):
        calls.append(1)
        if isinstance(model[0 if intervention == "input_shift" else 2], nn.Sequential):
            raise ValueError("broken")
        return gradient(model, inputs, targets)

    with pytest.raises(XaiError, match="broken"):
        Bench(model, IMAGES).explainer(breaking).invariant_under(intervention)
    assert state_of(model) == before
