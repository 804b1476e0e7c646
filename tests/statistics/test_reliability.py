"""Reliability of metrics against definitions, a textbook and SciPy."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from pytest_xaisanity.statistics.reliability import inter_method, inter_rater, internal_consistency, krippendorff_alpha

NONE = np.nan
TEXTBOOK = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
        [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
    ]
)


def slow_alpha(ratings, level):
    """Return alpha from the definition: every pair of values within an item, and every pair of all values."""
    items = [[value for value in column if not np.isnan(value)] for column in np.asarray(ratings, float).T]
    items = [values for values in items if len(values) > 1]
    every = [value for values in items for value in values]

    def apart(a, b):
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        if level == "ratio":
            return 0.0 if a == b == 0 else ((a - b) / (a + b)) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(low <= value <= high for value in every)
        return (between - (every.count(low) + every.count(high)) / 2) ** 2 if a != b else 0.0

    observed = sum(sum(apart(a, b) for a, b in permutations(values, 2)) / (len(values) - 1) for values in items) / len(
        every
    )
    expected = sum(apart(a, b) for a, b in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - observed / expected


LEVELS = {"nominal": 0.743, "ordinal": 0.815, "interval": 0.849, "ratio": 0.797}


@pytest.mark.parametrize(("level", "known"), LEVELS.items())
def test_alpha_of_the_textbook_table(level, known):
    assert round(krippendorff_alpha(TEXTBOOK, level), 3) == known
    assert krippendorff_alpha(TEXTBOOK, level) == pytest.approx(slow_alpha(TEXTBOOK, level))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_the_definition(level, seed):
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, 4, (5, 9)).astype(float)
    ratings[rng.random((5, 9)) < 0.3] = NONE
    assert krippendorff_alpha(ratings, level) == pytest.approx(slow_alpha(ratings, level))


def test_alpha_of_rankings():
    """Equal ones 1, two that are reversed -0.75, many random ones about 0."""
    order = np.arange(4.0)
    assert krippendorff_alpha(np.tile(order, (6, 1))) == pytest.approx(1)
    assert krippendorff_alpha([order, order[::-1]]) == pytest.approx(-0.75)
    rng = np.random.default_rng(0)
    assert abs(krippendorff_alpha([rng.permutation(6) for _ in range(400)])) < 0.02


def test_nothing_to_compare_has_no_alpha():
    assert np.isnan(krippendorff_alpha([[1, 1, 1], [1, 1, 1]]))
    assert np.isnan(krippendorff_alpha([[1, NONE], [NONE, 2]]))
    for wrong in ([1, 2, 3], [[[1]]]):
        with pytest.raises(ValueError, match="raters, items"):
            krippendorff_alpha(wrong)
    with pytest.raises(ValueError, match="level must be"):
        krippendorff_alpha(TEXTBOOK, "cardinal")


def test_inputs_that_rank_explainers_alike_agree_whatever_their_scores():
    rng = np.random.default_rng(1)
    base = np.array([0.1, 0.5, 0.2, 0.9])
    scores = rng.uniform(1, 100, (30, 1)) * base + rng.normal(size=(30, 1))
    assert inter_rater(scores) == pytest.approx(1)
    noise = rng.normal(size=(500, 4))
    assert abs(inter_rater(noise)) < 0.02
    ranks = np.apply_along_axis(rankdata, 1, noise)
    assert inter_rater(noise) == pytest.approx(krippendorff_alpha(ranks))


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)).round(1)
    np.testing.assert_allclose(inter_method(one), spearmanr(one).statistic, rtol=1e-10)
    expected = [spearmanr(a, b).statistic for a, b in zip(one.T, other.T, strict=True)]
    np.testing.assert_allclose(internal_consistency(one, other), expected, rtol=1e-10)
    np.testing.assert_allclose(internal_consistency(one, np.exp(one)), 1)
    np.testing.assert_allclose(internal_consistency(one, -one), -1)


def test_scores_that_are_constant_or_missing_have_no_correlation():
    one = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]])
    found = internal_consistency(one, one)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])
    holes = np.array([[1.0], [NONE], [3.0], [2.0]])
    assert internal_consistency(holes, [[1.0], [9.0], [2.0], [1.5]])[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="same inputs and explainers"):
        internal_consistency(one, one[:2])
    with pytest.raises(ValueError, match="n, explainers"):
        inter_rater([1, 2])
