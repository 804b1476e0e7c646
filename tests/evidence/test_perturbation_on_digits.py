"""Metrics of removal on a network that reads 8×8 digits: contributions pass, noise does not, edges hardly."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from sklearn.datasets import load_digits
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.maps.edges import edge_maps

torch.set_num_threads(1)
pytestmark = pytest.mark.slow
TRAINING = 1257
CLAIMS = [
    ("region_perturbation", {}),
    ("region_perturbation", {"summary": "srg", "groups": torch.arange(64).reshape(8, 8) // 4}),
    ("deletion", {}),
    ("insertion", {}),
    ("insertion", {"imputer": "constant"}),
    ("road", {"order": "morf"}),
    ("road", {"order": "morf", "output": "accuracy"}),
]
SOUND = {"ig": (IntegratedGradients, {"n_steps": 16}), "input × gradient": (InputXGradient, {})}


@pytest.fixture(scope="module")
def bench():
    data = load_digits()
    images, labels = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(12):
        for rows in torch.randperm(TRAINING).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    hits = model(images[TRAINING:]).argmax(1) == labels[TRAINING:]
    assert hits.float().mean() > 0.9
    return Bench(model.eval(), images[TRAINING:][hits][:192])


def noise(model, inputs, targets):
    return torch.randn(inputs.shape)


@pytest.mark.parametrize(("metric", "settings"), CLAIMS, ids=lambda value: str(value)[:40])
def test_contributions_beat_random_orders_and_edges(bench, metric, settings):
    for source, keywords in SOUND.values():
        explainer = bench.explainer(source, **keywords)
        assert explainer.beats("random", on=metric, **settings).passed
        assert explainer.beats("edges", on=metric, **settings).passed


@pytest.mark.parametrize(("metric", "settings"), CLAIMS, ids=lambda value: str(value)[:40])
def test_noise_does_not_beat_random_orders_and_edges_hardly(bench, metric, settings):
    """An edge map beats some half of the random orders, contributions nearly all."""
    assert not bench.explainer(noise).beats("random", on=metric, **settings).passed
    edges = bench.explainer(lambda model, inputs, targets: edge_maps(inputs))
    assert edges.beats("random", on=metric, early=False, **settings).estimate < 0.65


def test_small_fractions_tell_orders_apart_and_large_ones_do_not(bench):
    """With the least relevant first, half and more removed, accuracy falls below that of random orders."""
    explainer, others = bench.explainer(SOUND["ig"][0], n_steps=16), bench.explainer(noise)
    gains = {}
    for fractions in ((0.1, 0.2, 0.3), (0.5, 0.7)):
        settings = {"fractions": fractions, "order": "lerf", "output": "accuracy", "at_least": 0.01, "early": False}
        gains[fractions] = explainer.bounded("road", **settings).estimate - others.bounded("road", **settings).estimate
    assert gains[(0.1, 0.2, 0.3)] > 0
    assert gains[(0.5, 0.7)] < gains[(0.1, 0.2, 0.3)]
