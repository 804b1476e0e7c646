"""Which call of an embedding is meant, and which axis of a layer holds the tokens."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam, LayerGradientXActivation
from torch import nn

from pytest_xaisanity.bench.bench import Bench

torch.set_num_threads(1)
WORDS, N = 30, 16


def ids(width, seed):
    return torch.randint(0, WORDS, (N, width), generator=torch.Generator().manual_seed(seed))


class Reader(nn.Module):
    def __init__(self, read=lambda ids: ids, *, first=False):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 3)
        self.change, self.first = read, first

    def read(self, tokens):
        tokens = self.change(tokens)
        return self.embedding(tokens.T).transpose(0, 1) if self.first else self.embedding(tokens)

    def forward(self, tokens):
        return self.head(torch.tanh(self.read(tokens)).mean(1))


class Pair(Reader):
    """Reads two sentences with one embedding, the first one twice."""

    def forward(self, tokens, others):
        one, two = self.read(tokens), self.read(others)
        return self.head(torch.tanh(one).mean(1) * torch.tanh(two).mean(1) + self.read(tokens).detach().mean(1))


def maps_of(model, inputs, *, source=InputXGradient, explaining=None, **settings):
    bench = Bench(model.eval(), inputs, embedding="embedding", **settings)
    explainer, found = bench.explainer(source, **(explaining or {})).on(bench), {}

    def work():
        for block in bench.subject.blocks():
            found.update(zip(block.indices, bench._lab(explainer).attributions(block), strict=True))

    bench.subject.lend(work)
    return torch.stack([found[index] for index in range(len(found))])


def by_hand(model, inputs, place):
    leaf = model.embedding(inputs[place]).detach().requires_grad_()
    read = model.read
    given = iter([leaf if number == place else read(inputs[number]) for number in (0, 1)] + [read(inputs[0])])
    model.read = lambda _: next(given)
    scores = model(*inputs)
    model.read = read
    (gradient,) = torch.autograd.grad(scores.max(1).values.sum(), leaf)
    return (gradient * leaf).sum(-1).detach()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("width", [5, 7])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_the_tokens_of_a_pair_are_those_that_are_explained(place, width, batch_size):
    model, inputs = Pair(), (ids(7, 0), ids(width, 1))
    maps = maps_of(model, inputs, explain=place, batch_size=batch_size)
    torch.testing.assert_close(maps, by_hand(model, inputs, place))


def test_equal_sentences_are_told_apart():
    model, inputs = Pair(), (ids(7, 0), ids(7, 0))
    torch.testing.assert_close(maps_of(model, inputs, explain=1), by_hand(model, inputs, 1))


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("count", [7, N])
def test_tokens_may_come_first_in_batches_of_their_own_number(batch_size, count):
    given = ids(7, 0)[:count]
    first = maps_of(Reader(first=True), given, batch_size=batch_size)
    torch.testing.assert_close(first, maps_of(Reader(), given))


def test_a_model_may_change_its_ids():
    given = ids(7, 0)
    changed = maps_of(Reader(lambda tokens: tokens.clamp(max=9)), given)
    torch.testing.assert_close(changed, maps_of(Reader(), given.clamp(max=9)))


class Convolutional(nn.Module):
    def __init__(self, channels):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(WORDS, 8)
            self.convolution, self.head = nn.Conv1d(8, channels, 3, padding=1), nn.Linear(channels, 3)

    def forward(self, tokens):
        found = self.convolution(self.embedding(tokens).transpose(1, 2))
        self.found = found if found.requires_grad else None
        return self.head(torch.tanh(found).mean(-1))


@pytest.mark.parametrize("channels", [6, 7, 1])  # 7 are as many as there are tokens
@pytest.mark.parametrize("source", [LayerGradientXActivation, LayerGradCam])
def test_channels_of_a_layer_of_tokens_are_no_tokens(source, channels):
    model, given = Convolutional(channels), ids(7, 0)
    maps = maps_of(model, given, source=source, explaining={"layer": "convolution"})
    scores = model(given)
    (gradient,) = torch.autograd.grad(scores.max(1).values.sum(), model.found)
    gradient = gradient if source is LayerGradientXActivation else gradient.mean(-1, keepdim=True)
    torch.testing.assert_close(maps, (gradient * model.found).sum(1).detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("imputer", ["marginal", "conditional_mean"])
def test_what_is_learned_is_that_of_what_is_explained(imputer):
    """Context is neither learned nor counted, also where it comes first."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.line = nn.Linear(5, 3)

        def forward(self, scale, features):
            return self.line(features) * scale

    drawn = torch.Generator().manual_seed(0)
    features, scale = torch.randn(N, 5, generator=drawn), torch.ones(N, 1)
    benches = [
        Bench(Scaled().eval().line, features),
        Bench(Scaled().eval(), {"scale": scale, "features": features}, explain="features"),
        Bench(Scaled().eval(), (scale, features), explain=1),
    ]
    claims = [
        bench.explainer(InputXGradient).beats("random", on="pixel_flipping", imputer=imputer) for bench in benches
    ]
    assert claims[0].interval == claims[1].interval == claims[2].interval
