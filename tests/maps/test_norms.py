"""Euclidean norms against float64, where single precision has no squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_xaisanity.maps.norms import norms
from pytest_xaisanity.maps.reduction import reduced


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30])
def test_norms_are_those_of_double_precision(size):
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * size
    rows[2] = 0
    np.testing.assert_allclose(norms(rows), np.linalg.norm(rows.double().numpy(), axis=1), rtol=1e-4)
    np.testing.assert_allclose(norms(rows, dim=0), np.linalg.norm(rows.double().numpy(), axis=0), rtol=1e-4)


def test_the_norm_of_a_small_embedding_is_no_zero():
    values = 1e-30 * torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    np.testing.assert_allclose(reduced(values, "l2"), [[5e-30, 1e-30]], rtol=1e-5)


def test_what_is_not_finite_has_no_finite_norm():
    rows = torch.tensor([[1.0, torch.nan], [torch.inf, 1.0], [3.0, 4.0]])
    np.testing.assert_array_equal(norms(rows), [np.nan, np.inf, 5.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_the_norm_of_a_row_is_the_same_whatever_the_others(dtype):
    """Small and large rows are measured in another way, each by itself; along any axis."""
    rows = torch.randn(6, 3, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    if dtype != torch.float16:
        rows[1] *= 1e-30
        rows[4] *= 1e25
    rows[2, 1] = 0
    together = norms(rows, dim=2)
    assert torch.equal(together, torch.stack([norms(row) for row in rows]))
    torch.testing.assert_close(
        together, norms(rows.transpose(1, 2), dim=1), rtol=1e-2 if dtype == torch.float16 else 1e-6, atol=0
    )
