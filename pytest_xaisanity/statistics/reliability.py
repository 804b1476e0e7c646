"""How reliable a metric of explanations is: agreement of inputs, of explainers, and of metrics (Tomsett et al. 2020).

A metric that ranks explainers one way on one input and another way on the next says little about either, and so do two
metrics of one thing that disagree. All functions take scores ``(n, explainers)``, a row for each input.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from .bounds import Floats

__all__ = ["inter_method", "inter_rater", "internal_consistency", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval", "ratio"]


def krippendorff_alpha(ratings: ArrayLike, level: Level = "ordinal") -> float:
    """Return Krippendorff's alpha: one minus the observed disagreement over that expected by chance.

    1 is perfect agreement, 0 what chance gives; less is possible. NaN where all ratings are equal, or none can be
    compared (Krippendorff 2004, chapter 11).

    Args:
        ratings: ``(raters, items)``; NaN where one is missing.
        level: What the numbers mean. ``"ratio"`` asks for numbers of at least 0.

    Raises:
        ValueError: They are no such table, or there is no such level.
    """
    table = np.asarray(ratings, float)
    if table.ndim != 2:
        raise ValueError(f"ratings must be (raters, items), not {table.shape}")
    known = np.isfinite(table)
    paired = known.sum(0) >= 2
    table, known = table[:, paired], known[:, paired]
    values = np.unique(table[known])
    if len(values) < 2:
        return float("nan")
    counts = np.stack([(table == value).sum(0) for value in values], axis=1).astype(float)  # (items, values)
    raters = counts.sum(1)
    coincidences = np.einsum("uc,uk,u->ck", counts, counts, 1 / (raters - 1))
    coincidences -= np.diag((counts / (raters - 1)[:, None]).sum(0))
    totals = coincidences.sum(1)
    apart = _differences(values, totals, level)
    expected = np.outer(totals, totals) / (totals.sum() - 1)
    return float(1 - (coincidences * apart).sum() / (expected * apart).sum())


def _differences(values: Floats, totals: Floats, level: Level) -> Floats:
    """Return the squared difference of each two values, ``(values, values)``."""
    if level == "nominal":
        return np.asarray((values[:, None] != values).astype(float))
    if level == "ordinal":
        middle = np.cumsum(totals) - totals / 2
        return np.asarray((middle[:, None] - middle) ** 2)
    if level == "interval":
        return np.asarray((values[:, None] - values) ** 2)
    if level == "ratio":
        total = values[:, None] + values
        return np.asarray(((values[:, None] - values) / np.where(total == 0, 1.0, total)) ** 2)
    raise ValueError(f"level must be nominal, ordinal, interval or ratio, not {level!r}")


def inter_rater(scores: ArrayLike) -> float:
    """Return how much inputs agree on which explainer is better: alpha of their rankings.

    Args:
        scores: ``(n, explainers)``; NaN where an input has none.
    """
    return krippendorff_alpha(_ranks(_table(scores), axis=1), "ordinal")


def inter_method(scores: ArrayLike) -> Floats:
    """Return how alike two explainers score over inputs: Spearman correlations ``(explainers, explainers)``.

    Args:
        scores: ``(n, explainers)``; a correlation is NaN where an explainer's scores are constant.
    """
    columns = _table(scores).T
    return np.array([[_spearman(one, other) for other in columns] for one in columns])


def internal_consistency(one: ArrayLike, other: ArrayLike) -> Floats:
    """Return how alike two metrics score the same maps: the Spearman correlation over inputs of each explainer.

    Args:
        one: Scores ``(n, explainers)`` on one metric, of which more is better.
        other: Those on the other metric, likewise.

    Raises:
        ValueError: The tables have other shapes.
    """
    first, second = _table(one), _table(other)
    if first.shape != second.shape:
        raise ValueError(f"scores must be of the same inputs and explainers, not {first.shape} and {second.shape}")
    return np.array([_spearman(a, b) for a, b in zip(first.T, second.T, strict=True)])


def _table(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, float)
    if table.ndim != 2:
        raise ValueError(f"scores must be (n, explainers), not {table.shape}")
    return table


def _ranks(table: Floats, axis: int) -> Floats:
    return np.asarray(rankdata(table, axis=axis, nan_policy="omit"), float)


def _spearman(one: Floats, other: Floats) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    first, second = rankdata(one[both]), rankdata(other[both])
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
