"""Comprehensiveness and sufficiency against a definition that removes tokens from one sentence at a time."""

from __future__ import annotations

from math import ceil

import captum.attr
import pytest
import torch
from sentences import WORDS, Recurrent, Transformer, sentences
from test_tokens import HOW, N, bench_of, gradient, removed_by_hand

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.metrics.comprehensiveness import Comprehensiveness, Sufficiency
from pytest_xaisanity.evidence.metrics.deletion import Deletion, Insertion
from pytest_xaisanity.evidence.metrics.pixel_flipping import Flipped
from pytest_xaisanity.maps.token_imputation import Deletion as LeftOut
from pytest_xaisanity.maps.token_imputation import MaskToken

torch.set_num_threads(1)
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)


class Counts(torch.nn.Module):
    """An additive reader: the sum of the weights of the words, of which padding has none."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(WORDS, 1, padding_idx=0).double()
        with torch.no_grad():
            self.embedding.weight[1:, 0] = torch.arange(1, WORDS).double().sin()

    def forward(self, input_ids, attention_mask):
        return self.embedding(input_ids).sum((1, 2))


def worth(model, inputs, targets):
    return model.embedding.weight.detach()[inputs, 0]


def measured(metric, bench, maps=None, source=gradient):
    """Return the block, the maps and the scores of the first block."""
    with bench.subject.lent():
        block = next(bench.subject.blocks())
        lab = bench._lab(bench.explainer(source).on(bench))
        maps = (
            torch.randn(block.mask.shape, generator=torch.Generator().manual_seed(0)) if maps is None else maps(block)
        )
        return block, maps, metric.score(metric.prepare(lab, block), maps)


@pytest.mark.parametrize(("how", "imputer"), HOW.items())
@pytest.mark.parametrize("network", [Recurrent, Transformer])
def test_follow_the_definition(how, imputer, network):
    bench = bench_of(network)
    for kind in (Comprehensiveness, Sufficiency):
        block, maps, scores = measured(kind(imputer=imputer), bench)
        for row in range(4):
            length = int(block.mask[row].sum())
            ids, target = block.inputs[0][row, :length], block.targets[row]
            order = maps[row, :length].argsort(descending=True).tolist()
            falls = []
            whole = float(removed_by_hand(bench.subject.model, ids, [], how).softmax(0)[target])
            for fraction in FRACTIONS:
                top = ceil(fraction * length)
                gone = order[:top] if kind is Comprehensiveness else order[top:]
                logits = removed_by_hand(bench.subject.model, ids, gone, how)
                falls.append(whole - float(logits.softmax(0)[target]))
            assert float(scores.values[row]) == pytest.approx(sum(falls) / 5, abs=1e-5)


def additive(**settings):
    model = Counts().eval()
    return Bench(model, sentences(N), embedding="embedding", task="regression", **settings)


def test_of_an_additive_model_are_sums_over_the_rationale_and_the_rest():
    bench = additive()
    settings = {"fractions": (0.3,), "output": "logit", "imputer": "padding"}
    scores = []
    for kind in (Comprehensiveness, Sufficiency):
        block, maps, found = measured(
            kind(**settings), bench, lambda block: worth(bench.subject.model, block.inputs[0], None), worth
        )
        scores.append(found.values)
    for row in range(len(maps)):
        values = maps[row][block.mask[row]].double().sort(descending=True).values
        top = ceil(0.3 * len(values))
        kept = values[:top].sum() if top else 0.0
        assert float(scores[0][row]) == pytest.approx(float(kept), abs=1e-5)
        assert float(scores[1][row]) == pytest.approx(float(values[top:].sum()), abs=1e-5)


def test_of_all_tokens_comprehensiveness_is_the_fall_to_nothing():
    bench = bench_of(Recurrent)
    bench.subject.model.config = type("Config", (), {"mask_token_id": 7})()
    bench = Bench(bench.subject.model, sentences(N), embedding="embedding")
    scores = measured(Comprehensiveness(fractions=(0.99, 1.0), imputer="mask_token"), bench)[2]
    assert torch.allclose(scores.values, scores.curves["most relevant removed"].diff(dim=1)[:, 0].neg())


@pytest.mark.parametrize(
    ("kind", "found"), [(Sufficiency, "above 0 and below 1"), (Comprehensiveness, "score the same")]
)
def test_a_rationale_of_all_tokens_tells_nothing_of_a_map(kind, found):
    with pytest.raises(XaiError, match=f"fractions: found .*{found}"):
        kind(fractions=1.0)


def short(*rows, n=N):
    """Return sentences of which some are of a single token."""
    ids = sentences(n)["input_ids"]
    ids[list(rows), 1:] = 0
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.mark.parametrize("metric", ["comprehensiveness", "sufficiency", "deletion", "pixel_flipping"])
def test_a_last_block_of_a_single_token_is_measured(metric):
    """It is a block by itself; the sentences before it have been longer."""
    probe = bench_of(Recurrent, sentences(33))
    with probe.subject.lent():
        last = list(probe.subject.blocks())[-1].indices
    assert len(last) == 1
    verdict = (
        bench_of(Recurrent, short(*last, n=33))
        .explainer(captum.attr.InputXGradient)
        .beats("random", on=metric, early=False)
    )
    assert verdict.n == 33


def test_sentences_of_single_tokens_are_refused_and_some_of_them_are_said():
    explainer = bench_of(Recurrent, short(*range(N))).explainer(captum.attr.InputXGradient)
    for metric in ("comprehensiveness", "sufficiency"):
        with pytest.raises(XaiError, match=f"^{metric}: found 16 sentences of one token that counts"):
            explainer.bounded(metric, at_most=0.5)
    some = bench_of(Recurrent, short(0, 1, 2, 3, 4, 5, 6, 7)).explainer(captum.attr.InputXGradient)
    verdict = some.bounded("sufficiency", at_most=0.9, early=False)
    assert verdict.passed
    assert f"the output of 8 of {N} inputs stays however few tokens are kept" in verdict.reason
    assert verdict.evidence["nothing_falls"] == {"inputs": 8, "of": N}
    assert "however few" not in some.bounded("comprehensiveness", at_most=0.9, early=False).reason
    few = bench_of(Recurrent, short(0)).explainer(captum.attr.InputXGradient)
    assert "however few" not in few.bounded("sufficiency", at_most=0.9, early=False).reason


def test_one_token_is_removed_at_least_and_tenths_are_not_rounded_up():
    metric = Comprehensiveness(fractions=(0.01, 0.1, 0.3))
    assert metric.removals(torch.tensor([4.0, 10.0, 30.0]).double()).tolist() == [
        [0, 0, 0],
        [1, 1, 1],
        [1, 1, 3],
        [2, 3, 9],
    ]
    kept = Sufficiency(fractions=(0.01, 0.1, 0.3)).removals(torch.tensor([4.0, 10.0, 30.0]).double())
    assert kept.tolist() == [[0, 0, 0], [3, 9, 29], [3, 9, 27], [2, 7, 21]]


@pytest.mark.parametrize("metric", ["comprehensiveness", "sufficiency", "deletion", "insertion"])
def test_pass_contributions_and_fail_their_reverse(metric):
    explainer = additive().explainer(worth)
    reverse = additive().explainer(lambda model, inputs, targets: -worth(model, inputs, targets))
    settings = {"on": metric, "imputer": "padding", "output": "logit"}
    assert explainer.beats("random", **settings).passed
    assert explainer.beats(lambda *given: -worth(*given), **settings).passed
    assert not reverse.beats("random", **settings).passed


def test_bounds_and_curves():
    bench = bench_of(Recurrent)
    explainer = bench.explainer(captum.attr.InputXGradient)
    more = explainer.bounded("comprehensiveness", at_least=-0.5)
    assert more.passed
    assert more.evidence.get_part(Flipped).axis == "removed fraction"
    assert more.evidence["fractions"] == pytest.approx([0, *FRACTIONS])
    fewer = explainer.bounded("sufficiency", at_most=0.5)
    assert fewer.passed
    assert fewer.evidence["axis"] == "kept fraction"
    assert fewer.evidence["fractions"] == pytest.approx([*FRACTIONS, 1.0])
    assert (Comprehensiveness().higher_is_better, Sufficiency().higher_is_better) == (True, False)
    assert (Comprehensiveness().low, Sufficiency(output="logit").low) == (-1, float("-inf"))


@pytest.mark.parametrize("kind", [Comprehensiveness, Sufficiency])
def test_padding_is_invisible(kind):
    near, far = bench_of(Recurrent), bench_of(Recurrent, sentences(N, further=7), batch_size=5)
    maps = torch.randn(N, 13, generator=torch.Generator().manual_seed(3))

    def padded(block):
        rows = maps[list(block.indices)]
        return torch.nn.functional.pad(rows, (0, block.mask.shape[1] - 13))

    scores = [measured(kind(), bench, padded)[2].values for bench in (near, far)]
    assert torch.allclose(*scores, atol=1e-6)


@pytest.mark.parametrize("kind", [Comprehensiveness, Sufficiency])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fractions": (0.0, 0.1)}, "fractions: found (0.0, 0.1); expected fractions above 0 and"),
        ({"fractions": 1.5}, "fractions: found 1.5"),
        ({"fractions": []}, "fractions: found []"),
        ({"fractions": "all"}, "fractions: found 'all'"),
        ({"output": "accuracy"}, "output: found 'accuracy'; expected 'probability' or 'logit'"),
        ({"imputer": "mask"}, "use 'mask_token', the nearest known name"),
    ],
)
def test_mistakes_in_settings_are_named(kind, settings, words):
    with pytest.raises(XaiError) as caught:
        kind(**settings)
    assert words in str(caught.value)
    assert str(caught.value).startswith(kind.name)


@pytest.mark.parametrize("metric", ["comprehensiveness", "sufficiency"])
def test_mistakes_that_show_on_the_inputs_are_named(metric):
    images = Bench(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval(), torch.randn(32, 1, 4, 4))
    with pytest.raises(XaiError, match=rf"{metric}: found inputs with places \(4, 4\), which are no tokens"):
        images.explainer(captum.attr.InputXGradient).beats("random", on=metric)
    with pytest.raises(XaiError, match=f"{metric} imputer: found the imputer Constant for token ids"):
        bench_of(Recurrent).explainer(captum.attr.InputXGradient).beats("random", on=metric, imputer="constant")
    with pytest.raises(XaiError, match=f"{metric} imputer: found no mask token"):
        bench_of(Recurrent).explainer(captum.attr.InputXGradient).beats("random", on=metric, imputer=MaskToken())


def test_tokens_may_be_deleted_and_inserted():
    assert Deletion(imputer=LeftOut()) != Insertion(imputer=LeftOut())
    explainer = bench_of(Recurrent).explainer(captum.attr.InputXGradient)
    assert explainer.bounded("insertion", at_least=0.01).evidence["axis"] == "inserted fraction"
