"""Models of Hugging Face's, built small from their configurations: no glue between them and a verdict."""

from __future__ import annotations

import re
from pathlib import Path

import captum.attr
import pytest
import tokenizers
import torch
import transformers

from pytest_xaisanity import XaiError
from pytest_xaisanity.bench.bench import Bench

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


SHARED_SIZES = {"layers": 1, "attention_heads": 2, "ffn_dim": 24}
SHARED = {
    "T5": ("T5EncoderModel", "T5Config", {"d_model": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "d_ff": 24}),
    "Bart": (
        "BartForSequenceClassification",
        "BartConfig",
        {
            "d_model": 16,
            **{f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in SHARED_SIZES.items()},
            "max_position_embeddings": 20,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
    ),
}


@pytest.mark.parametrize(("kind", "config", "settings"), SHARED.values(), ids=SHARED)
def test_the_embedding_of_an_encoder_that_shares_its_weights(kind, config, settings):
    model = made(kind, config, vocab_size=40, num_labels=3, **settings)
    output = (lambda found: found.last_hidden_state.mean(1)) if kind.startswith("T5") else None
    bench = Bench(model, encoded(), output=output)
    assert bench.explainer(captum.attr.InputXGradient).invariant_under("batch_order")
    assert bench.subject.presentation.embedding is model.get_encoder().embed_tokens


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_padding_of_encoders_is_invisible(make):
    verdicts = [
        Bench(make(), encoded(further)).explainer(captum.attr.InputXGradient).beats("random", on="pixel_flipping")
        for further in (0, 6)
    ]
    assert verdicts[0].estimate == pytest.approx(verdicts[1].estimate, abs=1e-6)


def test_scores_against_all_of_a_batch_are_refused_with_a_fix_that_works():
    inputs = pairs(torch.randn(24, 3, 16, 16), 6 * SENTENCES[:4], padding=True, return_tensors="pt")
    with pytest.raises(XaiError, match=r"found\.logits_per_image\.diagonal"):
        Bench(clip(), inputs, output="logits_per_image").explainer(captum.attr.Saliency).invariant_under("batch_order")
    bench = Bench(clip(), inputs, output=lambda found: found.logits_per_image.diagonal())
    assert bench.explainer(captum.attr.Saliency).invariant_under("batch_order")


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


# ------------------------------------------------------------------------------------------------ README.md

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## From import to verdict\n")[2].partition("\n## ")[0]
IMPORTS, *BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
SENTENCES = ["the film is good", "a long and bad film", "good", "not a film but a long story"] * (N // 4)


def tokenizer(**special):
    """Return a tokenizer of a few words."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<end>", *sorted({word for one in SENTENCES for word in one.split()})]
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if "cls_token" in special:
        ends = [("[CLS]", 2), ("[SEP]", 3)]
        model.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]", **special)


def pixels(images, **_):
    return transformers.BatchEncoding({"pixel_values": images})


def pairs(images, text, **settings):
    words = tokenizer(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")(text, **settings)
    return {**pixels(images), "input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}


class Clinic(torch.nn.Module):
    """Reads an image with the age of a patient and the site where it was taken."""

    def __init__(self):
        super().__init__()
        self.sites, self.head = torch.nn.Embedding(3, 8), torch.nn.Linear(3 * 16 * 16 + 9, 3)

    def forward(self, image, age, site):
        return self.head(torch.cat([image.flatten(1), age[:, None], self.sites(site)], dim=1))


def clip():
    text = {name: SMALL[name] for name in SMALL if name != "num_labels"}
    image = {**{name: text[name] for name in text if name != "vocab_size"}, "image_size": 16, "patch_size": 4}
    return made("CLIPModel", "CLIPConfig", text_config=text, vision_config=image, projection_dim=8)


def gpt2():
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32, "initializer_range": 0.3}
    return made("GPT2LMHeadModel", "GPT2Config", vocab_size=40, bos_token_id=4, eos_token_id=4, **sizes)


ENCODED = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
SNIPPETS = {
    "Bert": (
        0,
        {"AutoModelForSequenceClassification": ENCODERS["Bert"], "AutoTokenizer": lambda: tokenizer(**ENCODED)},
    ),
    "DistilBert": (
        0,
        {"AutoModelForSequenceClassification": ENCODERS["DistilBert"], "AutoTokenizer": lambda: tokenizer(**ENCODED)},
    ),
    "GPT-2": (1, {"AutoModelForCausalLM": gpt2, "AutoTokenizer": lambda: tokenizer(eos_token="<end>")}),
    "ViT": (
        2,
        {
            "AutoModelForImageClassification": lambda: made(
                "ViTForImageClassification", "ViTConfig", image_size=16, patch_size=4, **SMALL
            ),
            "AutoImageProcessor": lambda: pixels,
        },
    ),
    "CLIP": (3, {"CLIPModel": clip, "CLIPProcessor": lambda: pairs}),
    "an image with metadata": (4, {}),
}


@pytest.mark.parametrize(("place", "loaded"), SNIPPETS.values(), ids=SNIPPETS)
def test_the_readme_goes_from_import_to_verdict_in_ten_lines(place, loaded, monkeypatch):
    """As it is written there, with small models in place of what would be downloaded."""
    for kind, make in loaded.items():
        monkeypatch.setattr(getattr(transformers, kind), "from_pretrained", lambda name, make=make: make())
    code = IMPORTS + BLOCKS[place]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    torch.manual_seed(1)
    given = {
        "name": "a model",
        "sentences": SENTENCES,
        "images": torch.randn(N, 3, 16, 16),
        "model": Clinic().eval(),
        "ages": torch.rand(N),
        "sites": torch.arange(N) % 3,
    }
    exec(code, given)
    assert given["verdict"].n >= N / 2
    assert given["verdict"].reason


def test_the_readme_has_no_other_snippets():
    assert {place for place, _ in SNIPPETS.values()} == set(range(len(BLOCKS)))
