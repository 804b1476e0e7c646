"""Later layers: what is above the cut is randomized, what is below stays, and the explanation must change."""

from __future__ import annotations

import copy

import pytest
import torch
from captum.attr import GuidedBackprop, InputXGradient, Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.interventions.later_layers import LaterLayers
from pytest_xaisanity.model.reinit.distributions import Distribution, Permutation

ROWS = torch.randn(64, 12, generator=generator("rows"))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.act, self.mid, self.act2 = nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()
        self.twice, self.top = nn.Identity(), nn.Linear(16, 5)

    def forward(self, x):
        return self.top(self.twice(self.act2(self.mid(self.twice(self.act(self.low(x)))))))


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def lower_half(model, inputs, targets):
    """Explain the first layer alone."""
    inputs.requires_grad_()
    return torch.autograd.grad(model.act(model.low(inputs)).sum(), inputs)[0]


def test_what_is_below_stays_and_what_is_above_changes():
    model = seeded(Dense)
    seen = []

    def explainer(model, inputs, targets):
        with torch.no_grad():
            seen.append((model.act(model.low(inputs)), model(inputs)))
        return inputs * model.top.weight.sum()

    verdict = Bench(model, ROWS, device="cpu", batch_size=64).explainer(explainer)
    verdict = verdict.changes_under("later_layers", cut="act", seeds=2, early=False, similarity="spearman")
    assert verdict.evidence["layers"] == ["top", "mid"]
    full = [(low, out) for low, out in seen if len(low) == 64]
    low = full[0][0]
    assert all(torch.equal(low, other) for other, _ in full)
    distinct = {tuple(out.flatten().tolist()) for _, out in full}
    assert len(distinct) == 3  # as given, and one for each seed


def test_an_explainer_of_the_lower_layers_fails_and_the_gradient_passes():
    bench = Bench(seeded(Dense), ROWS, device="cpu")
    failed = bench.explainer(lower_half).changes_under("later_layers", cut="act")
    assert failed.failed
    assert failed.estimate == pytest.approx(1, abs=1e-6)
    assert failed.evidence["similarities"] == ["sign_flip_spearman"]
    assert bench.explainer(Saliency, abs=False).changes_under("later_layers", cut="act")


def test_the_evidence_says_what_was_done():
    verdict = Bench(seeded(Dense), ROWS, device="cpu").explainer(Saliency, abs=False).changes_under("later_layers")
    evidence = verdict.evidence
    assert (evidence["cut"], evidence["layers"], evidence["seeds"]) == ("act2", ["top"], 8)
    assert evidence["reinit"] == "Own()"


def test_two_claims_share_their_maps():
    calls = []

    def counted(model, inputs, targets):
        calls.append(len(inputs))
        return inputs * model.top.weight[targets].sum(1, keepdim=True) + model.low.weight[0]

    bench = Bench(seeded(Dense), ROWS, device="cpu")
    explainer = bench.explainer(counted)
    explainer.changes_under("later_layers", cut="act", early=False)
    done = len(calls)
    explainer.changes_under("later_layers", cut="act", early=False, similarity="mse")
    assert len(calls) == done


def test_the_model_comes_back_bit_for_bit_and_without_hooks():
    model = seeded(Dense)
    before = copy.deepcopy(model.state_dict())
    bench = Bench(model, ROWS, device="cpu")
    bench.explainer(lower_half).changes_under("later_layers", cut="act", reinit="permutation")

    def failing(model, inputs, targets):
        if not torch.equal(model.top.weight, before["top.weight"]):
            raise RuntimeError("other weights")
        return inputs * 2

    with pytest.raises(XaiError, match=r"other weights|randomized"):
        bench.explainer(failing).changes_under("later_layers", cut="act")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 0}, "seeds: found 0"),
        ({"cut": 3}, "cut: found a int"),
        ({"reinit": 3}, "reinit: found a int"),
        ({"reinit": "permutatoin"}, "permutation"),
    ],
)
def test_a_wrong_setting_is_one_error_at_once(settings, message):
    with pytest.raises(XaiError, match=message):
        LaterLayers(**settings)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("atc", "later_layers cut: found 'atc'.*use 'act', the nearest known name"),
        ("top", "'top' with no weights above it"),
        ("twice", "'twice', called 2 times"),
    ],
)
def test_a_cut_that_cannot_be_is_one_error(cut, message):
    with pytest.raises(XaiError, match=message):
        Bench(seeded(Dense), ROWS, device="cpu").explainer(Saliency).changes_under("later_layers", cut=cut)


def test_a_model_of_one_layer_cannot_be_cut():
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 3)))
    with pytest.raises(XaiError, match="name the module to look at with cut="):
        Bench(model, ROWS, device="cpu").explainer(Saliency).changes_under("later_layers")


def test_a_cut_that_the_layers_above_reach_is_an_error():
    """A normalization before all weights goes with the weights after it, and is reset with them."""
    model = seeded(lambda: nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    with pytest.raises(XaiError, match="changed when the layers above it were randomized"):
        Bench(model, ROWS, device="cpu").explainer(Saliency).changes_under("later_layers", cut="0")


class Reader(nn.Module):
    """PyTorch's own encoder packs sentences of several lengths where no gradients are taken."""

    def __init__(self):
        super().__init__()
        self.embed, self.top = nn.Embedding(30, 8), nn.Linear(8, 3)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids, padding):
        return self.top(self.encoder(self.embed(ids), src_key_padding_mask=padding)[:, 0])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("cut", [None, "encoder.layers.0.linear1"])
def test_modules_that_are_given_packed_sentences(cut):
    ids = torch.randint(1, 30, (24, 6), generator=generator("packed"))
    padding = torch.arange(6) >= torch.randint(3, 7, (24, 1), generator=generator("lengths"))
    inputs = {"ids": ids.masked_fill(padding, 0), "padding": padding}
    bench = Bench(seeded(Reader), inputs, embedding="embed", mask=lambda named: ~named["padding"], device="cpu")
    verdict = bench.explainer(InputXGradient).changes_under("later_layers", seeds=2, cut=cut)
    assert verdict.evidence["cut"] == (cut or "encoder")


def test_a_distribution_can_be_an_object():
    class Zeros(Distribution):
        def new_values(self, values, rng):
            return torch.zeros_like(values)

    explainer = Bench(seeded(Dense), ROWS, device="cpu").explainer(Saliency, abs=False)
    verdict = explainer.changes_under(LaterLayers(reinit=Permutation(), seeds=2))
    assert verdict.evidence["reinit"] == "Permutation()"
    assert explainer.changes_under(LaterLayers(reinit=Zeros())).evidence["by_similarity"]["sign_flip_spearman"][
        "constant_or_not_finite"
    ]


# ------------------------------------------------------------------------------------------------------- on digits


@pytest.fixture(scope="module")
def bench(digits, digits_cnn):
    return Bench(digits_cnn, digits.test_images[:192], device="cpu")


class ZPlus:
    """The z+ rule of zennit on every layer."""

    def __init__(self):
        from zennit.composites import LayerMapComposite
        from zennit.rules import Pass, ZPlus
        from zennit.types import Activation, Convolution, Linear

        self.composite = LayerMapComposite([(Activation, Pass()), (Convolution, ZPlus()), (Linear, ZPlus())])

    def rules(self, model):
        return self.composite.context(model)

    def __call__(self, model, inputs, targets):
        inputs.requires_grad_()
        with self.rules(model):
            return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


class TestDigits:
    CONVERGENCE = "cosine_similarity_convergence"

    def test_gradients_depend_on_the_class_and_on_the_later_layers(self, bench):
        explainer = bench.explainer(Saliency, abs=False)
        verdict = explainer.changes_under("later_layers")
        assert verdict.passed
        assert (verdict.evidence["cut"], verdict.evidence["layers"]) == ("pool2", ["fc2", "fc1"])
        assert explainer.changes_under("other_target")
        assert explainer.bounded(self.CONVERGENCE, at_most=0.7)

    @pytest.mark.slow
    def test_z_plus_depends_on_neither(self, bench):
        pytest.importorskip("zennit")
        explainer = bench.explainer(ZPlus(), name="z+")
        for intervention in ("later_layers", "other_target"):
            verdict = explainer.changes_under(intervention)
            assert verdict.failed
            assert verdict.estimate > 0.9
        convergence = explainer.bounded(self.CONVERGENCE, at_most=0.7)
        assert convergence.failed
        curve = {row["layer"]: row["median"] for row in convergence.evidence["convergence"]}
        assert list(curve) == ["fc2", "relu3", "pool2", "pool1"]
        assert list(curve.values()) == sorted(curve.values())
        assert curve["pool1"] > 0.95

    def test_guided_backprop_hardly_depends_on_the_later_layers(self, bench):
        assert bench.explainer(GuidedBackprop).changes_under("later_layers").failed
