"""Maps that were computed elsewhere: they serve claims of given maps, and are refused by those that explain again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers.precomputed import Precomputed


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def maps(net, inputs):
    given = inputs.clone().requires_grad_()
    return InputXGradient(net).attribute(given, target=net(inputs).argmax(1)).detach()


@pytest.fixture
def bench(net, inputs):
    return Bench(net, inputs)


@pytest.mark.slow
def test_they_are_decided_as_the_explainer_is_that_made_them(bench, maps):
    for form in (maps, maps.numpy(), maps[:, 0].double().numpy()):
        given = bench.explainer(Precomputed(form, "of the service"))
        for baseline in ("random", "other_input", "edges"):
            ours = given.beats(baseline, on="pixel_flipping")
            theirs = bench.explainer(InputXGradient).beats(baseline, on="pixel_flipping")
            assert (ours.outcome, ours.n) == (theirs.outcome, theirs.n)
            assert ours.estimate == pytest.approx(theirs.estimate, abs=1e-6)
    assert given.bounded("complexity", at_most=4.15).claim.startswith("of the service bounded")


@pytest.mark.parametrize(
    "claim",
    [
        lambda one: one.changes_under("cascading_randomization"),
        lambda one: one.changes_under("later_layers"),
        lambda one: one.changes_under("other_target"),
        lambda one: one.invariant_under("batch_order"),
        lambda one: one.invariant_under("input_shift"),
        lambda one: one.invariant_under("no_op_layer"),
        lambda one: one.bounded("max_sensitivity", at_most=0.4),
        lambda one: one.bounded("efficient_mprt", at_least=1),
    ],
)
def test_a_claim_that_has_to_explain_again_is_one_clear_error(bench, maps, claim):
    with pytest.raises(XaiError, match="a claim that has to explain again") as caught:
        claim(bench.explainer(Precomputed(maps)))
    assert "give the explainer itself" in caught.value.fix


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((5, 1, 8, 8)), "5 maps for 48 inputs"),
        (np.zeros(48), "of shape"),
        ("maps.npy", "a str"),
        (np.zeros((48, 1, 7, 5, 2)), "attributions of shape"),
    ],
)
def test_maps_that_cannot_be_are_one_error(bench, wrong, said):
    with pytest.raises(XaiError, match=said):
        bench.explainer(Precomputed(wrong)).beats("random", on="pixel_flipping")


def test_they_are_read_from_files(bench, maps, tmp_path):
    from safetensors.torch import save_file

    np.save(tmp_path / "a.npy", maps.numpy())
    save_file({"maps": maps}, tmp_path / "b.safetensors")
    for name in ("a.npy", "b.safetensors"):
        found = Precomputed.of_file(tmp_path / name)
        assert found.name == name[0]
        assert torch.equal(torch.as_tensor(found.maps), maps)
        assert bench.explainer(found).beats("random", on="pixel_flipping")


def test_they_are_indifferent_to_the_order_in_which_inputs_are_visited(net, inputs, maps):
    """Row i belongs to input i: maps of other inputs are no better than chance."""
    wrong = Bench(net, inputs).explainer(Precomputed(maps.roll(7, 0)))
    assert not wrong.beats("random", on="pixel_flipping")
