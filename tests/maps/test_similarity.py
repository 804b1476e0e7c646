"""The similarities against other implementations, slow definitions and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.special import exp1
from scipy.stats import pearsonr, rankdata, spearmanr
from skimage.feature import hog as skimage_hog
from skimage.metrics import structural_similarity

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.maps.similarity import (
    SIMILARITIES,
    abs_spearman,
    cosine,
    hog,
    hog_features,
    mse,
    pearson,
    ranks,
    rms_ssim,
    spearman,
    ssim,
)

PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
IMAGE_SIZES = [(8, 8), (28, 28), (37, 50), (48, 64)]
CELLS = [2, 7, 9, 16]
every_similarity = pytest.mark.parametrize(
    "similarity", [pytest.param(SIMILARITIES[name], id=name) for name in SIMILARITIES]
)
every_cell = pytest.mark.parametrize(("size", "cell"), list(zip(IMAGE_SIZES, CELLS, strict=True)))
every_precision = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS, ids=["float32", "float64"])


def normal(*shape, seed=0, dtype=torch.float32):
    """Gaussian noise of a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(*shape, seed=0):
    """Uniform noise in [0, 1) of a seed."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def related(*shape, seed=0, dtype=torch.float32):
    """Two batches of maps with some correlation."""
    a, noise = normal(*shape, seed=seed, dtype=dtype), normal(*shape, seed=seed + 1, dtype=dtype)
    return a, 0.6 * a + noise


def sparse(*shape, seed=0, dtype=torch.float32):
    """Two batches of maps that are mostly zero, of either sign, with few distinct values: ties everywhere."""
    support = uniform(*shape, seed=seed + 7) < 0.3
    return tuple((4 * maps).round() / 4 * support for maps in related(*shape, seed=seed, dtype=dtype))


def smooth(*shape, seed=0, dtype=torch.float32):
    """Two batches of blurred images, of an offset and a scale unlike 0 and 1."""
    blurred = (torch.nn.functional.avg_pool2d(m, 3, 1, 1) for m in related(*shape, seed=seed, dtype=dtype))
    return tuple(3 * maps + 0.5 for maps in blurred)


def of_rows(function, a, b):
    """Score row by row with a function of two float64 vectors."""
    return np.array([function(x, y) for x, y in zip(a.double().flatten(1), b.double().flatten(1), strict=True)])


def in_unit_range(image):
    """Scale an image to [0, 1]."""
    return (image - image.min()) / (image.max() - image.min())


def within_standard_errors(scores, expected, errors=3.0):
    """Whether the mean of independent scores is as near as chance allows."""
    standard_error = scores.double().std() / math.sqrt(len(scores))
    return abs(scores.double().mean() - expected) <= errors * standard_error


class TestRanks:
    @every_precision
    def test_are_average_ranks(self, dtype, tolerance):
        for maps in (*related(5, 40, dtype=dtype), *sparse(5, 40, dtype=dtype)):
            assert np.array_equal(ranks(maps).numpy(), rankdata(maps.numpy(), axis=1))

    def test_flatten_the_features(self):
        maps = normal(3, 2, 4, 5)
        assert torch.equal(ranks(maps), ranks(maps.flatten(1)))

    def test_tie_zeros_of_either_sign(self):
        assert ranks(torch.tensor([[0.0, -0.0, -1.0, 0.0]])).tolist() == [[3, 3, 1, 3]]

    def test_order_extreme_values(self):
        maps = torch.tensor([[math.inf, -math.inf, 1e-45, -1e-45, 0.0, 3e38, -3e38]])
        assert ranks(maps).tolist() == [[7, 1, 5, 3, 4, 6, 2]]

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_of_a_map_that_holds_nan_are_nan(self, sign):
        maps = torch.tensor([[1.0, math.copysign(math.nan, sign), 2.0], [3.0, 1.0, 2.0]])
        assert ranks(maps)[0].isnan().all()
        assert ranks(maps)[1].tolist() == [3, 1, 2]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
    def test_of_other_dtypes_are_float32(self, dtype):
        maps = (8 * normal(4, 50)).to(dtype)
        assert ranks(maps).dtype == torch.float32
        assert np.array_equal(ranks(maps).numpy(), rankdata(maps.double().numpy(), axis=1))

    def test_do_not_depend_on_the_memory_layout(self):
        maps = normal(6, 5, 4)
        assert torch.equal(ranks(maps.transpose(1, 2)), ranks(maps.transpose(1, 2).contiguous()))
        assert torch.equal(ranks(maps[::2]), ranks(maps)[::2])


class TestAgreement:
    """The same numbers as other implementations and as the definitions."""

    @every_precision
    @pytest.mark.parametrize("make", [related, sparse])
    def test_spearman_is_scipys(self, dtype, tolerance, make):
        a, b = make(6, 1, 12, 13, dtype=dtype)
        expected = of_rows(lambda x, y: spearmanr(x, y).statistic, a, b)
        assert spearman(a, b).numpy() == pytest.approx(expected, abs=tolerance)
        expected = of_rows(lambda x, y: spearmanr(abs(x), abs(y)).statistic, a, b)
        assert abs_spearman(a, b).numpy() == pytest.approx(expected, abs=tolerance)

    def test_spearman_is_scipys_on_large_maps(self):
        a, b = related(2, 3, 224, 224)
        expected = of_rows(lambda x, y: spearmanr(x, y).statistic, a, b)
        assert spearman(a, b).numpy() == pytest.approx(expected, abs=1e-6)

    @every_precision
    @pytest.mark.parametrize("offset", [0.0, 10.0])
    def test_pearson_is_scipys(self, dtype, tolerance, offset):
        a, b = (maps + offset for maps in related(6, 12, 13, dtype=dtype))
        assert pearson(a, b).numpy() == pytest.approx(of_rows(lambda x, y: pearsonr(x, y)[0], a, b), abs=tolerance)

    @every_precision
    def test_cosine_and_mse_follow_their_definitions(self, dtype, tolerance):
        a, b = related(6, 12, 13, dtype=dtype)
        expected = of_rows(lambda x, y: float(x @ y / (x.norm() * y.norm())), a, b)
        assert cosine(a, b).numpy() == pytest.approx(expected, abs=tolerance)
        expected = of_rows(
            lambda x, y: float((x / x.square().mean().sqrt() - y / y.square().mean().sqrt()).square().mean()), a, b
        )
        assert mse(a, b).numpy() == pytest.approx(expected, abs=tolerance)
        assert mse(a, b).numpy() == pytest.approx(2 - 2 * cosine(a, b).numpy(), abs=tolerance)

    @every_precision
    @pytest.mark.parametrize("size", IMAGE_SIZES)
    @pytest.mark.parametrize("normalization", ["rms", "abs_max", "min_max"])
    def test_ssim_is_skimages_on_normalized_maps(self, dtype, tolerance, size, normalization):
        for make in (related, sparse, smooth):
            a, b = make(4, 1, *size, dtype=dtype)
            expected = reference_ssim(a, b, 7, normalization)
            assert ssim(a, b, normalization=normalization).numpy() == pytest.approx(expected, abs=tolerance)

    @every_precision
    @pytest.mark.parametrize("window", [3, 5, 7, 9, 11])
    def test_ssim_of_raw_maps_is_skimages_for_every_window(self, dtype, tolerance, window):
        a, b = smooth(4, 1, 20, 23, dtype=dtype)
        expected = [reference_pair(x, y, window, 5.0) for x, y in zip(a[:, 0].double(), b[:, 0].double(), strict=True)]
        scores = ssim(a, b, window=window, normalization=None, data_range=5.0)
        assert scores.numpy() == pytest.approx(expected, abs=tolerance)

    def test_ssim_keeps_its_digits_where_windows_are_nearly_constant(self):
        """E[x²] - E[x]² in float32 would lose a variance of 1e-6 beside a mean of 1."""
        step = torch.cat([torch.ones(4, 28, 14), torch.zeros(4, 28, 14)], dim=2)
        a, b = step + 1e-3 * normal(4, 28, 28), step + 1e-3 * normal(4, 28, 28, seed=1)
        for normalization in ("rms", "min_max"):
            expected = reference_ssim(a[:, None], b[:, None], 7, normalization)
            assert ssim(a, b, normalization=normalization).numpy() == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize(("size", "window"), [((3, 9), 3), ((4, 4), 3), ((5, 6), 5), ((6, 30), 5), ((8, 7), 7)])
    def test_ssim_takes_the_largest_window_that_fits(self, size, window):
        a, b = related(3, 1, *size)
        assert ssim(a, b).numpy() == pytest.approx(reference_ssim(a, b, window, "min_max"), abs=1e-5)

    @every_precision
    @pytest.mark.parametrize(("name", "normalization"), [("ssim", "min_max"), ("rms_ssim", "rms")])
    def test_the_names_stand_for_what_the_papers_compare(self, dtype, tolerance, name, normalization):
        """SSIM is Adebayo's, of maps brought to [0, 1], where L = 1; Binder's is of maps with a mean square of 1."""
        for make in (related, sparse, smooth):
            a, b = make(4, 1, 16, 16, dtype=dtype)
            expected = reference_ssim(a, b, 7, normalization)
            assert SIMILARITIES[name](a, b).numpy() == pytest.approx(expected, abs=tolerance)
        unit = [in_unit_range(one) for one in (a[0, 0].double(), b[0, 0].double())]
        if name == "ssim":
            assert float(ssim(a, b)[0]) == pytest.approx(reference_pair(*unit, 7, 1.0), abs=tolerance)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @every_cell
    def test_hog_features_are_skimages(self, dtype, size, cell):
        for make in (related, sparse, smooth):
            maps, _ = make(3, 1, *size, dtype=dtype)
            expected = [reference_hog(image, cell) for image in maps[:, 0]]
            assert hog_features(maps).numpy() == pytest.approx(np.array(expected), abs=1e-6)

    @every_cell
    def test_hog_features_follow_their_definition_in_float64(self, size, cell):
        for make in (related, sparse, smooth):
            maps, _ = make(1, 1, *size, dtype=torch.float64)
            assert hog_features(maps)[0].numpy() == pytest.approx(slow_hog(maps[0, 0], cell), abs=1e-10)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-7)])
    @every_cell
    def test_hog_is_the_pearson_correlation_of_skimages_features(self, dtype, tolerance, size, cell):
        a, b = smooth(4, 1, *size, dtype=dtype)
        expected = [
            pearsonr(reference_hog(in_unit_range(x), cell), reference_hog(in_unit_range(y), cell))[0]
            for x, y in zip(a[:, 0], b[:, 0], strict=True)
        ]
        assert hog(a, b).numpy() == pytest.approx(np.array(expected), abs=tolerance)

    @pytest.mark.parametrize("name", ["ssim", "hog"])
    def test_images_have_their_channels_summed(self, name):
        a, b = related(4, 3, 16, 16)
        score = SIMILARITIES[name](a, b)
        assert torch.equal(score, SIMILARITIES[name](a.sum(1), b.sum(1)))
        assert torch.equal(score, SIMILARITIES[name](a.sum(1, keepdim=True), b.sum(1, keepdim=True)))


def reference_pair(a, b, window, data_range):
    """Return the SSIM that skimage gives two images."""
    return structural_similarity(a.numpy(), b.numpy(), win_size=window, data_range=data_range)


def reference_ssim(a, b, window, normalization):
    """Return the SSIM that skimage gives each pair, normalized and with its joint range in float64."""
    divide = {
        "rms": lambda m: m / m.square().mean().sqrt(),
        "abs_max": lambda m: m / m.abs().max(),
        "min_max": in_unit_range,
    }[normalization]
    pairs = [(divide(x), divide(y)) for x, y in zip(a[:, 0].double(), b[:, 0].double(), strict=True)]
    return np.array(
        [reference_pair(x, y, window, float(max(x.max(), y.max()) - min(x.min(), y.min()))) for x, y in pairs]
    )


def reference_hog(image, cell):
    """Return the HOG that skimage gives an image; it sums the votes of a cell in float32 whatever the dtype."""
    return skimage_hog(image.numpy(), orientations=9, pixels_per_cell=(cell, cell), cells_per_block=(3, 3))


def slow_hog(image, cell):
    """HOG from the definition, pixel by pixel."""
    height, width = image.shape
    cells = np.zeros((height // cell, width // cell, 9))
    for y in range(height // cell * cell):
        for x in range(width // cell * cell):
            down = float(image[y + 1, x] - image[y - 1, x]) if 0 < y < height - 1 else 0.0
            right = float(image[y, x + 1] - image[y, x - 1]) if 0 < x < width - 1 else 0.0
            degrees = math.degrees(math.atan2(down, right)) % 180
            cells[y // cell, x // cell, int(degrees // 20) % 9] += math.hypot(down, right) / cell**2
    features = []
    for y in range(cells.shape[0] - 2):
        for x in range(cells.shape[1] - 2):
            block = cells[y : y + 3, x : x + 3].ravel()
            block = np.minimum(block / np.sqrt(block @ block + 1e-5**2), 0.2)
            features.append(block / np.sqrt(block @ block + 1e-5**2))
    return np.concatenate(features)


@every_similarity
class TestEverySimilarity:
    def test_scores_identical_maps_exactly(self, similarity):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for make in (related, sparse, smooth):
                maps = make(8, 1, 28, 28, dtype=torch.float64)[0].to(dtype)
                assert (similarity(maps, maps.clone()) == similarity.identical).all()

    def test_ignores_positive_scale(self, similarity):
        a, b = smooth(6, 1, 16, 16)
        for scale in (1e-30, 1e-3, 7.0, 1e30):
            assert torch.allclose(similarity(scale * a, b), similarity(a, b), atol=2e-6)
            assert torch.allclose(similarity(a, scale * b), similarity(a, b), atol=2e-6)

    def test_is_symmetric(self, similarity):
        a, b = smooth(6, 1, 16, 16)
        assert torch.allclose(similarity(a, b), similarity(b, a), atol=1e-6)

    def test_scores_a_pair_alone_as_in_its_batch(self, similarity):
        """Neither the other maps nor their ties, NaN or range reach a score."""
        a, b = (torch.cat([x, 100 * y]) for x, y in zip(related(5, 1, 16, 16), sparse(5, 1, 16, 16), strict=True))
        a[3] = math.nan
        b[4] = 1.0
        batch = similarity(a, b)
        alone = torch.cat([similarity(a[i : i + 1], b[i : i + 1]) for i in range(10)])
        assert torch.allclose(batch, alone, rtol=0, atol=1e-7, equal_nan=True)
        assert torch.allclose(batch.flip(0), similarity(a.flip(0), b.flip(0)), rtol=0, atol=1e-7, equal_nan=True)

    def test_compares_one_prepared_reference_with_many_batches(self, similarity):
        a, b = related(5, 1, 16, 16)
        reference = similarity.prepare(a)
        copies = tuple(part.clone() for part in reference)
        for other in (b, -b, a):
            assert torch.equal(similarity.compare(reference, similarity.prepare(other)), similarity(a, other))
        assert all(torch.equal(part, copy) for part, copy in zip(reference, copies, strict=True))
        rows = torch.tensor([3, 0])
        selected = similarity.compare(tuple(part[rows] for part in reference), similarity.prepare(b[rows]))
        assert torch.allclose(selected, similarity(a, b)[rows], rtol=0, atol=1e-7)

    def test_leaves_its_arguments_unchanged(self, similarity):
        a, b = related(5, 2, 16, 16)
        a.requires_grad_()
        copy_a, copy_b = a.detach().clone(), b.clone()
        score = similarity(a, b)
        assert torch.equal(a, copy_a)
        assert torch.equal(b, copy_b)
        assert not score.requires_grad
        assert a.grad is None

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_computes_half_precision_in_float32(self, similarity, dtype):
        a, b = (maps.to(dtype) for maps in related(5, 1, 16, 16))
        assert similarity(a, b).dtype == torch.float32
        assert torch.equal(similarity(a, b), similarity(a.float(), b.float()))

    def test_scores_an_empty_batch(self, similarity):
        assert similarity(torch.empty(0, 1, 16, 16), torch.empty(0, 1, 16, 16)).shape == (0,)

    def test_keeps_float64(self, similarity):
        assert similarity(*related(5, 1, 16, 16, dtype=torch.float64)).dtype == torch.float64

    @pytest.mark.parametrize("value", [0.0, 0.1, -3.7])
    def test_is_nan_for_constant_maps_unless_it_compares_directions(self, similarity, value):
        maps, constant = normal(2, 1, 16, 16), torch.full((2, 1, 16, 16), value)
        maps[1] = value
        has_direction = value != 0 and similarity.name in ("cosine", "mse")
        assert (similarity(maps, constant).isnan() != has_direction).all()
        assert (similarity(constant, maps).isnan() != has_direction).all()

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_never_raises_for_values_that_are_not_finite(self, similarity, value):
        a, b = related(3, 1, 16, 16)
        expected = similarity(a, b)
        a[1, 0, 3, 4] = value
        score = similarity(a, b)
        assert torch.equal(score[::2], expected[::2])
        assert score[1].isnan() or ("spearman" in similarity.name and math.isinf(value))

    def test_stays_in_its_range(self, similarity):
        a, b = smooth(20, 1, 16, 16)
        for other in (a, -a, b, a + 1e-4 * b, -a + 1e-4 * b):
            assert ((similarity(a, other) >= similarity.low) & (similarity(a, other) <= similarity.high)).all()

    def test_has_a_unit_scale_on_which_more_is_more_alike(self, similarity):
        assert similarity.unit(similarity.identical) == 1
        assert {similarity.unit(similarity.low), similarity.unit(similarity.high)} == {-1, 1}
        a, b = related(5, 1, 16, 16)
        expected = cosine(a, b) if similarity.name == "mse" else similarity(a, b)
        expected = 2 * expected - 1 if similarity.low == 0 and similarity.high == 1 else expected
        assert torch.allclose(similarity.unit(similarity(a, b)), expected, atol=1e-6)

    def test_refuses_maps_of_different_shapes(self, similarity):
        with pytest.raises(XaiError, match="same shape"):
            similarity(normal(4, 1, 16, 16), normal(1, 1, 16, 16))

    def test_needs_images_if_it_says_so(self, similarity):
        a, b = related(4, 60)
        if similarity.needs_2d:
            with pytest.raises(XaiError, match=r"\(4, 60\).*'spearman'"):
                similarity(a, b)
        else:
            assert similarity(a, b).shape == (4,)


class TestMistakes:
    """A mistake is named with what to do about it."""

    def test_ssim_needs_three_pixels_a_side(self):
        with pytest.raises(XaiError, match=r"2x9 pixels.*at least 3x3"):
            ssim(*related(2, 2, 9))

    def test_hog_needs_room_for_a_block(self):
        with pytest.raises(XaiError, match=r"5x9 pixels.*at least 6x6"):
            hog(*related(2, 5, 9))
        with pytest.raises(XaiError, match="at least 24x24"):
            hog(*related(2, 20, 30), pixels_per_cell=8)

    @pytest.mark.parametrize("window", [1, 4, -3])
    def test_a_window_is_odd(self, window):
        with pytest.raises(XaiError, match=f"window: found {window}"):
            ssim(*related(2, 9, 9), window=window)

    def test_a_normalization_has_a_name(self):
        with pytest.raises(XaiError, match="use 'min_max'"):
            ssim(*related(2, 9, 9), normalization="minmax")

    @pytest.mark.parametrize("function", [ssim, hog])
    def test_shapes_agree(self, function):
        with pytest.raises(XaiError, match="same shape"):
            function(normal(2, 9, 9), normal(2, 9, 10))


class TestClosedForms:
    """What theory says of random maps, within three standard errors of a simulation."""

    def test_ssim_of_zero_mean_noise(self):
        """E[SSIM] = Lm Cs with Cs = C2 / (2v + C2) and Lm = z exp(z) E1(z), z = C1 n / (2v)."""
        a, b = (2 * uniform(400, 64, 64, seed=seed) - 1 for seed in (1, 2))
        v, c1, c2, n = 1 / 3, 0.02**2, 0.06**2, 25
        z = c1 * n / (2 * v)
        expected = z * math.exp(z) * exp1(z) * c2 / (2 * v + c2)
        assert expected == pytest.approx(0.0003, abs=2e-5)
        assert within_standard_errors(ssim(a, b, window=5, normalization=None, data_range=2.0), expected)

    def test_ssim_of_min_max_noise(self):
        """The luminance term is near 1 once maps are shifted to [0, 1], so E[SSIM] = C2 / (2v + C2)."""
        a, b = normal(60, 128, 128, seed=1), normal(60, 128, 128, seed=2)
        variances = sum((m.amax((1, 2)) - m.amin((1, 2))) ** -2 for m in (a, b))
        expected = float((0.03**2 / (variances + 0.03**2)).mean())
        assert expected == pytest.approx(0.028, abs=0.001)
        assert within_standard_errors(ssim(a, b, normalization="min_max", data_range=1.0), expected)

    @pytest.mark.parametrize("name", ["spearman", "abs_spearman", "pearson", "cosine"])
    def test_correlations_of_fresh_noise_are_0(self, name):
        a, b = normal(100, 1, 28, 28, seed=3), normal(100, 1, 28, 28, seed=4)
        assert abs(SIMILARITIES[name](a, b).mean()) < 3 / math.sqrt(a.numel())

    def test_images_of_fresh_noise_are_unlike_but_for_the_border_in_hog(self):
        a, b = normal(200, 1, 28, 28, seed=3), normal(200, 1, 28, 28, seed=4)
        assert abs(rms_ssim(a, b).mean()) < 0.02
        assert ssim(a, b).mean() == pytest.approx(0.02, abs=0.01)
        assert hog(a, b).mean() == pytest.approx(0.15, abs=0.03)

    def test_mse_of_fresh_noise_is_2(self):
        scores = mse(normal(200, 1, 28, 28, seed=5), normal(200, 1, 28, 28, seed=6))
        assert scores.mean() == pytest.approx(2.0, abs=0.02)

    @pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
    def test_noise_dilutes_a_correlation(self, noise):
        """Correlation r becomes r / (1 + s²) when both maps get independent noise of variance s²."""
        r, shape = 0.8, (200, 784)
        a, fresh = normal(*shape, seed=7), normal(*shape, seed=8)
        b = r * a + math.sqrt(1 - r**2) * fresh
        diluted = pearson(a + noise * normal(*shape, seed=9), b + noise * normal(*shape, seed=10))
        assert within_standard_errors(diluted, r / (1 + noise**2))

    def test_magnitudes_of_input_times_noise_correlate(self):
        """Pearson of |x u| and |x v|: (2/π)(m2 - m1²) / (m2 - (2/π) m1²), 0.305 for uniform x."""
        x = uniform(4096, seed=11)
        a, b = x * normal(300, 4096, seed=12), x * normal(300, 4096, seed=13)
        m1, m2 = float(x.mean()), float(x.square().mean())
        expected = (2 / math.pi) * (m2 - m1**2) / (m2 - (2 / math.pi) * m1**2)
        assert expected == pytest.approx(0.305, abs=0.01)
        assert within_standard_errors(pearson(a.abs(), b.abs()), expected)
        assert within_standard_errors(pearson(a, b), 0.0)

    @pytest.mark.parametrize(
        ("share", "rounded"), [(0.1, 0.996), (0.19, 0.985), (0.3, 0.959), (0.5, 0.857), (1.0, 0.0)]
    )
    def test_magnitudes_of_sparse_input_times_noise_keep_their_ranks(self, share, rounded):
        """Spearman of |x u| and |x v| for binary x: 3(1 - s) / (3(1 - s) + s²), while the signed one is 0."""
        x = (torch.arange(2000) < share * 2000).float()
        a, b = x * normal(300, 2000, seed=14), x * normal(300, 2000, seed=15)
        expected = 3 * (1 - share) / (3 * (1 - share) + share**2)
        assert expected == pytest.approx(rounded, abs=5e-4)
        assert within_standard_errors(abs_spearman(a, b), expected)
        assert within_standard_errors(spearman(a, b), 0.0)

    def test_the_sign_of_a_map_matters_to_some(self):
        """A flipped map is opposite by sign and identical by magnitude or by unsigned gradients."""
        maps = normal(5, 1, 16, 16)
        for name in ("spearman", "pearson", "cosine"):
            assert SIMILARITIES[name](maps, -maps).numpy() == pytest.approx(-1, abs=1e-6)
        assert (abs_spearman(maps, -maps) == 1).all()
        assert mse(maps, -maps).numpy() == pytest.approx(4, abs=1e-5)
        assert hog(maps, -maps).numpy() == pytest.approx(1, abs=1e-5)
