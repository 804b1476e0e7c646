"""Claims that are known to be false: a suite that let one of them pass would be worth nothing.

Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018. Binder et al., *Shortcomings of Top-Down
Randomization-Based Sanity Checks for Evaluations of Deep Neural Network Explanations*, CVPR 2023 (arXiv 2022).
"""

from __future__ import annotations

import pytest
from captum.attr import GuidedBackprop, IntegratedGradients
from explainers import edges, fresh_noise, noise_of_the_input, noise_of_the_output


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Guided Backprop keeps its map when the top layer is re-initialized (Adebayo et al. 2018)",
)
def test_guided_backprop_depends_on_the_top_layer(xai):
    """What it removes on the way down leaves an image of the input."""
    assert xai.explainer(GuidedBackprop).changes_under("cascading_randomization", depth=1)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="an edge detector knows no model (Adebayo et al. 2018, the control)"
)
def test_edges_depend_on_the_weights(xai):
    """An edge map looks like an explanation."""
    assert xai.explainer(edges).changes_under("cascading_randomization")


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="noise seeded by the input is the same for every model")
def test_noise_of_the_input_depends_on_the_weights(xai):
    """It reproduces itself, it differs between inputs, and it knows no model."""
    assert xai.explainer(noise_of_the_input).changes_under("cascading_randomization")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="noise changes under everything, also under nothing: a raw similarity finds it best (Binder et al. 2022)",
)
def test_fresh_noise_depends_on_the_weights(xai):
    """It is unlike itself to begin with, so that its change shows nothing."""
    assert xai.explainer(fresh_noise).changes_under("cascading_randomization")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="noise seeded by the output passes every randomization and names no pixel that matters (Binder et al. 2022)",
)
def test_noise_of_the_output_finds_what_matters(xai):
    """A model's output is in it, but no pixel is."""
    assert xai.explainer(noise_of_the_output).beats("random", on="pixel_flipping")


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="without their signs, integrated gradients on sparse inputs are the input (Adebayo et al. 2018)",
)
def test_sizes_of_integrated_gradients_depend_on_the_weights(xai):
    """Where the image is black they are zero, for any model."""
    integrated = xai.explainer(IntegratedGradients, n_steps=8)
    assert integrated.changes_under("cascading_randomization", similarity="abs_spearman")


def test_fresh_noise_is_undecided(xai):
    """It is neither passed nor failed: nothing can be said of what does not reproduce itself."""
    assert xai.explainer(fresh_noise).changes_under("cascading_randomization").inconclusive


def test_integrated_gradients_are_undecided_by_several_similarities(xai):
    """By signed and absolute ranks together they are neither passed nor failed: the two contradict one another."""
    integrated = xai.explainer(IntegratedGradients, n_steps=8)
    several = ("spearman", "abs_spearman")
    assert integrated.changes_under("cascading_randomization", similarity=several).inconclusive


def test_noise_of_the_output_passes_randomization(xai):
    """It is true, and it is why randomization alone never counts as proof."""
    assert xai.explainer(noise_of_the_output).changes_under("cascading_randomization")
