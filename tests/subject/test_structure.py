"""Inputs as models take them: names, context, and the scores in what a model returns."""

from __future__ import annotations

from collections import UserDict, namedtuple
from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.explainers import LRP
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
N = 24


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


IMAGES = torch.randn(N, 1, 6, 6, generator=drawn())
SEX = torch.randint(0, 5, (N,), generator=drawn(1))
AGE = torch.rand(N, 2, generator=drawn(2))


class Patient(nn.Module):
    """Takes an image beside what is known of the patient, whose effect is large."""

    def __init__(self, returns=lambda scores: SimpleNamespace(loss=scores.sum(), logits=scores)):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.convolution, self.relu = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU()
            self.sexes, self.ages, self.head = nn.Embedding(5, 6), nn.Linear(2, 6), nn.Linear(6, 3)
        self.returns = returns

    def forward(self, image, sex, age=None):
        hidden = self.relu(self.convolution(image)).mean((2, 3))
        gate = 3 * self.sexes(sex) + (0 if age is None else self.ages(age))
        return self.returns(self.head(hidden * gate))


class Plain(nn.Module):
    """The same with the context as a part of the model, for one input at a time."""

    def __init__(self, sex):
        super().__init__()
        self.patient, self.sex = Patient(lambda scores: scores), sex

    def forward(self, image):
        return self.patient(image, self.sex.expand(len(image)))


def gradient(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0]


def smooth(model, inputs, targets):
    """Return a gradient through more rows than it is given."""
    many = inputs.repeat_interleave(3, 0)
    noise = torch.linspace(-0.1, 0.1, 3).repeat(len(inputs)).reshape(-1, 1, 1, 1)
    return gradient(model, many + noise, targets.repeat_interleave(3)).unflatten(0, (-1, 3)).mean(1)


def blocks_of(subject, **settings):
    with subject.lent():
        return list(subject.blocks(**settings))


def maps_of(bench, source, **settings):
    """Return the maps of all inputs, in the order in which they were given."""
    explainer = bench.explainer(source, **settings).on(bench)
    found = {}

    def work():
        for block in bench.subject.blocks():
            maps = bench._lab(explainer).attributions(block)
            found.update(zip(block.indices, maps, strict=True))

    bench.subject.lend(work)
    return torch.stack([found[index] for index in sorted(found)])


# --------------------------------------------------------------------------------------------------------- mappings

MAKES = {
    "a dict": lambda: {"image": IMAGES, "sex": SEX},
    "a dict in another order": lambda: {"sex": SEX, "image": IMAGES},
    "a dict of arrays and lists": lambda: {"image": IMAGES.numpy(), "sex": SEX.tolist()},
    "a dict with an entry of None": lambda: {"image": IMAGES, "sex": SEX, "age": None},
    "what tokenizers return": lambda: UserDict(image=IMAGES, sex=SEX),
    "a tuple": lambda: (IMAGES, SEX),
    "a list of dicts": lambda: [{"image": i, "sex": s} for i, s in zip(IMAGES.split(7), SEX.split(7), strict=True)],
    "a generator of dicts": lambda: (
        {"image": i, "sex": s} for i, s in zip(IMAGES.split(7), SEX.split(7), strict=True)
    ),
    "a loader of dicts": lambda: DataLoader(
        [{"image": i, "sex": s} for i, s in zip(IMAGES, SEX, strict=True)], batch_size=5
    ),
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_inputs_may_be_any_of_what_models_take(make):
    """Whichever way they come, the image is explained, and the sex follows it as context."""
    seen = {}
    for block in blocks_of(Subject(Patient().eval(), make())):
        assert [one.shape[1:] for one in block.inputs] == [(1, 6, 6)]
        assert block.layout.is_image
        seen |= dict(zip(block.indices, zip(*block.arguments, strict=True), strict=True))
    assert sorted(seen) == list(range(N))
    assert all(torch.equal(seen[i][0], IMAGES[i]) and seen[i][1] == SEX[i] for i in seen)


@pytest.mark.parametrize(
    "make",
    [
        lambda labels: {"image": IMAGES, "sex": SEX, "labels": labels},
        lambda labels: {"image": IMAGES, "sex": SEX, "label": labels},
        lambda labels: [{"image": IMAGES, "sex": SEX}, labels],
        lambda labels: ({"image": IMAGES, "sex": SEX}, labels),
        lambda labels: [{"image": IMAGES[:9], "sex": SEX[:9], "labels": labels[:9]}, *_batches(labels)],
        lambda labels: [[{"image": IMAGES[:9], "sex": SEX[:9]}, labels[:9]], *_batches(labels)],
    ],
)
def test_labels_are_targets_and_never_reach_the_model(make):
    labels = torch.randint(0, 3, (N,), generator=drawn(3))
    found = {}
    for block in blocks_of(Subject(Patient().eval(), make(labels))):
        found |= dict(zip(block.indices, block.targets.tolist(), strict=True))
    assert [found[i] for i in range(N)] == labels.tolist()


def _batches(labels):
    return [{"image": IMAGES[9:], "sex": SEX[9:], "labels": labels[9:]}]


def test_targets_given_apart_win_and_labels_of_each_token_or_of_a_regression_are_none():
    inputs = {"image": IMAGES, "sex": SEX}
    model = Patient().eval()
    predicted = model(IMAGES, SEX).logits.argmax(1)
    for labels, targets, expected in [
        (torch.zeros(N).long(), torch.ones(N).long(), torch.ones(N).long()),
        (torch.zeros(N), None, predicted),
        (torch.zeros(N, 1, 6, 6).long(), None, predicted),
    ]:
        found = {}
        for block in blocks_of(Subject(model, {**inputs, "labels": labels}, targets)):
            found |= dict(zip(block.indices, block.targets.tolist(), strict=True))
        assert [found[i] for i in range(N)] == expected.tolist()


# ------------------------------------------------------------------------------------------------------ explanations

Named = namedtuple("Named", "loss logits")
RETURNS = {
    "a tensor": (lambda scores: scores, None),
    "an object with logits": (lambda scores: SimpleNamespace(loss=None, logits=scores), None),
    "a dict with logits": (lambda scores: {"hidden": scores * 2, "logits": scores}, None),
    "a dict with one tensor": (lambda scores: {"scores": scores, "name": "x"}, None),
    "a tuple": (lambda scores: (scores, scores * 2), None),
    "a named tuple": (lambda scores: Named(scores.sum(), scores), None),
    "a field by its name": (lambda scores: {"a": scores * 2, "b": scores}, "b"),
    "a place in a tuple": (lambda scores: (scores * 2, scores), 1),
    "a function": (lambda scores: {"a": [scores * 2, scores]}, lambda output: output["a"][1]),
}


@pytest.mark.parametrize(("returns", "output"), RETURNS.values(), ids=RETURNS)
def test_scores_are_found_in_what_the_model_returns(returns, output):
    bench = Bench(Patient(returns).eval(), {"image": IMAGES, "sex": SEX}, output=output)
    expected = maps_of(Bench(Patient(lambda scores: scores).eval(), (IMAGES, SEX)), gradient)
    torch.testing.assert_close(maps_of(bench, gradient), expected)


EXPLAINERS = {
    "a function": (gradient, {}),
    "a function that expands the batch": (smooth, {}),
    "Saliency": (captum.attr.Saliency, {"abs": False}),
    "IntegratedGradients": (captum.attr.IntegratedGradients, {"n_steps": 3}),
    "IntegratedGradients in parts": (captum.attr.IntegratedGradients, {"n_steps": 3, "internal_batch_size": 30}),
    "DeepLift": (captum.attr.DeepLift, {}),
    "GuidedBackprop": (captum.attr.GuidedBackprop, {}),
    "Occlusion": (captum.attr.Occlusion, {"sliding_window_shapes": (1, 2, 2), "perturbations_per_eval": 3}),
    "FeatureAblation": (captum.attr.FeatureAblation, {}),
    "LayerGradCam": (captum.attr.LayerGradCam, {"layer": "convolution"}),
    "GuidedGradCam": (captum.attr.GuidedGradCam, {"layer": "convolution"}),
    "NoiseTunnel": (captum.attr.NoiseTunnel, {"attribution_method": captum.attr.Saliency, "nt_samples": 3}),
    "GradientShap": (captum.attr.GradientShap, {"baselines": torch.zeros(2, 1, 6, 6), "n_samples": 3}),
    "LRP": (LRP(), {}),
}


@pytest.mark.parametrize(("source", "settings"), EXPLAINERS.values(), ids=EXPLAINERS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_with_context_are_those_of_a_model_that_holds_it(source, settings):
    """The oracle: each patient by itself, whose sex is a part of the model."""
    maps = maps_of(Bench(Patient().eval(), {"sex": SEX, "image": IMAGES}), source, **settings)
    assert maps.shape == (N, 6, 6)
    if "layer" in settings:
        settings = {**settings, "layer": f"patient.{settings['layer']}"}
    for row in range(3):
        rows = [row, *[other for other in range(N) if SEX[other] == SEX[row] and other != row]]
        alone = Bench(Plain(SEX[row]).eval(), IMAGES[rows])
        expected = maps_of(alone, source, **settings)[0]
        if "NoiseTunnel" in str(source) or "GradientShap" in str(source):
            continue  # the noise is drawn by the place of an input, which is another one there
        torch.testing.assert_close(maps[row], expected, rtol=1e-4, atol=1e-6)


def test_captum_objects_follow_the_way_the_model_is_called():
    model = Patient().eval()
    tunnel = captum.attr.NoiseTunnel(captum.attr.IntegratedGradients(model))
    by_class = {"attribution_method": captum.attr.IntegratedGradients}
    inputs = {"image": IMAGES, "sex": SEX}
    given = maps_of(Bench(model, inputs), tunnel, n_steps=3, nt_samples=2)
    built = maps_of(Bench(model, inputs), captum.attr.NoiseTunnel, n_steps=3, nt_samples=2, **by_class)
    torch.testing.assert_close(given, built)
    own = captum.attr.Saliency(lambda image, sex: model(image, sex).logits)
    torch.testing.assert_close(maps_of(Bench(model, inputs), own), maps_of(Bench(model, inputs), captum.attr.Saliency))


def test_further_arguments_come_behind_the_context():
    model = Patient().eval()
    given = maps_of(Bench(model, (IMAGES, SEX)), captum.attr.Saliency, additional_forward_args=AGE)
    expected = maps_of(Bench(model, (IMAGES, SEX, AGE), explain=0), captum.attr.Saliency)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("explain", [0, "image", ["image"], (-3,)])
def test_what_is_explained_is_named_or_counted(explain):
    (block, *_) = blocks_of(Subject(Patient().eval(), (IMAGES, SEX, AGE), explain=explain))
    assert [tuple(one.shape[1:]) for one in (*block.inputs, *block.context)] == [(1, 6, 6), (), (2,)]


def test_several_may_be_explained_in_the_order_of_their_naming():
    inputs = {"image": IMAGES, "sex": SEX, "age": AGE}
    (block, *_) = blocks_of(Subject(Patient().eval(), inputs))
    assert [tuple(one.shape[1:]) for one in block.inputs] == [(1, 6, 6), (2,)]
    bench = Bench(Patient().eval(), inputs, explain=["age", "image"])
    maps = maps_of(bench, captum.attr.InputXGradient)
    other = maps_of(Bench(Patient().eval(), inputs), captum.attr.InputXGradient)
    torch.testing.assert_close(maps, torch.cat([other[:, 36:], other[:, :36]], dim=1))


def test_claims_with_context_are_decided_and_leave_the_model_as_it_was():
    model = Patient().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ig = Bench(model, {"sex": SEX, "image": IMAGES}).explainer(captum.attr.IntegratedGradients, n_steps=3)
    assert ig.invariant_under("batch_order").passed
    verdict = ig.changes_under("cascading_randomization")
    assert [layer for layer in verdict.evidence["layers"] if layer != "sexes"] == ["head", "convolution"]
    assert ig.beats("random", on="pixel_flipping").passed
    assert ig.changes_under("other_target").n == N
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model._forward_hooks


def test_flipping_leaves_context_alone():
    """The curve ends at the score of an empty image of the same patient."""
    model = Patient(lambda scores: scores).eval()
    bench = Bench(model, {"image": IMAGES, "sex": SEX})
    (block, *_) = blocks_of(bench.subject)
    with bench.subject.lent():
        prepared = PixelFlipping().prepare(bench._lab(bench.explainer(gradient).on(bench)), block)
    empty = block.inputs[0].mean((2, 3), keepdim=True).expand_as(block.inputs[0])
    expected = model(empty, block.context[0]).softmax(1).gather(1, block.targets[:, None])[:, 0]
    torch.testing.assert_close(prepared.emptied, expected.detach())


class Functional(Patient):
    def forward(self, image, sex):
        return super().forward(torch.relu(image), sex)


def test_layers_keep_their_names_in_errors():
    with pytest.raises(XaiError, match=r"xai_model the model \(Functional\)") as caught:
        maps_of(Bench(Functional().eval(), {"image": IMAGES, "sex": SEX}), captum.attr.GuidedBackprop)
    assert "_presented" not in str(caught.value)


def test_a_function_reaches_the_layers_and_all_that_the_model_returns():
    seen = []

    def looks(model, inputs, targets):
        seen.append((model.convolution is patient.convolution, type(model(inputs, age=AGE[: len(inputs)]))))
        return gradient(model, inputs, targets)

    patient = Patient().eval()
    maps_of(Bench(patient, {"image": IMAGES, "sex": SEX}), looks)
    assert set(seen) == {(True, SimpleNamespace)}


# ---------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("inputs", "settings", "where", "said"),
    [
        ({"image": IMAGES, "sx": SEX}, {}, "xai_inputs", "use 'sex', the nearest known name"),
        ({"image": IMAGES, 3: SEX}, {}, "xai_inputs", "a name of type int"),
        ({"image": IMAGES, "sex": 3}, {}, "xai_inputs", "an entry 'sex' of type int"),
        ({"image": IMAGES, "sex": ["f", "m"]}, {}, "xai_inputs", "sex"),
        ({"image": IMAGES, "sex": [[1, 2], [3]]}, {}, "xai_inputs", "padding=True"),
        ({}, {}, "xai_inputs", "a mapping without tensors"),
        ({"image": IMAGES, "sex": SEX[:3]}, {}, "xai_inputs", f"lengths {N}, 3"),
        ([{"image": IMAGES}, {"picture": IMAGES}], {}, "xai_inputs", "other names"),
        ({"image": IMAGES, "sex": SEX, "labels": ["a"] * N}, {}, "xai_targets", "of type list"),
        ({"image": IMAGES, "sex": SEX, "labels": [[1], [1, 2]] * (N // 2)}, {}, "xai_targets", "of type list"),
        ([[{"image": IMAGES, "sex": SEX}, ["a"] * N]], {}, "xai_targets", "of type list"),
        ({"image": IMAGES, "sex": SEX}, {"explain": "imge"}, "xai_explain", "use 'image', the nearest known name"),
        ((IMAGES, SEX), {"explain": 2}, "xai_explain", "positions from 0 to 1"),
        ((IMAGES, SEX), {"explain": ()}, "xai_explain", "one or more inputs"),
        ((IMAGES, SEX), {"explain": (0, "image")}, "xai_explain", "each once"),
        ((IMAGES, SEX), {"output": "logit"}, "xai_output", "use 'logits', the nearest known name"),
        ((IMAGES, SEX), {"output": 7}, "xai_output", "no positions"),
        ((IMAGES, SEX), {"output": 0.5}, "xai_output", "0.5, of type float"),
        ((IMAGES, SEX), {"output": True}, "xai_output", "a position, or a function"),
        ((IMAGES, SEX), {"output": ["logits"]}, "xai_output", "of type list"),
        (
            (IMAGES, SEX),
            {"output": lambda result: result.scores},
            "xai_output",
            "AttributeError raised by the function",
        ),
        ((IMAGES, SEX), {"embedding": "layer", "model": lambda *_: None}, "xai_embedding", "of type function"),
        ({"image": IMAGES, "sx": SEX}, {"model": lambda image, uge: image}, "xai_inputs", "choose an argument"),
    ],
)
def test_mistakes_are_named_with_the_nearest_name(inputs, settings, where, said):
    with pytest.raises(XaiError) as caught:
        blocks_of(Subject(**{"model": Patient().eval(), "inputs": inputs, **settings}))
    assert caught.value.where.startswith(where)
    assert said in str(caught.value)


def test_a_dict_of_numbers_for_a_model_that_takes_them_by_place_is_told_apart():
    """A model called with other keywords than it takes says so before it is called."""
    with pytest.raises(XaiError, match="expected one of age, image, sex"):
        Subject(Patient(), {"pixels": IMAGES})
    assert blocks_of(Subject(Patient().eval(), {"image": np.asarray(IMAGES), "sex": np.asarray(SEX)}))
