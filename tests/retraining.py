"""What tests of retraining share: classifiers that are solved or soon trained, in a module that workers can import."""

from __future__ import annotations

import torch
from torch import nn


class Linear(nn.Module):
    """A linear classifier of two classes or more of inputs of any shape."""

    def __init__(self, features, classes):
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, x):
        return self.layer(x.flatten(1))


def least_squares(inputs, targets, seed):
    """Return the classifier whose scores are the least-squares fit of the classes: no luck is in it."""
    rows = inputs.flatten(1).double()
    rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    classes = int(targets.max()) + 1
    weights = torch.linalg.pinv(rows) @ nn.functional.one_hot(targets, classes).double()
    model = Linear(rows.shape[1] - 1, classes)
    with torch.no_grad():
        model.layer.weight.copy_(weights[:-1].T)
        model.layer.bias.copy_(weights[-1])
    return model


def descended(inputs, targets, seed):
    """Return a classifier that is trained by a few steps from random weights, on random batches."""
    torch.manual_seed(seed)
    model = Linear(inputs[0].numel(), int(targets.max()) + 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for rows in torch.randint(len(inputs), (30, 32)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    return model


def problem(n, seed, *, shape=(2, 3, 3), classes=3):
    """Return inputs around the centers of their classes, and their classes."""
    centers = torch.randn(classes, *shape, generator=torch.Generator().manual_seed(9))
    drawn = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (n,), generator=drawn)
    return centers[targets] + torch.randn(n, *shape, generator=drawn), targets
