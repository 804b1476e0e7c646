"""Models of Hugging Face's, built small from their configurations: no glue between them and a verdict."""

from __future__ import annotations

import captum.attr
import pytest
import torch

from pytest_xaisanity.bench.bench import Bench

transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.long]
N = 16
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 40,
    "num_labels": 3,
    "initializer_range": 0.3,  # so that what a token changes is more than rounding
}


def made(kind, config, **settings):
    torch.manual_seed(0)
    return getattr(transformers, kind)(getattr(transformers, config)(**settings)).eval()


def encoded(further=0):
    """Return what a tokenizer would: sentences of 4 to 11 tokens between [CLS] and [SEP]."""
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 12, (N,), generator=drawn).tolist()
    ids = torch.zeros(N, max(lengths) + further, dtype=torch.int64)
    special = torch.ones_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, 40, (length,), generator=drawn)
        ids[row, 0], ids[row, length - 1] = 2, 3
        special[row, 1 : length - 1] = 0
    return transformers.BatchEncoding(
        {"input_ids": ids, "attention_mask": (ids != 0).long(), "special_tokens_mask": special}
    )


def rollout(model, inputs, targets):
    """Attention rollout (Abnar and Zuidema 2020): attention weights with the skip, multiplied over the layers."""
    attentions = model(inputs, output_attentions=True).attentions
    rolled = torch.eye(inputs.shape[1]).expand(len(inputs), -1, -1)
    for layer in attentions:
        rolled = (layer.mean(1) + torch.eye(inputs.shape[1])) / 2 @ rolled
    return rolled[:, 0].detach()


ENCODERS = {
    "Bert": lambda: made("BertForSequenceClassification", "BertConfig", attn_implementation="eager", **SMALL),
    "DistilBert": lambda: made(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=24,
        vocab_size=40,
        num_labels=3,
        attn_implementation="eager",
    ),
}


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_encoders_take_what_tokenizers_return(make):
    inputs = encoded()
    bench = Bench(make(), inputs)
    explainer = bench.explainer(captum.attr.IntegratedGradients, n_steps=4)
    assert "reduction=sum" in repr(explainer.changes_under("cascading_randomization"))
    assert explainer.beats("random", on="pixel_flipping").n == N
    assert bench.explainer(rollout).invariant_under("batch_order").passed
    assert bench.explainer(captum.attr.FeatureAblation).invariant_under("batch_order").passed
    with bench.subject.lent():
        block = next(bench.subject.blocks())
    assert torch.equal(block.mask, inputs["special_tokens_mask"][list(block.indices)] == 0)


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_padding_of_encoders_is_invisible(make):
    verdicts = [
        Bench(make(), encoded(further)).explainer(captum.attr.InputXGradient).beats("random", on="pixel_flipping")
        for further in (0, 6)
    ]
    assert verdicts[0].estimate == pytest.approx(verdicts[1].estimate, abs=1e-6)


def test_images_are_explained_as_images():
    model = made("ViTForImageClassification", "ViTConfig", image_size=16, patch_size=4, **SMALL)
    bench = Bench(model, {"pixel_values": torch.randn(N, 3, 16, 16)})
    saliency = bench.explainer(captum.attr.Saliency)
    assert saliency.beats("random", on="pixel_flipping").n == N


def test_a_pair_of_image_and_text_may_be_explained_by_either():
    text = {name: SMALL[name] for name in SMALL if name != "num_labels"}
    image = {**{name: text[name] for name in text if name != "vocab_size"}, "image_size": 16, "patch_size": 4}
    model = made("CLIPModel", "CLIPConfig", text_config=text, vision_config=image, projection_dim=8)
    words = encoded()
    inputs = {"pixel_values": torch.randn(N, 3, 16, 16), **{k: words[k] for k in ("input_ids", "attention_mask")}}

    def own_caption(output):
        return (output.image_embeds * output.text_embeds).sum(1, keepdim=True)

    seen = Bench(model, inputs, output=own_caption).explainer(captum.attr.Saliency)
    assert seen.invariant_under("batch_order").passed
    embedding = "text_model.embeddings.token_embedding"
    read = Bench(model, inputs, output=own_caption, embedding=embedding).explainer(captum.attr.InputXGradient)
    assert "reduction=sum" in repr(read.invariant_under("batch_order"))
