"""What holds for explanations of a network that tells wines, by numbers and by words that are one-hot columns."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from tables import ONE_HOT, accuracy, one_hot, trained, wine

from pytest_xaisanity import Bench, XaiError

WORDS = one_hot(wine().features)


@pytest.fixture(scope="module")
def xai_model():
    """Return the network whose explanations are tested."""
    return trained(wine())


@pytest.fixture(scope="module")
def xai_inputs():
    """Return the rows that are explained."""
    return wine().test_rows


@pytest.fixture(scope="module")
def xai_features():
    """Return the names of their columns."""
    return wine().features


def test_the_network_tells_wines(xai_model):
    """Explanations of a network that guesses would be worth nothing."""
    assert accuracy(xai_model, wine()) >= 0.93


@pytest.mark.parametrize("imputer", ["marginal", "conditional_mean"])
@pytest.mark.parametrize("explainer", [InputXGradient, IntegratedGradients])
def test_columns_of_a_word_move_together(xai, explainer, imputer):
    """A word is there or not: the columns that tell it are one feature."""
    verdict = xai.explainer(explainer).beats(
        "random", on="pixel_flipping", groups=WORDS, imputer=imputer, output="logit"
    )
    assert verdict
    assert verdict.evidence["regions"] == len(wine().features) - 2 * len(ONE_HOT)
    assert set(ONE_HOT) < set(verdict.evidence["features"])


def test_a_constant_order_of_the_columns_is_no_explanation(xai):
    """The same columns for every wine: they may matter on average, and other wines have other reasons."""

    def by_position(model, inputs, targets):
        return torch.arange(inputs.shape[1], 0.0, -1.0).expand_as(inputs) + inputs / 1000

    assert not xai.explainer(by_position).beats("random", on="pixel_flipping", groups=WORDS, output="logit")


def test_missing_values_are_refused_by_name(xai_model):
    """Nothing is made of a value that is not there."""
    rows = wine().test_rows.clone()
    rows[3, 2] = float("nan")
    bench = Bench(xai_model, rows, features=wine().features)
    with pytest.raises(XaiError, match=f"column '{wine().features[2]}'"):
        bench.explainer(InputXGradient).beats("random", on="pixel_flipping")
