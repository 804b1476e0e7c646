"""Imputers that are fitted to the data, against least squares, the closed form of a normal distribution, and counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_xaisanity import XaiError
from pytest_xaisanity.maps.imputation import IMPUTERS
from pytest_xaisanity.maps.learned_imputation import ConditionalMean, Marginal

torch.set_num_threads(1)
NOTHING = torch.empty(0)  # is drawn


def table(count, features=6, seed=0):
    """Return correlated rows in double precision, of different scales."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, features)) @ rng.normal(size=(features, features)) + rng.normal(size=features)
    return torch.from_numpy(mixed * 10.0 ** np.arange(-3, features - 3))


def slow_means(data, row, removed):
    """Return the regression of the removed features on the others by least squares on the centered data."""
    data, row = data.double().numpy(), row.double().numpy()
    mean, kept = data.mean(0), ~removed
    found = row.copy()
    if not kept.any():
        return np.where(removed, mean, row)
    scale = (data - mean).std(0) + (data.std(0) == 0)
    weights = np.linalg.lstsq(((data - mean) / scale)[:, kept], (data - mean)[:, removed], rcond=1e-6)[0]
    found[removed] = mean[removed] + ((row - mean) / scale)[kept] @ weights
    return found


@pytest.mark.parametrize("collinear", [False, True])
def test_the_conditional_mean_is_that_of_least_squares(collinear):
    """Of rows of any number and order; where features are collinear, the solution of least norm."""
    data = table(50)
    if collinear:  # one-hot features sum to one, and a column is constant
        hot = torch.nn.functional.one_hot(torch.arange(50) % 3, 3).double()
        data = torch.cat([data[:, :2], hot, torch.full((50, 1), 7.0, dtype=torch.float64)], 1)
    imputer = ConditionalMean().fitted(data, range(50))
    rows = data[[4, 9, 4, 30, 11, 0, 1, 2]]
    removed = torch.rand(len(rows), 6, generator=torch.Generator().manual_seed(1)) < 0.5
    removed[0], removed[1] = True, False
    found = imputer.given(rows, removed, NOTHING)
    for row, gone, got in zip(rows, removed.numpy(), found.numpy(), strict=True):
        assert got[gone] == pytest.approx(slow_means(data, row, gone)[gone], rel=1e-6, abs=1e-8)
    assert torch.allclose(imputer(rows, seed=0, indices=range(8)), data.mean(0).expand(8, -1))


def test_the_conditional_mean_of_normal_data_is_the_closed_form():
    """mu_R + S_RK S_KK^-1 (x_K - mu_K), with the population's own mean and covariance, in the limit."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    mean, covariance = np.array([1.0, -2.0, 0.5, 3.0]), root @ root.T
    data = torch.from_numpy(rng.multivariate_normal(mean, covariance, size=200_000))
    imputer = ConditionalMean().fitted(data, range(len(data)))
    row, kept, gone = data[:1], [0, 2], [1, 3]
    solved = np.linalg.solve(covariance[np.ix_(kept, kept)], row[0].numpy()[kept] - mean[kept])
    expected = mean[gone] + covariance[np.ix_(gone, kept)] @ solved
    found = imputer.given(row, torch.tensor([[False, True, False, True]]), NOTHING)[0, gone]
    assert found.numpy() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_conditional_mean_is_computed_in_double_precision(dtype):
    data = table(50)[:, 2:5].to(dtype)
    found = ConditionalMean().fitted(data, range(50)).given(data[:1], torch.tensor([[True, False, False]]), NOTHING)
    assert found.dtype == dtype
    expected = slow_means(data, data[0], np.array([True, False, False]))
    assert float(found[0, 0]) == pytest.approx(float(torch.tensor(expected[0]).to(dtype)), rel=1e-2)


def test_too_many_values_are_one_error():
    with pytest.raises(XaiError, match="inputs with 768 values; expected tables with at most 512 features"):
        ConditionalMean().fitted(torch.zeros(4, 3, 16, 16), range(4))


def test_marginal_values_are_those_of_another_input_alike_for_all():
    data = torch.arange(5.0)[:, None].expand(5, 3)
    places = (4, 0, 3, 1, 2)  # as visited
    imputer = Marginal().fitted(data[list(places)], places)
    counts = torch.zeros(5, 5)
    for seed in range(400):
        drawn = imputer(data, seed=seed, indices=range(5))
        assert (drawn == drawn[:, :1]).all()
        counts[torch.arange(5), drawn[:, 0].long()] += 1
    assert (counts.diagonal() == 0).all()
    assert (counts[~torch.eye(5, dtype=bool)] - 100).abs().max() < 40
    alone = imputer(data[2:3], seed=7, indices=[2])
    assert torch.equal(alone[0], imputer(data, seed=7, indices=range(5))[2])
    assert imputer(data[:2], seed=0, indices=[99, 98]).shape == (2, 3)  # of inputs that are not among the data


def test_a_single_input_has_no_other():
    with pytest.raises(XaiError, match="imputer 'marginal': found a single input"):
        Marginal().fitted(torch.zeros(1, 3), (0,))


def test_they_have_names_and_are_equal_by_settings():
    assert IMPUTERS.build("marginal", {}, where="test") == Marginal()
    assert hash(IMPUTERS.build("conditional_mean", {}, where="test")) == hash(ConditionalMean())
