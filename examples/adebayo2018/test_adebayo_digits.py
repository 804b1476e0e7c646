"""The findings of Adebayo et al. 2018, method by method, for a network that reads handwritten digits.

What is left of signed Spearman above chance when layers are randomized from the output down to fc2, fc1, conv2 and
conv1, and of what another training seed leaves when labels are permuted, for networks trained with the seeds 0 to 3:

| method            | layers, seed 0  | 1               | 2               | 3               | labels, seeds 0 to 3    |
| ----------------- | --------------- | --------------- | --------------- | --------------- | ----------------------- |
| Guided Backprop   | .82 .74 .51 .27 | .82 .71 .48 .24 | .88 .76 .60 .27 | .83 .72 .50 .26 | 0.68  0.60  0.73  0.58  |
| Guided GradCAM    | .75 .63 .45 .24 | .77 .63 .40 .21 | .77 .58 .43 .20 | .75 .63 .44 .23 | undecided               |
| Gradient, GradCAM | at most .12     | at most .12     | at most .12     | at most .12     | at most 0.10            |

What does not reproduce on small, sparse, gray images with a network of four layers:

- SSIM of Integrated Gradients and Gradient × Input drops as soon as the top layer is randomized, where it stays high
  on photographs: what is left is that both maps are zero where the image is.
- Guided Backprop's absolute ranks do not show it: maps of any two digits share where they are small, at the border, so
  that chance is 0.7 and leaves little to lose.
- Guided GradCAM keeps its map only if the class explained is the one that each randomized network predicts, as in the
  authors' code. The class of the trained network often has a GradCAM that is zero everywhere in a randomized one.
- The size of a gradient does not even outlive another training seed, a control that the paper lacks: absolute ranks say
  next to nothing about labels.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

import pytest
from adebayo_methods import methods
from digits import accuracy

from pytest_xaisanity.claims.changes_under import Readings
from pytest_xaisanity.evidence.controls import Alike, Controls, Resemblance
from pytest_xaisanity.evidence.interventions.label_randomization import Trained

pytestmark = pytest.mark.slow  # a network of its own is trained

CASCADING, INDEPENDENT, LABELS = "cascading_randomization", "independent_randomization", "label_randomization"
SENSITIVE = ["Gradient", "SmoothGrad", "GradCAM"]
MULTIPLIED = ["Gradient × Input", "Integrated Gradients"]
WEIGHTS = {"seeds": 3, "early": False}
SAMPLED = {**WEIGHTS, "cells": "sample"}  # where no curve over the layers is looked at
TOP_LAYERS = {"depth": 2, **WEIGHTS}  # both dense layers


@pytest.fixture
def explainers(xai):
    """Return the paper's methods by name."""
    return methods(xai)


def test_the_network_reads_digits(xai_model, xai_training_data):
    """A quarter of the quickstart's training set is enough."""
    _, _, images, labels = xai_training_data
    assert accuracy(xai_model, images, labels) >= 0.92


# ---------------------------------------------------------------------------------------------------------------------
# Randomized weights


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT])
@pytest.mark.parametrize("method", SENSITIVE)
def test_gradients_and_grad_cam_are_sensitive(explainers, method, order):
    """By every similarity."""
    assert explainers[method].changes_under(order, **SAMPLED)


@pytest.mark.parametrize("method", SENSITIVE)
def test_gradients_and_grad_cam_change_with_the_top_layer(explainers, method):
    """None of them waits for a lower one."""
    assert explainers[method].changes_under(CASCADING, depth=1, **WEIGHTS)


@pytest.mark.parametrize("similarity", ["spearman", "ssim"])
@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT])
def test_guided_backprop_does_not_change_with_the_higher_layers(explainers, order, similarity):
    """Both dense layers are new, together or one at a time, and most of the map is as it was."""
    verdict = explainers["Guided Backprop"].changes_under(order, similarity=similarity, **TOP_LAYERS)
    assert verdict.failed, verdict.reason


def test_absolute_ranks_of_guided_backprop_do_not_show_it(explainers):
    """What does not reproduce: maps of unrelated digits are nearly as alike as those of one."""
    verdict = explainers["Guided Backprop"].changes_under(CASCADING, similarity="abs_spearman", **TOP_LAYERS)
    assert not verdict.passed
    assert verdict.evidence.get_part(Readings)["abs_spearman"].chance > 0.55


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT])
def test_guided_backprop_changes_with_the_lowest_layers(explainers, order):
    """It is not invariant, as an early version of the paper said: each layer further down takes more of it away."""
    verdict = explainers["Guided Backprop"].changes_under(order, similarity="spearman", **WEIGHTS)
    top, *_, lowest = left = verdict.evidence.get_part(Readings)["spearman"].retention_by_position
    assert list(left) == sorted(left, reverse=True)
    assert top > 0.7
    assert lowest < 0.4


def test_guided_grad_cam_does_not_change_with_the_top_layer(explainers):
    """Like Guided Backprop, if the class explained is the one that each randomized network predicts."""
    guided = explainers["Guided GradCAM"]
    verdict = guided.changes_under(CASCADING, similarity="spearman", target="dynamic", depth=1, **WEIGHTS)
    assert verdict.failed, verdict.reason


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT])
def test_guided_grad_cam_changes_with_the_lowest_layers(explainers, order):
    """Layer by layer, down to what Guided Backprop keeps."""
    verdict = explainers["Guided GradCAM"].changes_under(order, similarity="spearman", target="dynamic", **WEIGHTS)
    left = verdict.evidence.get_part(Readings)["spearman"].retention_by_position
    assert list(left) == sorted(left, reverse=True)
    assert left[-1] < 0.4


def test_guided_grad_cam_of_a_class_that_no_longer_wins_is_zero(explainers):
    """GradCAM's weights come from the logits: without their positive sum nothing is left to multiply."""
    guided = explainers["Guided GradCAM"]
    zeros = {
        target: guided.changes_under(CASCADING, similarity="spearman", depth=1, target=target, **WEIGHTS)
        for target in ("fixed", "dynamic")
    }
    counts = {target: found.evidence.get_part(Readings)["spearman"].constant for target, found in zeros.items()}
    assert counts["fixed"] > 3 * counts["dynamic"]


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT, LABELS])
@pytest.mark.parametrize("method", MULTIPLIED)
def test_what_is_multiplied_by_the_input_depends_on_the_similarity(explainers, method, order):
    """The paper gives no verdict. Ranks that are blind to a global sign do, and name the reading that would not."""
    verdict = explainers[method].changes_under(order, **settings(order))
    assert verdict.passed
    assert "abs_spearman would have failed: 9" in verdict.reason
    several = explainers[method].changes_under(order, similarity=("spearman", "abs_spearman"), **settings(order))
    assert several.inconclusive
    assert several.reason.startswith("it depends on the similarity (spearman: ")


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT, LABELS])
@pytest.mark.parametrize("method", MULTIPLIED)
def test_what_is_multiplied_by_the_input_keeps_its_size_and_not_its_sign(explainers, method, order):
    """Absolute ranks see the input, which no randomization touches; signed ranks see the gradient."""
    explainer = explainers[method]
    assert explainer.changes_under(order, similarity="abs_spearman", **settings(order)).failed
    assert explainer.changes_under(order, similarity="spearman", **settings(order))


@pytest.mark.parametrize("method", MULTIPLIED)
def test_absolute_ranks_of_noise_times_the_input_are_as_alike(explainers, method):
    """A map without any model has it too: on images mostly black, absolute ranks must be held against that."""
    verdict = explainers[method].changes_under(CASCADING, similarity="abs_spearman", **WEIGHTS)
    null = verdict.evidence.get_part(Controls).get_control(Alike, "input × noise").after["abs_spearman"]
    assert null > 0.95
    found = verdict.evidence.get_part(Readings)["abs_spearman"]
    assert found.after_by_position == pytest.approx((null,) * 4, abs=0.03)


@pytest.mark.parametrize("method", MULTIPLIED)
def test_ssim_drops_at_once(explainers, method):
    """What does not reproduce: on photographs it stays high."""
    verdict = explainers[method].changes_under(CASCADING, similarity="ssim", depth=1, **WEIGHTS)
    assert verdict
    found = verdict.evidence.get_part(Readings)["ssim"]
    assert found.after_by_position[0] < 0.6 < found.own == 1.0


@pytest.mark.parametrize("order", [CASCADING, INDEPENDENT, LABELS])
def test_an_edge_detector_changes_under_nothing(explainers, order):
    """The paper's control: exactly the same map at every depth and after every training."""
    verdict = explainers["edges"].changes_under(order, **settings(order))
    assert verdict.failed
    readings = verdict.evidence.get_part(Readings).by_similarity
    assert {name: set(found.retention_by_position) for name, found in readings.items()} == {
        "sign_flip_spearman": {1.0},
        "spearman": {1.0},
        "abs_spearman": {1.0},
        "ssim": {1.0},
    }


def test_what_is_left_resembles_the_edges_of_the_image(explainers):
    """Gradients lose their likeness to edges with the weights; inputs multiplied by gradients do not."""

    def resemblance(method):
        verdict = explainers[method].changes_under(CASCADING, similarity="rms_ssim", **WEIGHTS)
        found = verdict.evidence.get_part(Controls).get_control(Resemblance)
        return [after / found.before["rms_ssim"] for after in found.after["rms_ssim"]]

    assert resemblance("Gradient")[-1] < 0.5
    assert min(resemblance("Integrated Gradients")) > 0.7
    assert min(resemblance("Guided Backprop")[:3]) > 0.7


# ---------------------------------------------------------------------------------------------------------------------
# Permuted labels


@pytest.mark.parametrize("method", SENSITIVE)
def test_gradients_and_grad_cam_follow_the_labels(explainers, method):
    """Another training seed leaves much of them, permuted labels nothing."""
    assert explainers[method].changes_under(LABELS, similarity="spearman", early=False)


def test_permuted_labels_are_learned_by_heart(explainers):
    """Without that, and without chance on the test images, there would be no verdict."""
    verdict = explainers["Gradient"].changes_under(LABELS, similarity="spearman")
    accuracies = verdict.evidence.get_part(Trained).accuracies
    for true, permuted in zip(accuracies["true labels"], accuracies["permuted labels"], strict=True):
        assert min(true.training, permuted.training) > 0.95
        assert true.test > 0.9
        assert permuted.test < 0.2


@pytest.mark.parametrize("method", ["Gradient", "SmoothGrad"])
def test_the_size_of_gradients_says_little_about_labels(explainers, method):
    """Another training seed changes it nearly as much as another image does: the control that the paper lacks."""
    readings = explainers[method].changes_under(LABELS, early=False).evidence.get_part(Readings)
    above_chance = {name: found.own - found.chance for name, found in readings.by_similarity.items()}
    assert above_chance["abs_spearman"] < 0.2
    assert above_chance["spearman"] > 0.35


def test_guided_backprop_still_covers_the_digit(explainers):
    """It changes visibly, by SSIM of maps of one size, and by signed ranks keeps much of what another seed does."""
    guided = explainers["Guided Backprop"]
    verdict = guided.changes_under(LABELS, similarity="spearman", retention=0.3, early=False)
    assert verdict.failed, verdict.reason
    assert guided.changes_under(LABELS, similarity="rms_ssim", early=False)


def test_the_table_has_a_line_for_each_similarity(explainers):
    """That of edges is the one that can be written down."""
    table = run_path(str(Path(__file__).with_name("table.py")))
    heading, *lines, joint = table["rows"]("edges", explainers["edges"])
    assert heading.split() == ["edges", *["fc2", "fc1", "conv2", "conv1"] * 2, "seed", "labels", "left"]
    for line, words in zip(lines, table["SIMILARITIES"].values(), strict=True):
        assert line.removeprefix(f"  {words}").split() == [*["1.00"] * 4, "failed"] * 2 + [*["1.00"] * 3, "failed"]
    assert joint.split() == ["none", "named", *["failed"] * 3]


def settings(order):
    """Return the settings of a claim that all inputs decide."""
    return {"early": False} if order == LABELS else SAMPLED
