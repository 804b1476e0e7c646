"""Two tables of scikit-learn's and a network with one hidden layer, trained on either in a tenth of a second."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_wine
from torch import nn
from torch.nn import functional as F

ONE_HOT = ("alcohol", "color_intensity", "proline")  # columns of the wines that are told in words: low, medium, high
WORDS = ("low", "medium", "high")


class Table(NamedTuple):
    """Rows ``(N, F)`` and labels ``(N,)``, for training and for testing, and the names of the columns."""

    train_rows: torch.Tensor
    train_labels: torch.Tensor
    test_rows: torch.Tensor
    test_labels: torch.Tensor
    features: list[str]


@cache
def cancer() -> Table:
    """Return 569 tumors: ten measurements of their cells, each as mean, error and worst; 400 of them to train on."""
    data = load_breast_cancer()
    return _split(data.data, data.target, list(map(str, data.feature_names)), 400)


@cache
def wine() -> Table:
    """Return 178 wines of three growers, three of their measurements as one-hot columns; 90 of them to train on."""
    data = load_wine()
    columns: list[np.ndarray] = []
    names: list[str] = []
    for name, column in zip(data.feature_names, data.data.T, strict=True):
        if name in ONE_HOT:
            level = np.digitize(column, np.quantile(column, [1 / 3, 2 / 3]))
            columns += [(level == place) * 1.0 for place in range(3)]
            names += [f"{name}={word}" for word in WORDS]
        else:
            columns.append(column)
            names.append(name)
    return _split(np.stack(columns, 1), data.target, names, 90)


def measurements(features: list[str]) -> dict[str, list[str]]:
    """Return the columns of each measurement of tumors: its mean, its error and its worst value."""
    means = [name.removeprefix("mean ") for name in features if name.startswith("mean ")]
    return {name: [f"mean {name}", f"{name} error", f"worst {name}"] for name in means}


def one_hot(features: list[str]) -> dict[str, list[str]]:
    """Return the columns of each measurement of wines that is told in words."""
    return {name: [column for column in features if column.startswith(f"{name}=")] for name in ONE_HOT}


def trained(table: Table, seed: int = 0) -> nn.Module:
    """Return a network with one hidden layer, trained on a table, in evaluation mode; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classes = int(table.train_labels.max()) + 1
        model = nn.Sequential(nn.Linear(len(table.features), 16), nn.ReLU(), nn.Linear(16, classes))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
        with torch.enable_grad():
            for _ in range(100):
                optimizer.zero_grad()
                F.cross_entropy(model(table.train_rows), table.train_labels).backward()
                optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, table: Table) -> float:
    """Return the share of test rows whose label is the model's prediction."""
    with torch.no_grad():
        return (model(table.test_rows).argmax(1) == table.test_labels).float().mean().item()


def _split(rows: np.ndarray, labels: np.ndarray, features: list[str], size: int) -> Table:
    """Return rows in units of the standard deviations of those that are trained on, shuffled, with their labels."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    values, classes = torch.from_numpy(rows).float()[order], torch.from_numpy(labels).long()[order]
    mean, deviation = values[:size].mean(0), values[:size].std(0)
    values = (values - mean) / deviation
    return Table(values[:size], classes[:size], values[size:], classes[size:], features)
