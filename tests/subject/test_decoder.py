"""Causal language models: what is explained is the log-probability of a continuation, however prompts are padded."""

from __future__ import annotations

from types import SimpleNamespace

import captum.attr
import pytest
import torch
from decoders import END, WORDS, WRITERS, Recurrent, by_hand, continuations, gpt2, prompts
from model_state import state_of
from torch import nn

from pytest_xaisanity.bench.bench import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.base import Lab
from pytest_xaisanity.evidence.interventions.other_target import OtherTarget
from pytest_xaisanity.evidence.metrics.pixel_flipping import Flipped, PixelFlipping
from pytest_xaisanity.evidence.randomized import Randomized
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.subject.outputs import select
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.long]
N = 16
TARGETS = {"its own next token": None, "a token": continuations(N)[:, 0], "several tokens": continuations(N)}


def subject_of(make=gpt2, inputs=None, targets=None, **settings):
    task = {} if make is gpt2 else {"task": "next_token", "embedding": "embedding"}
    return Subject(make().double().eval(), prompts(N) if inputs is None else inputs, targets, **{**task, **settings})


def block_of(subject):
    return subject.lend(lambda: next(subject.blocks()))


def read(subject, work):
    """Return ``work(block)`` of all inputs, in the order in which they were given."""
    found = {}

    def reading():
        for block in subject.blocks():
            found.update(zip(block.indices, work(block), strict=True))

    subject.lend(reading)
    return torch.stack([found[index] for index in sorted(found)])


# ------------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("make", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    ("further", "left"), [(0, False), (5, False), (0, True), (5, True)], ids=["right", "far right", "left", "far left"]
)
def test_the_score_is_the_log_probability_of_the_continuation(make, targets, further, left):
    """The oracle reads it token by token, one prompt at a time and unpadded."""
    if left and make is Recurrent:
        pytest.skip("what it reads of padding before a prompt is its own matter")
    subject = subject_of(make, prompts(N, further=further, left=left), targets)
    found = read(subject, lambda block: select(subject.outputs(block.arguments), block.targets))
    tokens = targets
    if targets is None:
        tokens = read(subject, lambda block: block.targets)
        again = subject_of(make, prompts(N), None)
        assert torch.equal(tokens, read(again, lambda block: block.targets))
    expected = by_hand(subject.model, prompts(N), tokens.reshape(N, -1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    embedded = read(
        subject,
        lambda block: select(
            subject.answer(block.arguments, subject.presentation.embedded(block.arguments)), block.targets
        ),
    )
    torch.testing.assert_close(embedded, expected, rtol=0, atol=1e-10)


def test_continuations_may_be_padded_on_either_side():
    tokens = continuations(N)
    left = torch.stack([torch.cat([row[row < 0], row[row >= 0]]) for row in tokens])
    blocks = [block_of(subject_of(targets=one)) for one in (tokens, left, tokens.masked_fill(tokens < 0, -1))]
    assert all(torch.equal(block.context[-1], blocks[0].context[-1]) for block in blocks)
    assert all(torch.equal(block.targets, blocks[0].targets) for block in blocks)


@pytest.mark.parametrize(("end", "counts"), [(END, False), (0, True)], ids=["is padding", "ends texts too"])
def test_the_id_of_padding_pads_continuations_unless_it_ends_texts_too(end, counts):
    tokens = continuations(N)
    zeros = tokens.masked_fill(tokens < 0, 0)
    block = block_of(
        subject_of(
            lambda: gpt2(pad_token_id=0, eos_token_id=end),
            targets=zeros,
            task="next_token",
            embedding="transformer.wte",
        )
    )
    lengths = (block.context[-1] >= 0).sum((1, 2)) + 1
    expected = torch.full_like(lengths, 3) if counts else (tokens >= 0).sum(1)[list(block.indices)]
    assert torch.equal(lengths, expected)


def test_inputs_of_one_continuation_have_one_target():
    tokens = torch.tensor([[3, 4, 5], [3, 4, 5], [9, 4, 5], [5, -100, -100]]).repeat(4, 1)
    keys = block_of(subject_of(targets=tokens)).target_keys
    assert len(set(keys)) == 3


def test_prompts_may_be_ids_alone():
    """In a tensor without names, all of one length."""
    ids = prompts(N)["input_ids"][:, :4]
    subject = subject_of(inputs=ids, targets=continuations(N))
    found = read(subject, lambda block: select(subject.outputs(block.arguments), block.targets))
    named = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    torch.testing.assert_close(found, by_hand(subject.model, named, continuations(N)), rtol=0, atol=1e-10)


def test_positions_that_are_given_go_on_in_the_continuation():
    inputs = prompts(N, further=3, left=True)
    inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    subject = subject_of(inputs=inputs, targets=continuations(N))
    found = read(subject, lambda block: select(subject.outputs(block.arguments), block.targets))
    torch.testing.assert_close(found, by_hand(subject.model, prompts(N), continuations(N)), rtol=0, atol=1e-10)


def test_streams_carry_continuations():
    rows, tokens = prompts(N), continuations(N)
    batches = [[{k: v[i : i + 6] for k, v in rows.items()}, tokens[i : i + 6]] for i in range(0, N, 6)]
    subject = subject_of(inputs=batches)
    found = read(subject, lambda block: select(subject.outputs(block.arguments), block.targets))
    torch.testing.assert_close(found, by_hand(subject.model, rows, tokens), rtol=0, atol=1e-10)


def test_scores_of_each_input_that_a_function_makes_are_classes():
    """Who takes two logits behind the prompt has a classifier."""
    subject = subject_of(inputs=prompts(N, left=True), output=lambda found: found.logits[:, -1, 5:7])
    block = block_of(subject)
    assert subject.presentation.decoder is None
    assert subject.outputs(block.arguments).shape == (N, 2)
    assert subject.link.function == "softmax"


# ------------------------------------------------------------------------------------------------ explanations


def test_gradients_are_those_of_the_sum_of_log_probabilities():
    """The oracle embeds one prompt and its continuation by hand."""
    tokens, inputs = continuations(N), prompts(N, further=2)
    bench = Bench(gpt2().double(), inputs, tokens)
    found = read(bench.subject, bench._lab(bench.explainer(captum.attr.InputXGradient).on(bench)).attributions)
    model = bench.subject.model
    for row in range(N):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row] != 0]
        text = tokens[row][tokens[row] >= 0]
        leaf = model.transformer.wte(ids).detach().requires_grad_()
        behind = model.transformer.wte(text[:-1])
        logits = model(inputs_embeds=torch.cat([leaf, behind])[None]).logits[0, len(ids) - 1 :]
        score = logits.log_softmax(1)[torch.arange(len(text)), text].sum()
        (gradient,) = torch.autograd.grad(score, leaf)
        torch.testing.assert_close(found[row, : len(ids)], (gradient * leaf).sum(1).detach(), rtol=0, atol=1e-9)
        assert not found[row, len(ids) :].any()


def attention(model, inputs, targets):
    """Return what the last layer attends to from behind each prompt, of a model that returns all it has."""
    weights = model(inputs, output_attentions=True).attentions[-1].mean(1)
    return weights[torch.arange(len(inputs)), (inputs != 0).sum(1) - 1].detach()


def test_functions_and_layer_methods_see_the_prompts_alone():
    bench = Bench(gpt2(attn_implementation="eager").double(), prompts(N), continuations(N))
    assert bench.explainer(attention).invariant_under("batch_order").passed
    layered = bench.explainer(captum.attr.LayerGradientXActivation, layer="transformer.wte")
    plain = bench.explainer(captum.attr.InputXGradient)
    maps = [read(bench.subject, bench._lab(one.on(bench)).attributions) for one in (layered, plain)]
    torch.testing.assert_close(*maps)


def test_the_model_comes_back_as_it_was():
    model = gpt2()
    before = state_of(model)
    bench = Bench(model, prompts(N), continuations(N))
    assert bench.explainer(captum.attr.InputXGradient).changes_under("cascading_randomization") is not None
    assert state_of(model) == before


# ------------------------------------------------------------------------------------------------ evidence


@pytest.mark.parametrize("output", ["probability", "logit"])
def test_flipping_scores_the_probability_of_a_token(output):
    """Of several tokens that is the geometric mean, between 0 and 1; as raw output, the sum of log-probabilities."""
    tokens = continuations(N)
    bench = Bench(gpt2().double(), prompts(N), tokens)
    lab = bench._lab(bench.explainer(captum.attr.InputXGradient).on(bench))

    def work(block):
        metric = PixelFlipping(imputer="zero_embedding", steps=4, output=output)
        prepared = metric.prepare(lab, block)
        (part,) = metric.describe(prepared)
        assert isinstance(part, Flipped)
        assert part.output == ("probability" if output == "probability" else "raw output")
        assert output != "probability" or "averaged over their tokens" in part.taken
        return prepared.curve(prepared.ranks(torch.randn(block.mask.shape), ""))

    curves = read(bench.subject, work)
    whole = by_hand(bench.subject.model, prompts(N), tokens)
    expected = (whole / (tokens >= 0).sum(1)).exp() if output == "probability" else whole
    torch.testing.assert_close(curves[:, 0], expected, rtol=0, atol=1e-10)
    assert output != "probability" or (curves.min() >= 0 and curves.max() <= 1)


def test_tied_weights_are_randomized_once_and_said_to_be():
    bench = Bench(gpt2(), prompts(N))
    explainer = bench.explainer(captum.attr.InputXGradient)
    part = explainer.changes_under("cascading_randomization").evidence.get_part(Randomized)
    assert part.layers[0] == "transformer.wte"
    assert part.layers.count("transformer.wte") == 1
    assert part.tied == {"transformer.wte": ("lm_head.weight",)}
    assert any("lm_head.weight" in text and "once" in text for _, text in part.rows())
    left = explainer.changes_under("independent_randomization", embedding=False).evidence.get_part(Randomized)
    assert "transformer.wte" not in left.layers
    assert "lm_head.weight" in left.not_randomized


def test_layers_above_a_cut_are_not_those_that_the_embedding_shares():
    """By default there is no cut below a tied head: past it, skip connections would keep what is explained."""
    explainer = Bench(gpt2(), prompts(N)).explainer(captum.attr.InputXGradient)
    with pytest.raises(XaiError, match=r"lm_head.weight, that are tied to those of transformer.wte.*name with cut="):
        explainer.changes_under("later_layers")
    part = explainer.changes_under("later_layers", cut="transformer.h.0").evidence.get_part(Randomized)
    assert "transformer.wte" not in part.layers
    assert {layer.partition(".mlp")[0] for layer in part.layers if "mlp" in layer} == {"transformer.h.1"}
    assert "below the cut" in part.not_randomized["transformer.wte.weight"]
    own = Bench(gpt2(tie_word_embeddings=False), prompts(N)).explainer(captum.attr.InputXGradient)
    assert own.changes_under("later_layers").evidence.get_part(Randomized).layers == ("lm_head",)


@pytest.mark.parametrize("targets", [None, continuations(N)], ids=["one token", "several"])
def test_another_target_is_another_continuation(targets):
    """Of several tokens each is another one, and as many."""
    given = []

    def noting(model, inputs, targets):
        context = model.prompts_of(inputs) if hasattr(model, "prompts_of") else None
        given.append((targets, context))
        return torch.randn(inputs.shape, generator=torch.Generator().manual_seed(len(inputs)))

    subject = subject_of(targets=targets)
    seen = []
    explainer = as_explainer(captum.attr.FeatureAblation, subject.model)
    attributions = Attributions(subject, explainer, 0)
    attributions.of_some = lambda block, rows, **more: seen.append((block, more["targets"])) or torch.zeros(1)

    def work():
        block = next(subject.blocks())
        sweep = OtherTarget(seeds=2).start(Lab(subject, attributions, 0, None), block)
        list(sweep.sampled(block, {(0, 0): [0], (1, 0): [1]}))
        return block

    block = subject.lend(work)
    for other, last in seen:
        assert (last != block.targets).all()
        assert (last < WORDS).all()
        if targets is not None:
            before, now = block.context[-1], other.context[-1]
            assert torch.equal(before < 0, now < 0)
            assert (before != now)[before >= 0].all()
            assert (now < WORDS).all()


@pytest.mark.slow
def test_the_standard_battery_is_decided():
    bench = Bench(gpt2(), prompts(N), torch.arange(N) % 2 + 5)
    decided = bench.battery(captum.attr.InputXGradient, "standard")
    assert len(decided) == 5
    assert len(decided.skipped) == 2


# ------------------------------------------------------------------------------------------------ bad input


def tokens_with(place, value):
    tokens = continuations(N)
    tokens[place] = value
    return tokens


BAD = {
    "an empty continuation": (tokens_with(3, -100), "without a token (input 3)", "-100"),
    "a hole": (tokens_with(5, torch.tensor([4, -100, 6])), "between its tokens (input 5)", "-100"),
    "outside of the vocabulary": (tokens_with((2, 0), WORDS), f"token id {WORDS} (input 2)", f"0 to {WORDS - 1}"),
    "a negative token": (torch.full((N,), -2), "token id -2", f"0 to {WORDS - 1}"),
    "one token too large": (torch.full((N,), 99), "token id 99", f"0 to {WORDS - 1}"),
    "too few": (continuations(N)[:9], f"9 targets for {N} inputs", "one target for each"),
    "of three axes": (continuations(N)[None].repeat(2, 1, 1), "shape (2, 16, 3)", "xai_targets"),
    "flags": (torch.rand(N, 5) > 0.5, "flags of 0 and 1", "token ids"),
    "words": (["on"] * N, "type list", "xai_targets"),
}


@pytest.mark.parametrize(("targets", "found", "also"), BAD.values(), ids=BAD)
def test_what_is_no_continuation_is_refused(targets, found, also):
    with pytest.raises(XaiError) as caught:
        block_of(subject_of(targets=targets))
    assert found in str(caught.value)
    assert also in str(caught.value)


def test_own_models_are_told_how_to_say_what_they_are():
    """And what they are told works."""
    for targets in (None, continuations(N)[:, 0]):
        with pytest.raises(XaiError, match=r"set xai_task .* to 'next_token'"):
            block_of(subject_of(Recurrent, targets=targets, task="auto"))
        assert block_of(subject_of(Recurrent, targets=targets)).targets.shape == (N,)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.head(self.embedding(input_ids).mean(1)))


def test_other_models_are_no_causal_language_models():
    with pytest.raises(XaiError, match=r"outputs of shape \(2, 3\) of a causal language model"):
        block_of(subject_of(Classifier))
    with pytest.raises(XaiError, match="a task of tokens"):
        block_of(Subject(nn.Linear(4, 3), torch.randn(N, 4), task="next_token"))


def prompts_with(**changed):
    return {**prompts(N), **changed}


WRONG = {
    "ids outside of the vocabulary": (
        lambda: subject_of(inputs=prompts_with(input_ids=prompts(N)["input_ids"] + WORDS)),
        f"ids from 0 to {WORDS - 1}",
    ),
    "ids of padding outside of it": (
        lambda: subject_of(
            inputs=prompts_with(input_ids=prompts(N)["input_ids"].where(prompts(N)["attention_mask"] > 0, -100))
        ),
        "token id -100",
    ),
    "a mask that hides everything": (lambda: subject_of(mask=torch.zeros(N, 13)), "without a place that counts"),
    "an attention mask that hides a prompt": (
        lambda: subject_of(
            inputs=prompts_with(attention_mask=prompts(N)["attention_mask"] * (torch.arange(N) != 4)[:, None])
        ),
        "input 4",
    ),
    "a mask of another shape": (lambda: subject_of(mask=torch.ones(N, 4)), "(16, 4)"),
    "no field of that name": (lambda: subject_of(output="logit"), "logits"),
    "a name that it does not take": (
        lambda: subject_of(inputs=prompts_with(attention_msk=prompts(N)["attention_mask"])),
        "attention_mask",
    ),
}


@pytest.mark.parametrize(("make", "found"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_one_error(make, found):
    with pytest.raises(XaiError) as caught:
        block_of(make())
    assert found in str(caught.value)


# ------------------------------------------------------------------------------------------------ retraining


def trained(inputs, targets, seed):
    torch.manual_seed(seed)
    model = Recurrent().train()
    nn.init.normal_(model.embedding.weight)
    optimizer, last = torch.optim.Adam(model.parameters(), 0.02), inputs["attention_mask"].sum(1) - 1
    for _ in range(120):
        optimizer.zero_grad()
        logits = model(**inputs).logits[torch.arange(len(last)), last]
        nn.functional.cross_entropy(logits, targets).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.training
def test_models_are_retrained_on_other_next_tokens():
    data = prompts(160)
    last = data["attention_mask"].sum(1) - 1
    tokens = data["input_ids"][torch.arange(len(last)), last] // 14 + 5
    half = [{name: one[part] for name, one in data.items()} for part in (slice(120), slice(120, None))]
    model = trained(half[0], tokens[:120], 5)
    known = {"task": "next_token", "embedding": "embedding"}
    bench = Bench(model, half[1], train=trained, training_data=(half[0], tokens[:120], half[1], tokens[120:]), **known)
    verdict = bench.explainer(captum.attr.InputXGradient).changes_under("label_randomization", seeds=1)
    assert verdict.n == 40
