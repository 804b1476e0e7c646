"""What holds for the explanations of a network that reads handwritten digits."""

from __future__ import annotations

import pytest
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, Saliency
from digits import accuracy


def test_the_network_reads_digits(xai_model, digits):
    """Explanations of a network that guesses would be worth nothing."""
    assert accuracy(xai_model, digits.test_images, digits.test_labels) >= 0.96


def test_gradients(xai):
    """Gradients with their sign: they follow the weights, and the pixels they name matter."""
    gradients = xai.explainer(Saliency, abs=False)
    assert gradients.changes_under("cascading_randomization")
    assert gradients.changes_under("cascading_randomization", depth=1)
    assert gradients.invariant_under("batch_order")
    assert gradients.beats("random", on="pixel_flipping")


def test_integrated_gradients(xai):
    """Their size is the input's, which is why absolute ranks cannot judge them: see test_known_false.py."""
    integrated = xai.explainer(IntegratedGradients, n_steps=16)
    assert integrated.changes_under("cascading_randomization")
    assert integrated.changes_under("cascading_randomization", depth=1)
    assert integrated.changes_under("cascading_randomization", depth=1, similarity="ssim")
    assert integrated.beats("random", on="pixel_flipping")


def test_grad_cam(xai, xai_model):
    """A map of 4×4, upsampled to the image."""
    grad_cam = xai.explainer(LayerGradCam, layer=xai_model.pool2)
    assert grad_cam.changes_under("cascading_randomization")
    assert grad_cam.changes_under("cascading_randomization", depth=1)
    assert grad_cam.beats("random", on="pixel_flipping")


# with_args, because pytest takes the only argument of a mark, when it is a class or a function, for what is marked.
@pytest.mark.xai_changes_under("cascading_randomization", similarity="ssim")
@pytest.mark.xai_beats("random", on="pixel_flipping")
@pytest.mark.xai_explainer(Saliency, abs=False)
@pytest.mark.xai_explainer.with_args(InputXGradient)
@pytest.mark.xai_explainer(IntegratedGradients, n_steps=8)
def test_explanations(xai_verdict):
    """The same with markers: one test item for each claim and explainer."""
    assert xai_verdict
