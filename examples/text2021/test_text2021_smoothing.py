"""Kokhlikyan et al. 2021 on smoothness: what softplus and log-sum-exp do to infidelity.

The network that reads film reviews, with its ReLUs made softplus and its maximum over places log-sum-exp, weights as
they are; explanations and outputs are those of the same network. Medians of relative infidelity (0 is perfect, 1 no
better than no map) under noise of three hundredths of the embedding's size, on sentences of 20 words, where all
predictions agree:

| | as trained | softplus 10 | and LSE 10 | softplus 2, LSE 5 |
| --- | --- | --- | --- | --- |
| gradient | 0.0080 | 0.0066 | 0.0020 | 0.0014 |
| local IG | 0.081 | 0.066 | 0.19 | 0.25 |

The gradient is the more faithful the smoother the network. Not so of every method: local Integrated Gradients,
which average gradients on the way from embeddings of zeros, are less so once the maximum is smooth.
"""

from __future__ import annotations

import copy
from statistics import median

import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import nn

from pytest_xaisanity import Bench

INPUTS, LENGTH = 64, 20  # words: as many in each, so that nothing is padded, which a log-sum-exp would see
SMOOTH = {"as trained": None, "softplus 10": (10.0, None), "softplus 2, LSE 5": (2.0, 5.0)}  # β, r
METHODS = {
    "gradient": (Saliency, {"abs": False}),
    "local IG": (IntegratedGradients, {"n_steps": 16, "multiplier": "without"}),
}


class LogSumExp(nn.Module):
    """The smooth maximum over places, ``ln(sum exp(r x)) / r``, ``(N, C, T)`` to ``(N, C, 1)``."""

    def __init__(self, r: float) -> None:
        super().__init__()
        self.r = r

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the maximum or up to ``ln(T) / r`` above it."""
        return torch.logsumexp(self.r * features, dim=2, keepdim=True) / self.r


pytestmark = pytest.mark.slow  # half a minute of passes


def smoothed(model: nn.Module, smooth: tuple[float, float | None] | None) -> nn.Module:
    """Return a network with the weights of another one, made smooth."""
    twin = copy.deepcopy(model)
    if smooth is not None:
        beta, r = smooth
        twin.relu1, twin.relu2 = nn.Softplus(beta), nn.Softplus(beta)
        twin.pool = twin.pool if r is None else LogSumExp(r)
    return twin


@pytest.fixture(scope="module")
def found(reader, sentences):
    """Return the median relative infidelity of each method, on the network as trained and smoothed, and agreement."""
    model, encode = reader
    texts = [text for text in sentences.test_texts if len(encode.of(text)) == LENGTH][:INPUTS]
    inputs = encode(texts)
    with torch.no_grad():
        predicted = model(**inputs).argmax(1)
    medians: dict[tuple[str, str], float] = {}
    agreement = {}
    for degree, smooth in SMOOTH.items():
        network = smoothed(model, smooth)
        with torch.no_grad():
            agreement[degree] = (network(**inputs).argmax(1) == predicted).float().mean().item()
        bench = Bench(network, inputs, predicted, embedding="embedding")
        for name, (source, how) in METHODS.items():
            verdict = bench.explainer(source, name=name, **how).bounded("infidelity", at_most=1.0, early=False)
            medians[name, degree] = median(verdict.evidence["scores"]["explainer"])
    return medians, agreement


def test_infidelity_of_gradients_falls_with_smoothing(found):
    """Here to a sixth."""
    medians, _ = found
    sharp, softer, smooth = (medians["gradient", degree] for degree in SMOOTH)
    assert smooth < softer <= sharp
    assert smooth < sharp / 3


def test_that_of_local_integrated_gradients_rises(found):
    """To three times as much."""
    medians, _ = found
    assert medians["local IG", "softplus 2, LSE 5"] > medians["local IG", "as trained"]


def test_predictions_agree(found):
    """Otherwise it would be another network's explanation."""
    _, agreement = found
    assert agreement["softplus 10"] > 0.95
    assert agreement["softplus 2, LSE 5"] > 0.8
