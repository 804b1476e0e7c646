"""What holds for the explanations of a network that tells faces from other things, and that others trained."""

from __future__ import annotations

import pytest
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from faces import Faces, RNet, accuracy, load_faces, trained_rnet


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Return a hundred faces and a hundred other things."""
    return load_faces()


@pytest.fixture(scope="module")
def xai_model() -> RNet:
    """Return the network under test in this module."""
    return trained_rnet()


@pytest.fixture(scope="module")
def xai_inputs(faces: Faces):
    """Return faces alone: whatever is removed from a picture of no face, it stays one."""
    return faces.images[faces.labels == 1][:64]


def test_the_network_knows_faces(xai_model, faces):
    """The weights and the images fit each other."""
    assert accuracy(xai_model, faces.images, faces.labels) == 1.0


# The last layer alone has two classes: re-initialized it often gives the same map, or its negative, to every face at
# once, whatever the explainer. Two layers have enough weights for the draws to agree.
@pytest.mark.xai_changes_under("cascading_randomization", similarity="spearman")
@pytest.mark.xai_changes_under("cascading_randomization", depth=2, similarity="spearman")
@pytest.mark.xai_explainer(Saliency, abs=False)
@pytest.mark.xai_explainer(IntegratedGradients, n_steps=8)
@pytest.mark.xai_explainer(LayerGradCam, layer="prelu3")
def test_explanations_follow_the_weights(xai_verdict):
    """Neither the gradients nor what is built from them survives other weights."""
    assert xai_verdict


def test_gradients_by_every_similarity(xai):
    """No similarity finds the trained network's gradients in a network drawn at random."""
    assert xai.explainer(Saliency, abs=False).changes_under("cascading_randomization")


# Plain gradients make no such claim: on these faces it depends on what replaces the pixels (`imputer=`).
@pytest.mark.xai_beats("random", on="pixel_flipping")
@pytest.mark.xai_explainer(IntegratedGradients, n_steps=8)
@pytest.mark.xai_explainer(LayerGradCam, layer="prelu3")
def test_explanations_find_what_makes_a_face(xai_verdict):
    """Without the pixels that they name first, the face is gone sooner."""
    assert xai_verdict
