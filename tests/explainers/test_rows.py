"""Settings with a row for each input follow their inputs: through order, slices, single inputs, streams, mutants."""

from __future__ import annotations

import functools

import pytest
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.adversaries.mutants import MUTANTS, mutated
from pytest_xaisanity.explainers import Attributions, Request, as_explainer
from pytest_xaisanity.subject.subject import Subject

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::UserWarning:captum")]
COUNT = 40


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


INPUTS, ROWS = normal(COUNT, 6), normal(COUNT, 6, seed=1)
MASKS = torch.stack([torch.randperm(6, generator=torch.Generator().manual_seed(i)) // 2 for i in range(COUNT)])


class Weighed(nn.Module):
    """Its second argument, which nobody explains, says how much each feature counts."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.mix, self.tanh, self.out = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)

    def forward(self, x, weights=None, scale=None):
        hidden = self.tanh(self.mix(x if weights is None else x * weights))
        return self.out(hidden if scale is None else hidden * scale[:, None])


def maps_of(source, *, inputs=INPUTS, batch_size=None, order=None, model=None, **settings):
    """Return the maps of all inputs, in the order in which they were given."""
    model = Weighed().eval() if model is None else model
    subject = Subject(model, inputs, TARGETS if inputs is INPUTS else None, device="cpu", batch_size=batch_size)
    explained = Attributions(subject, as_explainer(source, model, name="e", **settings), 0)
    with subject.lent():
        blocks = list(subject.blocks())
        maps = [
            explained(block) if order is None else explained.reordered(block, order(len(block))) for block in blocks
        ]
    return torch.cat(maps)[torch.tensor(sum((block.indices for block in blocks), ())).argsort()]


TARGETS = torch.arange(COUNT) % 3
DETERMINISTIC = [
    (Saliency, {"abs": False, "additional_forward_args": ROWS}),
    (Saliency, {"abs": False, "additional_forward_args": (ROWS, ROWS[:, 0])}),
    (IntegratedGradients, {"n_steps": 4, "additional_forward_args": (ROWS, None)}),
    (IntegratedGradients, {"n_steps": 4, "baselines": ROWS}),
    (DeepLift, {"baselines": ROWS}),
    (FeatureAblation, {"feature_mask": MASKS, "baselines": ROWS}),
    (FeatureAblation, {"feature_mask": MASKS, "additional_forward_args": ROWS, "perturbations_per_eval": 3}),
]


@pytest.mark.parametrize(("source", "settings"), DETERMINISTIC)
class TestRows:
    def test_give_what_one_call_with_all_inputs_gives(self, source, settings):
        model = Weighed().eval()
        expected = source(model).attribute(INPUTS.clone(), target=TARGETS, **settings).detach()
        plain = {name: value for name, value in settings.items() if name in ("abs", "n_steps")}
        assert not torch.allclose(expected, source(model).attribute(INPUTS.clone(), target=TARGETS, **plain), atol=1e-2)
        for batch_size in (None, 3, 1):
            assert torch.allclose(maps_of(source, batch_size=batch_size, **settings), expected.float(), atol=1e-5)
        assert torch.allclose(maps_of(source(model), model=model, **settings), expected.float(), atol=1e-5)

    def test_follow_inputs_in_another_order(self, source, settings):
        maps = maps_of(source, order=lambda count: torch.arange(count).flip(0), **settings)
        assert torch.allclose(maps, maps_of(source, **settings), atol=1e-5)

    def test_follow_inputs_of_a_stream(self, source, settings):
        maps = maps_of(
            source, inputs=[[*pair] for pair in zip(INPUTS.split(7), TARGETS.split(7), strict=True)], **settings
        )
        assert torch.allclose(maps, maps_of(source, **settings), atol=1e-5)

    def test_may_be_arrays(self, source, settings):
        def array(value):
            if isinstance(value, tuple):
                return tuple(map(array, value))
            return value.numpy() if isinstance(value, torch.Tensor) else value

        arrays = {name: array(value) for name, value in settings.items()}
        assert torch.equal(maps_of(source, **arrays), maps_of(source, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("source", [NoiseTunnel, KernelShap, ShapleyValueSampling])
def test_follow_inputs_of_explainers_that_draw(source):
    settings = {"n_samples": 5}
    if source is NoiseTunnel:
        settings = {"attribution_method": Saliency, "nt_samples": 3, "abs": False}
    masked = {} if source is NoiseTunnel else {"feature_mask": MASKS, "baselines": ROWS}
    both = maps_of(source, additional_forward_args=ROWS, **settings, **masked)
    one = dict.fromkeys(["additional_forward_args"], ROWS[7:8]) | {name: value[7:8] for name, value in masked.items()}
    model = Weighed().eval()
    subject = Subject(model, INPUTS, TARGETS, device="cpu")
    explained = Attributions(subject, as_explainer(source, model, name="e", **settings, **one), 0)
    with subject.lent():
        for block in subject.blocks():
            if 7 in block.indices:
                place = block.indices.index(7)
                assert torch.allclose(explained(block)[place], both[7], atol=1e-6)
    again = maps_of(source, additional_forward_args=ROWS, batch_size=3, **settings, **masked)
    torch.testing.assert_close(both, again, rtol=1e-5, atol=1e-6)


def test_of_several_inputs_follow_each():
    class Two(nn.Module):
        def forward(self, image, row):
            return torch.stack([image.square().sum((1, 2, 3)), row.square().sum(1)], 1)

    inputs, model = (normal(COUNT, 2, 4, 3), INPUTS), Two().eval()
    masks = (torch.arange(24).reshape(1, 2, 4, 3) % 5, 5 + MASKS)
    baselines = (normal(COUNT, 2, 4, 3, seed=2), 0.5)
    maps = maps_of(FeatureAblation, inputs=inputs, model=model, feature_mask=masks, baselines=baselines)
    targets = model(*inputs).argmax(1)
    image, row = FeatureAblation(model).attribute(inputs, baselines, targets, feature_mask=masks)
    assert torch.allclose(maps, torch.cat([image.sum(1).flatten(1), row], 1), atol=1e-5)


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (IntegratedGradients, {"n_steps": 4, "baselines": ROWS[:1]}),
        (IntegratedGradients, {"n_steps": 4, "baselines": 0.5}),
        (Saliency, {"abs": False, "additional_forward_args": (ROWS[:1], None)}),
        (FeatureAblation, {"feature_mask": MASKS[:1]}),
        (FeatureAblation, {"feature_mask": MASKS[0]}),
    ],
)
def test_one_row_and_what_has_the_shape_of_one_input_are_for_all(source, settings):
    expected = source(Weighed().eval()).attribute(INPUTS.clone(), target=TARGETS, **settings).detach()
    for batch_size in (None, 3):
        assert torch.allclose(maps_of(source, batch_size=batch_size, **settings), expected.float(), atol=1e-5)


@pytest.mark.parametrize("rows", [3, COUNT])
@pytest.mark.parametrize("tunnel", [False, True])
def test_a_distribution_of_baselines_stays_whole(rows, tunnel):
    seen = []

    kind = NoiseTunnel if tunnel else GradientShap

    class Spy(kind):
        @functools.wraps(kind.attribute)
        def attribute(self, inputs, **settings):
            seen.append(settings["baselines"])
            return super().attribute(inputs, **settings)

    settings = {"baselines": ROWS[:rows]}
    if tunnel:
        settings |= {"attribution_method": IntegratedGradients, "draw_baseline_from_distrib": True}
    maps_of(Spy, **settings)
    assert all(torch.equal(one, ROWS[:rows]) for one in seen)


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        (IntegratedGradients, {"baselines": ROWS[:16]}, "IntegratedGradients baselines: found 16 rows for 40 inputs"),
        (IntegratedGradients, {"baselines": ROWS.repeat(2, 1)}, "baselines: found 80 rows for 40 inputs"),
        (FeatureAblation, {"feature_mask": MASKS[:16]}, "feature_mask: found 16 rows for 40 inputs"),
        (Saliency, {"additional_forward_args": ROWS[:16]}, "found 16 rows .* let the model hold what is no input"),
        (Saliency, {"additional_forward_args": (3.0, ROWS[:16])}, "additional_forward_args: found 16 rows for 40"),
    ],
)
def test_more_or_fewer_rows_than_inputs_are_an_error(source, settings, words):
    """The first block has 16 inputs, so that 16 rows would fit it, and be those of others."""
    with pytest.raises(XaiError, match=words):
        maps_of(source, **settings)


def test_fewer_rows_than_a_stream_has_inputs_are_an_error():
    with pytest.raises(XaiError, match="additional_forward_args: found 32 rows for a stream of"):
        maps_of(Saliency, inputs=list(INPUTS.split(7)), additional_forward_args=ROWS[:32])


def test_a_mutant_explains_with_the_rows_of_the_inputs():
    model = Weighed().eval()
    explainer = as_explainer(Saliency, model, abs=False, additional_forward_args=ROWS)
    flipped = mutated(explainer, "flipped_sign", MUTANTS.get("flipped_sign", where="test"))
    subject = Subject(model, INPUTS, TARGETS, device="cpu")
    with subject.lent():
        block = list(subject.blocks())[1]
        assert torch.equal(Attributions(subject, flipped, 0)(block), -Attributions(subject, explainer, 0)(block))


def test_batch_order_is_no_matter_to_an_explainer_with_rows():
    bench = Bench(Weighed().eval(), INPUTS, TARGETS, device="cpu")
    assert bench.explainer(IntegratedGradients, baselines=ROWS, n_steps=4).invariant_under("batch_order").passed


class TestOfFunctions:
    """Their settings may mean anything."""

    @staticmethod
    def explain(model, inputs, targets, *, baselines=0.0, additional_forward_args=None, other=None):
        offset = 0.0 if additional_forward_args is None else additional_forward_args[:, None]
        return inputs - torch.as_tensor(baselines) + offset

    @pytest.mark.parametrize("make", [torch.Tensor, torch.Tensor.numpy])
    def test_follow_inputs_under_the_names_of_captum(self, make):
        for batch_size in (None, 3):
            maps = maps_of(self.explain, batch_size=batch_size, baselines=make(ROWS))
            assert torch.allclose(maps, INPUTS - ROWS)
            maps = maps_of(self.explain, batch_size=batch_size, additional_forward_args=ROWS[:, 0])
            assert torch.allclose(maps, INPUTS + ROWS[:, :1])

    @pytest.mark.parametrize(
        "settings", [{"baselines": ROWS[:1]}, {"baselines": ROWS[0]}, {"other": ROWS[:3]}, {"other": 2}]
    )
    def test_are_left_alone_where_they_are_not_as_many_as_inputs(self, settings):
        seen = []

        def explain(model, inputs, targets, **given):
            seen.append(given)
            return inputs + 1

        maps_of(explain, **settings)
        assert all(given[name] is value for given in seen for name, value in settings.items())

    @pytest.mark.parametrize("value", [ROWS, ROWS.numpy(), (1, ROWS[:, 0])])
    def test_are_refused_under_another_name(self, value):
        with pytest.raises(
            XaiError, match=r"explain other: found 40 rows beside as many inputs .40., so that it cannot"
        ):
            maps_of(self.explain, other=value)
        bound = functools.partial(self.explain, other=value)
        assert maps_of(bound).shape == (COUNT, 6)

    def test_are_refused_beside_a_stream(self):
        with pytest.raises(XaiError, match="baselines: found 40 rows beside a stream whose length is not known"):
            maps_of(self.explain, inputs=list(INPUTS.split(7)), baselines=ROWS)


def test_integers_among_the_arguments_follow_too():
    class Chosen(nn.Module):
        def forward(self, x, column):
            return (x * torch.arange(1.0, 7)).gather(1, column[:, None])

    model, columns, places = Chosen().eval(), torch.arange(COUNT) % 6, (31, 4, 4, 17)
    request = Request(model, (INPUTS[list(places)].clone(),), None, places, COUNT)
    maps = as_explainer(Saliency, model, additional_forward_args=columns).attribute(request)
    assert torch.equal(maps, torch.arange(1.0, 7) * nn.functional.one_hot(columns[list(places)], 6))
