"""The default cascade: what is blind to the top of a network fails it, what follows the network passes it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest
from captum.attr import Saliency

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # where the networks and explainers of campaigns are

from blind import VisionTransformer, frozen_top, rollout, times_logit
from networks import (
    SUBJECTS,
    Subject,
    accuracy,
    convolutional,
    faces,
    fitted,
    mnist,
    small_digits,
    some_digits,
    subject,
    ten_layers,
)
from sound import sound

from pytest_xaisanity import Bench
from pytest_xaisanity.explainers import LRP, DeepTaylor, GuidedBackprop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore"),
]

BLIND = {
    "LRP z+": LRP("zplus"),
    "Deep Taylor": DeepTaylor(0.0, 1.0),
    "input × logit": times_logit,
    "Guided Backprop": GuidedBackprop(),
}
SOUND = (
    "gradient",
    "Integrated Gradients",
    "gradient × input",
    "SmoothGrad",
    "GradCAM",
    "occlusion",
    "DeepLIFT",
    "LRP ε",
    "GradientShap",
)
# Of a network that was trained on two classes alone the layer below the head is nearly one number for each image, and
# a new head takes it as it is or negated: what follows it changes by a sign alone. These may be open there.
OPEN_ON_FACES = ("GradCAM", "occlusion")
IMAGES = {"digits8": (small_digits, 8, 2, 10), "mnist": (mnist, 28, 7, 10), "faces": (faces, 25, 5, 2)}
EPOCHS = {"digits8": 6, "mnist": 3, "faces": 40}


def cascade(model, images, source, **settings):
    """Return the verdict of the default claim."""
    return (
        Bench(model, images.explained, device="cpu")
        .explainer(source, **settings)
        .changes_under("cascading_randomization")
    )


@cache
def transformer(name):
    make, size, patch, classes = IMAGES[name]
    return fitted(lambda: VisionTransformer(size, patch, classes), make(), epochs=EPOCHS[name])


@cache
def deep(name):
    make, size, _, classes = IMAGES[name]
    return fitted(lambda: ten_layers(size, classes), make(), epochs=EPOCHS[name])


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_networks_know_what_they_see(name):
    assert accuracy(subject(name).model, subject(name).images) >= 0.98


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("blind", BLIND)
def test_what_hardly_sees_the_top_fails(name, blind):
    verdict = cascade(subject(name).model, subject(name).images, BLIND[blind])
    assert verdict.failed, verdict.reason


@pytest.mark.parametrize("name", SUBJECTS)
def test_attention_rollout_fails_where_a_gradient_passes(name):
    verdict = cascade(transformer(name), IMAGES[name][0](), rollout)
    assert verdict.failed, verdict.reason
    assert cascade(transformer(name), IMAGES[name][0](), Saliency, abs=False)


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_blind_to_three_of_ten_layers_fails(name):
    verdict = cascade(deep(name), IMAGES[name][0](), frozen_top(deep(name), 3))
    assert verdict.failed, verdict.reason


@pytest.mark.parametrize("name", SUBJECTS)
def test_gradients_of_ten_layers_pass(name):
    assert cascade(deep(name), IMAGES[name][0](), Saliency, abs=False)


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize("explainer", SOUND)
def test_what_follows_the_network_passes(name, explainer):
    source, settings = sound(subject(name))[explainer]
    verdict = cascade(subject(name).model, subject(name).images, source, **settings)
    if name == "faces" and explainer in OPEN_ON_FACES and verdict.inconclusive:
        assert "of the network's own gradient is" in verdict.reason
    else:
        assert verdict.passed, verdict.reason


@cache
def of_few(*classes):
    """Return a network that tells a few digits apart, as a subject."""
    images = some_digits(*classes)
    model = fitted(lambda: convolutional(28, len(classes)), images, epochs=5)
    return Subject(model, model, images, "3")


@pytest.mark.parametrize("classes", [(3, 8), (0, 1, 2), (0, 1, 2, 3)], ids=len)
class TestFewClasses:
    @pytest.mark.parametrize("explainer", ["gradient", "gradient × input", "DeepLIFT", "LRP ε", "GradCAM"])
    def test_what_follows_the_network_does_not_fail(self, classes, explainer):
        few = of_few(*classes)
        source, settings = sound(few)[explainer]
        verdict = cascade(few.model, few.images, source, **settings)
        assert not verdict.failed, verdict.reason
        if explainer == "gradient":
            assert verdict.passed, verdict.reason

    @pytest.mark.parametrize("blind", [*BLIND, "the top"])
    def test_what_hardly_sees_the_top_does_not_pass(self, classes, blind):
        few = of_few(*classes)
        source = frozen_top(few.model, 1) if blind == "the top" else BLIND[blind]
        verdict = cascade(few.model, few.images, source)
        assert not verdict.passed, verdict.reason
