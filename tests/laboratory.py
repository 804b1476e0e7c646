"""What tests of measurements share: a laboratory of an explainer on a subject, and what was found as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from pytest_xaisanity.evidence.base import Compared, Lab, MapMetric
from pytest_xaisanity.evidence.cells import Cells
from pytest_xaisanity.evidence.comparison import Similarities
from pytest_xaisanity.evidence.controls import Controls
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.report.records import Record
from pytest_xaisanity.statistics.evidence import Evidence


def lab_of(subject, source=lambda model, inputs, targets: inputs + 0, seed=0, *, training=None, **settings):
    """Return the laboratory of an explainer on a subject."""
    attributions = Attributions(subject, as_explainer(source, subject.model, **settings), seed)
    return Lab(subject, attributions, seed, training)


def evidence_of(measuring):
    """Return what a measurement says of itself, by name."""
    return Evidence(*measuring.describe())


@dataclass(frozen=True)
class Plain(MapMetric):
    """A metric of which only the range matters: its scores are made by hand."""

    low: float = 0.0
    high: float = 1.0
    higher_is_better: bool = True
    name: str = "plain"

    def prepare(self, lab, block):
        raise NotImplementedError

    def score(self, prepared, maps, *, draw=""):
        raise NotImplementedError


def compared_of(scores, names):
    """Return a comparison under every cell, and the parts that say so.

    ``scores`` are ``after <similarity>`` ``(n, seeds, positions)``, ``self <similarity>`` and ``chance <similarity>``,
    and maybe ``groups`` ``(n,)``.
    """
    scores = dict(scores)
    groups = scores.pop("groups", None)
    shape = next(values.shape for key, values in scores.items() if key.startswith("after"))
    cells = Cells(*shape[1:], sampled=False)
    flat = {
        key.replace("self ", "own "): values.reshape(shape[0], -1) if key.startswith("after") else values
        for key, values in scores.items()
    }
    every = np.broadcast_to(list(np.ndindex(shape[1:])), (shape[0], cells.draws, 2))
    found = Compared.of_arrays({**flat, "cells": every})
    if groups is not None:
        found = replace(found, groups=np.column_stack([groups, groups]))
    return found, (Similarities(tuple(names), len(names)), cells, Controls())


def tensors_of(found):
    """Return what was measured as tensors: ``after <similarity>`` and so on, or ``scores`` and ``curve <name>``.

    What was measured under every cell is ``(n, seeds, positions)``.
    """
    if isinstance(found, Compared):
        arrays = {name.replace("own ", "self "): torch.tensor(array) for name, array in found.arrays().items()}
        seeds, positions = (found.cells.reshape(-1, 2).max(0) + 1).tolist()
        return {
            name: array.reshape(-1, seeds, positions) if name.startswith("after") else array
            for name, array in arrays.items()
            if name != "cells"
        }
    curves = {f"curve {name}": torch.from_numpy(curve) for name, curve in found.curves.items()}
    return {"scores": torch.from_numpy(found.values), **curves}


def record_of(**changes):
    """Return the record of a verdict."""
    values = {
        "test": "test_it.py::test_it",
        "claim": "method bounded metric",
        "claim_id": "bounded-metric",
        "explainer": "method",
        "verb": "bounded",
        "randomizes": False,
        "bounds": {"at_least": 0.5, "at_most": None},
        "outcome": "failed",
        "tolerated": False,
        "estimate": 0.1,
        "interval": (0.0, None),
        "confidence": 0.95,
        "n": 3,
        "quantity": "score",
        "decided_by": "a bound",
        "reason": "too low",
        "reproduce": "pytest",
        "evidence": {"indices": [7, 8, 9]},
        "rows": (("worst inputs", "7 (0.1): score"), ("sign_flip_ssim", "one input twice 1")),
        "advice": "look at the sign",
    }
    return Record(**{**values, **changes})
