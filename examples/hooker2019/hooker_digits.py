"""Digits of eight by eight pixels, a network that is trained on them in a second, and the methods that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import torch
from captum.attr import GuidedBackprop, IntegratedGradients, Saliency
from sklearn.datasets import load_digits as load_table
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity.explainers import SmoothGrad, SmoothGradSquared, Squared, VarGrad

TEST_SIZE = 540
EPOCHS = 15


class Digits(NamedTuple):
    """Images ``(N, 1, 8, 8)`` in [0, 1] and labels ``(N,)``, for training and for testing."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


class SmallCNN(nn.Module):
    """Two convolutions and two dense layers: images ``(N, 1, 8, 8)`` to logits ``(N, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool1 = nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.fc1, self.relu3, self.fc2 = nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of each image."""
        features = self.pool2(self.relu2(self.conv2(self.pool1(self.relu1(self.conv1(images))))))
        return self.fc2(self.relu3(self.fc1(features.flatten(1))))


@cache
def load_digits() -> Digits:
    """Return the 1,797 digits that scikit-learn ships, in a random order that is the same each time."""
    table = load_table()
    order = torch.randperm(len(table.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(table.images, dtype=torch.float32)[order, None] / 16
    labels = torch.tensor(table.target)[order].long()
    return Digits(images[TEST_SIZE:], labels[TEST_SIZE:], images[:TEST_SIZE], labels[:TEST_SIZE])


def train(images: torch.Tensor, labels: torch.Tensor, seed: int) -> SmallCNN:
    """Return a network trained on images and labels, from weights and in batches that the seed draws."""
    torch.manual_seed(seed)
    model = SmallCNN()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return model


def trained(digits: Digits) -> SmallCNN:
    """Return the network that is explained; the global generators are left as they were."""
    with torch.random.fork_rng(devices=[]), one_thread():
        return train(digits.train_images, digits.train_labels, seed=1).eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block: for networks this small, more are slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


METHODS: Mapping[str, tuple[object, Mapping[str, object]]] = {
    "GRAD": (Saliency, {"abs": False}),
    "IG": (IntegratedGradients, {"n_steps": 25}),
    "GB": (GuidedBackprop, {}),
    "SG-GRAD": (SmoothGrad(Saliency), {"abs": False}),
    "SQ-GRAD": (Squared(Saliency), {"abs": False}),
    "SG-SQ-GRAD": (SmoothGradSquared(Saliency), {"abs": False}),
    "VAR-GRAD": (VarGrad(Saliency), {"abs": False}),
}
"""The methods of the paper: an explainer, and its settings."""
