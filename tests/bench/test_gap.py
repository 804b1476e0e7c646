"""The gap report: explainers ranked by randomization against the same explainers ranked by a metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, Saliency
from torch import nn

from pytest_xaisanity import Bench, CascadingRandomization, PixelFlipping, XaiError
from pytest_xaisanity.bench.gap import Gap, GapRow, _ties, gap
from pytest_xaisanity.common.seeding import generator
from pytest_xaisanity.evidence.metrics.scale_preservation import ScalePreservation

torch.set_num_threads(1)

IMAGES = torch.rand(20, 1, 8, 8, generator=generator("gap images"))
FAST = {"metric": PixelFlipping(steps=4), "intervention": CascadingRandomization(seeds=2)}


def noise(model, inputs, targets):
    return torch.randn_like(inputs)


def edges(model, inputs, targets):
    return inputs.diff(dim=2, prepend=inputs[:, :, :1]).abs()


def constant_once_randomized(model, inputs, targets):
    return inputs + 1 if model.untouched() else torch.ones_like(inputs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4 * 36, 3)
        self.first = self.head.weight.detach().clone()

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).flatten(1))

    def untouched(self):
        return torch.equal(self.head.weight, self.first)


@pytest.fixture(scope="module")
def bench():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Bench(Net().eval(), IMAGES, device="cpu")


@pytest.fixture(scope="module")
def explainers(bench):
    gradient = bench.explainer(Saliency, abs=False, name="gradient")
    return [gradient, bench.explainer(InputXGradient), bench.explainer(noise), bench.explainer(edges)]


@pytest.fixture(scope="module")
def report(bench, explainers):
    return gap(bench, explainers, **FAST)


def row(report, name):
    return next(row for row in report.rows if row.name == name)


def test_each_explainer_has_a_similarity_by_name_and_a_score(report):
    assert {row.name for row in report.rows} == {"gradient", "InputXGradient", "noise", "edges"}
    assert all(list(row.similarity) == ["spearman", "abs_spearman", "rms_ssim"] for row in report.rows)
    assert (report.metric, report.intervention, report.n, report.seeds) == (
        "pixel_flipping",
        "cascading_randomization",
        20,
        2,
    )


def test_rows_are_ordered_by_the_metric_best_first(report):
    scores = [row.score for row in report.rows]
    assert scores == sorted(scores, reverse=True)


def test_what_knows_no_model_is_as_alike_as_can_be_and_noise_as_unlike(report):
    assert all(value == 1.0 for value in row(report, "edges").similarity.values())
    assert all(abs(value) < 0.1 for value in row(report, "noise").similarity.values())


def test_similarity_and_score_are_those_of_the_claims(bench, explainers, report):
    name = "gradient"
    raw = explainers[0].changes_under(FAST["intervention"], similarity="rms_ssim", at_most=0.5, early=False)
    seen = np.mean(raw.evidence["scores"]["rms_ssim"])
    assert row(report, name).similarity["rms_ssim"] == pytest.approx(seen, abs=1e-6)
    scored = explainers[0].bounded(FAST["metric"], at_least=0.0, early=False)
    assert row(report, name).score == pytest.approx(scored.evidence["means"]["explainer"], abs=1e-6)


def test_tau_is_kendalls_of_less_alike_against_better(report):
    """Counted by hand: pairs in the same order minus pairs in the other, over all pairs."""
    for name, tau in report.tau.items():
        values = [(-row.similarity[name], row.score) for row in report.rows]
        signs = [np.sign((a - c) * (b - d)) for i, (a, b) in enumerate(values) for c, d in values[:i]]
        assert tau == pytest.approx(sum(signs) / len(signs))


def test_a_metric_where_lower_is_better_turns_the_ranking(bench, explainers):
    report = gap(bench, explainers, "spearman", PixelFlipping(steps=4, order="morf"), intervention=FAST["intervention"])
    scores = [row.score for row in report.rows]
    assert scores == sorted(scores)
    values = [(row.similarity["spearman"], row.score) for row in report.rows]
    signs = [np.sign((a - c) * (b - d)) for i, (a, b) in enumerate(values) for c, d in values[:i]]
    assert report.tau["spearman"] == pytest.approx(sum(signs) / len(signs))


def test_an_error_measure_ranks_as_a_similarity_does(bench, explainers):
    """Less alike is a larger error."""
    report = gap(bench, explainers, ("cosine", "mse"), **FAST)
    assert report.tau["cosine"] == pytest.approx(report.tau["mse"])


def test_the_report_is_the_same_again(bench, explainers, report):
    assert str(gap(bench, explainers, **FAST)) == str(report)


def test_one_line_of_repr_and_a_table(report):
    assert "\n" not in repr(report)
    assert repr(report).startswith("<gap of 4 explainers on pixel_flipping: tau spearman ")
    assert len(repr(report)) < 200
    text = str(report)
    assert all(name in text for name in ("gradient", "InputXGradient", "noise", "edges", "Kendall tau"))
    assert "explainer       pixel_flipping  spearman  abs_spearman  rms_ssim" in text


def test_neighbors_that_differ_by_less_than_noise_are_tied():
    rng = np.random.default_rng(0)
    values = [rng.normal(mean, 0.1, (50, 4, 2)) for mean in (0.0, 0.001, 0.5)]
    better = np.array([part.mean() for part in values])
    (tie,) = _ties(["a", "b", "c"], better, values)
    assert sorted(tie.names) == ["a", "b"]
    assert tie.spread == pytest.approx(abs(better[0] - better[1]))


def test_a_difference_of_one_draw_of_weights_is_noise_however_many_inputs():
    """All inputs share the weights of a seed: a shift of one seed is no difference of explainers."""
    rng = np.random.default_rng(1)
    shifts = np.array([0.5, -0.3, 0.1])[None, :, None]
    values = [shifts + rng.normal(0, 0.01, (200, 3, 2)), rng.normal(0, 0.01, (200, 3, 2))]
    assert len(_ties(["a", "b"], np.array([part.mean() for part in values]), values)) == 1


def test_maps_that_are_constant_once_randomized_are_left_out_and_counted():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bench = Bench(Net().eval(), IMAGES, device="cpu")
    dying = bench.explainer(constant_once_randomized, name="dying")
    with pytest.raises(XaiError, match="gap explainer dying: found maps that spearman cannot compare"):
        gap(bench, [dying, bench.explainer(noise), bench.explainer(edges)], **FAST)


def test_undefined_maps_show_in_the_text():
    counts = (("a", 3), ("b", 0), ("c", 1))
    rows = tuple(GapRow(name, {"rms_ssim": 0.1}, 0.2, {"rms_ssim": count}) for name, count in counts)
    report = Gap(rows, {"rms_ssim": float("nan")}, {}, "pixel_flipping", "cascading_randomization", 10, 2)
    assert "left out of rms_ssim: 4 inputs" in report.text()
    assert "tau rms_ssim nan" in repr(report)


def test_two_explainers_are_too_few(bench, explainers):
    with pytest.raises(XaiError, match="three or more explainers"):
        gap(bench, explainers[:2])


def test_explainers_of_one_name_are_an_error(bench, explainers):
    with pytest.raises(XaiError, match="different names"):
        gap(bench, [*explainers, explainers[0]])


def test_an_explainer_of_another_bench_is_an_error(explainers):
    with pytest.raises(XaiError, match="gradient, of another bench"):
        gap(Bench(Net().eval(), IMAGES, device="cpu"), explainers)


def test_a_bare_class_is_an_error(bench, explainers):
    with pytest.raises(XaiError, match="found a type"):
        gap(bench, [*explainers, Saliency])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarities": ("spaerman",)}, "use 'spearman', the nearest"),
        ({"similarities": ()}, "gap similarities: found none"),
        ({"metric": "pixel_fliping"}, "use 'pixel_flipping', the nearest"),
        ({"metric": ScalePreservation()}, "'scale_preservation', which measures more than given maps"),
        ({"intervention": "cascading"}, "cascading_randomization"),
        ({"intervention": "batch_order"}, "under which maps ought to change"),
    ],
)
def test_what_cannot_serve_is_one_error_before_anything_is_measured(bench, explainers, settings, message):
    with pytest.raises(XaiError, match=message):
        gap(bench, explainers, **settings)
