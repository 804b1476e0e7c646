"""Training data that cannot be: blamed on ``xai_training_data``, with what is wrong and where, by all that retrains."""

from __future__ import annotations

import warnings

import pytest
import torch
from retraining import Linear, least_squares, problem

from pytest_xaisanity import Bench, XaiError, XaiWarning
from pytest_xaisanity.model.training_data import training_data

(X, Y), (TEST_X, TEST_Y) = problem(90, 0), problem(40, 1)


def holding(inputs, value, *place):
    inputs = inputs.clone()
    inputs[place] = value
    return inputs


def untrained(inputs, targets, seed):
    raise AssertionError("trained")


def own_map(model, inputs, targets):
    return inputs.sum(1) * torch.linspace(1, 2, 9).reshape(3, 3)


WRONG = {
    "nan": (
        (holding(X, float("nan"), 7, 0, 1, 2), Y, TEST_X, TEST_Y),
        r"nan in the training inputs, first in input 7 at \(0, 1, 2\); 1 of 90",
    ),
    "inf": (
        (X, Y, holding(TEST_X, float("inf"), 3), TEST_Y),
        r"inf in the test inputs, first in input 3 at \(0, 0, 0\); 1 of 40",
    ),
    "channels": (
        (X[:, :1], Y, TEST_X[:, :1], TEST_Y),
        r"inputs \(.., 1, 3, 3\) torch.float32, with which xai_model gives RuntimeError.* xai_inputs are, \(40, 2, 3",
    ),
    "bool": ((X > 0, Y, TEST_X > 0, TEST_Y), r"training inputs.* \(90, 2, 3, 3\) torch.bool"),
    "axes": (
        (X, Y, TEST_X.flatten(1), TEST_Y),
        r"training inputs \(90, 2, 3, 3\) torch.float32, but test inputs \(40, 18\)",
    ),
    "bytes": ((X.byte(), Y, TEST_X, TEST_Y), r"training inputs .* torch.uint8, but test inputs .* torch.float32"),
    "names": (({"x": X}, Y, TEST_X, TEST_Y), r"training inputs x \(90, 2, 3, 3\).*, but test inputs \(40, 2, 3, 3\)"),
    "lengths": ((X[:80], Y, TEST_X, TEST_Y), "90 training targets for 80 inputs"),
    "no test": ((X, Y, TEST_X[:0], TEST_Y[:0]), "no test targets"),
    "none": ((X, None, TEST_X, TEST_Y), "no training targets, but None"),
    "one class": ((X, Y, TEST_X[TEST_Y == 1], TEST_Y[TEST_Y == 1]), "test targets of the class 1 alone"),
    "negative": ((X, holding(Y, -100, 4), TEST_X, TEST_Y), "the class -100 as the training target 4, and 1 below 0"),
    "class unseen": (
        (X[Y < 2], Y[Y < 2], TEST_X, TEST_Y),
        "16 of 40 test inputs, first the test input 1, of the class 2, of which there is no",
    ),
    "class unknown": (
        (X, holding(Y, 5, 2), TEST_X, TEST_Y),
        "class 5 as the training target 2, for a model with 3 outputs",
    ),
    "equal": ((X * 0, Y, TEST_X, TEST_Y), r"training inputs \(90, 2, 3, 3\) torch.float32 that are all the same"),
    "a list": ((X.tolist(), Y, TEST_X, TEST_Y), "90 training targets for 2 inputs; a list is taken for the tensors"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("claim", ["roar", "label_randomization"])
def test_the_error_names_the_data_and_what_was_found_where_before_anything_is_trained(wrong, claim):
    data, found = WRONG[wrong]
    claims = Bench(least_squares(X, Y, 0).eval(), TEST_X, train=untrained, training_data=data, device="cpu")
    made = claims.explainer(own_map)
    with pytest.raises(XaiError, match=f"xai_training_data: found .*{found}"):
        made.bounded("roar", at_most=0.9) if claim == "roar" else made.changes_under(claim)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            (X.flatten(1), Y, TEST_X.flatten(1), TEST_Y),
            r"training inputs \(90, 18\) .*, but xai_inputs \(40, 2, 3, 3\)",
        ),
        (
            (X, Y, TEST_X[..., :2], TEST_Y),
            r"but test inputs \(40, 2, 3, 2\) torch.float32; expected inputs of one shape for roar",
        ),
        ((X[:, 0, 0, 0], Y, TEST_X[:, 0, 0, 0], TEST_Y), r"training inputs, \(90,\) torch.float32.*return a table"),
        (((X,), Y, (TEST_X,), TEST_Y), "training inputs in a tuple"),
    ],
)
def test_what_roar_cannot_remove_values_of_is_said(data, found):
    claims = Bench(least_squares(X, Y, 0).eval(), TEST_X, train=untrained, training_data=data, device="cpu")
    with pytest.raises(XaiError, match=f"xai_training_data: found .*{found}"):
        claims.explainer(own_map).bounded("roar", at_most=0.9)


def test_classes_of_which_nothing_would_be_left_are_not_held_out():
    """A tenth is held out; of a class with a single input that one stays in training."""
    targets = torch.zeros(100, dtype=torch.long)
    targets[50:90] = 1
    targets[90:] = torch.arange(2, 12)
    for seed in range(5):
        data = training_data((torch.arange(100.0)[:, None], targets), seed)
        assert set(data.test_targets.tolist()) <= {0, 1}
        assert set(data.targets.tolist()) == set(range(12))
        held = torch.cat([data.inputs, data.test_inputs]).flatten()
        assert held.sort().values.tolist() == list(range(100))
    with pytest.raises(XaiError, match="each of a class of its own"):
        training_data((torch.arange(40.0)[:, None], torch.arange(40)), 0)


def test_a_half_that_is_held_out_is_that_of_before():
    """Where each class has many inputs: a tenth of a seeded order."""
    data = training_data((X, Y), 0)
    assert len(data.test_targets) == 9
    assert len(data.targets) == 81


def test_test_inputs_that_are_training_inputs_are_said():
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64):
        given = (10 * X.clamp_min(0)).to(dtype)
        with pytest.warns(XaiWarning, match="each of the 40 test inputs is a training input too"):
            training_data((given, Y, given[:40], Y[:40]), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training_data((X, Y, torch.cat([X[:39], TEST_X[:1]]), Y[:40]), 0)
        training_data(({"x": X, "y": X}, Y, {"x": X, "y": X.flip(0)}, Y), 0)  # an input is all its tensors


def test_one_score_for_two_classes_is_no_error():
    """A model with a single logit tells two classes apart; its retrained kind may have two."""
    torch.manual_seed(0)
    model = Linear(18, 1).eval()
    data = (X, (Y > 0).long(), TEST_X, (TEST_Y > 0).long())
    claims = Bench(model, TEST_X, train=least_squares, training_data=data, device="cpu").explainer(own_map)
    assert claims.bounded("roar", at_most=0.999, fractions=0.5, runs=2).n > 0
