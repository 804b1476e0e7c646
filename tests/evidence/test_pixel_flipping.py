"""Pixel flipping against a slow definition in float64, closed forms and exhaustive search."""

import itertools

import numpy as np
import pytest
import torch
from laboratory import lab_of
from torch import nn

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
from pytest_xaisanity.evidence.scoring import Scoring
from pytest_xaisanity.maps.imputation import Blur, Constant, Mean, Noise
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(*shape, classes=3, probabilities=False):
    torch.manual_seed(0)
    features = int(np.prod(shape))
    layers = [nn.Flatten(), nn.Linear(features, 12), nn.Tanh(), nn.Linear(12, classes)]
    return nn.Sequential(*layers, *([nn.Softmax(1)] if probabilities else [])).eval()


class Sums(nn.Module):
    """The additive model: the sum of its inputs, whose pixels contribute their own values."""

    def forward(self, *inputs):
        return sum(tensor.flatten(1).sum(1) for tensor in inputs)


def flip(metric, model, inputs, maps, *, targets=None, seed=0, batch_size=None):
    """Return scores, curves and fractions, in the order in which inputs and maps were given."""
    subject = Subject(model.eval() if isinstance(model, nn.Module) else model, inputs, targets, batch_size=batch_size)
    values, curves, indices = [], [], []
    with subject.lent():
        for block in subject.blocks():
            prepared = metric.prepare(lab_of(subject, seed=seed), block)
            scores = metric.score(prepared, maps[list(block.indices)])
            values.append(scores.values)
            curves.append(scores.curves)
            indices += block.indices
    order = torch.tensor(indices).argsort()
    named = {name: torch.cat([c[name] for c in curves])[order] for name in curves[0]}
    return torch.cat(values)[order], named, prepared.fractions


def slow_curve(model, image, relevance, target, *, steps, patch=1, least_first=False, output="probability", fill=None):
    """Return one input's curve from the definition: loops over steps and pixels, in float64.

    ``image`` is ``(C, *places)``, or ``(F,)``; ``relevance`` is ``(*places)``. Removed pixels become the mean.
    """
    model, image, relevance = model.double(), image.double().numpy(), relevance.double().numpy()
    channels = image if image.ndim > 1 else image[None]
    regions = {}
    for place in np.ndindex(relevance.shape):
        regions.setdefault(tuple(i // patch for i in place), []).append(place)
    ranked = sorted(regions.values(), key=lambda places: -np.mean([relevance[place] for place in places]))
    ranked = ranked[::-1] if least_first else ranked
    steps = min(steps, len(ranked))
    fractions, curve = [], []
    for step in range(steps + 1):
        count = round(step * len(ranked) / steps)
        changed = channels.copy()
        for channel, original, filled in zip(changed, channels, fill if fill is not None else channels, strict=True):
            for place in itertools.chain(*ranked[:count]):
                channel[place] = original.mean() if fill is None else filled[place]
        outputs = model(torch.from_numpy(changed.reshape(1, *image.shape))).detach().numpy()[0]
        if output == "probability" and not isinstance(model[-1], nn.Softmax):
            outputs = np.exp(outputs) / np.exp(outputs).sum()
        fractions.append(count / len(ranked))
        curve.append(outputs[target])
    return np.array(curve), np.array(fractions)


def slow_area(curve, fractions):
    return sum((b - a) * (v + w) / 2 for a, b, v, w in zip(fractions, fractions[1:], curve, curve[1:], strict=False))


class TestDefinition:
    @pytest.mark.parametrize(
        ("shape", "steps", "patch"),
        [
            ((2, 6, 5), 30, 1),
            ((2, 6, 5), 7, 1),
            ((3, 4, 4), 100, 1),
            ((1, 4, 4), 1, 1),
            ((2, 7, 5), 4, 3),
            ((2, 7, 5), 100, 2),
            ((2, 8, 8), 4, 4),
            ((11,), 5, 1),
            ((3, 7), 5, 1),
            ((2, 2, 3, 3), 5, 1),
        ],
    )
    @pytest.mark.parametrize("output", ["probability", "logit"])
    def test_is_followed_for_any_rank_step_and_patch(self, shape, steps, patch, output):
        x, model = normal(5, *shape), network(*shape)
        maps = normal(5, *(shape[1:] or shape), seed=1)
        targets = torch.tensor([0, 1, 2, 0, 1])
        metric = PixelFlipping(steps=steps, patch=patch, output=output)
        values, curves, fractions = flip(metric, model, x, maps, targets=targets)
        for i in range(5):
            slow, areas = {}, {}
            for name, least in (("most relevant first", False), ("least relevant first", True)):
                slow[name], axis = slow_curve(
                    network(*shape),
                    x[i],
                    maps[i],
                    int(targets[i]),
                    steps=steps,
                    patch=patch,
                    least_first=least,
                    output=output,
                )
                areas[name] = slow_area(slow[name], axis)
                assert np.allclose(fractions, axis)
                assert np.allclose(curves[name][i], slow[name], atol=1e-5)
            assert float(values[i]) == pytest.approx(
                areas["least relevant first"] - areas["most relevant first"], abs=1e-5
            )

    @pytest.mark.parametrize("imputer", [Constant(0.5), Blur(), Noise()], ids=repr)
    def test_is_followed_for_any_imputer(self, imputer):
        x, maps, model = normal(5, 2, 6, 5), normal(5, 6, 5, seed=1), network(2, 6, 5)
        curve = flip(
            PixelFlipping(steps=6, imputer=imputer, order="morf"), model, x, maps, targets=torch.zeros(5).long()
        )[1]
        for i in range(5):
            fill = imputer(x[i : i + 1], seed=0, indices=[i])[0].double().numpy()
            slow, _ = slow_curve(network(2, 6, 5), x[i], maps[i], 0, steps=6, fill=fill)
            assert np.allclose(curve["most relevant first"][i], slow, atol=1e-5)

    def test_takes_outputs_that_are_probabilities_as_they_are(self):
        x, maps = normal(5, 2, 6, 5), normal(5, 6, 5, seed=1)
        metric = PixelFlipping(steps=5)
        one, other = (flip(metric, network(2, 6, 5, probabilities=p), x, maps)[0] for p in (False, True))
        assert torch.allclose(one, other, atol=1e-6)

    def test_takes_the_predicted_class_when_no_targets_are_given(self):
        x, maps, model = normal(5, 2, 6, 5), normal(5, 6, 5, seed=1), network(2, 6, 5)
        given, default = (flip(PixelFlipping(), model, x, maps, targets=t)[0] for t in (model(x).argmax(1), None))
        assert torch.equal(given, default)

    @pytest.mark.parametrize("order", ["morf", "lerf"])
    def test_gives_each_order_alone_what_the_gain_is_made_of(self, order):
        x, maps, model = normal(5, 2, 6, 5), normal(5, 6, 5, seed=1), network(2, 6, 5)
        alone = flip(PixelFlipping(order=order), model, x, maps)
        both = flip(PixelFlipping(), model, x, maps)
        (name,) = alone[1]
        assert torch.equal(alone[1][name], both[1][name])
        assert torch.allclose(alone[0], torch.trapezoid(both[1][name], both[2], dim=1))


class TestAdditiveModel:
    x = normal(6, 9).double()
    zero = PixelFlipping(steps=9, imputer=Constant(0.0), output="logit", order="morf")

    def test_curve_falls_by_the_contributions_one_after_the_other(self):
        for shape in ((9,), (1, 9), (1, 3, 3), (1, 1, 3, 3)):
            _, curves, _ = flip(self.zero, Sums(), self.x.reshape(6, *shape), self.x.reshape(6, *(shape[1:] or shape)))
            falls = self.x.sort(1, descending=True).values.cumsum(1)
            expected = self.x.sum(1, keepdim=True) - torch.cat([torch.zeros(6, 1), falls], 1)
            assert torch.allclose(curves["most relevant first"], expected)

    @pytest.mark.parametrize("steps", [1, 3, 9, 50])
    def test_areas_of_reversed_orders_add_up_to_the_output(self, steps):
        settings = {"steps": steps, "imputer": Constant(0.0), "output": "logit"}
        maps = normal(6, 9, seed=1)
        areas = [flip(PixelFlipping(order=order, **settings), Sums(), self.x, maps)[0] for order in ("morf", "lerf")]
        assert torch.allclose(areas[0] + areas[1], self.x.sum(1))

    def test_area_of_a_random_order_is_half_the_output_on_average(self):
        x = self.x[:1].expand(4000, 9)
        area = flip(self.zero, Sums(), x, normal(4000, 9, seed=2))[0]
        error = float(area.std()) / 4000**0.5
        assert float(area.mean()) == pytest.approx(float(x[0].sum()) / 2, abs=4 * error)

    def test_contributions_give_the_extreme_areas_among_all_orders(self):
        x = normal(1, 6, seed=3).double()
        orders = torch.tensor(list(itertools.permutations(range(6)))).double()
        settings = {"steps": 6, "imputer": Constant(0.0), "output": "logit"}
        for order, extreme in (("morf", torch.min), ("lerf", torch.max)):
            metric = PixelFlipping(order=order, **settings)
            best = flip(metric, Sums(), x, x)[0][0]
            every = flip(metric, Sums(), x.expand(720, 6), orders)[0]
            assert float(best) == pytest.approx(float(extreme(every)), abs=1e-12)

    def test_several_inputs_are_ranked_together(self):
        image, row = normal(6, 2, 3, 3).double(), normal(6, 4, seed=1).double()
        contributions = torch.cat([image.sum(1).flatten(1), row], 1)
        for inputs in ((image, row), [(image, row)]):
            curve = flip(PixelFlipping(steps=13, imputer="constant", output="logit"), Sums(), inputs, contributions)[1]
            falls = contributions.sort(1, descending=True).values.cumsum(1)
            expected = contributions.sum(1, keepdim=True) - torch.cat([torch.zeros(6, 1), falls], 1)
            assert torch.allclose(curve["most relevant first"], expected)

    def test_patches_of_several_images_are_ranked_together(self):
        images = normal(6, 1, 4, 4).double(), normal(6, 1, 3, 5, seed=1).double()
        maps = torch.cat([image.flatten(1) for image in images], 1)
        curve = flip(PixelFlipping(steps=32, patch=2, imputer="constant", output="logit"), Sums(), images, maps)[1]
        regions = [
            torch.stack(
                [
                    i[:, 0, a : a + 2, b : b + 2].sum((1, 2))
                    for a in range(0, i.shape[2], 2)
                    for b in range(0, i.shape[3], 2)
                ],
                1,
            )
            for i in images
        ]
        sizes = torch.tensor([4.0] * 4 + [4, 4, 2, 2, 2, 1])
        sums = torch.cat(regions, 1)
        order = (sums / sizes).argsort(1, descending=True)
        expected = sums.sum(1, keepdim=True) - torch.cat([torch.zeros(6, 1), sums.gather(1, order).cumsum(1)], 1)
        assert torch.allclose(curve["most relevant first"], expected)


class TestTies:
    constant = torch.zeros(20, 9)

    def curves(self, **settings):
        x = normal(1, 9).expand(20, 9)
        return flip(TestAdditiveModel.zero, Sums(), x, self.constant, **settings)[1]["most relevant first"]

    def test_are_broken_at_random_by_seed_and_input(self):
        curves = self.curves()
        assert torch.equal(curves, self.curves())
        assert not torch.equal(curves, self.curves(seed=1))
        assert len(torch.unique(curves, dim=0)) > 15

    def test_never_go_by_memory_order(self):
        """A half-constant map: the tied pixels leave in any order, each as likely as the others."""
        x = torch.zeros(4000, 4)
        x[:, 3] = 1.0
        metric = PixelFlipping(steps=4, imputer=Constant(0.0), output="logit", order="morf")
        curve = flip(metric, Sums(), x, torch.tensor([1.0, 0, 0, 0]).expand(4000, 4))[1]["most relevant first"]
        left = [(curve[:, step] - curve[:, step + 1]).sum().item() / 4000 for step in range(4)]
        assert left == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=0.03)

    def test_are_reversed_with_the_order(self):
        """So that the gain of a constant map is symmetric: areas of both orders add up."""
        x = normal(1, 9).expand(20, 9)
        settings = {"steps": 9, "imputer": Constant(0.0), "output": "logit"}
        areas = [flip(PixelFlipping(order=o, **settings), Sums(), x, self.constant)[0] for o in ("morf", "lerf")]
        assert torch.allclose(areas[0] + areas[1], x.sum(1), atol=1e-5)


class TestRunning:
    x, maps = normal(20, 2, 6, 5), normal(20, 6, 5, seed=1)

    @pytest.mark.parametrize("batch_size", [1, 3, 16, 20, 64, 1000])
    def test_gives_the_same_scores_whatever_the_micro_batch(self, batch_size):
        model = network(2, 6, 5)
        expected, got = (
            flip(PixelFlipping(), model, self.x, self.maps, batch_size=size) for size in (None, batch_size)
        )
        assert torch.allclose(expected[0], got[0], atol=1e-5)

    @pytest.mark.parametrize(
        "error",
        [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")],
    )
    def test_gives_the_same_scores_when_memory_runs_out(self, error):
        model = network(2, 6, 5)

        def small(x):
            if len(x) > 5:
                raise error
            return model(x)

        expected, got = (flip(PixelFlipping(), m, self.x, self.maps) for m in (model, small))
        assert torch.allclose(expected[0], got[0], atol=1e-5)

    @pytest.mark.parametrize("imputer", [Mean(), Constant(), Blur(), Noise()], ids=repr)
    def test_leaves_the_inputs_alone_under_a_model_that_works_in_place(self, imputer):
        model = nn.Sequential(nn.ReLU(inplace=True), network(2, 6, 5)).eval()
        x = self.x.clone()
        other = nn.Sequential(nn.ReLU(), network(2, 6, 5)).eval()
        scores = [flip(PixelFlipping(imputer=imputer), m, x, self.maps)[0] for m in (model, other)]
        assert torch.equal(*scores)
        assert torch.equal(x, self.x)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("imputer", ["mean", "constant", "blur", "noise"])
    def test_works_in_other_precisions(self, dtype, imputer):
        metric = PixelFlipping(imputer=imputer, patch=2)
        reference = flip(metric, network(2, 6, 5), self.x, self.maps, targets=torch.zeros(20).long())[0]
        got = flip(metric, network(2, 6, 5).to(dtype), self.x, self.maps, targets=torch.zeros(20).long())[0]
        assert torch.allclose(got.float(), reference, atol=0.05)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_works_whatever_the_mode_of_the_caller(self, mode):
        model = network(2, 6, 5)
        expected = flip(PixelFlipping(), model, self.x, self.maps)[0]
        with mode():
            assert torch.equal(flip(PixelFlipping(), model, self.x * 1, self.maps)[0], expected)

    def test_gives_the_same_scores_when_float64_is_the_default(self):
        model = network(2, 6, 5)
        expected = flip(PixelFlipping(imputer="noise"), model, self.x, self.maps)[0]
        torch.set_default_dtype(torch.float64)
        try:
            assert torch.equal(flip(PixelFlipping(imputer="noise"), model, self.x, self.maps)[0], expected)
        finally:
            torch.set_default_dtype(torch.float32)

    def test_bounds_what_it_says_it_bounds(self):
        for order in ("srg", "morf", "lerf"):
            metric = PixelFlipping(order=order)
            values = flip(metric, network(2, 6, 5), 10 * self.x, self.maps)[0]
            assert metric.low <= values.min() <= values.max() <= metric.high
        assert PixelFlipping(output="logit").high == float("inf")
        assert [PixelFlipping(order=order).higher_is_better for order in ("srg", "morf", "lerf")] == [True, False, True]

    def test_equal_settings_are_equal(self):
        assert PixelFlipping(imputer="blur") == PixelFlipping(imputer=Blur()) == PixelFlipping(imputer=Blur)
        assert PixelFlipping(imputer="blur").key == PixelFlipping(imputer=Blur()).key
        assert Scoring(PixelFlipping()).key != Scoring(PixelFlipping(steps=5)).key


class TestMistakes:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"steps": 0}, "pixel_flipping steps: found 0; expected a whole number from 1 to"),
            ({"steps": 2.5}, "pixel_flipping steps: found 2.5"),
            ({"steps": True}, "pixel_flipping steps: found True"),
            ({"patch": -1}, "pixel_flipping patch: found -1"),
            ({"order": "best"}, "pixel_flipping order: found 'best'; expected 'srg', 'morf' or 'lerf'"),
            ({"output": "loss"}, "pixel_flipping output: found 'loss'; expected 'probability' or 'logit'"),
            ({"imputer": "blurr"}, "use 'blur', the nearest known name"),
            ({"imputer": 3}, "pixel_flipping imputer: found a int, which cannot be called"),
        ],
    )
    def test_in_settings_are_named(self, settings, words):
        with pytest.raises(XaiError) as caught:
            PixelFlipping(**settings)
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("settings", "inputs", "words"),
        [
            ({"patch": 2}, normal(4, 9), "patch=2 for inputs with places (9,)"),
            ({"patch": 9}, normal(4, 1, 8, 8), "inputs (4, 1, 8, 8) with a single region"),
            ({}, normal(4, 1), "inputs (4, 1) with a single region"),
            ({"imputer": "blur"}, normal(4, 9), "imputer 'blur': found inputs of shape (4, 9)"),
            ({}, torch.ones(4, 9).long(), "no mask token, no embedding and no padding"),
            (
                {"imputer": lambda x, *, seed, indices: x[:1]},
                normal(4, 9),
                "a tensor (1, 9) of torch",
            ),
            ({"imputer": lambda x, *, seed, indices: 0.0}, normal(4, 9), "a float as a reference"),
            ({"imputer": lambda x, *, seed, indices: x * torch.nan}, normal(4, 9), "NaN or infinite once pixels"),
        ],
    )
    def test_that_show_on_the_inputs_are_named(self, settings, inputs, words):
        maps = torch.zeros(4, *(inputs.shape[2:] if inputs.ndim > 2 else inputs.shape[1:]))
        with pytest.raises(XaiError) as caught:
            flip(PixelFlipping(**settings), lambda x: x.float().flatten(1).sum(1), inputs, maps)
        assert words in str(caught.value)
