"""What holds for explanations of a network that tells tumors by thirty columns with names."""

from __future__ import annotations

import pytest
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients
from tables import accuracy, cancer, measurements, trained

GROUPS = measurements(cancer().features)


@pytest.fixture(scope="module")
def xai_model():
    """Return the network whose explanations are tested."""
    return trained(cancer())


@pytest.fixture(scope="module")
def xai_inputs():
    """Return the rows that are explained."""
    return cancer().test_rows


@pytest.fixture(scope="module")
def xai_features():
    """Return the names of their columns."""
    return cancer().features


def test_the_network_tells_tumors(xai_model):
    """Explanations of a network that guesses would be worth nothing."""
    assert accuracy(xai_model, cancer()) >= 0.93


def test_integrated_gradients(xai):
    """Column by column: they follow the weights, and the columns they name matter."""
    integrated = xai.explainer(IntegratedGradients, n_steps=16)
    assert integrated.changes_under("cascading_randomization")
    assert integrated.beats("random", on="pixel_flipping")


@pytest.mark.parametrize("imputer", ["mean", "constant", "marginal", "conditional_mean"])
def test_whatever_takes_the_place_of_a_measurement(xai, imputer):
    """Mean, error and worst value of a measurement go together: each of them alone is told by the other two."""
    integrated = xai.explainer(IntegratedGradients, n_steps=16)
    verdict = integrated.beats("random", on="pixel_flipping", groups=GROUPS, imputer=imputer, output="logit")
    assert verdict
    assert verdict.evidence["features"] == list(GROUPS)
    assert set(verdict.evidence["leading"]) <= set(GROUPS)


def test_the_gradient_alone_does_not_say_what_a_column_contributes(xai):
    """What a change of a column would do says less of what its removal does than that times its value."""
    without, with_input = (xai.explainer(InputXGradient, multiplier=word) for word in ("without", "with"))
    assert with_input.beats(without, on="pixel_flipping", output="logit", imputer="constant")


def test_removing_columns_one_by_one_is_an_explanation_too(xai):
    """What the output loses with a column tells which matter together."""
    assert xai.explainer(FeatureAblation).beats("random", on="pixel_flipping", imputer="constant", output="logit")
