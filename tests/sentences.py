"""What tests of tokens share: small networks of three kinds, and sentences of different lengths."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

WORDS, WIDTH = 40, 12


class Reader(nn.Module):
    """Takes token ids with an attention mask, and returns an object with logits."""

    def __init__(self, words=WORDS, width=WIDTH):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.embedding = nn.Embedding(words, width, padding_idx=0)
            self.build(width)
            self.head = nn.Linear(width, 3)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.to(self.head.weight)[..., None]
        hidden = self.read(self.embedding(input_ids), mask)
        return SimpleNamespace(loss=None, logits=self.head((hidden * mask).sum(1) / mask.sum(1)))


class Recurrent(Reader):
    def build(self, width):
        self.rnn = nn.LSTM(width, width, batch_first=True)

    def read(self, embedded, mask):
        return self.rnn(embedded)[0]


class Convolutional(Reader):
    def build(self, width):
        self.convolution, self.relu = nn.Conv1d(width, width, 3, padding=1), nn.ReLU()

    def read(self, embedded, mask):
        return self.relu(self.convolution((embedded * mask).transpose(1, 2)).transpose(1, 2))


class Transformer(Reader):
    def build(self, width):
        self.places = nn.Parameter(0.3 * torch.randn(64, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 24, dropout=0.0, batch_first=True)

    def read(self, embedded, mask):
        return self.layer(embedded + self.places[: embedded.shape[1]], src_key_padding_mask=mask[..., 0] == 0)


READERS = {"recurrent": Recurrent, "convolutional": Convolutional, "transformer": Transformer}


def sentences(count=32, *, further=0, words=WORDS):
    """Return sentences of 4 to 13 tokens, whose ids and mask are padded ``further`` than need be."""
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 14, (count,), generator=drawn)
    ids = torch.zeros(count, int(lengths.max()) + further, dtype=torch.int64)
    for row, length in enumerate(lengths.tolist()):
        ids[row, :length] = torch.randint(1, words, (length,), generator=drawn)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}
