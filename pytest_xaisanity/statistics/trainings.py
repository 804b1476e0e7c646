"""What the trainings of models add to the error of a mean over inputs.

Inputs that are put to the same trained models share what these owe to the luck of their training: however many inputs
there are, that part of the error does not shrink. It is seen in the differences between trainings that differ in their
seed alone, and bounded from these by Student's distribution: the accuracies of trainings are means over many inputs,
and three to five trainings are too few for any bound without such an assumption.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

__all__ = ["training_error"]


def training_error(accuracies: ArrayLike, confidence: float) -> float:
    """Return how far the mean accuracy of trainings may lie from that of all trainings like them, to one side.

    Trainings of different settings may differ in mean and in spread: degrees of freedom are those of Welch (1947) and
    Satterthwaite (1946).

    Args:
        accuracies: Mean accuracies, or differences of such, ``(settings, runs)`` with two runs or more.
        confidence: One minus the probability that it is further, in (0.5, 1).
    """
    found = np.asarray(accuracies, np.float64)
    settings, runs = found.shape
    variances = found.var(axis=1, ddof=1) / runs
    total = float(variances.sum())
    if total <= 0:
        return 0.0
    freedom = total**2 / float((variances**2).sum() / (runs - 1))
    quantile = float(special.stdtrit(freedom, confidence))
    return quantile * math.sqrt(total) / int(settings)
