"""Region perturbation, deletion, insertion and ROAD against a slow definition in float64, and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from test_pixel_flipping import Sums, flip, network, normal

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.evidence.metrics.deletion import Deletion, Insertion
from pytest_xaisanity.evidence.metrics.pixel_flipping import Flipped, PixelFlipping
from pytest_xaisanity.evidence.metrics.region_perturbation import RegionPerturbation, Summaries
from pytest_xaisanity.evidence.metrics.road import Road
from pytest_xaisanity.maps.imputation import Blur, Constant, Noise
from pytest_xaisanity.maps.uniform import Uniform

torch.set_num_threads(1)
COUNT, SHAPE = 5, (2, 7, 5)
TARGETS = torch.tensor([0, 1, 2, 0, 1])
MORF, LERF = "most relevant first", "least relevant first"
ADDITIVE = {"imputer": Constant(0.0), "output": "logit"}


def slow_outputs(model, image, relevance, labels, fill, counts, *, least_first=False, target=None, accuracy=False):
    """Return the explained output once so many regions are replaced, by loops over places in float64.

    ``image`` and ``fill`` are ``(C, H, W)``; ``relevance`` and ``labels`` are ``(H, W)``.
    """
    image, fill, relevance = (one.double().numpy() for one in (image, fill, relevance))
    regions = {}
    for place in np.ndindex(relevance.shape):
        regions.setdefault(int(labels[place]), []).append(place)
    ranked = sorted(regions.values(), key=lambda region: -np.mean([relevance[place] for place in region]))
    ranked = ranked[::-1] if least_first else ranked
    found = []
    for count in counts:
        changed = image.copy()
        for row, column in itertools.chain(*ranked[:count]):
            changed[:, row, column] = fill[:, row, column]
        logits = model.double()(torch.from_numpy(changed)[None]).detach().numpy()[0]
        share = np.exp(logits)[target] / np.exp(logits).sum()
        found.append(float(logits.argmax() == target) if accuracy else share)
    return np.array(found)


def grid(side):
    """Return the labels of squares ``(7, 5)``."""
    rows, columns = np.indices(SHAPE[1:]) // side
    return rows * 100 + columns


def both_orders(i, labels, fill, counts, **settings):
    x, maps = normal(COUNT, *SHAPE), normal(COUNT, *SHAPE[1:], seed=1)
    return [
        slow_outputs(
            network(*SHAPE), x[i], maps[i], labels, fill, counts, least_first=least, target=int(TARGETS[i]), **settings
        )
        for least in (False, True)
    ]


def found(metric, **settings):
    x, maps = normal(COUNT, *SHAPE), normal(COUNT, *SHAPE[1:], seed=1)
    return flip(metric, network(*SHAPE), x, maps, targets=TARGETS, **settings)


def fill_of(imputer, i):
    return imputer(normal(COUNT, *SHAPE)[i : i + 1], seed=0, indices=[i])[0]


class TestRegionPerturbation:
    @pytest.mark.parametrize(("steps", "side"), [(100, 2), (4, 2), (3, 3), (100, 1)])
    @pytest.mark.parametrize("imputer", [Uniform(), Noise()], ids=repr)
    def test_follows_the_definition(self, steps, side, imputer):
        regions = -(-7 // side) * -(-5 // side)
        last = min(steps, regions)
        settings = {"steps": steps, "patch": side, "imputer": imputer}
        kinds = [
            ("aopc", "morf"),
            ("aopc", "lerf"),
            ("abpc", "morf"),
            ("srg", "morf"),
            ("area", "morf"),
            ("area", "lerf"),
        ]
        scores = [found(RegionPerturbation(summary=kind, order=order, **settings))[0] for kind, order in kinds]
        for i in range(COUNT):
            morf, lerf = both_orders(i, grid(side), fill_of(imputer, i), range(last + 1))
            aopc = [(curve[0] - curve).sum() / (last + 1) for curve in (morf, lerf)]
            area = [((curve[1:] + curve[:-1]) / 2).sum() / last for curve in (morf, lerf)]
            expected = [*aopc, aopc[0] - aopc[1], area[1] - area[0], *area]
            assert [float(score[i]) for score in scores] == pytest.approx(expected, abs=1e-5)

    def test_follows_the_definition_for_superpixels_of_each_input(self):
        """Of which each input has its own number, more or fewer than there are steps."""
        labels = torch.stack([torch.arange(35).reshape(7, 5) * (2 + 3 * i) // 35 for i in range(COUNT)])
        metric = RegionPerturbation(groups=labels, steps=8, summary="abpc", imputer=Noise())
        scores, curves, _ = found(metric)
        points = 8  # the most that an input removes
        assert curves[MORF].shape == (COUNT, points + 1)
        for i in range(COUNT):
            last = min(8, 2 + 3 * i)
            counts = [int(torch.tensor(k * last / points, dtype=torch.float64).round()) for k in range(points + 1)]
            morf, lerf = both_orders(i, labels[i], fill_of(Noise(), i), counts)
            assert float(scores[i]) == pytest.approx((lerf - morf).mean(), abs=1e-5)

    @pytest.mark.parametrize(("size", "side"), [(8, 2), (28, 7), (3, 1), (36, 9), (224, 9)])
    def test_takes_squares_of_nine_pixels_or_of_a_quarter_of_the_side(self, size, side):
        x = torch.zeros(1, 1, size, size)
        metric = RegionPerturbation(steps=1, imputer="constant")
        prepared = flip(metric, lambda x: x.flatten(1).sum(1), x, x[:, 0])
        assert prepared[2].tolist() == pytest.approx([0, 1 / (-(-size // side)) ** 2])

    def test_takes_the_features_of_a_table_one_by_one(self):
        prepared = flip(RegionPerturbation(imputer="constant"), lambda x: x.sum(1), normal(4, 9), normal(4, 9))
        assert prepared[2].tolist() == pytest.approx([step / 9 for step in range(10)])

    def test_tells_all_summaries_beside_the_one_that_decides(self):
        x = normal(32, 1, 8, 8)
        explainer = Bench(network(1, 8, 8), x).explainer(InputXGradient)
        verdicts = [explainer.bounded("region_perturbation", at_least=-0.9, summary=one) for one in ("abpc", "srg")]
        for verdict, name in zip(verdicts, ("abpc", "srg"), strict=True):
            assert verdict.estimate == pytest.approx(verdict.evidence[name], abs=1e-6)
            curves = verdict.evidence.get_part(Summaries)
            assert curves.aopc[MORF] - curves.aopc[LERF] == pytest.approx(verdict.evidence["abpc"])
            assert any("ABPC" in text for _, text in verdict.evidence.rows())
        alone = explainer.bounded("region_perturbation", at_least=-0.9)
        assert alone.evidence["aopc"] == {MORF: pytest.approx(alone.estimate, abs=1e-6)}
        assert "abpc" not in alone.evidence

    def test_says_which_way_is_better_and_what_bounds_it(self):
        told = {
            (kind, order): (metric.low, metric.high, metric.higher_is_better)
            for kind, order in [("aopc", "morf"), ("aopc", "lerf"), ("area", "morf"), ("area", "lerf"), ("srg", "morf")]
            for metric in [RegionPerturbation(summary=kind, order=order)]
        }
        assert told == {
            ("aopc", "morf"): (-1, 1, True),
            ("aopc", "lerf"): (-1, 1, False),
            ("area", "morf"): (0, 1, False),
            ("area", "lerf"): (0, 1, True),
            ("srg", "morf"): (-1, 1, True),
        }
        assert RegionPerturbation(output="logit").high == float("inf")


class TestAdditiveModel:
    """The sum of the pixels: each region adds the sum of its own, and a removal takes it away."""

    x = normal(6, 1, 4, 6).double()
    shares = x.reshape(6, 2, 2, 3, 2).sum((2, 4)).flatten(1)

    def area(self, order, maps, x=None):
        metric = RegionPerturbation(patch=2, summary="area", order=order, **ADDITIVE)
        return flip(metric, Sums(), self.x if x is None else x, maps)[0]

    def test_areas_of_reversed_orders_add_up_to_the_output(self):
        maps = normal(6, 4, 6, seed=1).double()
        total = self.area("morf", maps) + self.area("lerf", maps)
        assert torch.allclose(total, self.x.sum((1, 2, 3)), atol=1e-12)

    def test_area_of_a_random_order_is_half_the_output_on_average(self):
        areas = self.area("morf", normal(1000, 4, 6, seed=2), self.x[:1].expand(1000, 1, 4, 6))
        error = float(areas.std()) / 1000**0.5
        assert float(areas.mean()) == pytest.approx(float(self.x[0].sum()) / 2, abs=4 * error)

    def test_contributions_give_the_extreme_areas_among_all_orders(self):
        x = self.x[:1]
        places = torch.arange(6).reshape(2, 3).repeat_interleave(2, 0).repeat_interleave(2, 1)
        every = torch.tensor(list(itertools.permutations(range(6)))).double()[:, places]
        for order, extreme in (("morf", torch.min), ("lerf", torch.max)):
            best = self.area(order, x[:, 0], x)
            areas = self.area(order, every, x.expand(720, 1, 4, 6))
            assert float(best) == pytest.approx(float(extreme(areas)), abs=1e-12)

    def test_mean_fall_is_that_of_the_largest_regions(self):
        metric = RegionPerturbation(patch=2, steps=4, **ADDITIVE)
        falls = self.shares.sort(1, descending=True).values.cumsum(1)[:, :4]
        assert torch.allclose(flip(metric, Sums(), self.x, self.x[:, 0])[0], falls.sum(1) / 5, atol=1e-12)

    def test_insertion_rises_by_what_deletion_falls(self):
        """From a canvas of zeros the two curves mirror one another."""
        deletion, insertion = (
            flip(kind(patch=2, **ADDITIVE), Sums(), self.x, self.x[:, 0]) for kind in (Deletion, Insertion)
        )
        whole = self.x.sum((1, 2, 3))
        assert torch.allclose(deletion[1][MORF] + insertion[1][MORF], whole[:, None].expand(6, 7), atol=1e-12)
        assert torch.allclose(deletion[0] + insertion[0], whole, atol=1e-12)


class TestDeletionAndInsertion:
    @pytest.mark.parametrize("imputer", [Constant(0.5), Blur(1.0), Noise()], ids=repr)
    @pytest.mark.parametrize(("steps", "patch"), [(8, 1), (3, 2)])
    def test_follow_the_definition(self, imputer, steps, patch):
        regions = len(np.unique(grid(patch)))
        steps = min(steps, regions)
        deleted, inserted = (found(kind(steps=steps, patch=patch, imputer=imputer)) for kind in (Deletion, Insertion))
        counts = [round(k * regions / steps) for k in range(steps + 1)]
        widths = np.diff(counts) / regions
        for i in range(COUNT):
            fill = fill_of(imputer, i)
            expected = both_orders(i, grid(patch), fill, counts)[0]
            assert deleted[1][MORF][i].numpy() == pytest.approx(expected, abs=1e-5)
            assert float(deleted[0][i]) == pytest.approx(((expected[1:] + expected[:-1]) / 2 * widths).sum(), abs=1e-5)
            # The other way round: the canvas becomes the image, where the most relevant pixels come first.
            x, maps = normal(COUNT, *SHAPE)[i], normal(COUNT, *SHAPE[1:], seed=1)[i]
            counts_in = [regions - count for count in reversed(counts)]
            risen = slow_outputs(network(*SHAPE), fill, maps, grid(patch), x, counts_in, target=int(TARGETS[i]))
            widths_in = np.diff(counts_in) / regions
            assert inserted[1][MORF][i].numpy() == pytest.approx(risen, abs=1e-5)
            assert float(inserted[0][i]) == pytest.approx(((risen[1:] + risen[:-1]) / 2 * widths_in).sum(), abs=1e-5)

    def test_start_from_black_and_from_a_blurred_image(self):
        assert (Deletion().imputer, Insertion().imputer) == (Constant(), Blur())
        assert (Deletion().higher_is_better, Insertion().higher_is_better) == (False, True)
        assert (Insertion().low, Insertion().high) == (0, 1)

    def test_name_the_axis(self):
        explainer = Bench(network(1, 8, 8), normal(32, 1, 8, 8)).explainer(InputXGradient)
        verdict = explainer.bounded("insertion", at_least=0.01, steps=4)
        told = verdict.evidence.get_part(Flipped)
        assert (told.axis, told.fractions) == ("inserted fraction", pytest.approx((0, 0.25, 0.5, 0.75, 1)))

    def test_have_no_order_to_choose(self):
        with pytest.raises(XaiError, match="order"):
            Bench(network(1, 8, 8), normal(32, 1, 8, 8)).explainer(InputXGradient).beats(
                "random", on="deletion", order="lerf"
            )


class TestRoad:
    @pytest.mark.parametrize("fractions", [(0.1, 0.2, 0.3), (0.5,), (0.9, 0.3)])
    @pytest.mark.parametrize("output", ["probability", "accuracy"])
    def test_follows_the_definition(self, fractions, output):
        settings = {"fractions": fractions, "imputer": Noise(), "output": output}
        scores = [found(Road(order=order, **settings))[0] for order in ("morf", "lerf", "srg")]
        counts = [round(fraction * 35) for fraction in fractions]
        for i in range(COUNT):
            both = both_orders(i, grid(1), fill_of(Noise(), i), counts, accuracy=output == "accuracy")
            morf, lerf = (curve.mean() for curve in both)
            assert [float(score[i]) for score in scores] == pytest.approx([morf, lerf, lerf - morf], abs=1e-5)

    def test_interpolates_what_it_removes(self):
        """A model that reads one pixel, in the middle of a ramp: without it nothing is lost but for the noise."""
        ramp = torch.arange(49.0).reshape(1, 1, 7, 7).expand(4, 1, 7, 7) / 49
        middle = torch.zeros(4, 7, 7)
        middle[:, 3, 3] = 1.0
        one = {"fractions": (0.02,), "order": "morf", "output": "logit"}
        kept, lost = (
            flip(Road(**one, **more), lambda x: x[:, 0, 3, 3], ramp, middle)[0]
            for more in ({}, {"imputer": "constant"})
        )
        assert torch.allclose(kept, ramp[:, 0, 3, 3], atol=0.05)
        assert not torch.equal(kept, ramp[:, 0, 3, 3])
        assert torch.equal(lost, torch.zeros(4))

    @pytest.mark.parametrize("batch_size", [1, 7, 64])
    def test_gives_the_same_scores_whatever_the_micro_batch(self, batch_size):
        expected, got = (found(Road(), batch_size=size)[0] for size in (None, batch_size))
        assert torch.allclose(expected, got, atol=1e-5)

    def test_says_what_its_curves_are_of(self):
        explainer = Bench(network(1, 8, 8), normal(32, 1, 8, 8)).explainer(InputXGradient)
        verdict = explainer.bounded("road", at_most=0.9, output="accuracy", order="morf")
        assert verdict.evidence["output"] == "accuracy"
        assert verdict.evidence["fractions"] == pytest.approx([0, 6 / 64, 13 / 64, 19 / 64])
        assert verdict.passed

    def test_fractions_are_sorted_and_may_be_one_number(self):
        assert Road(fractions=(0.3, 0.1, 0.1)).fractions == (0.1, 0.3)
        assert Road(fractions=0.2) == Road(fractions=[0.2])


class TestEveryMetric:
    @pytest.mark.parametrize("metric", ["region_perturbation", "deletion", "insertion", "road"])
    def test_passes_contributions_and_fails_their_reverse_against_every_baseline(self, metric):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
        x = normal(64, 1, 8, 8) + 0.3
        bench = Bench(model, x)

        def reverse(model, inputs, targets):
            return -(inputs * model[1].weight[targets].reshape(inputs.shape))

        settings = {"on": metric, **({"imputer": "constant"} if metric != "road" else {})}
        for baseline in ("random", "edges", "other_input", reverse):
            assert bench.explainer(InputXGradient).beats(baseline, **settings).passed, baseline
            if baseline in ("random", "edges"):
                assert not bench.explainer(reverse).beats(baseline, **settings).passed, baseline

    @pytest.mark.parametrize("metric", ["deletion", "road"])
    def test_leaves_settings_open(self, metric):
        explainer = Bench(network(1, 4, 4), normal(24, 1, 4, 4)).explainer(InputXGradient)
        verdict = explainer.beats("random", on=metric, across="settings")
        assert verdict.outcome in ("passed", "failed", "inconclusive")

    @pytest.mark.parametrize("imputer", ["noisy_linear", "uniform"])
    @pytest.mark.parametrize("metric", [PixelFlipping, RegionPerturbation, Deletion, Insertion, Road])
    def test_takes_every_imputer(self, metric, imputer):
        scores, curves, _ = found(metric(imputer=imputer))
        assert torch.isfinite(scores).all()
        for curve in curves.values():
            assert (curve[:, 0] != curve[:, -1]).any()

    def test_noisy_linear_ends_with_the_mean_and_noise(self):
        """Where every pixel is removed nothing is left to interpolate from."""
        _, curves, _ = found(PixelFlipping(imputer="noisy_linear", output="logit", steps=4))
        assert torch.allclose(curves[MORF][:, -1], curves[LERF][:, -1])


class TestMistakes:
    @pytest.mark.parametrize(
        ("metric", "settings", "words"),
        [
            (RegionPerturbation, {"patch": 0}, "region_perturbation patch: found 0; expected a whole number from 1 to"),
            (RegionPerturbation, {"steps": 0}, "region_perturbation steps: found 0"),
            (RegionPerturbation, {"summary": "auc"}, "'aopc', 'abpc', 'srg' or 'area'"),
            (RegionPerturbation, {"order": "srg"}, "'morf' or 'lerf'"),
            (RegionPerturbation, {"order": "lerf", "summary": "abpc"}, "order='lerf' beside summary='abpc'"),
            (RegionPerturbation, {"groups": "sliced"}, "region_perturbation superpixels: found "),
            (RegionPerturbation, {"patch": 2, "groups": torch.arange(35).reshape(7, 5)}, "patch=2 beside groups="),
            (Deletion, {"imputer": "blurr"}, "deletion imputer: found 'blurr'"),
            (Insertion, {"output": "accuracy"}, "insertion output: found 'accuracy'"),
            (
                Road,
                {"fractions": (0.1, 0.0)},
                "road fractions: found (0.1, 0.0); expected fractions above 0 and below 1",
            ),
            (Road, {"fractions": 1.0}, "road fractions: found 1.0"),
            (Road, {"fractions": ()}, "road fractions: found ()"),
            (Road, {"fractions": "0.1"}, "road fractions: found '0.1'"),
            (Road, {"fractions": (0.1, float("nan"))}, "road fractions: found (0.1, nan)"),
            (Road, {"fractions": (True,)}, "road fractions: found (True,)"),
        ],
    )
    def test_in_settings_are_named(self, metric, settings, words):
        with pytest.raises(XaiError) as caught:
            metric(**settings)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("metric", "inputs", "words"),
        [
            (RegionPerturbation(patch=8), normal(4, 1, 7, 5), "patch=8 for inputs with places (7, 5)"),
            (
                RegionPerturbation(patch=7),
                normal(4, 1, 7, 5),
                "region_perturbation: found inputs (4, 1, 7, 5) with a single",
            ),
            (RegionPerturbation(patch=2), normal(4, 9), "region_perturbation patch: found patch=2"),
            (RegionPerturbation(), torch.ones(4, 9).long(), "region_perturbation: found tokens"),
            (Road(), torch.ones(4, 9).long(), "road: found tokens"),
            (Road(), normal(4, 9), "imputer 'noisy_linear': found inputs of shape (4, 9)"),
            (Road(imputer="mean"), normal(4, 1, 2, 2), "0.1 of 4 pixels or regions, which removes nothing"),
            (Road(fractions=(0.5, 0.95)), normal(4, 1, 2, 2), "0.95 of 4 pixels or regions, which removes everything"),
            (Road(output="accuracy"), normal(4, 1, 5, 5), "road output: found outputs of shape (4, 1) in a regression"),
            (Insertion(), normal(4, 9), "imputer 'blur'"),
            (Deletion(), torch.ones(4, 9).long(), "deletion imputer: found no mask token"),
            (
                RegionPerturbation(groups=torch.zeros(7, 5).long()),
                normal(4, 1, 5, 5),
                "region_perturbation groups: found",
            ),
        ],
    )
    def test_that_show_on_the_inputs_are_named(self, metric, inputs, words):
        maps = torch.zeros(4, *(inputs.shape[2:] if inputs.ndim > 2 else inputs.shape[1:]))
        with pytest.raises(XaiError) as caught:
            flip(metric, lambda x: x.float().flatten(1).sum(1), inputs, maps)
        assert words in str(caught.value)
