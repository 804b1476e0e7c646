"""Cosine similarity convergence: the meter on chains of matrices, on networks, and as a metric."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution, GuidedBackprop, IntegratedGradients, LayerGradCam, Saliency
from scipy import stats
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.cosine_similarity_convergence import CosineSimilarityConvergence
from pytest_xaisanity.explainers import DeepLift
from pytest_xaisanity.explainers.backward import backward_rules
from pytest_xaisanity.maps.cosines import CosineHistogram, absolute_cosines, null_mean, null_median, row_medians

NAME = "cosine_similarity_convergence"
N, DRAWS = 64, 32
SPREAD = 0.4  # two standard deviations of log10(1 - |cos|) over chains; the expected values are those of one simulation


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def pair_median(vectors):
    """Return the median |cos| of the rows ``(V, C)``."""
    return float(row_medians(absolute_cosines(vectors)[None]))


def gap(vectors):
    return 1 - pair_median(vectors)


def chain(factor, lengths, chains=40):
    """Return the median over chains of 1 - CSC after so many multiplications with matrices ``factor(normal)``."""
    gaps = {length: [] for length in lengths}
    for k in range(chains):
        vectors = normal(DRAWS, N, seed=1000 * k)
        for step in range(1, max(lengths) + 1):
            vectors = vectors @ factor(normal(N, N, seed=1000 * k + step))
            vectors = vectors / vectors.abs().amax()
            if step in gaps:
                gaps[step].append(gap(vectors))
    return [float(np.median(gaps[length])) for length in lengths]


class TestCosines:
    def test_follow_their_definition(self):
        vectors = normal(3, 4, 5, 7)
        seen = absolute_cosines(vectors)
        pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
        assert seen.shape == (3, 4, 10)
        for place in np.ndindex(3, 4):
            rows = vectors[place]
            slow = [abs(float(rows[i] @ rows[j])) / float(rows[i].norm() * rows[j].norm()) for i, j in pairs]
            assert seen[place].tolist() == pytest.approx(slow, abs=1e-14)

    @pytest.mark.parametrize("scale", [1e-30, 1e-19, 1.0, 1e19, 1e30])
    def test_do_not_depend_on_scale(self, scale):
        vectors = normal(6, 4, 9).float()
        mixed = vectors * torch.tensor([1.0, scale, 1.0, scale])[:, None]
        assert torch.allclose(absolute_cosines(mixed), absolute_cosines(vectors), atol=1e-6)

    def test_of_zero_vectors_and_of_what_is_not_finite_are_nan_and_reach_no_other(self):
        vectors = normal(3, 4, 9).float()
        expected = absolute_cosines(vectors)
        vectors[0, 1] = 0
        vectors[1, 0, 3] = math.inf
        seen = absolute_cosines(vectors)
        assert seen[0].isnan().tolist() == [True, False, False, True, True, False]
        assert seen[1].isnan().tolist() == [True, True, True, False, False, False]
        known = ~seen.isnan()
        assert torch.allclose(seen[known], expected[known], atol=1e-6)

    def test_of_half_precision_are_computed_in_float32(self):
        vectors = normal(2, 4, 9).bfloat16()
        assert torch.equal(absolute_cosines(vectors), absolute_cosines(vectors.float()))

    def test_of_parallel_vectors_are_one(self):
        vectors = torch.tensor([1.0, -2.0, 3.0])[:, None] * normal(1, 20, dtype=torch.float32)
        assert absolute_cosines(vectors).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
        assert absolute_cosines(vectors).max() <= 1

    def test_leave_their_argument_alone(self):
        vectors = normal(3, 4, 5)
        vectors[0] *= 1e-40
        before = vectors.clone()
        absolute_cosines(vectors)
        assert torch.equal(vectors, before)


class TestNull:
    @pytest.mark.parametrize(("channels", "mean"), [(3, 0.5), (10, 0.259), (64, 0.100), (512, 0.035)])
    def test_mean_of_random_vectors(self, channels, mean):
        assert null_mean(channels) == pytest.approx(mean, abs=5e-4)

    @pytest.mark.parametrize("channels", [2, 3, 10, 64])
    def test_is_what_random_vectors_have(self, channels):
        seen = absolute_cosines(normal(20000, 2, channels))[:, 0].double()
        assert float(seen.mean()) == pytest.approx(null_mean(channels), abs=4 * float(seen.std()) / math.sqrt(20000))
        share = float((seen <= null_median(channels)).double().mean())
        assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(20000))

    def test_median_is_that_of_a_beta_distribution(self):
        assert null_median(64) == pytest.approx(math.sqrt(stats.beta.median(0.5, 31.5)), abs=1e-12)
        assert null_median(64) == pytest.approx(0.085, abs=5e-4)

    def test_one_channel_is_always_parallel(self):
        assert null_mean(1) == pytest.approx(1)
        assert null_median(1) == 1


class TestChains:
    """What theory and simulation say of products of random matrices."""

    def test_non_negative_matrices_converge_at_their_rate(self):
        """Per factor by about (var / mean²) / n: 0.571 / 64 for |N|."""
        seen = chain(torch.abs, [2, 3, 4, 6])
        assert np.log10(seen) == pytest.approx(np.log10([2.9e-2, 2.7e-4, 2.3e-6, 2e-10]), abs=SPREAD)
        rates = [seen[1] / seen[0], seen[2] / seen[1], math.sqrt(seen[3] / seen[2])]
        assert rates == pytest.approx([(math.pi / 2 - 1) / N] * 3, rel=0.3)

    def test_positive_parts_converge_at_theirs(self):
        """2.14 / 64 for max(N, 0)."""
        seen = chain(lambda m: m.clamp(min=0), [3, 4, 6, 8])
        assert np.log10(seen) == pytest.approx(np.log10([1.0e-2, 3.3e-4, 3e-7, 4e-10]), abs=SPREAD)
        assert (seen[3] / seen[0]) ** (1 / 5) == pytest.approx((math.pi - 1) / N, rel=0.3)

    def test_alpha_two_beta_one_converges_more_slowly(self):
        seen = chain(lambda m: 2 * m.clamp(min=0) + m.clamp(max=0), [2, 4, 8])
        assert np.log10(seen) == pytest.approx(np.log10([0.80, 0.30, 1.3e-3]), abs=SPREAD)

    @pytest.mark.parametrize(
        ("factor", "expected"),
        [
            pytest.param(lambda m: 5 * m.clamp(min=0) + 4 * m.clamp(max=0), [0.85, 0.80, 0.72], id="alpha5beta4"),
            pytest.param(lambda m: m, [0.86, 0.81, 0.74], id="normal"),
        ],
    )
    def test_mixed_signs_hardly_converge(self, factor, expected):
        assert chain(factor, [2, 4, 8]) == pytest.approx(expected, abs=0.04)

    def test_orthogonal_matrices_keep_every_cosine(self):
        vectors = normal(DRAWS, N)
        before = absolute_cosines(vectors)
        for step in range(8):
            vectors = vectors @ torch.linalg.qr(normal(N, N, seed=step)).Q
            assert torch.allclose(absolute_cosines(vectors), before, atol=1e-12)

    def test_a_matrix_of_rank_one_ends_it_all(self):
        vectors = normal(DRAWS, N) @ torch.outer(normal(N, seed=1), normal(N, seed=2))
        assert pair_median(vectors) == pytest.approx(1, abs=1e-12)
        assert pair_median(vectors @ normal(N, N, seed=3)) == pytest.approx(1, abs=1e-12)

    def test_powers_of_a_matrix_converge_as_its_eigenvalues_say(self):
        """By (lambda2 / lambda1)² a step."""
        matrix = torch.diag(torch.tensor([1.0, 0.1, 0.05, 0.01], dtype=torch.float64))
        basis = torch.linalg.qr(normal(4, 4)).Q
        vectors = normal(DRAWS, 4, seed=1) @ torch.linalg.matrix_power(basis @ matrix @ basis.T, 3)
        gaps = [gap(vectors), gap(vectors @ basis @ matrix @ basis.T)]
        assert gaps[1] / gaps[0] == pytest.approx(0.01, rel=0.1)

    def test_positive_matrices_contract_projectively(self):
        """The projective diameter shrinks by at least tanh(Delta / 4)."""
        matrix = 0.5 + torch.rand(6, 6, generator=generator("positive"), dtype=torch.float64)
        ratio = (
            matrix[:, None, :, None] * matrix[None, :, None, :] / matrix[:, None, None, :] / matrix[None, :, :, None]
        )
        bound = math.tanh(math.log(float(ratio.max())) / 4)

        def diameter(a, b):
            return float((a / b).log().max() - (a / b).log().min())

        start = torch.rand(40, 2, 6, generator=generator("pairs"), dtype=torch.float64) + 1e-3
        for a, b in start:
            assert diameter(a @ matrix, b @ matrix) <= bound * diameter(a, b) + 1e-12


class TestMedians:
    @pytest.mark.parametrize("count", [1, 9, 10])
    def test_are_numpys_without_nan(self, count):
        values = normal(6, count)
        values[1, 0] = math.nan
        values[2] = math.nan
        expected = [np.nanmedian(row) if not np.isnan(row).all() else np.nan for row in values.numpy()]
        assert row_medians(values).numpy() == pytest.approx(np.array(expected), abs=1e-15, nan_ok=True)


class TestDistribution:
    @pytest.mark.parametrize(
        "make", [lambda u: u, lambda u: 1 - 1e-6 * u, lambda u: 1 - u**20], ids=["uniform", "parallel", "skewed"]
    )
    def test_has_the_percentiles_of_its_values(self, make):
        values = make(torch.rand(5, 20001, generator=generator("values"), dtype=torch.float64))
        seen = CosineHistogram()
        for part in values:
            seen.add(part)
        percent = [0, 1, 5, 20, 50, 80, 95, 99, 100]
        expected = np.percentile(values.numpy(), percent)
        assert 1 - np.array(seen.percentiles(percent)) == pytest.approx(1 - expected, rel=0.008)
        assert seen.mean == pytest.approx(float(values.mean()), abs=1e-12)
        assert (seen.count, seen.undefined) == (values.numel(), 0)

    def test_counts_what_is_undefined_and_leaves_it_out(self):
        seen = CosineHistogram()
        seen.add(torch.tensor([0.0, 1.0, math.nan, 1.0]))
        assert (seen.count, seen.undefined) == (3, 1)
        assert seen.mean == pytest.approx(2 / 3)
        assert seen.percentiles([0, 50, 100]) == pytest.approx([0, 1, 1], abs=1e-3)
        assert seen.percentiles([100]) == [1]

    def test_is_nan_without_values(self):
        assert math.isnan(CosineHistogram().mean)
        assert math.isnan(CosineHistogram().percentiles([50])[0])


# ------------------------------------------------------------------------------------------------------ on networks


class Matrices(nn.Module):
    """A chain of linear layers without biases, from matrices ``(out, in)``."""

    def __init__(self, matrices):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(*m.T.shape, bias=False, dtype=m.dtype) for m in matrices))
        with torch.no_grad():
            for layer, matrix in zip(self.layers, matrices, strict=True):
                layer.weight.copy_(matrix)

    def forward(self, x):
        return self.layers(x)


class ConvNet(nn.Module):
    """Convolutions with a normalization and in-place activations, a residual, a reused module, and a dense head."""

    def __init__(self, channels=1):
        super().__init__()
        self.conv1, self.norm1, self.relu = (
            nn.Conv2d(channels, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
        )
        self.conv2, self.pool = nn.Conv2d(6, 6, 3, padding=1), nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 25, 16), nn.ReLU(inplace=True), nn.Linear(16, 4))

    def forward(self, x):
        x = self.relu(self.norm1(self.conv1(x)))
        return self.head(self.pool(self.relu(self.conv2(x) + x)))


def images(channels=1, n=40):
    return torch.rand(n, channels, 10, 10, generator=generator("images", channels))


def measured(model, inputs, explainer=Saliency, *, metric=None, seed=0, **settings):
    """Return the verdict on a claim that measures every input."""
    bench = Bench(model.eval(), inputs, device="cpu", seed=seed)
    settings = {"at_most": 0.8, "early": False} | settings
    return bench.explainer(explainer).bounded(metric or NAME, **settings)


def rows(verdict):
    return {row["layer"]: row for row in verdict.evidence["convergence"]}


class WithAnotherHead(ConvNet):
    """The same with a head that runs last, and whose output is not explained."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Sequential(nn.Flatten(), nn.Linear(100, 7))

    def forward(self, x):
        outputs = super().forward(x)
        self.auxiliary(x)
        return outputs


def test_relevance_is_drawn_at_a_layer_that_reaches_the_explained_output():
    verdict = measured(seeded(WithAnotherHead), images())
    assert verdict.evidence["start"] == "head.3"
    assert list(rows(verdict)) == ["head.3", "head.2", "pool", "relu (call 1)"]


class PositiveWeights:
    """The gradient with all weights of linear layers made positive, as an explainer with rules of its own."""

    def rules(self, model):
        return self._positive([m for m in model.modules() if isinstance(m, nn.Linear)])

    @contextmanager
    def _positive(self, layers):
        handles = [
            m.register_forward_hook(lambda m, args, out: _Positive.apply(args[0], m.weight, out)) for m in layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __call__(self, model, inputs, targets):
        inputs.requires_grad_()
        with self.rules(model):
            return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


class _Positive(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, weight, output):
        ctx.save_for_backward(weight)
        return output.clone()

    @staticmethod
    def backward(ctx, relevance):
        (weight,) = ctx.saved_tensors
        return relevance @ weight.abs(), None, None


def test_the_scores_are_those_of_the_chain():
    """Relevance drawn at the logits, multiplied by the matrices below, compared pair by pair."""
    matrices = [normal(20, 12, seed=1), normal(15, 20, seed=2), normal(10, 15, seed=3)]
    inputs = normal(12, 12)
    verdict = measured(Matrices(matrices), inputs, layer="layers.0")
    assert list(rows(verdict)) == ["layers.2", "layers.1", "layers.0", "(input)"]
    expected = []
    for index in verdict.evidence["indices"]:
        draws = torch.randn(5, 10, generator=generator(0, "relevance", index)).double()
        expected.append(pair_median(draws @ matrices[2] @ matrices[1]))
    assert verdict.evidence["scores"]["explainer"] == pytest.approx(expected, abs=1e-12)


def test_orthogonal_layers_keep_the_cosines_of_the_start():
    matrices = [torch.linalg.qr(normal(16, 16, seed=k)).Q for k in range(5)]
    seen = rows(measured(Matrices(matrices), normal(30, 16)))
    assert len(seen) == 6
    assert [row["median"] for row in seen.values()] == pytest.approx([seen["layers.4"]["median"]] * 6, abs=1e-6)
    assert [row["mean"] for row in seen.values()] == pytest.approx([seen["layers.4"]["mean"]] * 6, abs=1e-6)
    assert seen["layers.4"]["mean"] == pytest.approx(null_mean(16), abs=0.04)


def test_below_a_layer_of_rank_one_all_is_parallel():
    matrices = [normal(12, 12, seed=k) for k in range(4)]
    matrices[2] = torch.outer(normal(12, seed=5), normal(12, seed=6))
    seen = rows(measured(Matrices(matrices), normal(30, 12)))
    assert seen["layers.2"]["median"] < 0.6
    for layer in ("layers.1", "layers.0", "(input)"):
        assert seen[layer]["percentiles"]["0"] == pytest.approx(1, abs=1e-6)


def test_the_rule_of_the_explainer_is_what_is_measured():
    model = Matrices([normal(32, 32, seed=k) for k in range(4)])
    plain, positive = (measured(model, normal(30, 32), explainer) for explainer in (Saliency, PositiveWeights()))
    assert plain.passed
    assert positive.failed
    assert rows(positive)["layers.0"]["median"] > 0.999
    assert rows(plain)["layers.3"] == rows(positive)["layers.3"]


def test_layers_are_read_behind_what_follows_their_weights():
    verdict = measured(seeded(ConvNet), images())
    assert list(rows(verdict)) == ["head.3", "head.2", "pool", "relu (call 1)"]
    assert [row["channels"] for row in rows(verdict).values()] == [4, 16, 6, 6]
    assert (verdict.evidence["start"], verdict.evidence["layer"]) == ("head.3", "relu (call 1)")
    assert rows(verdict)["pool"]["null_mean"] == pytest.approx(null_mean(4))  # of the four logits
    below = measured(seeded(ConvNet), images(), start="head.2")
    assert rows(below)["pool"]["null_mean"] == pytest.approx(null_mean(6))


def test_chance_has_no_more_dimensions_than_the_start():
    """Two numbers sent up through orthogonal columns keep their angle, in whatever number of channels."""
    wide, _ = torch.linalg.qr(normal(64, 64, seed=1))
    with torch.no_grad():
        model = nn.Sequential(nn.Linear(8, 64, bias=False), nn.Linear(64, 2, bias=False))
        model[1].weight.copy_(wide[:2])
    row = rows(measured(model, normal(400, 8)))["0"]
    assert row["channels"] == 64
    assert row["mean"] == pytest.approx(null_mean(2), abs=0.02)
    assert row["null_mean"] == pytest.approx(null_mean(2))


def test_an_input_with_channels_is_the_last_layer_and_gray_ones_are_left_out():
    color = measured(seeded(lambda: ConvNet(3)), images(3))
    assert list(rows(color))[-1] == "(input)"
    assert rows(color)["(input)"]["null_mean"] == pytest.approx(0.5)
    assert color.evidence["layer"] == "relu (call 1)"
    assert measured(seeded(lambda: ConvNet(3)), images(3), layer="(input)").evidence["layer"] == "(input)"
    assert "(input)" not in rows(measured(seeded(ConvNet), images()))


def test_start_and_layer_can_be_named():
    model = seeded(ConvNet)
    verdict = measured(model, images(), start="conv2", layer="norm1")
    assert list(rows(verdict)) == ["conv2", "relu (call 1)", "norm1"]
    assert verdict.evidence["layer"] == "norm1"
    whole = measured(model, images(), layer="head.0")
    assert rows(whole)["head.0"]["channels"] == 150


def test_a_start_whose_output_is_altered_in_place_afterwards_is_the_output_as_it_was():
    """With the ReLU behind it taken for the start, half of the relevance would be masked."""
    model = seeded(lambda: nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)))
    verdict = measured(model, normal(12, 9).float(), start="1", layer="0")
    draws = [torch.randn(5, 7, generator=generator(0, "relevance", index)) for index in verdict.evidence["indices"]]
    expected = [pair_median(drawn @ model[1].weight.detach()) for drawn in draws]
    assert verdict.evidence["scores"]["explainer"] == pytest.approx(expected, abs=1e-5)


def test_the_same_seed_gives_the_same_scores_whatever_the_batch():
    model = seeded(ConvNet)
    one, other = (
        Bench(model, images(), device="cpu", batch_size=size)
        .explainer(Saliency)
        .bounded(NAME, at_most=0.9, early=False)
        for size in (None, 7)
    )
    assert one.evidence["scores"]["explainer"] == pytest.approx(other.evidence["scores"]["explainer"], abs=1e-6)
    assert rows(one)["pool"]["median"] == pytest.approx(rows(other)["pool"]["median"], abs=0.01)
    third = measured(model, images(), seed=1)
    assert third.evidence["scores"]["explainer"] != one.evidence["scores"]["explainer"]


def test_random_positions_stand_for_very_many():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    big = torch.rand(8, 1, 40, 40, generator=generator("big"))
    seen = rows(measured(nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten()), big, start="0.2", at_most=0.99))
    count = 8 * 64 * 10
    assert seen["0.2"]["undefined"] == 0
    assert seen["0.2"]["mean"] == pytest.approx(null_mean(4), abs=5 / math.sqrt(count))


def test_the_model_comes_back_bit_for_bit():
    model = seeded(ConvNet)
    before = copy.deepcopy(model.state_dict())
    for explainer in (Saliency, GuidedBackprop):
        measured(model, images(), explainer)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())


def test_tokens_have_their_channels_on_the_axis_that_is_named():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.mix(self.embed(x)).mean(1))

    tokens = torch.randint(9, (30, 5), generator=generator("tokens"))
    with pytest.raises(XaiError, match="axis=1 or axis=-1"):
        measured(seeded(Tokens), tokens)
    seen = rows(measured(seeded(Tokens), tokens, axis=-1, at_most=0.99))
    assert {layer: row["channels"] for layer, row in seen.items()} == {"head": 3, "mix": 8, "embed": 8}


def test_half_precision_works():
    model = seeded(ConvNet).bfloat16()
    assert 0 < measured(model, images(), at_most=0.99).estimate < 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 1}, "draws: found 1"),
        ({"draws": 2.0}, "draws: found 2.0"),
        ({"start": 3}, "start: found a int"),
        ({"layer": nn.ReLU()}, "layer: found a ReLU"),
        ({"axis": 0}, "axis: found 0"),
    ],
)
def test_a_wrong_setting_is_one_error_at_once(settings, message):
    with pytest.raises(XaiError, match=message):
        CosineSimilarityConvergence(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "conv3"}, "start: found 'conv3'.*use 'conv2', the nearest known name"),
        ({"layer": "pol"}, "layer: found 'pol'.*use 'pool', the nearest known name"),
        ({"start": "relu"}, "'relu', called 2 times"),
        ({"start": "aside"}, "'aside', which returns no tensor on the way from the inputs"),
        ({"layer": "aside"}, "'aside', which returns no tensor below the start"),
        ({"start": "conv2", "layer": "pool"}, "'pool', which returns no tensor below the start"),
        ({"start": "first"}, "nothing below 'first' with two or more channels"),
        ({"start": "only"}, "'only' with a single output"),
        ({"layer": "first"}, "'first' with a single channel"),
    ],
)
def test_a_place_that_cannot_serve_is_one_error(settings, message):
    class Odd(ConvNet):
        def __init__(self):
            super().__init__()
            self.first, self.aside, self.only = nn.Conv2d(1, 1, 1), nn.Identity(), nn.Linear(4, 1)

        def forward(self, x):
            outputs = super().forward(self.first(x))
            return outputs + self.only(outputs)

    with pytest.raises(XaiError, match=message):
        measured(seeded(Odd), images(), **settings)


def test_a_model_with_a_single_output_starts_below_it():
    model = seeded(lambda: nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 1)))
    assert measured(model, normal(30, 12).float(), at_most=0.99).evidence["start"] == "2"


def test_an_explainer_whose_rule_is_not_known_is_an_error():
    with pytest.raises(XaiError, match="whose backward pass cannot be taken apart"):
        measured(seeded(ConvNet), images(), lambda model, inputs, targets: inputs + 1)
    bench = Bench(seeded(ConvNet), images())
    with pytest.raises(XaiError, match="LayerGradCam"):
        bench.explainer(LayerGradCam, layer="conv2").bounded(NAME, at_most=0.9)


def test_a_rule_that_cannot_be_swept_is_one_error_and_leaves_no_hook():
    class Once(PositiveWeights):
        @contextmanager
        def _positive(self, layers):
            handle = layers[0].register_forward_hook(lambda module, args, output: _Once.apply(output))
            try:
                yield
            finally:
                handle.remove()

    class _Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, output):
            ctx.calls = 0
            return output.clone()

        @staticmethod
        def backward(ctx, relevance):
            ctx.calls += 1
            if ctx.calls > 1:
                raise RuntimeError("no second pass")
            return relevance

    model = seeded(ConvNet)
    with pytest.raises(XaiError, match="RuntimeError when relevance was sent down by its rule: no second pass"):
        measured(model, images(), Once())
    assert not any(module._forward_hooks for module in model.modules())


def test_equal_settings_have_equal_keys_and_belong_to_an_explainer():
    first, second = (CosineSimilarityConvergence(draws=3).measurement() for _ in range(2))
    assert first.key == second.key != CosineSimilarityConvergence().measurement().key
    assert first.about == "explainer"


def test_the_report_shows_the_curve_beside_chance(suite):
    suite.makepyfile("""
        import pytest
        from captum.attr import Saliency

        @pytest.mark.xai_bounded("cosine_similarity_convergence", at_most=0.1)
        @pytest.mark.xai_explainer(Saliency)
        def test_rule(xai_verdict):
            assert xai_verdict
    """)
    result = suite.runpytest_inprocess("-v")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r".*convergence +\(input\): median \|cos\| 0\.\d+ \(random vectors 0\.5\)"])


def test_it_cannot_be_beaten_for_it_scores_no_maps():
    with pytest.raises(XaiError, match="measures more than given maps"):
        Bench(seeded(ConvNet), images()).explainer(Saliency).beats("random", on=NAME)


# ------------------------------------------------------------------------------------------------------------ rules


def test_the_rules_of_captum_are_those_of_its_attributions():
    """From the logits to the input, with a one-hot relevance."""
    model, inputs = seeded(ConvNet), images(n=5)
    model.relu, model.head[2] = nn.ReLU(), nn.ReLU()
    targets = torch.arange(5) % 4
    for kind in (Saliency, GuidedBackprop, Deconvolution):
        expected = kind(model).attribute(inputs.clone().requires_grad_(), target=targets, **_signed(kind))
        for source in (kind, kind(model)):
            leaves = inputs.clone().requires_grad_()
            with backward_rules(source, model):
                logits = model(leaves)
                seen = torch.autograd.grad(logits, leaves, torch.eye(4)[targets])[0]
            assert torch.allclose(seen, expected, atol=1e-7)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def _signed(kind):
    return {"abs": False} if kind is Saliency else {}


@pytest.mark.parametrize("source", [IntegratedGradients, Saliency])
def test_methods_that_rest_on_the_gradient_have_its_convergence(source):
    model = seeded(ConvNet)
    assert measured(model, images(), source).estimate == measured(model, images(), Saliency).estimate


@pytest.mark.parametrize("rule", ["rescale", "revealcancel", "ablation"])
def test_what_a_rule_runs_on_a_baseline_is_not_counted(rule):
    """Layers have one name for all explainers, and can be named, also where DeepLIFT runs the baseline first."""
    model = seeded(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)))
    plain, lifted = (measured(model, images(), explainer, at_most=0.99) for explainer in (Saliency, DeepLift(rule)))
    assert list(rows(lifted)) == list(rows(plain)) == ["3", "1"]
    assert (
        measured(model, images(), DeepLift(rule), start="3", layer="1").evidence["scores"] == lifted.evidence["scores"]
    )


class TestZennit:
    @pytest.fixture
    def zennit(self):
        return pytest.importorskip("zennit")

    def composite(self, rule):
        from zennit.composites import LayerMapComposite
        from zennit.rules import Pass
        from zennit.types import Activation, Convolution, Linear

        return LayerMapComposite([(Activation, Pass()), (Convolution, rule), (Linear, rule)])

    def test_relevance_at_a_layer_is_activation_times_gradient_under_the_z_rule(self, zennit):
        from zennit.rules import Epsilon

        model = seeded(
            lambda: nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 4, bias=False))
        ).double()
        inputs = normal(5, 6)
        with backward_rules(self.composite(Epsilon(1e-12)), model):
            hidden = []
            handle = model[1].register_forward_hook(lambda module, args, output: hidden.append(output))
            logits = model(inputs.clone().requires_grad_())
            handle.remove()
            (relevance,) = torch.autograd.grad(logits, hidden, logits.detach())
        expected = hidden[0] * model[2].weight.sum(0)
        assert torch.allclose(relevance, expected, atol=1e-8)

    def test_z_plus_converges_and_the_gradient_does_not(self, zennit):
        from zennit.rules import ZPlus

        layers = [m for _ in range(5) for m in (nn.Linear(32, 32, bias=False), nn.ReLU())]
        model = seeded(lambda: nn.Sequential(*layers, nn.Linear(32, 10)))
        inputs = torch.rand(30, 32, generator=generator("rows"))

        class Rule(PositiveWeights):
            def rules(inner, model):  # noqa: N805
                return self.composite(ZPlus()).context(model)

        plus, plain = measured(model, inputs, Rule()), measured(model, inputs)
        assert plus.failed
        assert plain.passed
        medians = [row["median"] for row in rows(plus).values()]
        assert medians[-1] > 0.999
        assert medians == sorted(medians)
