"""Tokens: what is explained of them, how it is reduced, and that padding is nobody's business."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch
from alike import assert_alike
from sentences import READERS, WIDTH, Convolutional, Recurrent, Transformer, sentences
from torch import nn

from pytest_xaisanity.adversaries.mutants import MUTANTS, mutated
from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.maps.token_imputation import Deletion, MaskToken, Padding
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
N = 32


def gradient(model, inputs, targets):
    leaf = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(leaf).gather(1, targets[:, None]).sum(), leaf)[0]


def occlusion(model, inputs, targets):
    """Return what the score loses without each token, whose id becomes 1."""
    with torch.no_grad():
        scores = [model(inputs).gather(1, targets[:, None])[:, 0]]
        for place in range(inputs.shape[1]):
            ids = inputs.clone()
            ids[:, place] = 1
            scores.append(model(ids).gather(1, targets[:, None])[:, 0])
    return torch.stack([scores[0] - one for one in scores[1:]], dim=1)


def bench_of(network=Convolutional, inputs=None, *, double=False, **settings):
    model = network().eval()
    return Bench(
        model.double() if double else model,
        sentences(N) if inputs is None else inputs,
        embedding="embedding",
        **settings,
    )


def maps_of(bench, source, **settings):
    """Return the maps of all inputs, in the order in which they were given."""
    explainer = bench.explainer(source, **settings).on(bench)
    found = {}

    def work():
        for block in bench.subject.blocks():
            found.update(zip(block.indices, bench._lab(explainer).attributions(block), strict=True))

    bench.subject.lend(work)
    return torch.stack([found[index] for index in sorted(found)])


def by_hand(network, reduce):
    """Return input × gradient of the embedded tokens, through a hook written here."""
    model, inputs = network().eval(), sentences(N)
    leaf = model.embedding(inputs["input_ids"]).detach().requires_grad_()
    handle = model.embedding.register_forward_hook(lambda *_: leaf)
    logits = model(**inputs).logits
    handle.remove()
    (grad,) = torch.autograd.grad(logits.max(1).values.sum(), leaf)
    return reduce((grad * leaf).detach()) * inputs["attention_mask"]


# ------------------------------------------------------------------------------------------------ what is explained

REDUCED = {
    None: lambda values: values.sum(-1),
    "sum": lambda values: values.sum(-1),
    "mean": lambda values: values.mean(-1),
    "l2": lambda values: values.square().sum(-1).sqrt(),
    "abs_sum": lambda values: values.abs().sum(-1),
}


@pytest.mark.parametrize("network", READERS.values(), ids=READERS)
@pytest.mark.parametrize("reduction", REDUCED)
def test_gradients_are_those_of_what_the_embedding_makes_of_tokens(network, reduction):
    maps = maps_of(bench_of(network), captum.attr.InputXGradient, reduction=reduction)
    torch.testing.assert_close(maps, by_hand(network, REDUCED[reduction]), rtol=1e-4, atol=1e-6)


METHODS = {
    "Saliency": (captum.attr.Saliency, {}),
    "IntegratedGradients": (captum.attr.IntegratedGradients, {"n_steps": 4}),
    "DeepLift": (captum.attr.DeepLift, {}),
    "GradientShap": (captum.attr.GradientShap, {"baselines": torch.zeros(1, 13, WIDTH), "n_samples": 2}),
    "NoiseTunnel": (captum.attr.NoiseTunnel, {"attribution_method": captum.attr.Saliency, "nt_samples": 2}),
    "a function of gradients": (gradient, {}),
}
OF_IDS = {
    "FeatureAblation": (captum.attr.FeatureAblation, {"baselines": 1}),
    "LayerIntegratedGradients": (captum.attr.LayerIntegratedGradients, {"layer": "embedding", "n_steps": 4}),
    "LayerGradientXActivation": (captum.attr.LayerGradientXActivation, {"layer": "embedding"}),
    "a function of ids": (occlusion, {}),
    "InterpretableEmbedding": (lambda model, ids, targets: _interpretable(model, ids, targets), {}),
}


def _interpretable(model, ids, targets):
    layer = captum.attr.configure_interpretable_embedding_layer(model, "embedding")
    try:
        return captum.attr.InputXGradient(model).attribute(layer.indices_to_embeddings(ids), target=targets)
    finally:
        captum.attr.remove_interpretable_embedding_layer(model, layer)


@pytest.mark.parametrize(("source", "settings"), {**METHODS, **OF_IDS}.values(), ids={**METHODS, **OF_IDS})
def test_methods_need_no_glue(source, settings):
    """The model comes back as it was, and padding has no attributions."""
    bench = bench_of()
    before = {name: tensor.clone() for name, tensor in bench.subject.model.state_dict().items()}
    maps = maps_of(bench, source, **settings)
    assert maps.shape == (N, 13)
    assert maps.any(1).all()
    assert not maps[sentences(N)["attention_mask"] == 0].any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in bench.subject.model.state_dict().items())
    assert isinstance(bench.subject.model.embedding, nn.Embedding)
    assert not bench.subject.model.embedding._forward_hooks


def test_two_ways_to_input_times_gradient_are_one():
    layer = maps_of(bench_of(), captum.attr.LayerGradientXActivation, layer="embedding")
    torch.testing.assert_close(layer, maps_of(bench_of(), captum.attr.InputXGradient))
    torch.testing.assert_close(layer, maps_of(bench_of(), OF_IDS["InterpretableEmbedding"][0]))
    torch.testing.assert_close(maps_of(bench_of(), gradient), maps_of(bench_of(), gradient, embedded=True))
    given = maps_of(bench_of(), occlusion)
    torch.testing.assert_close(given, maps_of(bench_of(), captum.attr.FeatureAblation, baselines=1))


def test_the_embedding_of_a_library_is_found_by_itself():
    class Known(Recurrent):
        def get_input_embeddings(self):
            return self.embedding

    bench = Bench(Known().eval(), sentences(N))
    torch.testing.assert_close(maps_of(bench, gradient), maps_of(bench_of(Recurrent), gradient))


def test_a_model_may_have_its_tokens_first():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.reader = Recurrent()
            self.reader.rnn.batch_first = False

        def forward(self, input_ids, attention_mask):
            mask = attention_mask.T.float()[..., None]
            hidden = self.reader.rnn(self.reader.embedding(input_ids.T))[0]
            return self.reader.head((hidden * mask).sum(0) / mask.sum(0))

    bench = Bench(First().eval(), sentences(N), embedding="reader.embedding")
    torch.testing.assert_close(maps_of(bench, gradient), maps_of(bench_of(Recurrent), gradient))


# ------------------------------------------------------------------------------------------------ what counts


MASKS = {
    "the name of an input": ("counts", lambda ids: ids > 10),
    "a function": (lambda inputs: inputs["input_ids"] > 10, None),
    "a tensor": (sentences(N)["input_ids"] > 10, None),
    "an array": ((sentences(N)["input_ids"] > 10).numpy(), None),
    "special tokens": (None, lambda ids: ids <= 10),
}


@pytest.mark.parametrize(("mask", "entry"), MASKS.values(), ids=MASKS)
def test_what_counts_may_be_said(mask, entry):
    inputs = sentences(N)
    if entry is not None:
        name = "special_tokens_mask" if mask is None else mask
        inputs[name] = entry(inputs["input_ids"])  # which the model does not take
    maps = maps_of(bench_of(inputs=inputs, mask=mask), gradient)
    assert torch.equal(maps != 0, inputs["input_ids"] > 10)


# ------------------------------------------------------------------------------------------------ padding


CLAIMS = {
    "cascading": lambda explainer: explainer.changes_under("cascading_randomization"),
    "without the embedding": lambda explainer: explainer.changes_under("independent_randomization", embedding=False),
    "other target": lambda explainer: explainer.changes_under("other_target"),
    "random": lambda explainer: explainer.beats("random", on="pixel_flipping"),
    "other input": lambda explainer: explainer.beats("other_input", on="pixel_flipping"),
    "class mean": lambda explainer: explainer.beats("class_mean", on="pixel_flipping", imputer="padding"),
    "coarse": lambda explainer: explainer.beats("mutants", on="pixel_flipping", mutants=("rounded", "shuffled")),
    "entropy": lambda explainer: explainer.bounded("efficient_mprt", at_least=-1.0),
    "uninformative": lambda explainer: explainer.beats(
        "uninformative", on=PixelFlipping(imputer="deletion"), max_examples=5
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("network", READERS.values(), ids=READERS)
@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_padding_is_invisible(claim, network):
    """Verdicts and evidence are the same when sentences are padded further and explained in other batches.

    In double precision, for in single precision the model itself adds up padded rows in another order.
    """
    near = claim(bench_of(network, double=True).explainer(captum.attr.InputXGradient))
    inputs = sentences(N, further=9)
    far = claim(bench_of(network, inputs, batch_size=5, double=True).explainer(captum.attr.InputXGradient))
    assert_alike(near, far)


DRAWING = {
    "NoiseTunnel": lambda width: (
        captum.attr.NoiseTunnel,
        {"attribution_method": captum.attr.InputXGradient, "nt_samples": 3},
    ),
    "GradientShap": lambda width: (
        captum.attr.GradientShap,
        {"baselines": torch.zeros(1, width, WIDTH), "n_samples": 3, "stdevs": 0.1},
    ),
    "Lime": lambda width: (captum.attr.KernelShap, {"baselines": 1, "n_samples": 20}),
}


@pytest.mark.parametrize("make", DRAWING.values(), ids=DRAWING)
def test_padding_is_invisible_to_explainers_that_draw(make):
    """They draw as many numbers for a sentence as it has tokens."""
    maps = []
    for further in (0, 9):
        source, settings = make(13 + further)
        bench = bench_of(Recurrent, sentences(N, further=further), batch_size=64 if further else 5)
        maps.append(maps_of(bench, source, **settings)[:, :13])
    torch.testing.assert_close(maps[1], maps[0], rtol=1e-4, atol=1e-5)


def test_equal_sentences_are_one_group_however_they_are_padded():
    inputs = {name: torch.cat([tensor[:8]] * 4) for name, tensor in sentences(N, further=3).items()}
    verdict = bench_of(inputs=inputs).explainer(captum.attr.InputXGradient).beats("random", on="pixel_flipping")
    assert "8" in verdict.reason or verdict.inconclusive


# ------------------------------------------------------------------------------------------------ flipping


def prepared_of(imputer, network=Transformer, **settings):
    bench = bench_of(network)
    with bench.subject.lent():
        block = next(bench.subject.blocks())
        metric = PixelFlipping(imputer=imputer, steps=4, output="logit", **settings)
        prepared = metric.prepare(bench._lab(bench.explainer(gradient).on(bench)), block)
        maps = torch.randn(block.mask.shape, generator=torch.Generator().manual_seed(0))
        return bench.subject.model, block, prepared, maps, prepared.curve(prepared.ranks(maps, ""))


def removed_by_hand(model, ids, places, how):
    """Return the logits of one sentence, unpadded, from which tokens are removed."""
    ids, mask = ids.clone(), torch.ones_like(ids)
    handle = None
    if how == "mask_token":
        ids[places] = 7
    elif how == "padding":
        ids[places], mask[places] = 0, 0
    elif how == "deletion":
        left = [place for place in range(len(ids)) if place not in places] or [0]
        ids, mask = (ids[left] if len(places) < len(ids) else torch.zeros(1).long()), torch.ones(len(left))
    else:
        embedded = model.embedding(ids)
        embedded[places] = 0
        handle = model.embedding.register_forward_hook(lambda *_: embedded[None])
    if not mask.any():
        mask[0] = 1
    logits = model(ids[None], mask[None]).logits[0]
    if handle:
        handle.remove()
    return logits.detach()


HOW = {"mask_token": MaskToken(7), "padding": "padding", "zero_embedding": "zero_embedding", "deletion": Deletion()}


@pytest.mark.parametrize(("how", "imputer"), HOW.items())
@pytest.mark.parametrize("network", [Recurrent, Transformer])
def test_tokens_are_removed_by_the_share_of_each_sentence(how, imputer, network):
    """The oracle removes them from one sentence at a time, without padding."""
    model, block, _, maps, curve = prepared_of(imputer, network)
    for row in range(4):
        length = int(block.mask[row].sum())
        ids, order = block.inputs[0][row, :length], maps[row, :length].argsort(descending=True)
        for step in range(5):
            places = order[: round(step * length / 4)].tolist()
            logits = removed_by_hand(model, ids, places, how)
            assert float(curve[row, step]) == pytest.approx(float(logits[block.targets[row]]), abs=1e-5)


def test_the_default_is_what_the_model_has():
    assert type(prepared_of("mean")[2].imputer).__name__ == "ZeroEmbedding"
    model = Transformer()
    model.config = type("Config", (), {"mask_token_id": 3})()
    bench = Bench(model.eval(), sentences(N))
    with bench.subject.lent():
        block = next(bench.subject.blocks())
        prepared = PixelFlipping().prepare(bench._lab(bench.explainer(occlusion).on(bench)), block)
    assert isinstance(prepared.imputer, MaskToken)


def test_randomization_may_leave_the_embedding_alone():
    explainer = bench_of().explainer(captum.attr.InputXGradient)
    layers = [
        explainer.changes_under("cascading_randomization", embedding=embedding).evidence["layers"]
        for embedding in (True, False)
    ]
    assert layers == [["head", "convolution", "embedding"], ["head", "convolution"]]


class Normalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.top = nn.Embedding(20, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, ids):
        weights = torch.linspace(1, 2, ids.shape[1])[:, None]
        return self.top((self.norm(self.embed(ids)) * weights).mean(1).tanh())


@pytest.mark.parametrize("reduction", [None, "mean"])
def test_a_sum_that_is_nothing_but_rounding_is_refused(reduction):
    """A layer normalization takes out what dimensions share, so that their gradients add up to 0: the fixes help."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bench = Bench(Normalized().eval(), torch.randint(1, 20, (24, 6)), embedding="embed")
    settings = {} if reduction is None else {"reduction": reduction}
    with pytest.raises(XaiError, match=r"over the dimensions of a token is 0 but for rounding.*'l2' or 'abs_sum'"):
        bench.explainer(captum.attr.Saliency, abs=False, **settings).invariant_under("batch_order")
    for others in ({"reduction": "l2"}, {"reduction": "abs_sum"}):
        assert bench.explainer(captum.attr.Saliency, abs=False, **others).invariant_under("batch_order")
    assert bench.explainer(captum.attr.IntegratedGradients, n_steps=4, multiplier="with").invariant_under("batch_order")


@pytest.mark.parametrize(("settings", "name"), [({}, "reduction=sum"), ({"reduction": "l2"}, "reduction=l2")])
def test_the_verdict_names_the_reduction(settings, name):
    explainer = bench_of().explainer(captum.attr.IntegratedGradients, n_steps=2, **settings)
    assert f"(n_steps=2, {name})" in repr(explainer.invariant_under("batch_order"))
    assert "reduction" not in repr(bench_of().explainer(occlusion).invariant_under("batch_order"))


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("settings", "where", "said"),
    [
        ({"embedding": "embeding"}, "xai_embedding", "use 'embedding', the nearest known name"),
        ({"embedding": nn.Embedding(3, 3)}, "xai_embedding", "no part of xai_model"),
        ({"embedding": "head"}, "xai_embedding", "returns a tensor (2, 3)|returns a tensor (16, 3)"),
        ({"mask": "input_id"}, "xai_mask", "use 'input_ids', the nearest known name"),
        ({"mask": torch.ones(N, 3)}, "xai_mask", "a mask of shape (16, 3)"),
        ({"mask": lambda inputs: inputs["input_ids"][:, :2]}, "xai_mask", "a mask of shape (16, 2)"),
        ({"mask": lambda inputs: inputs["input_ids"] > 99}, "xai_mask", "without a place that counts"),
        ({"inputs": {k: v + 40 for k, v in sentences(N).items()}}, "xai_inputs", "ids from 0 to 39"),
        (
            {"inputs": {**sentences(N), "token_ids": torch.ones(N)}},
            "xai_inputs",
            "use 'input_ids'|one of attention_mask, input_ids",
        ),
        ({"reduction": "max"}, "reduction", "found 'max'"),
        ({"source": occlusion, "reduction": "l2"}, "explainer", "which reduction=l2 cannot reduce"),
        ({"imputer": Padding(99)}, "pixel_flipping imputer", "an id from 0 to 39"),
        ({"imputer": "mask_token"}, "pixel_flipping imputer", "imputer=MaskToken(id=tokenizer.mask_token_id)"),
        ({"imputer": "noise"}, "pixel_flipping imputer", "'mask_token', 'padding', 'zero_embedding' or 'deletion'"),
        ({"patch": 2}, "pixel_flipping patch", "patch=1"),
        ({"mask": lambda inputs: inputs["ids"]}, "xai_mask", "KeyError raised by the function"),
        ({"embedded": "yes"}, "xai.explainer embedded", "True, False or None"),
    ],
)
def test_mistakes_are_named(settings, where, said):
    given = dict(settings)
    explaining = {name: given.pop(name) for name in ("reduction", "embedded") if name in given}
    source, inputs = given.pop("source", captum.attr.InputXGradient), given.pop("inputs", sentences(N))
    flipping = {name: given.pop(name) for name in ("imputer", "patch") if name in given}

    def claim():
        bench = Bench(Recurrent().eval(), inputs, **{"embedding": "embedding", **given})
        return bench.explainer(source, **explaining).beats("random", on="pixel_flipping", **flipping)

    with pytest.raises(XaiError) as caught:
        claim()
    assert caught.value.where.startswith(where)
    assert any(one in str(caught.value) for one in said.split("|"))


@pytest.mark.parametrize("imputer", [MaskToken, Padding, Deletion])
@pytest.mark.parametrize("number", [2.5, "x", True, -1])
def test_the_id_of_a_token_is_a_whole_number(imputer, number):
    with pytest.raises(XaiError, match=f"{imputer.__name__} id: found .* whole number from 0"):
        imputer(number)
    assert imputer(np.int64(3)) == imputer(3)


def test_a_mask_function_cannot_change_the_inputs():
    inputs = sentences(N)
    before = inputs["input_ids"].clone()
    bench = bench_of(inputs=inputs, mask=lambda given: given["input_ids"].mul_(0) == 0)
    assert bench.explainer(captum.attr.Saliency).invariant_under("batch_order")
    assert torch.equal(inputs["input_ids"], before)


def test_gradients_of_tokens_need_an_embedding():
    bench = Bench(Recurrent().eval(), sentences(N))
    with pytest.raises(XaiError, match="no embedding; expected the module whose output"):
        bench.explainer(captum.attr.Saliency).invariant_under("batch_order")
    assert bench.explainer(occlusion).invariant_under("batch_order").passed


def test_an_embedding_needs_tokens():
    with pytest.raises(XaiError, match="token ids"):
        Subject(nn.Sequential(nn.Linear(4, 3)), torch.randn(16, 4), embedding="0")


# ------------------------------------------------------------------------------------------------ streams


def batches(size, *, left=False):
    """Return batches of sentences, each padded to its own longest."""
    rows, found = sentences(N), []
    for start in range(0, N, size):
        part = {name: tensor[start : start + size] for name, tensor in rows.items()}
        width = int(part["attention_mask"].sum(1).max())
        part = {name: tensor[:, :width] for name, tensor in part.items()}
        found.append({name: tensor.flip(1) for name, tensor in part.items()} if left else part)
    return found


class Loader:
    """Can be read again."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("make", [list, iter, Loader], ids=["a list", "an iterator", "a loader"])
@pytest.mark.parametrize("size", [5, 8])
def test_batches_may_be_padded_each_to_its_own_longest(make, size):
    expected = maps_of(bench_of(Recurrent), captum.attr.InputXGradient)
    found = maps_of(bench_of(Recurrent, make(batches(size))), captum.attr.InputXGradient)
    torch.testing.assert_close(found, expected)


def test_padding_goes_where_the_padding_is():
    expected = bench_of(Convolutional, {k: v.flip(1) for k, v in sentences(N).items()})
    found = bench_of(Convolutional, batches(5, left=True))
    torch.testing.assert_close(maps_of(found, gradient), maps_of(expected, gradient))


# ------------------------------------------------------------------------------------------------ retraining, mutants


def trained(inputs, targets, seed):
    torch.manual_seed(seed)
    model = Recurrent().train()
    nn.init.normal_(model.embedding.weight)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(**inputs).logits, targets).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.training
def test_models_are_retrained_on_mappings():
    data = sentences(160)
    labels = data["input_ids"][:, 0] // 14
    model = trained({name: one[:120] for name, one in data.items()}, labels[:120], 5)
    half = [{name: one[part] for name, one in data.items()} for part in (slice(120), slice(120, None))]
    bench = bench_of(
        lambda: model, half[1], train=trained, training_data=(half[0], labels[:120], half[1], labels[120:])
    )
    verdict = bench.explainer(captum.attr.InputXGradient).changes_under("label_randomization", seeds=1)
    assert verdict.n == 40


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in ("low_rank", "edges")])
def test_mutants_are_made_of_one_value_for_each_token(name):
    bench = bench_of(Transformer)
    mutant = MUTANTS.get(name, where="test")
    explainer = bench.explainer(captum.attr.InputXGradient, reduction="l2").on(bench)
    broken = mutated(explainer, name, mutant() if isinstance(mutant, type) else mutant)

    def work():
        block = next(bench.subject.blocks())
        kept = [Attributions(bench.subject, one, 0) for one in (explainer, broken)]
        return [one(block, state=("twice",)) for one in kept]

    own, other = bench.subject.lend(work)
    assert own.shape == other.shape
    assert torch.equal(own, other) == (name in ("stale", "absolute_value", "one_channel"))
