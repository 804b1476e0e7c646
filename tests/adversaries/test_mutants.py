"""Mutants: each does what its name says, by hand and by the model it leaves behind; and the baseline they make."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.adversaries.mutants import MUTANTS, mutated
from pytest_xaisanity.claims import make as claims
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.baselines.mutants import ChangedMap, Mutants
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request
from pytest_xaisanity.maps.changes import CHANGES, Inapplicable
from pytest_xaisanity.maps.edges import edge_maps
from pytest_xaisanity.model.layers import find_layers
from pytest_xaisanity.model.reinit.randomizer import Randomizer

NAMES = list(MUTANTS)
IMAGES = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)


def mutant(name: str):
    """Return a mutant, built anew where it keeps state."""
    source = MUTANTS.get(name, where="test")
    return source() if isinstance(source, type) else source


class Given:
    """An original that gives these maps, whatever it is asked."""

    def __init__(self, maps, axes=None):
        self.maps, self.axes = maps, axes

    def __call__(self, model, inputs, targets):
        return self.maps


def changed(name: str, maps, inputs=None, axes=None):
    """Return what the mutant ``name`` makes of these maps."""
    model, targets = nn.Identity(), None
    return mutant(name)(Given(maps, axes), model, maps if inputs is None else inputs, targets)


def linear(*sizes: int) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(one, other) for one, other in itertools.pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), *layers).eval()


def gradient(model, inputs, targets):
    """Return the gradient of the explained output of one input tensor."""
    inputs = inputs.detach().requires_grad_()
    outputs = model(inputs)
    rows = outputs[:, 0] if targets is None else outputs.gather(1, targets[:, None])[:, 0]
    return torch.autograd.grad(rows.sum(), inputs)[0]


def state(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())]


def same(a, b) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Changes of a map alone


@pytest.mark.parametrize(
    ("name", "maps", "expected"),
    [
        ("flipped_sign", [[1.0, -2.0, 0.0]], [[-1.0, 2.0, 0.0]]),
        ("absolute_value", [[1.0, -2.0, 0.0]], [[1.0, 2.0, 0.0]]),
        ("shifted", [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]], [[7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]),
        ("shifted", [[1.0, 2.0, 3.0]], [[3.0, 1.0, 2.0]]),
        ("flipped", [[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]),
        ("rounded", [[4.0, 1.9, -2.1, -4.0], [0.1, 0.02, 0.0, -0.06]], [[1, 0, -1, -1], [1, 0, 0, -1]]),
        ("rounded", [[0.0, 0.0]], [[0.0, 0.0]]),
    ],
)
def test_maps_of_features_by_hand(name, maps, expected):
    assert torch.equal(changed(name, torch.tensor(maps)), torch.tensor(expected, dtype=torch.float32))


def test_maps_of_images_by_hand():
    flipped = torch.tensor([[4.0, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9]])
    shifted = torch.tensor([[12.0, 9, 10, 11], [4, 1, 2, 3], [8, 5, 6, 7]])  # by one place along either axis
    assert torch.equal(changed("flipped", IMAGES)[0, 0], flipped)
    assert torch.equal(changed("shifted", IMAGES)[0, 0], shifted)


def test_a_shift_is_a_quarter_of_each_axis():
    maps = torch.randn(2, 3, 8, 12)
    assert torch.equal(changed("shifted", maps), maps.roll((2, 3), (2, 3)))


def test_a_shuffle_moves_every_pixel_alike():
    """The channels of a pixel stay together, and all inputs are shuffled in the same way each time."""
    maps = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    shuffled = changed("shuffled", maps)
    pixels, given = shuffled.flatten(2), maps.flatten(2)
    order = [given[0, 0].tolist().index(value) for value in pixels[0, 0].tolist()]
    assert sorted(order) == list(range(20))
    assert order != list(range(20))
    assert torch.equal(pixels, given[..., order])
    assert torch.equal(changed("shuffled", maps), shuffled)


def test_low_rank_is_the_nearest_map_that_is_a_product_of_a_row_and_a_column():
    """Eckart and Young: what is left out has the energy of all singular values but the first."""
    maps = torch.randn(4, 2, 7, 5, dtype=torch.float64)
    coarse = changed("low_rank", maps)
    sizes = torch.linalg.svdvals(maps)
    assert (torch.linalg.matrix_rank(coarse, rtol=1e-10) == 1).all()
    torch.testing.assert_close((maps - coarse).square().sum((-2, -1)), sizes[..., 1:].square().sum(-1))


def test_low_rank_needs_two_axes():
    with pytest.raises(Inapplicable, match="one axis"):
        changed("low_rank", torch.randn(2, 5))
    with pytest.raises(Inapplicable, match="one axis"):
        changed("low_rank", torch.randn(2, 3, 5))  # channels and places


def test_rounding_takes_the_largest_of_all_channels():
    maps = torch.tensor([[[8.0, 2.0]], [[1.0, 8.0]]]).reshape(1, 2, 1, 2)
    assert torch.equal(changed("rounded", maps).flatten(), torch.tensor([1.0, 0.0, 0.0, 1.0]))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("shape", [(2, 1, 3, 2), (2, 3, 2), (2, 6, 8)])
def test_maps_without_the_shape_of_the_inputs_are_changed_by_their_own(name, shape):
    """Those of low resolution, and those without channels."""
    maps, images = torch.randn(shape), torch.randn(2, 3, 6, 8)
    result = changed(name, maps, images)
    assert result.shape == maps.shape
    assert not torch.equal(result, maps)
    assert torch.equal(result, CHANGES[name](maps, 2))


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "low_rank"])
def test_each_of_several_maps_is_changed(name):
    maps = torch.randn(2, 9), torch.randn(2, 3, 4, 5)
    first, second = changed(name, maps)
    assert torch.equal(first, CHANGES[name](maps[0], 1))
    assert torch.equal(second, CHANGES[name](maps[1], 2))


def test_low_rank_leaves_numbers_that_are_none():
    maps = torch.randn(2, 1, 4, 4)
    maps[0, 0, 0, 0] = torch.nan
    assert torch.isfinite(changed("low_rank", maps)).all()


def test_one_channel():
    maps = torch.randn(2, 3, 4, 5)
    assert torch.equal(changed("one_channel", maps), maps[:, :1])
    for other in (torch.randn(2, 9), torch.randn(2, 1, 4, 5), torch.randn(2, 2, 2)):
        assert torch.equal(changed("one_channel", other, inputs=torch.randn(2, 3, 4, 5)), other)


# ---------------------------------------------------------------------------------------------------------------------
# What is explained is another


def asked(model, inputs, targets):
    """Return inputs and targets where attributions should be."""
    return inputs, targets


def test_wrong_class_is_the_next_one():
    inputs, targets = torch.randn(4, 5), torch.tensor([0, 1, 2, 2])
    same_inputs, other = mutant("wrong_class")(asked, linear(5, 3), inputs, targets)
    assert same_inputs is inputs
    assert other.tolist() == [1, 2, 0, 0]
    assert targets.tolist() == [0, 1, 2, 2]


def test_wrong_class_of_positions_changes_the_last_column():
    model = nn.Unflatten(1, (2, 3))
    targets = torch.tensor([[0, 2], [1, 0]])
    _, other = mutant("wrong_class")(asked, model, torch.randn(2, 6), targets)
    assert other.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("targets", [None, torch.zeros(4, dtype=torch.long)])
def test_a_single_output_has_no_other_class(targets):
    with pytest.raises(Inapplicable, match="single output"):
        mutant("wrong_class")(asked, linear(5, 1), torch.randn(4, 5), targets)


def test_another_input_is_the_one_before():
    """Over the border of two calls too; the first of all has the last of its own call before it."""
    other = mutant("another_input")
    inputs, targets = torch.arange(5.0)[:, None], torch.arange(5)
    for part, rows in ((slice(0, 3), [2, 0, 1]), (slice(3, 4), [2]), (slice(4, 5), [3])):
        given, classes = other(asked, None, inputs[part], targets[part])
        assert given[:, 0].tolist() == classes.tolist() == rows


def test_another_input_of_several_tensors_without_targets():
    inputs = torch.arange(3.0)[:, None], torch.arange(6).reshape(3, 2)
    (first, second), targets = mutant("another_input")(asked, None, inputs, None)
    assert targets is None
    assert first[:, 0].tolist() == [2.0, 0.0, 1.0]
    assert second.tolist() == [[4, 5], [0, 1], [2, 3]]


def test_the_previous_call_has_the_map_that_the_call_before_should_have_had():
    previous = mutant("previous_call")
    for given, expected in (([1.0, 2.0], [1.0, 2.0]), ([3.0, 4.0, 5.0], [1.0, 2.0, 1.0]), ([6.0], [3.0])):
        assert previous(lambda _, x, __: x, None, torch.tensor(given)[:, None], None)[:, 0].tolist() == expected


def test_the_previous_call_of_several_tensors():
    previous, inputs = mutant("previous_call"), (torch.ones(2, 1), torch.ones(2, 3))
    previous(lambda *_: (inputs[0], inputs[1]), None, inputs, None)
    first, second = previous(lambda *_: (2 * inputs[0], 2 * inputs[1]), None, inputs, None)
    assert first.shape == (2, 1)
    assert torch.equal(second, inputs[1])


# ---------------------------------------------------------------------------------------------------------------------
# The model is another


class Odd(nn.Module):
    """A buffer beside the weights, and two inputs."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x, y):
        return self.norm(self.layer(x * y))


def explain_first(model, inputs, targets):
    return tuple(torch.zeros_like(one) + model.layer.weight[:1].detach() for one in inputs)


@pytest.mark.parametrize("name", ["untrained", "stale"])
@pytest.mark.parametrize("raises", [False, True])
def test_the_model_comes_back_bit_for_bit(name, raises):
    torch.manual_seed(0)
    model, inputs = Odd().eval(), (torch.randn(2, 4), torch.randn(2, 4))
    before = state(model)

    def explain(model, inputs, targets):
        if raises:
            raise ZeroDivisionError
        return explain_first(model, inputs, targets)

    one = mutant(name)
    one(explain_first, model, inputs, None)
    model.layer.weight.data += 1
    moved = state(model)
    if raises:
        with pytest.raises(ZeroDivisionError):
            one(explain, model, inputs, None)
    else:
        one(explain, model, inputs, None)
    assert same(state(model), moved)
    assert not same(moved, before)
    assert not model.training


def test_untrained_explains_weights_drawn_anew_and_always_the_same():
    torch.manual_seed(0)
    model, inputs = Odd().eval(), (torch.randn(2, 4), torch.randn(2, 4))
    given, one = model.layer.weight.detach().clone(), mutant("untrained")
    maps = one(explain_first, model, inputs, None)[0]
    assert not torch.equal(maps[0], given[0])
    model.layer.weight.data.mul_(3)
    assert torch.equal(one(explain_first, model, inputs, None)[0], maps)


def test_untrained_works_inside_of_a_randomized_model():
    model, inputs = linear(4, 5, 3), torch.randn(2, 4)
    before, one = state(model), mutant("untrained")
    maps = one(gradient, model, inputs, torch.tensor([0, 1]))
    layers = find_layers(model, lambda: model(inputs))
    with Randomizer(model, layers.layers, "own", seed=3) as randomizer:
        for layer in layers.layers:
            randomizer.randomize(layer)
        inside = state(model)
        assert torch.equal(one(gradient, model, inputs, torch.tensor([0, 1])), maps)
        assert same(state(model), inside)
    assert same(state(model), before)


def test_untrained_needs_a_layer():
    with pytest.raises(Inapplicable, match="no layer"):
        mutant("untrained")(asked, nn.Flatten(), torch.randn(2, 4), None)


@pytest.mark.parametrize("name", ["untrained", "stale"])
def test_the_weights_of_a_function_are_not_known(name):
    with pytest.raises(Inapplicable, match="the model is a function"):
        mutant(name)(asked, torch.sin, torch.randn(2, 4), None)


def test_stale_explains_the_weights_of_the_first_call():
    model, inputs, targets = linear(4, 3), torch.randn(2, 4), torch.tensor([0, 1])
    one = mutant("stale")
    first = one(gradient, model, inputs, targets)
    assert torch.equal(first, gradient(model, inputs, targets))
    with torch.no_grad():
        model[1].weight.neg_()
    assert torch.equal(one(gradient, model, inputs, targets), first)
    assert torch.equal(gradient(model, inputs, targets), -first)


# ---------------------------------------------------------------------------------------------------------------------
# Nothing of it is left


def test_edges_are_those_of_the_image():
    images = torch.randn(2, 3, 6, 6)
    assert torch.equal(changed("edges", None, images), edge_maps(images))
    for other in (torch.randn(2, 9), (images, images)):
        with pytest.raises(Inapplicable):
            changed("edges", None, other)


def test_the_input_is_a_copy_in_numbers_with_a_fraction():
    images = torch.randn(2, 3)
    assert torch.equal(changed("input", None, images), images)
    assert changed("input", None, images) is not images
    words, places = changed("input", None, (torch.tensor([[1, 2]]), images))
    assert words.tolist() == [[1.0, 2.0]]
    assert words.dtype == torch.float32
    assert torch.equal(places, images)


def test_a_constant_is_one_everywhere():
    first, second = changed("constant", None, (torch.zeros(2, 3), torch.tensor([[1], [2]])))
    assert torch.equal(first, torch.ones(2, 3))
    assert torch.equal(second, torch.ones(2, 1))
    assert torch.equal(changed("constant", None, torch.zeros(2, 3, 4, 5)), torch.ones(2, 1, 4, 5))


class TestNoise:
    @pytest.fixture
    def drawn(self):
        model, inputs = linear(4, 3), torch.randn(3, 4)
        return lambda name, inputs=inputs, model=model: mutant(name)(Given(None), model, inputs, None)

    def test_fresh_noise_is_another_each_time(self, drawn):
        assert not torch.equal(drawn("fresh_noise"), drawn("fresh_noise"))

    def test_noise_of_the_input_depends_on_the_input_alone(self, drawn):
        assert torch.equal(drawn("input_noise"), drawn("input_noise", model=linear(4, 9)))
        assert not torch.equal(drawn("input_noise"), drawn("input_noise", inputs=torch.randn(3, 4)))

    def test_noise_of_the_output_depends_on_the_ranking_of_the_outputs(self, drawn):
        inputs, model = torch.tensor([[1.0, 2, 3], [2, 3, 4], [3, 2, 1]]), nn.Identity()
        maps = drawn("output_noise", inputs, model)
        assert torch.equal(maps[0], maps[1])
        assert not torch.equal(maps[0], maps[2])

    @pytest.mark.parametrize("name", ["fresh_noise", "input_noise", "output_noise"])
    def test_several_inputs_have_no_noise(self, drawn, name):
        with pytest.raises(Inapplicable, match="several inputs"):
            drawn(name, (torch.randn(2, 3), torch.randn(2, 3)))


# ---------------------------------------------------------------------------------------------------------------------
# As an explainer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6, 9), (6, 3, 8), (6, 3, 6, 8), (6, 1, 3, 6, 4)])
def test_every_mutant_is_an_explainer_of_any_input(name, shape):
    """Its maps are those of the original in shape, the model and the global generators are left alone."""
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    model = linear(inputs[0].numel(), 4)
    before, states = state(model), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    bench = Bench(model, inputs)
    explainer = mutated(as_explainer(InputXGradient, model), name, mutant(name))
    try:
        bench.decide(claims.invariant_under("batch_order"), explainer)
    except XaiError as error:
        if name != "constant" and not isinstance(error.__cause__, Inapplicable):
            raise
    assert same(state(model), before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", CHANGES)
def test_models_in_other_precisions_have_mutants(name, dtype):
    images = torch.randn(4, 1, 6, 6, dtype=dtype)
    model = linear(36, 3).to(dtype)
    explainer = mutated(as_explainer(InputXGradient, model), name, mutant(name))
    maps = explainer.attribute(Request(model, (images,), torch.tensor([0, 1, 2, 0]), (0, 1, 2, 3)))
    assert maps.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.isfinite(maps).all()


def test_results_in_numpy_and_maps_of_integers_have_mutants():
    def counts(model, inputs, targets):
        return np.flip(inputs.detach().numpy() > 0, axis=1).astype(np.int64)

    inputs = torch.tensor([[1.0, -1.0, -1.0]])
    explainer = mutated(as_explainer(counts, nn.Identity()), "flipped_sign", mutant("flipped_sign"))
    assert torch.equal(
        explainer.attribute(Request(nn.Identity(), (inputs,), None, (0,))), torch.tensor([[0.0, 0.0, -1.0]])
    )


def test_a_mutant_of_a_sampling_explainer_draws_what_the_original_draws():
    """So that it is no other but for the change."""
    seen = []

    def sampling(model, inputs, targets):
        seen.append(len(inputs))
        return inputs * torch.randn_like(inputs)

    model, inputs = linear(6, 3), torch.randn(16, 6)
    bench, original = Bench(model, inputs), as_explainer(sampling, model)
    opposite = mutated(original, "flipped_sign", mutant("flipped_sign"))
    claim = claims.beats("random", on="pixel_flipping", early=False, output="logit")
    scores = [bench.decide(claim, one).evidence["scores"]["explainer"] for one in (original, opposite)]
    assert set(seen) == {1, 2, 14}  # alone and in pairs it is found out whether company changes what they get
    assert np.allclose(scores[0], -np.array(scores[1]), atol=0.5)
    assert not np.allclose(scores[0], scores[1])


def test_a_mutant_of_one_name_is_not_mistaken_for_another():
    """Evidence on it is shared by content."""
    model = linear(6, 3)
    bench = Bench(model, torch.randn(64, 6))
    original, claim = as_explainer(InputXGradient, model), claims.beats("random", on="pixel_flipping")
    identity = mutated(original, "mine", lambda explain, *given: explain(*given))
    opposite = mutated(original, "mine", lambda explain, *given: -explain(*given))
    assert bench.decide(claim, identity).passed
    assert bench.decide(claim, opposite).failed


# ---------------------------------------------------------------------------------------------------------------------
# The baseline


def detailed(model, inputs, targets):
    """Return the exact contributions of a linear model."""
    return inputs * model[1].weight[targets].reshape(inputs.shape)


def coarse(model, inputs, targets):
    """Return them rounded, which is what rounding them again gives."""
    return CHANGES["rounded"](detailed(model, inputs, targets).detach(), 2)


@pytest.fixture(scope="module")
def pictures():
    return Bench(linear(64, 3), torch.randn(512, 1, 8, 8, generator=torch.Generator().manual_seed(2)))


class TestBeatsMutants:
    def test_exact_contributions_do(self, pictures):
        verdict = pictures.explainer(detailed).beats("mutants", on="pixel_flipping")
        assert verdict.passed
        assert set(verdict.evidence["mutants"]) == {"low_rank", "rounded"}
        assert {one["outcome"] for one in verdict.evidence["mutants"].values()} == {"passed"}
        estimates = {name: one["estimate"] for name, one in verdict.evidence["mutants"].items()}
        assert verdict.estimate == min(estimates.values())  # that of the closest
        assert verdict.claim == "detailed beats mutants on pixel_flipping"
        assert "the closest of low_rank, rounded" in verdict.reason
        assert len(repr(verdict)) < 200

    def test_its_parts_are_those_of_single_claims(self, pictures):
        explainer = pictures.explainer(detailed)
        each = [explainer.beats("mutants", on="pixel_flipping", mutants=(name,)) for name in ("low_rank", "rounded")]
        verdict = explainer.beats("mutants", on="pixel_flipping")
        assert verdict.evidence["mutants"]["low_rank"]["estimate"] == each[0].estimate
        assert verdict.evidence["mutants"]["rounded"]["estimate"] == each[1].estimate

    def test_a_coarse_map_fails_and_its_change_is_named(self, pictures):
        verdict = pictures.explainer(coarse).beats("mutants", on="pixel_flipping")
        assert verdict.failed
        assert verdict.reason.startswith("no better than rounded on pixel_flipping: its mean gain is -0.0")
        assert "shown to be below 0.01" in verdict.reason
        assert len(repr(verdict)) < 200

    def test_after_a_failure_no_other_is_sought_unless_everything_is_measured(self, pictures):
        explainer, order = pictures.explainer(coarse), ("rounded", "low_rank")
        claim = {"on": "pixel_flipping", "mutants": order}
        assert list(explainer.beats("mutants", **claim).evidence["mutants"]) == ["rounded"]
        assert tuple(explainer.beats("mutants", early=False, **claim).evidence["mutants"]) == order

    def test_maps_of_features_can_only_be_rounded(self):
        bench = Bench(linear(24, 3), torch.randn(128, 24))
        verdict = bench.explainer(detailed).beats("mutants", on="pixel_flipping")
        assert verdict.passed
        assert list(verdict.evidence["mutants"]) == ["rounded"]
        with pytest.raises(XaiError, match=r"maps with two axes for low_rank.*mutants=\(\"rounded\",\)"):
            bench.explainer(detailed).beats("mutants", on="pixel_flipping", mutants=("low_rank",))

    def test_signs_may_be_asked_for(self, pictures):
        signs = {"on": "pixel_flipping", "mutants": ("absolute_value",)}
        assert pictures.explainer(detailed).beats("mutants", **signs).passed
        unsigned = pictures.explainer(lambda m, x, t: detailed(m, x, t).abs(), name="unsigned")
        assert unsigned.beats("mutants", **signs).failed

    def test_every_setting_may_be_asked_for(self, pictures):
        verdict = pictures.explainer(coarse).beats("mutants", on="pixel_flipping", across="settings")
        assert not verdict.passed
        assert "the simplest of the settings tried" in verdict.reason
        assert verdict.claim == "coarse beats mutants(across=settings) on pixel_flipping"

    def test_the_claim_reads_as_it_was_written(self):
        claim = claims.beats("mutants", on="pixel_flipping", mutants=("flipped", "shifted"), steps=8)
        assert str(claim) == "beats mutants(mutants=flipped+shifted) on pixel_flipping(steps=8)"

    @pytest.mark.parametrize("wrong", ["rounded", (), 3, {"rounded"}])
    def test_names_come_in_a_tuple(self, wrong):
        with pytest.raises(XaiError, match="a tuple of one or more names"):
            Mutants(wrong)

    def test_an_unknown_name_is_answered_with_the_nearest(self):
        with pytest.raises(XaiError, match="'low_rank', the nearest known name"):
            claims.beats("mutants", on="pixel_flipping", mutants=("low_rnk",))

    def test_it_is_a_setting_of_mutants_alone(self):
        with pytest.raises(XaiError):
            claims.beats("random", on="pixel_flipping", mutants=("rounded",))

    def test_the_baseline_has_a_name(self):
        assert BASELINES.build("mutants", {}, where="test") == Mutants(("low_rank", "rounded"))
        assert Mutants(["rounded"]).parts((3, 3)) == [ChangedMap("rounded")]
