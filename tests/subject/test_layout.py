"""Which axes are places and which channels: as told, as taken, and as doubted; and that nothing else depends on it."""

from __future__ import annotations

import warnings

import pytest
import torch
from captum.attr import InputXGradient, LayerGradientXActivation, Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError, XaiWarning
from pytest_xaisanity.adversaries.mutants import MUTANTS, Inapplicable, mutated
from pytest_xaisanity.adversaries.uninformative import UninformativeExplainer
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request
from pytest_xaisanity.maps.uninformative import UninformativeMap
from pytest_xaisanity.subject.layout import Layout, checked_axes
from pytest_xaisanity.subject.subject import Subject

SHAPES = {"NTF": (7, 3), "NHWC": (5, 6, 3), "NDHWC": (4, 5, 3, 2), "NHCW": (5, 3, 6), "NCT": (3, 7), "NFL": (3, 7)}


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def first(tensor, axes):
    """Return a tensor with its channels first, by the letters."""
    return tensor.movedim(axes.index("C" if "C" in axes else "F"), 1)


class Moved(nn.Module):
    """A model that takes channels first, for inputs that have them elsewhere."""

    def __init__(self, model, axis):
        super().__init__()
        self.model, self.axis = model, axis

    def forward(self, x):
        return self.model(x.movedim(self.axis, 1))


# ---------------------------------------------------------------------------------------------------------------------
# The layout


@pytest.mark.parametrize(("axes", "shape"), SHAPES.items())
def test_named_axes_are_read_as_if_channels_came_first(axes, shape):
    given = normal(4, *shape)
    canonical = first(given, axes)
    layout, usual = Layout.of((given,), checked_axes(axes)), Layout.of((canonical,))
    assert (layout.places, layout.channels, layout.kind) == (usual.places, usual.channels, usual.kind)
    assert layout.values == usual.values
    assert torch.equal(layout.channels_first(given), canonical)
    assert torch.equal(layout.as_given(canonical), given)
    assert torch.equal(layout.reduce(given, 4), canonical.sum(1))
    assert torch.equal(layout.expand(given, 4), canonical)
    assert torch.equal(layout.total(given), canonical.sum(1))
    assert torch.equal(layout.magnitude((given,), given.dtype), canonical.square().mean(1).sqrt())
    maps = normal(4, *layout.places, seed=1)
    assert torch.equal(layout.reduce(maps, 4), maps)
    assert torch.equal(layout.reduce(maps[:, None], 4), maps)
    weighted = given * layout.like_inputs(maps, given)
    assert torch.equal(first(weighted, axes), canonical * maps[:, None])
    rows, places = layout.over_places(given)
    assert torch.allclose(rows.mean(places), canonical.flatten(2).mean(2))
    assert layout.accepted(4)[0] == given.shape


@pytest.mark.parametrize("last", [(5, 6, 3), (7, 3)])
def test_channels_last_is_said_in_words(last):
    given = normal(2, *last)
    assert Layout.of((given,), "channels_last") == Layout.of((given,), "NHWC" if len(last) == 3 else "NTF")
    assert Layout.of((given,), "channels_first") == Layout.of((given,))


@pytest.mark.parametrize(
    ("axes", "shape", "places", "kind"),
    [
        ("NHW", (5, 6), (5, 6), "image"),
        ("NT", (5,), (5,), "series"),
        ("NF", (5,), (5,), "table"),
        ("N", (), (1,), "table"),
    ],
)
def test_places_may_have_no_channels(axes, shape, places, kind):
    given = normal(3, *shape)
    layout = Layout.of((given,), axes)
    assert (layout.places, layout.channels, layout.kind) == (places, None, kind)
    assert torch.equal(layout.reduce(given, 3), given.reshape(3, *places))
    assert torch.equal(layout.expand(given, 3), given.reshape(3, *places))
    assert torch.equal(layout.as_given(layout.channels_first(given)), given)
    assert layout.like_inputs(given.reshape(3, *places), given).shape == given.shape
    assert layout.accepted(3)[0] == (3, *places)


def test_each_input_has_its_own_axes():
    series, table = normal(3, 7, 2), normal(3, 4)
    layout = Layout.of((series, table), checked_axes(["NTF", None]))
    assert [part.places for part in layout.each] == [(7,), (4,)]
    assert layout.places == (11,)
    assert [part.axis for part in Layout.of((series, table), "channels_last").each] == [2, 1]


def test_maps_of_low_resolution_fit_channels_last():
    layout = Layout.of((normal(2, 8, 6, 3),), "NHWC")
    small = normal(2, 1, 4, 3)
    assert torch.equal(layout.reduce(small, 2), Layout.of((normal(2, 3, 8, 6),)).reduce(small, 2))
    assert layout.reduce(normal(2, 3, 8, 6), 2) is None  # channels first are not what the inputs have


@pytest.mark.parametrize("axes", ["TNF", "NTT", "NTX", "", "last", 3, (), ("NTF", 2), "NCFE"])
def test_axes_that_cannot_be_read_are_one_error(axes):
    with pytest.raises(XaiError, match=r"xai_axes: found .*; expected .*channels_last") as caught:
        Bench(nn.Flatten(), normal(4, 5, 6), axes=axes)
    assert caught.value.where == "xai_axes"


@pytest.mark.parametrize(("axes", "found"), [("NT", "'NT' for inputs of shape"), (("NTF", None), "axes of 2 inputs")])
def test_axes_that_do_not_fit_the_inputs_are_one_error(axes, found):
    bench = Bench(nn.Sequential(nn.Flatten(), nn.Linear(30, 2)), normal(16, 5, 6), axes=axes)
    with pytest.raises(XaiError, match=found):
        bench.explainer(Saliency).beats("random", on="pixel_flipping")


# ---------------------------------------------------------------------------------------------------------------------
# Doubts


def warned(model, inputs, axes=None):
    """Return the warnings of the first block, as text, read twice."""
    subject = Subject(model.eval(), inputs, axes=axes)
    with warnings.catch_warnings(record=True) as caught, subject.lent():
        warnings.simplefilter("always")
        for _ in range(2):
            list(subject.blocks())
    return [str(one.message) for one in caught if issubclass(one.category, XaiWarning)]


class Recurrent(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.rnn, self.head = nn.GRU(features, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


def flat(*shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 2))


@pytest.mark.parametrize(
    ("model", "shape", "likely"),
    [
        (flat(20, 6), (20, 6), "NTF"),
        (Recurrent(6), (20, 6), "NTF"),
        (Recurrent(32), (10, 32), "NTF"),
        (nn.Sequential(nn.Linear(32, 2), nn.Flatten()), (10, 32), "NTF"),
        (flat(28, 28), (28, 28), "NHW"),
        (flat(16, 12, 3), (16, 12, 3), "NHWC"),
        (flat(8, 8, 1), (8, 8, 1), "NHWC"),
        (flat(6, 8, 8, 2), (6, 8, 8, 2), "NDHWC"),
        (nn.Sequential(nn.Linear(16, 2), nn.Flatten()), (8, 8, 16), "NHWC"),
        (flat(3, 16, 12), (3, 16, 12), ""),
        (flat(6, 20), (6, 20), ""),
        (nn.Sequential(nn.Conv1d(64, 2, 3), nn.Flatten()), (64, 20), ""),
        (nn.Sequential(nn.Conv2d(64, 2, 3), nn.Flatten()), (64, 8, 3), ""),
        (flat(3, 4, 4), (3, 4, 4), ""),
        (flat(9), (9,), ""),
        (flat(1, 9), (1, 9), ""),
    ],
)
def test_a_shape_that_looks_like_another_reading_is_said_once(model, shape, likely):
    inputs = normal(5, *shape)
    texts = warned(model, inputs)
    assert len(texts) == bool(likely)
    if likely:
        usual = {1: "NCT", 2: "NCHW", 3: "NCDHW"}[len(shape) - 1]
        assert f"set xai_axes (Bench(axes=)) to '{likely}' if they are, or to '{usual}' if not" in texts[0]
        assert not warned(model, inputs, axes=likely)
        assert not warned(model, inputs, axes=usual)


# ---------------------------------------------------------------------------------------------------------------------
# What depends on it: as if the model took channels first


def pair(axes, shape, count=24):
    """Return a bench of a model with channels first, and one of the same with the axes as they are."""
    torch.manual_seed(0)
    given = normal(count, *shape)
    canonical = first(given, axes)
    model = nn.Sequential(flat(*canonical.shape[1:]), nn.Tanh(), nn.Linear(2, 3)).eval()
    axis = axes.index("C" if "C" in axes else "F")
    wrapped = Moved(model, axis).eval()
    return Bench(model, canonical), Bench(wrapped, given, axes=axes)


@pytest.mark.parametrize("axes", ["NTF", "NHWC", "NDHWC"])
@pytest.mark.parametrize(
    ("verb", "names", "settings"),
    [
        ("beats", ("random",), {"on": "pixel_flipping"}),
        ("beats", ("random",), {"on": "pixel_flipping", "imputer": "noise", "order": "morf"}),
        ("beats", ("random",), {"on": "pixel_flipping", "imputer": "blur", "patch": 2}),
        ("beats", ("edges",), {"on": "pixel_flipping"}),
        ("beats", (UninformativeMap(match="input"),), {"on": "pixel_flipping"}),
        ("beats", ("input_times_noise",), {"on": "pixel_flipping"}),
        ("beats", ("other_input",), {"on": "pixel_flipping"}),
        ("changes_under", ("other_target",), {}),
    ],
)
def test_verdicts_do_not_depend_on_the_order_of_the_axes(axes, verb, names, settings):
    images = axes == "NHWC"
    if not images and (names == ("edges",) or settings.get("imputer") == "blur"):
        pytest.skip("for images alone")
    usual, moved = pair(axes, SHAPES[axes])
    found = [getattr(bench.explainer(InputXGradient), verb)(*names, **settings) for bench in (usual, moved)]
    one, other = (verdict.evidence for verdict in found)
    assert dict(one).keys() == dict(other).keys()
    assert found[0].estimate == pytest.approx(found[1].estimate, abs=1e-6)
    assert found[0].interval == pytest.approx(found[1].interval, abs=1e-6)
    assert found[0].n == found[1].n
    if "regions" in dict(one):
        assert one["regions"] == other["regions"]
    if "controls" in dict(one):
        assert (
            [c["name"] for c in one["controls"]] == [c["name"] for c in other["controls"]]
            if isinstance(one["controls"], list)
            else one["controls"].keys() == other["controls"].keys()
        )


@pytest.mark.parametrize("name", list(MUTANTS))
@pytest.mark.parametrize("axes", ["NTF", "NHWC"])
def test_mutants_do_not_depend_on_the_order_of_the_axes(name, axes):
    if name in ("fresh_noise", "input_noise", "output_noise", "untrained"):
        pytest.skip("drawn by the bytes of the input, or by the names of the layers, which are others")
    usual, moved = pair(axes, SHAPES[axes], 4)
    made = []
    for bench in (usual, moved):
        source = MUTANTS.get(name, where="test")
        model, inputs = bench.subject.model, bench.subject._source.inputs
        original = as_explainer(InputXGradient, model)
        mutant = mutated(original, name, source() if isinstance(source, type) else source)
        request = Request(model, inputs, torch.zeros(4).long(), (0, 1, 2, 3), axes=bench.subject.axes)
        try:
            with torch.random.fork_rng():
                made.append(request.layout.reduce(mutant.attribute(request).detach(), 4))
        except Inapplicable as error:
            made.append(str(error))
    if isinstance(made[0], str):
        assert made[0] == made[1]
    else:
        assert torch.allclose(*made, atol=1e-6)


def test_uninformative_explainers_fit_channels_last():
    inputs = normal(3, 5, 6, 3)
    for seeding in ("fresh", "input", "output"):
        explainer = UninformativeExplainer(UninformativeMap(match="input"), seeding, axes="NHWC")
        maps = explainer(nn.Flatten(), inputs, None)
        assert torch.allclose(maps[..., 0], inputs.square().mean(3).sqrt())
    assert repr(UninformativeExplainer(axes="NTF")) == "UninformativeExplainer(axes='NTF')"


def test_layers_of_features_are_summed_over_their_last_axis():
    """The units of a recurrent layer (N, T, D) are attributed by time step; a convolution inside has channels first."""
    torch.manual_seed(0)
    inputs = normal(16, 9, 4)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first, self.head = nn.Linear(4, 6), nn.Conv1d(6, 5, 1), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.first(self.last(x).relu().movedim(2, 1)).relu().mean(2))

    model = Both().eval()
    request = Request(model, (inputs.clone(),), torch.zeros(16).long(), tuple(range(16)), axes="NTF")
    for name, axis in (("last", 2), ("first", 1)):
        layer = getattr(model, name)
        own = LayerGradientXActivation(model, layer).attribute(inputs.clone(), target=0)
        maps = as_explainer(LayerGradientXActivation, model, layer=name).attribute(request)
        assert torch.equal(request.layout.reduce(maps.detach(), 16), own.sum(axis).detach())


def test_sequences_with_features_last_are_flipped_by_time_step():
    """A burst in all features at one time step: its step is found, and no feature of all steps is asked after."""
    torch.manual_seed(0)
    steps, features = 12, 5
    inputs = 0.3 * normal(32, steps, features)
    sign = torch.tensor([1.0, -1.0]).repeat(16)
    inputs[torch.arange(32), torch.randint(0, steps, (32,))] += 2 * sign[:, None]

    class Net(nn.Module):
        def forward(self, x):
            total = (x**3).sum((1, 2))
            return torch.stack([-total, total], 1) / 10

    right = Bench(Net(), inputs, axes="NTF").explainer(InputXGradient).beats("random", on="pixel_flipping")
    assert right.passed
    assert right.evidence["regions"] == steps
    with pytest.warns(XaiWarning, match="'NTF'"):
        wrong = Bench(Net(), inputs).explainer(InputXGradient).beats("random", on="pixel_flipping")
    assert wrong.evidence["regions"] == features
