"""Similarities of attribution maps: how alike two explanations are, one score per pair of maps.

Every function takes two batches ``a, b`` of shape ``(N, *features)`` and returns ``(N,)`` scores on their device.
A score depends on its own pair only, never on the rest of the batch; the arguments are never modified. Half
precision is computed in float32, float64 stays float64.

A map without the property that a similarity compares (ranks or variance of a constant map, norm of a zero map) and
a map that holds NaN score NaN, never 0 or 1: a Grad-CAM that died is neither like nor unlike anything, and it is
for the caller to count such maps. Identical maps score exactly 1 (:func:`mse`: exactly 0).

A :class:`Similarity` splits the work in two, so that one reference batch can be compared with many others:
``compare(prepare(a), prepare(b))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common.errors import XaiError, unknown_name
from ..common.registry import Registry

__all__ = [
    "SIMILARITIES",
    "Normalization",
    "Prepared",
    "Similarity",
    "abs_pearson",
    "abs_spearman",
    "cosine",
    "hog",
    "hog_features",
    "mse",
    "pearson",
    "prepared",
    "ranks",
    "rms_ssim",
    "sign_flip_ssim",
    "spearman",
    "ssim",
]

Prepared = tuple[Tensor, ...]
"""What ``prepare`` makes of a batch of maps: tensors whose first dimension is N, so that rows can be selected."""

Normalization = Literal["rms", "abs_max", "min_max"]

_ORIENTATIONS = 9
_BLOCK = 3
_ScoresT = TypeVar("_ScoresT", float, Tensor)


# --- rows and vectors -------------------------------------------------------------------------------------------


def _computable(maps: Tensor) -> Tensor:
    """Return ``maps`` without its graph, in float32 unless it is float64."""
    maps = maps.detach()
    return maps if maps.dtype in (torch.float32, torch.float64) else maps.float()


def _rows(maps: Tensor) -> Tensor:
    return _computable(maps).flatten(1)


def _wide(tensor: Tensor) -> torch.dtype:
    """Return the dtype to accumulate in: float64 on the CPU, where it is cheap; other devices may not have it."""
    return torch.float64 if tensor.device.type == "cpu" else tensor.dtype


def _per_row(statistic: Tensor, like: Tensor) -> Tensor:
    """Return ``(N,)`` values in a shape that broadcasts against the ``(N, ...)`` tensor ``like``."""
    return statistic.view(-1, *[1] * (like.ndim - 1))


def _extremes(maps: Tensor) -> tuple[Tensor, Tensor]:
    flat = maps.flatten(1)
    return flat.amin(1), flat.amax(1)  # far faster than aminmax(dim=1)


def _peak_one(maps: Tensor) -> Tensor:
    """Divide each map by its largest magnitude, so that no square below overflows or vanishes; NaN for zero maps."""
    return maps / _per_row(maps.abs().flatten(1).amax(1), maps)


def _nan_where(condition: Tensor, like: Tensor) -> Tensor:
    """Return NaN where ``condition`` holds and 0 elsewhere: adding it is far cheaper than filling through a mask."""
    return torch.zeros_like(like).masked_fill_(condition, math.nan)


def _without_constants(maps: Tensor) -> Tensor:
    """Replace constant maps by NaN: rounding would otherwise leave them a spurious variance."""
    low, high = _extremes(maps)
    return maps + _per_row(_nan_where(low == high, low), maps)


def _unit(rows: Tensor) -> Prepared:
    """Return rows of Euclidean norm 1; NaN for rows of norm 0."""
    return (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=_wide(rows)).to(rows.dtype),)


def _inner(a: Prepared, b: Prepared) -> Tensor:
    """Return the inner products of unit rows, in [-1, 1] and exactly 1 for equal rows."""
    (left,), (right,) = a, b
    score = (left * right).sum(1, dtype=_wide(left)).to(left.dtype).clamp(-1, 1)
    if bool((score > 1 - 1e-5).any()):  # rounding leaves equal rows a few units below 1
        score = score.masked_fill((left == right).all(1), 1.0)
    return score


# --- rank correlation -------------------------------------------------------------------------------------------


def _sorted(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys that are equal where the sorted values are, and the order that sorts each row.

    On the CPU a float32 and its position are packed into one integer, because NumPy sorts rows of integers in place
    with vector instructions, several times faster than ``torch.sort``. The other cases are left to torch.
    """
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        keys, order = torch.sort(rows, dim=1)
        return keys, order
    bits = (rows + 0.0).contiguous().view(torch.int32)  # adding 0 turns -0 into 0, which must tie with it
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    packed = (ordered.long() << 32).bitwise_or_(torch.arange(rows.shape[1]))
    packed.numpy().sort(axis=1)
    return (packed >> 32).int(), packed & 0xFFFFFFFF


def _average_ranks(keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the ranks of sorted rows: 1, 2, ... with the mean of its positions for each group of equal keys."""
    size = keys.shape[1]
    position = torch.arange(1, size + 1, dtype=dtype, device=keys.device)
    differs = keys[:, 1:] != keys[:, :-1]
    if bool(differs.all()):
        return position.expand(keys.shape)
    starts, ends = F.pad(differs, (1, 0), value=True), F.pad(differs, (0, 1), value=True)
    first = torch.where(starts, position, 0).cummax(1).values
    last = torch.where(ends, position, size).flip(1).cummin(1).values.flip(1)
    return (first + last) / 2


def ranks(maps: Tensor) -> Tensor:
    """Return the ranks of the features of each map, ties sharing the mean of their ranks.

    Args:
        maps: Attribution maps, ``(N, *features)``.

    Returns:
        Ranks from 1 to F, ``(N, F)`` with the features flattened, float32 or float64 as the maps; NaN for a map that
        holds NaN.
    """
    rows = _rows(maps)
    keys, order = _sorted(rows)
    placed = torch.empty_like(rows, memory_format=torch.contiguous_format)
    placed.scatter_(1, order, _average_ranks(keys, rows.dtype))
    peak = rows.amax(1, keepdim=True)
    return placed.add_(_nan_where(peak.isnan(), peak))


def _prepare_spearman(maps: Tensor) -> Prepared:
    placed = ranks(maps)
    return _unit(placed.sub_((placed.shape[1] + 1) / 2))  # the mean rank, exact with or without ties


def _prepare_abs_spearman(maps: Tensor) -> Prepared:
    return _prepare_spearman(_computable(maps).abs())


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of the signed maps, with average ranks for ties.

    Used signed and absolute by Adebayo et al. 2018 (*Sanity Checks for Saliency Maps*); the two can disagree widely,
    so report both.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; 1 for the same order, about 0 for unrelated maps, NaN for constant maps.

    Raises:
        XaiError: The shapes differ.
    """
    return SPEARMAN(a, b)


def abs_spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's rank correlation of the magnitudes ``|a|`` and ``|b|``.

    Chance is not 0 where maps share zeros: for random maps multiplied by the same binary input with a fraction s of
    ones it is ``3(1 - s) / (3(1 - s) + s²)``, 0.985 at the 19 % of MNIST. See :func:`spearman` for the rest.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; NaN for maps of constant magnitude.

    Raises:
        XaiError: The shapes differ.
    """
    return ABS_SPEARMAN(a, b)


def sign_flip_spearman(a: Tensor, b: Tensor) -> Tensor:
    """Return the larger of the rank correlations of ``a`` with ``b`` and with ``-b``.

    A map that a randomization only turns over, as rules that have converged and multiplications by the input do, has
    not changed. See :func:`spearman` for the rest.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [0, 1], ``(N,)``; 1 for the same or the reverse order, about ``sqrt(2 / (pi F))`` for unrelated maps
        of F features, NaN for constant maps.

    Raises:
        XaiError: The shapes differ.
    """
    return SIGN_FLIP_SPEARMAN(a, b)


# --- moments ----------------------------------------------------------------------------------------------------


def _prepare_pearson(maps: Tensor) -> Prepared:
    rows = _peak_one(_without_constants(_rows(maps)))
    return _unit((rows - rows.mean(1, keepdim=True, dtype=_wide(rows))).to(rows.dtype))


def _prepare_cosine(maps: Tensor) -> Prepared:
    return _unit(_peak_one(_rows(maps)))


def _inner_magnitude(a: Prepared, b: Prepared) -> Tensor:
    return torch.maximum(_inner(a, b), _inner(a, (-b[0],)))


def _squared_distance(a: Prepared, b: Prepared) -> Tensor:
    (left,), (right,) = a, b
    return (left - right).square_().sum(1, dtype=_wide(left)).to(left.dtype).clamp(0, 4)


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of the flattened maps.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; NaN for constant maps.

    Raises:
        XaiError: The shapes differ.
    """
    return PEARSON(a, b)


def abs_pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return the magnitude of Pearson's correlation: how alike two maps are when a scalar and its sign do not count.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [0, 1], ``(N,)``; NaN for constant maps.

    Raises:
        XaiError: The shapes differ.
    """
    return ABS_PEARSON(a, b)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the flattened maps: Pearson's correlation without the centering.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; NaN for zero maps. A constant map other than 0 has a direction, hence a score.

    Raises:
        XaiError: The shapes differ.
    """
    return COSINE(a, b)


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared error of the maps, each divided by its root mean square first.

    The normalization, of Binder et al. 2023 (*Shortcomings of Top-Down Randomization-Based Sanity Checks*), makes the
    error free of scale: it equals ``2 - 2 cosine(a, b)``. Lower is more alike.

    Args:
        a: Attribution maps, ``(N, *features)``.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [0, 4], ``(N,)``; 0 for identical maps, about 2 for unrelated ones, NaN for zero maps.

    Raises:
        XaiError: The shapes differ.
    """
    return MSE(a, b)


# --- images -----------------------------------------------------------------------------------------------------


def _images(maps: Tensor) -> Tensor:
    """Return maps as ``(N, H, W)``, channels summed."""
    if maps.ndim not in (3, 4):
        raise XaiError(
            "similarity",
            found=f"maps of shape {tuple(maps.shape)}",
            expected="image maps, (N, H, W) or (N, C, H, W)",
            fix="use a similarity without image structure, such as 'spearman' or 'cosine'",
        )
    maps = _computable(maps)
    return maps.sum(1) if maps.ndim == 4 else maps


def _too_small(images: Tensor, least: int, purpose: str) -> XaiError:
    return XaiError(
        "similarity",
        found=f"maps of {images.shape[-2]}x{images.shape[-1]} pixels",
        expected=f"at least {least}x{least} for {purpose}",
        fix="use a similarity without image structure, such as 'spearman' or 'cosine'",
    )


def _min_max(images: Tensor) -> Tensor:
    low, high = _extremes(images)
    return (images - _per_row(low, images)) / _per_row(high - low, images)


def _rms_one(images: Tensor) -> Tensor:
    images = _peak_one(images)
    return images / _per_row(images.square().flatten(1).mean(1).sqrt(), images)


_NORMALIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs_max": _peak_one,
    "min_max": _min_max,
    "rms": _rms_one,
}


def _normalized(images: Tensor, normalization: Normalization | None) -> Tensor:
    if normalization is None:
        return images
    if normalization not in _NORMALIZATIONS:
        raise unknown_name("normalization", normalization, _NORMALIZATIONS, kind="normalization")
    return _NORMALIZATIONS[normalization](images)


# --- structural similarity --------------------------------------------------------------------------------------


def _fitting_window(images: Tensor, window: int) -> int:
    """Return the largest odd window up to ``window`` that fits the images."""
    if window < 3 or window % 2 == 0:
        raise XaiError("window", found=str(window), expected="an odd number of pixels, 3 or more", fix="try window=7")
    side = min(images.shape[-2:])
    if side < 3:
        raise _too_small(images, 3, "a window of SSIM")
    return min(window, side - 1 + side % 2)


def _running_sum(images: Tensor, window: int, dim: int) -> Tensor:
    """Return the sums of ``window`` neighbors along ``dim``, by doubling: sums of 1, 2, 4, ... are added up.

    Unlike a difference of cumulative sums it loses no digits, and it costs a few additions for any window.
    """
    length = images.shape[dim] - window + 1
    total, covered, width, part = None, 0, 1, images
    while True:
        if window & width:
            piece = part.narrow(dim, covered, length)
            total = piece if total is None else total + piece
            covered += width
        if covered == window:
            assert total is not None
            return total
        rest = part.shape[dim] - width
        part = part.narrow(dim, 0, rest) + part.narrow(dim, width, rest)
        width *= 2


def _window_mean(images: Tensor, window: int) -> Tensor:
    """Return the mean of every window that lies inside its image, ``(N, H - window + 1, W - window + 1)``."""
    return _running_sum(_running_sum(images, window, 1), window, 2) / window**2


def _window_covariance(a: Tensor, b: Tensor, mean_a: Tensor, mean_b: Tensor, window: int) -> Tensor:
    area = window**2
    return (_window_mean(a * b, window) - mean_a * mean_b) * (area / (area - 1))


def _prepare_ssim(maps: Tensor, window: int = 7, normalization: Normalization | None = "min_max") -> Prepared:
    """Return the centered images, the means and variances of their windows, and each image's mean, low and high.

    Centering keeps variances accurate in float32: ``E[x²] - E[x]²`` loses the digits that an offset takes.
    """
    images = _normalized(_without_constants(_images(maps)), normalization)
    window = _fitting_window(images, window)
    low, high = _extremes(images)
    offset = images.flatten(1).mean(1, dtype=_wide(images)).to(images.dtype)
    centered = images - _per_row(offset, images)
    means = _window_mean(centered, window)
    variances = _window_covariance(centered, centered, means, means, window)
    return centered, means, variances, offset, low, high


def _compare_ssim(a: Prepared, b: Prepared, data_range: float | None = None) -> Tensor:
    # The two sides are treated alike, operation by operation: equal maps then score 1 to the last bit.
    image_a, mean_a, variance_a, offset_a, low_a, high_a = a
    image_b, mean_b, variance_b, offset_b, low_b, high_b = b
    window = image_a.shape[1] - mean_a.shape[1] + 1
    covariance = _window_covariance(image_a, image_b, mean_a, mean_b, window)
    mean_a, mean_b = mean_a + _per_row(offset_a, mean_a), mean_b + _per_row(offset_b, mean_b)
    span = torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)
    if data_range is not None:
        span = torch.full_like(span, data_range)
    c1, c2 = (_per_row((k * span).square(), mean_a) for k in (0.01, 0.03))
    luminance = (2 * (mean_a * mean_b) + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).flatten(1).mean(1).clamp(-1, 1)


def ssim(
    a: Tensor,
    b: Tensor,
    *,
    window: int = 7,
    normalization: Normalization | None = "min_max",
    data_range: float | None = None,
) -> Tensor:
    """Return the mean structural similarity of the 2-D maps (Wang et al. 2004).

    Uniform windows inside the image, sample covariances, K1 = 0.01 and K2 = 0.03, as in
    ``skimage.metrics.structural_similarity``. SSIM depends on scale and on the assumed data range L, so both are
    fixed here: each map is brought to [0, 1], as Adebayo et al. 2018 compare maps, and L is the joint range of the two
    normalized maps, of that pair alone: 1. Settings differ between papers, and so do their numbers: Binder et al. 2023
    divide by the root mean square (:func:`rms_ssim`).

    Args:
        a: Attribution maps, ``(N, H, W)`` or ``(N, C, H, W)``; channels are summed.
        b: Attribution maps of the same shape.
        window: Side of the window, odd; the largest odd number that fits where the maps are smaller.
        normalization: ``"min_max"`` (to [0, 1]), ``"rms"`` (by the root mean square), ``"abs_max"`` (by the largest
            magnitude), or None.
        data_range: L of the normalized maps; None for the joint range of each pair.

    Returns:
        Scores in [-1, 1], ``(N,)``; 1 for identical maps, NaN for constant maps.

    Raises:
        XaiError: The maps have no two dimensions or fewer than 3x3 pixels, their shapes differ, ``window`` is even
            or less than 3, or ``normalization`` is unknown.
    """
    _check_shapes(a, b)
    prepare = partial(_prepare_ssim, window=window, normalization=normalization)
    return _compare_ssim(prepare(a), prepare(b), data_range)


def rms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the SSIM of the maps, each divided by its root mean square, as Binder et al. 2023 compare maps.

    It keeps the sign's place at 0, so that maps without a common mean are unlike in luminance too. See :func:`ssim`
    for the rest.

    Args:
        a: Attribution maps, ``(N, H, W)`` or ``(N, C, H, W)``; channels are summed.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; 1 for identical maps, NaN for constant maps.

    Raises:
        XaiError: The maps have no two dimensions or fewer than 3x3 pixels, or their shapes differ.
    """
    return RMS_SSIM(a, b)


# --- histograms of oriented gradients ---------------------------------------------------------------------------


def _cell_side(images: Tensor, pixels_per_cell: int | None) -> int:
    side = min(images.shape[-2:])
    cell = pixels_per_cell or (16 if side >= 16 * _BLOCK else max(2, side // 4))
    if side < _BLOCK * cell:
        raise _too_small(images, _BLOCK * cell, f"a HOG block of {_BLOCK}x{_BLOCK} cells of {cell}x{cell} pixels")
    return cell


def _gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the magnitude and the orientation bin of the gradient at every pixel; borders have no gradient across."""
    down, right = torch.zeros_like(images), torch.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    right[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    degrees = torch.rad2deg(torch.atan2(down, right)).remainder_(180)
    # A tiny negative angle rounds to 180, and a NaN (which its magnitude keeps) still needs a bin.
    bins = degrees.mul_(_ORIENTATIONS / 180).nan_to_num_(0).long().clamp_(max=_ORIENTATIONS - 1)
    return torch.hypot(down, right), bins


def _orientation_histograms(images: Tensor, cell: int) -> Tensor:
    """Return the mean gradient magnitude per cell and unsigned orientation, ``(N, rows, columns, orientations)``."""
    rows, columns = images.shape[1] // cell, images.shape[2] // cell
    magnitude, bins = (field[:, : rows * cell, : columns * cell] for field in _gradients(images))
    if images.device.type != "cpu":  # parallel scatters add in any order, and identical maps must score exactly 1
        votes = (torch.where(bins == index, magnitude, 0)[:, None] for index in range(_ORIENTATIONS))
        return torch.stack([F.avg_pool2d(vote, cell)[:, 0] for vote in votes], dim=-1)
    row, column = torch.arange(rows * cell) // cell, torch.arange(columns * cell) // cell
    index = bins + _ORIENTATIONS * (row[:, None] * columns + column)
    sums = images.new_zeros(len(images), rows * columns * _ORIENTATIONS)
    sums.scatter_add_(1, index.flatten(1), magnitude.flatten(1))
    return sums.view(-1, rows, columns, _ORIENTATIONS) / cell**2


def hog_features(maps: Tensor, *, pixels_per_cell: int | None = None) -> Tensor:
    """Return the histograms of oriented gradients of the 2-D maps (Dalal & Triggs 2005).

    Nine unsigned orientations, blocks of 3x3 cells normalized by L2-Hys, no interpolation of votes, the order of the
    values: as in ``skimage.feature.hog``. The maps are taken as they are.

    Args:
        maps: Attribution maps, ``(N, H, W)`` or ``(N, C, H, W)``; channels are summed.
        pixels_per_cell: Side of a cell; None for 16 where three cells fit, else a quarter of the shorter side of the
            maps and at least 2 (2 on 8x8, 7 on 28x28).

    Returns:
        Features in [0, 1], ``(N, F)``.

    Raises:
        XaiError: The maps have no two dimensions, or no block fits them.
    """
    images = _images(maps)
    cells = _orientation_histograms(images, _cell_side(images, pixels_per_cell))
    blocks = cells.unfold(1, _BLOCK, 1).unfold(2, _BLOCK, 1).movedim(3, -1).flatten(3)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + 1e-10).sqrt()
    blocks = blocks.clamp(max=0.2)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + 1e-10).sqrt()
    return blocks.flatten(1)


def _prepare_hog(maps: Tensor, pixels_per_cell: int | None = None) -> Prepared:
    images = _min_max(_images(maps))  # NaN for constant maps
    return _prepare_pearson(hog_features(images, pixels_per_cell=pixels_per_cell))


def hog(a: Tensor, b: Tensor, *, pixels_per_cell: int | None = None) -> Tensor:
    """Return Pearson's correlation of the HOGs of the maps, each scaled to [0, 1] first (Adebayo et al. 2018).

    The paper's cells have 16x16 pixels; smaller maps get smaller cells, see :func:`hog_features`. Gradients are
    unsigned, so a map and its negative score 1. Chance is above 0, because cells on the border see less of the
    gradient whatever the map: independent noise scores about 0.15 on 28x28 pixels and 0.06 on 128x128.

    Args:
        a: Attribution maps, ``(N, H, W)`` or ``(N, C, H, W)``; channels are summed.
        b: Attribution maps of the same shape.
        pixels_per_cell: Side of a cell; None to choose it by the size of the maps.

    Returns:
        Scores in [-1, 1], ``(N,)``; NaN for constant maps and for maps whose HOG is constant.

    Raises:
        XaiError: The maps have no two dimensions, no block of cells fits them, or their shapes differ.
    """
    _check_shapes(a, b)
    return _inner(_prepare_hog(a, pixels_per_cell), _prepare_hog(b, pixels_per_cell))


def _clipped(images: Tensor) -> Tensor:
    """Clip each image at its first and last percentile, unless nothing would be left of it."""
    rows = images.flatten(1)
    beyond = (rows.shape[1] - 1) // 100
    low = rows.kthvalue(1 + beyond, dim=1).values
    high = rows.kthvalue(rows.shape[1] - beyond, dim=1).values
    clipped = images.clamp(_per_row(low, images), _per_row(high, images))
    return torch.where(_per_row(low == high, images), images, clipped)


def _prepare_sign_flip_ssim(maps: Tensor) -> Prepared:
    images = _peak_one(_images(maps))  # infinities become NaN here, before they are clipped away
    return _prepare_ssim(_clipped(images) if len(images) else images, window=5, normalization="rms")


def _compare_sign_flip_ssim(a: Prepared, b: Prepared) -> Tensor:
    centered, means, variances, offset, low, high = b
    return torch.maximum(_compare_ssim(a, b), _compare_ssim(a, (-centered, -means, variances, -offset, -high, -low)))


def sign_flip_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the larger of the SSIM of ``a`` and ``b`` and that of ``a`` and ``-b``, as Sixt et al. 2020 compare maps.

    A rule that has converged can tell classes and later layers apart by one scalar only, whose sign may turn the map
    over. Each map is clipped at its 1st and 99th percentile and divided by its root mean square; the window has five
    pixels a side, or as many as fit. For the rest see :func:`ssim`.

    Args:
        a: Attribution maps, ``(N, H, W)`` or ``(N, C, H, W)``; channels are summed.
        b: Attribution maps of the same shape.

    Returns:
        Scores in [-1, 1], ``(N,)``; 1 for maps that differ by a scalar of either sign, NaN for constant maps.

    Raises:
        XaiError: The maps have no two dimensions, are smaller than 3x3, or their shapes differ.
    """
    return SIGN_FLIP_SSIM(a, b)


# --- the similarities by name -----------------------------------------------------------------------------------


def _check_shapes(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise XaiError(
            "similarity",
            found=f"maps of shapes {tuple(a.shape)} and {tuple(b.shape)}",
            expected="two batches of the same shape",
            fix="reduce channels the same way on both sides",
        )


@dataclass(frozen=True)
class Similarity:
    """A similarity of attribution maps, in two halves so that a reference batch is prepared once.

    Calling it is ``compare(prepare(a), prepare(b))``.

    Args:
        name: The name it goes by.
        prepare: Turns maps ``(N, *features)`` into tensors whose first dimension is N.
        compare: Turns two prepared batches of N maps into ``(N,)`` scores.
        low: The smallest possible score.
        high: The largest possible score.
        identical: The score of identical maps: ``low`` for an error, ``high`` for a similarity.
        needs_2d: Whether maps must be images, ``(N, H, W)`` or ``(N, C, H, W)``.
        signed: Whether a map and its negative are unlike.
        about: What it is, in a line.
    """

    name: str
    prepare: Callable[[Tensor], Prepared]
    compare: Callable[[Prepared, Prepared], Tensor]
    low: float = -1.0
    high: float = 1.0
    identical: float = 1.0
    needs_2d: bool = False
    signed: bool = False
    about: str = ""

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the ``(N,)`` scores of two batches of maps of the same shape."""
        _check_shapes(a, b)
        return self.compare(self.prepare(a), self.prepare(b))

    def unit(self, scores: _ScoresT) -> _ScoresT:
        """Map scores linearly to [-1, 1] with 1 for identical maps: the identity, or ``1 - mse / 2``."""
        center = (self.low + self.high) / 2
        return (scores - center) / (self.identical - center)


def prepared(similarities: Iterable[Similarity], maps: Tensor) -> dict[str, Prepared]:
    """Return what each similarity makes of maps ``(N, *features)``, by name; what some of them share is made once."""
    made: dict[Callable[[Tensor], Prepared], Prepared] = {}
    return {s.name: made.setdefault(s.prepare, made.get(s.prepare) or s.prepare(maps)) for s in similarities}


SPEARMAN = Similarity("spearman", _prepare_spearman, _inner, signed=True, about="Rank correlation.")
ABS_SPEARMAN = Similarity("abs_spearman", _prepare_abs_spearman, _inner, about="Rank correlation of absolute values.")
SIGN_FLIP_SPEARMAN = Similarity(
    "sign_flip_spearman",
    _prepare_spearman,
    _inner_magnitude,
    low=0.0,
    about="Rank correlation with the map or with its negative, whichever is larger; the default.",
)
SSIM = Similarity(
    "ssim",
    _prepare_ssim,
    _compare_ssim,
    needs_2d=True,
    signed=True,
    about="Structural similarity of maps scaled to [0, 1] by their least and greatest value.",
)
RMS_SSIM = Similarity(
    "rms_ssim",
    partial(_prepare_ssim, normalization="rms"),
    _compare_ssim,
    needs_2d=True,
    signed=True,
    about="Structural similarity of maps divided by their root mean square.",
)
HOG = Similarity(
    "hog", _prepare_hog, _inner, needs_2d=True, about="Linear correlation of histograms of oriented gradients."
)
COSINE = Similarity("cosine", _prepare_cosine, _inner, signed=True, about="Cosine of the angle between two maps.")
PEARSON = Similarity("pearson", _prepare_pearson, _inner, signed=True, about="Linear correlation.")
ABS_PEARSON = Similarity(
    "abs_pearson",
    _prepare_pearson,
    _inner_magnitude,
    about="Linear correlation with the map or with its negative, whichever is larger.",
)
SIGN_FLIP_SSIM = Similarity(
    "sign_flip_ssim",
    _prepare_sign_flip_ssim,
    _compare_sign_flip_ssim,
    needs_2d=True,
    about="Structural similarity with the map or with its negative, whichever is larger.",
)
MSE = Similarity(
    "mse",
    _prepare_cosine,
    _squared_distance,
    low=0.0,
    high=4.0,
    identical=0.0,
    about="Squared distance of maps scaled to unit norm: an error, 0 for identical maps.",
)

SIMILARITIES = Registry(
    "similarity",
    {
        "sign_flip_spearman": ".maps.similarity:SIGN_FLIP_SPEARMAN",
        "spearman": ".maps.similarity:SPEARMAN",
        "abs_spearman": ".maps.similarity:ABS_SPEARMAN",
        "ssim": ".maps.similarity:SSIM",
        "rms_ssim": ".maps.similarity:RMS_SSIM",
        "hog": ".maps.similarity:HOG",
        "cosine": ".maps.similarity:COSINE",
        "pearson": ".maps.similarity:PEARSON",
        "abs_pearson": ".maps.similarity:ABS_PEARSON",
        "sign_flip_ssim": ".maps.similarity:SIGN_FLIP_SSIM",
        "mse": ".maps.similarity:MSE",
    },
)
