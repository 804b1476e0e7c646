"""Other forms of the same maps: other reductions, with and without a multiplier, beside the claim's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import captum.attr as ca
import numpy as np
import pytest
import torch
from sentences import Convolutional, sentences
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.claims.other_forms import FoundInForm, InForms, otherwise_in_forms
from pytest_xaisanity.evidence.base import Intervention, Procedure
from pytest_xaisanity.evidence.controls import Alike, Controls
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.explainer import Request
from pytest_xaisanity.explainers.multiplied import Multiplied
from pytest_xaisanity.maps.forms import Form, forms_of

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
REDUCTIONS = {
    "sum": lambda values: values.sum(-1),
    "mean": lambda values: values.mean(-1),
    "l2": lambda values: values.square().sum(-1).sqrt(),
    "abs_sum": lambda values: values.abs().sum(-1),
}
RANDOMIZED = "cascading_randomization"


def bench_of(count=32, **more):
    return Bench(Convolutional().eval(), sentences(count, **more), embedding="embedding")


def by_dimension(model, inputs, targets):
    """Return input × gradient of the embedded tokens, ``(b, T, D)``."""
    leaf = inputs.detach().requires_grad_()
    return leaf.detach() * torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0]


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


# ------------------------------------------------------------------------------------------------------------ forms


@pytest.mark.parametrize(
    ("own", "both", "others"),
    [
        (Form(), False, []),
        (Form(None, "with"), True, ["multiplier=without"]),
        (Form("sum"), False, ["reduction=l2", "reduction=abs_sum"]),
        (Form("mean"), False, ["reduction=l2", "reduction=abs_sum"]),
        (Form("l2"), False, ["reduction=sum", "reduction=abs_sum"]),
        (Form("l2", "without"), True, ["reduction=sum", "reduction=abs_sum", "multiplier=with"]),
    ],
)
def test_beside_a_form_stand_those_that_differ_in_one_thing(own, both, others):
    """The mean is the sum but for a factor."""
    found = forms_of(own, both=both)
    assert found[0] == own
    assert [form.beside(own) for form in found[1:]] == others


def test_maps_in_all_forms_are_the_reductions_of_one_explanation():
    bench = bench_of()
    explainer = bench.explainer(by_dimension, embedded=True, reduction="l2").explainer
    found = {}

    def work():
        block = next(bench.subject.blocks())
        attributions = bench._lab(explainer).attributions
        found["all"], found["own"] = attributions.in_forms()(block), attributions(block)
        found["forms"] = attributions.known.forms
        ids, mask = block.inputs[0], block.mask
        leaf = bench.subject.model.embedding(ids).detach()
        model = bench.subject.presentation.on_embedded()
        call = lambda x: model(x, ids, *block.context)  # noqa: E731
        found["raw"] = by_dimension(call, leaf, block.targets) * mask[..., None]

    bench.subject.lend(work)
    for place, form in enumerate(found["forms"]):
        assert torch.allclose(found["all"][:, place], REDUCTIONS[form.reduction](found["raw"]), atol=1e-6)
    assert torch.equal(found["own"], found["all"][:, 0])


def test_one_value_for_each_token_has_one_form():
    verdict = bench_of().explainer(lambda model, ids, targets: ids.float()).changes_under(RANDOMIZED)
    assert verdict.evidence.find(InForms) is None


def test_an_explainer_that_loses_its_axis_of_dimensions_is_told_so():
    calls = []

    def forgetful(model, inputs, targets):
        calls.append(1)
        values = by_dimension(model, inputs, targets)
        return values if len(calls) < 3 else values.sum(-1)

    with pytest.raises(XaiError, match="with an axis of dimensions in one call and without it in another"):
        bench_of().explainer(forgetful, embedded=True).changes_under(RANDOMIZED)


# ------------------------------------------------------------------------------------------------------- multipliers

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
X, TARGETS = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
X[0, :3] = 0.0  # where a global attribution says nothing of the local one
BASE = torch.full((1, 6), 0.25)
MULTIPLIED = [
    (ca.IntegratedGradients, {"n_steps": 8}),
    (ca.IntegratedGradients, {"n_steps": 8, "baselines": BASE}),
    (ca.IntegratedGradients, {"n_steps": 8, "baselines": X.roll(1, 0)}),
    (ca.DeepLift, {"baselines": BASE}),
    (ca.InputXGradient, {}),
    (ca.GradientShap, {"baselines": BASE, "n_samples": 3}),
]


def request():
    return Request(MODEL, (X.clone(),), TARGETS, tuple(range(5)), 5)


def asked(source, **settings):
    np.random.seed(0)
    torch.manual_seed(0)
    return as_explainer(source, MODEL, **settings).attribute


@pytest.mark.parametrize(("kind", "settings"), MULTIPLIED)
@pytest.mark.parametrize("own", ["with", "without"])
def test_both_kinds_are_those_that_captum_gives(kind, settings, own):
    """They are asked for in turn, and come from one explanation."""
    apart = {}
    for multiplier in ("with", "without"):
        apart[multiplier] = asked(kind, multiplier=multiplier, **settings)(request()).detach()
    np.random.seed(0)
    torch.manual_seed(0)
    mine, other = asked(kind, multiplier=own, **settings).both(request())
    assert torch.allclose(mine, apart[own], atol=1e-6)
    assert torch.allclose(other, apart["without" if own == "with" else "with"], atol=1e-6)


def test_the_own_maps_are_captums_bit_for_bit():
    theirs = ca.IntegratedGradients(MODEL).attribute(X.clone(), target=TARGETS, n_steps=8)
    assert torch.equal(asked(ca.IntegratedGradients, n_steps=8)(request()), theirs)
    assert torch.equal(asked(ca.IntegratedGradients(MODEL), n_steps=8)(request()), theirs)


def test_the_users_object_stays_as_it_is():
    theirs = ca.IntegratedGradients(MODEL)
    mine, other = asked(theirs, n_steps=8).both(request())
    assert theirs.multiplies_by_inputs
    assert torch.allclose(mine, other * X)


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (ca.Saliency, {}),  # absolute values have lost the sign
        (ca.GradientShap, {"baselines": torch.zeros(4, 6)}),
        (ca.GradientShap, {"baselines": BASE, "stdevs": 0.1}),
        (ca.NoiseTunnel, {"attribution_method": ca.IntegratedGradients}),
        (ca.Occlusion, {"sliding_window_shapes": (1,)}),
        (lambda model, inputs, targets: inputs + 0, {}),
    ],
)
def test_what_has_no_multiplier_or_draws_it_has_one_form(source, settings):
    assert not isinstance(asked(source, **settings), Multiplied)


def test_it_costs_no_further_pass():
    """An explanation takes as many passes as by Captum alone."""
    passes = []
    handle = MODEL.register_forward_hook(lambda *_: passes.append(1))
    try:
        asked(ca.InputXGradient).both(request())
    finally:
        handle.remove()
    assert len(passes) == 1


# --------------------------------------------------------------------------------------------------------- verdicts


@pytest.fixture(scope="module")
def raw():
    """Return verdicts on raw cosines of Integrated Gradients, by reduction, over every cell of 64 sentences."""
    how = {"similarity": "cosine", "at_most": 0.5, "depth": 1, "seeds": 4, "early": False}
    return {
        name: bench_of(64).explainer(ca.IntegratedGradients, n_steps=4, reduction=name).changes_under(RANDOMIZED, **how)
        for name in ("sum", "l2")
    }


def test_a_claim_that_depends_on_the_reduction_says_so(raw):
    assert raw["sum"].passed
    assert raw["l2"].failed
    assert "depends on the reduction" in raw["sum"].reason
    assert "in the L2 norm over the dimensions" in raw["sum"].reason
    assert "summed over the dimensions" in raw["l2"].reason
    assert "reduction=l2" in raw["l2"].claim


def test_the_other_reductions_stand_in_the_evidence_as_they_would_be_claimed(raw):
    for own, other in (("sum", "l2"), ("l2", "sum")):
        beside = raw[own].evidence.get_part(InForms)[Form(other, "with")]["cosine"]
        alone = raw[other].evidence.get_part(InForms)[Form(other, "with")]["cosine"]
        assert beside.estimate == pytest.approx(alone.estimate, abs=1e-6)
        assert beside.outcome == alone.outcome
        assert beside.null == pytest.approx(alone.null, abs=1e-5)
    assert raw["sum"].evidence["in_forms"]["reduction=l2, multiplier=with"]["cosine"]["outcome"] == "failed"


def test_both_multipliers_stand_beside_their_null(raw):
    found = raw["l2"].evidence.get_part(InForms)
    local, whole = found[Form("l2", "without")]["cosine"], found[Form("l2", "with")]["cosine"]
    assert local.null > 0.9  # norms of many dimensions hardly differ
    assert whole.null > 0.9
    assert any("multiplier=without" in name for name, _ in raw["l2"].evidence.rows())


def test_the_null_of_reduced_tokens_is_the_embedding_times_noise(raw):
    """As in the definition: two draws of noise for each dimension, times the embedded tokens, by their norm."""
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = [torch.randn(20, 64, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (1, 2)]
    slow = cosine(*((x * noise).square().sum(-1).sqrt() for noise in drawn))
    null = raw["l2"].evidence.get_part(Controls).get_control(Alike, "input × noise").after["cosine"]
    assert slow > 0.9
    assert null > 0.85
    assert abs(raw["sum"].evidence.get_part(Controls).get_control(Alike, "input × noise").after["cosine"]) < 0.3


def test_further_padding_changes_nothing():
    how = {"similarity": "cosine", "at_most": 0.5, "depth": 1, "seeds": 2}
    found = [
        bench_of(32, further=further)
        .explainer(ca.IntegratedGradients, n_steps=4)
        .changes_under(RANDOMIZED, **how)
        .evidence.get_part(InForms)
        .plain()["in_forms"]
        for further in (0, 5)
    ]
    for name, one in found[0].items():
        for key in ("estimate", "null", "self", "chance"):
            assert one["cosine"][key] == pytest.approx(found[1][name]["cosine"][key], abs=1e-5), (name, key)


def test_a_multiplier_that_decides_is_told_with_the_null_that_explains_it():
    torch.manual_seed(0)
    images = torch.rand(64, 1, 10, 10) * (torch.rand(64, 1, 10, 10) > 0.7)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval()
    how = {"similarity": "abs_spearman", "seeds": 2}
    bench = Bench(model, images)
    whole = bench.explainer(ca.InputXGradient).changes_under(RANDOMIZED, **how)
    assert whole.failed
    assert "it depends on the multiplier: without the multiplier" in whole.reason
    local = bench.explainer(ca.Saliency, abs=False).changes_under(RANDOMIZED, **how)
    assert local.passed
    assert "multiplied by the input 9" in local.reason
    assert "as of any map multiplied by this input (9" in local.reason


def found(outcome, estimate, null=None):
    return {"cosine": FoundInForm(outcome, estimate, (estimate,), 1.0, 0.0, null)}


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (
            found("passed", 0.0),
            found("failed", 0.95),
            "summed over the dimensions nothing is left, their L2 norm keeps 95%",
        ),
        (
            found("passed", 0.02),
            found("failed", 0.95, 0.97),
            "2% is left, their L2 norm keeps 95%, as of noise in this form (97%)",
        ),
        (found("passed", 0.02), found(None, 0.95, 0.1), "keeps 95%, of noise in this form 10%"),
        (found("passed", 0.02), found(None, 0.6), ""),
        (found("passed", 0.02), found("inconclusive", None), ""),
        (found("passed", 0.02), found("passed", 0.3), ""),
    ],
)
def test_the_reason_says_what_would_have_decided_otherwise(own, other, words):
    part = InForms(Form("sum"), {Form("sum"): own, Form("l2"): other}, 0.5)
    told = otherwise_in_forms(part, "passed")
    assert words in told
    assert bool(told) == bool(words)
    assert otherwise_in_forms(part, "inconclusive") == ""


@dataclass(frozen=True)
class Turned(Intervention):
    """An intervention of others that makes its maps itself, in the explainer's own form."""

    name: ClassVar[str] = "turned"

    def start(self, lab, block):
        return Turning(lab.attributions)


class Turning(Procedure):
    def __init__(self, attributions):
        self.attributions = attributions

    def maps(self, block):
        yield torch.randn(len(block), *block.layout.places, generator=torch.Generator().manual_seed(0))


def test_maps_of_others_in_one_form_leave_the_other_forms_open():
    verdict = bench_of(32).explainer(ca.IntegratedGradients, n_steps=4).changes_under(Turned())
    found = verdict.evidence.get_part(InForms)
    assert found[Form("sum", "with")]["sign_flip_spearman"].after_by_position[0] is not None
    assert found[Form("l2", "with")]["sign_flip_spearman"].after_by_position == (None,)


@pytest.mark.parametrize("intervention", ["later_layers", "other_target", "independent_randomization"])
def test_every_change_is_seen_in_all_forms(intervention):
    verdict = bench_of(32).explainer(ca.InputXGradient).changes_under(intervention, similarity="cosine", seeds=2)
    assert len(verdict.evidence.get_part(InForms).found) == 4


def test_named_reductions_of_channels_have_others_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    bench = Bench(model, torch.rand(32, 3, 8, 8))
    verdict = bench.explainer(ca.InputXGradient, reduction="l2").changes_under(RANDOMIZED, depth=1, seeds=2)
    found = verdict.evidence.get_part(InForms).found
    assert [form.name for form in found] == [
        "reduction=l2, multiplier=with",
        "reduction=sum, multiplier=with",
        "reduction=abs_sum, multiplier=with",
        "reduction=l2, multiplier=without",
    ]
    assert all(by_name["sign_flip_spearman"].null is not None for by_name in found.values())


def test_own_maps_made_coarse_are_claimed_of_the_reduction_too():
    verdict = (
        bench_of(16)
        .explainer(by_dimension, embedded=True)
        .beats("mutants", on="pixel_flipping", mutants=("rounded",), steps=4)
    )
    assert verdict.claim.startswith("by_dimension(reduction=sum) beats mutants")
