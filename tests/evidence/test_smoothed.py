"""Randomization with smoothed maps, and how alike maps and edges are, beside randomization claims."""

from __future__ import annotations

import math

import pytest
import torch
from captum.attr import Saliency
from laboratory import evidence_of, lab_of, tensors_of
from scipy import stats
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common.seeding import generator, global_state, same_state
from pytest_xaisanity.evidence import smoothed as smoothing
from pytest_xaisanity.evidence.comparison import Comparison
from pytest_xaisanity.evidence.interventions.weight_randomization import (
    BottomUpRandomization,
    CascadingRandomization,
    IndependentRandomization,
)
from pytest_xaisanity.evidence.smoothed import Smoothed, smoothed
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions, MapCache
from pytest_xaisanity.maps.edges import edge_maps
from pytest_xaisanity.maps.similarity import spearman
from pytest_xaisanity.model.layers import find_layers
from pytest_xaisanity.model.reinit.randomizer import Randomizer
from pytest_xaisanity.subject.subject import Subject

ORDERS = [CascadingRandomization, IndependentRandomization, BottomUpRandomization]


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


IMAGES = noise(10, 2, 8, 8, seed=1)


def network(dtype=torch.float32):
    """Return a small convolutional network with the same weights whenever it is made."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8), nn.Tanh(), nn.Linear(8, 3)]
        return nn.Sequential(*layers).to(dtype).eval()


def gradients(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    outputs = model(inputs)
    return torch.autograd.grad(outputs.gather(1, targets[:, None]).sum(), inputs)[0]


def edges(model, inputs, targets):
    return edge_maps(inputs)


def maps_of(explain, inputs=IMAGES, *, copies=4, noise=0.1, model=None, batch_size=None, seed=0, pick=None, **call):
    """Return the smoothed maps of one block, or of the inputs ``pick`` of it."""
    model = network() if model is None else model
    every = tuple(range(len(inputs))) if isinstance(inputs, tuple) else None
    subject = Subject(model, inputs, explain=every, device="cpu", batch_size=batch_size, seed=seed)
    with subject.lent():
        block = next(subject.blocks(early=False))
        block = block if pick is None else block.part(pick, pick + 1)
        return Smoothed(Attributions(subject, as_explainer(explain, model), seed), copies, noise)(block, **call), block


def measured(explain, intervention, inputs=IMAGES, *, similarities=("spearman",), model=None, seed=0):
    model = network() if model is None else model
    subject = Subject(model, inputs, device="cpu", seed=seed)
    with subject.lent():
        block = next(subject.blocks(early=False))
        comparing = Comparison(intervention, similarities).start(lab_of(subject, explain, seed), block)
        return tensors_of(comparing.measure(block)), evidence_of(comparing)


def order_of(inputs):
    """Return where each input is in the block that holds them all."""
    return torch.tensor(next(Subject(network(), inputs, device="cpu").blocks(early=False)).indices).argsort()


def states(explain, intervention):
    """Return smoothed maps of all images, in their order, before and after each randomization, made by hand."""
    model = network()
    targets = model(IMAGES).argmax(1)
    samples = intervention.samples

    def explained():
        if samples == 1:
            return explain(model, IMAGES, targets).sum(1)
        copies = torch.stack([copy_of(x, index, i) for index, x in enumerate(IMAGES) for i in range(samples)])
        return explain(model, copies, targets.repeat_interleave(samples)).sum(1).reshape(10, samples, 8, 8).mean(1)

    before, after = explained(), []
    found = find_layers(model, lambda: model(IMAGES[:1]))
    layers = found.top_down() if intervention.from_output else found.bottom_up()
    with Randomizer(model, layers) as randomizer:
        for seed in range(intervention.seeds):
            randomizer.restore()
            for layer in layers:
                if not intervention.cumulative:
                    randomizer.restore()
                randomizer.randomize(layer, seed=seed)
                after.append(explained())
    return before, after


def copy_of(x, index, i, *, share=0.1, seed=0, tensor=0):
    """Return noisy copy i of one input, as the definition has it."""
    drawn = torch.randn(
        x.shape, generator=generator(seed, "noise", f"smoothing {i} of tensor {tensor}", index), dtype=torch.float32
    )
    return x + share * (x.max() - x.min()) * drawn.to(x.dtype)


class TestDefinition:
    def test_a_map_is_the_mean_over_noisy_copies(self):
        model, images = network(torch.float64), IMAGES.double()
        maps, block = maps_of(gradients, images, model=model, copies=5, noise=0.3)
        for place, index in enumerate(block.indices):
            copies = torch.stack([copy_of(images[index], index, i, share=0.3) for i in range(5)])
            expected = gradients(model, copies, block.targets[place].expand(5)).sum(1).mean(0)
            assert (maps[place] - expected).abs().max() < 1e-12

    def test_noise_has_the_deviation_asked_for_in_each_input(self):
        """The mean of an explanation that is the input itself is the input plus the mean of the noise."""
        images = noise(6, 1, 64, 64, seed=2) * torch.tensor([1e-3, 0.1, 1, 5, 100, 0]).reshape(6, 1, 1, 1)
        linear = nn.Sequential(nn.Flatten(), nn.Linear(4096, 2)).eval()
        maps, block = maps_of(lambda model, x, t: x.clone() * 1.0, images, model=linear, copies=8, noise=0.2)
        x = block.inputs[0][:, 0]
        ranges = x.amax((1, 2)) - x.amin((1, 2))
        ratio = (maps - x).flatten(1).std(1) * 8**0.5 / (0.2 * ranges)
        assert ratio[ranges > 0].tolist() == pytest.approx([1.0] * 5, abs=0.05)  # a standard error is 0.011
        assert torch.equal(maps[ranges == 0], x[ranges == 0])

    def test_gradients_of_a_linear_model_stay_its_weights(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            linear = nn.Linear(12, 3).eval()
        maps, block = maps_of(gradients, noise(7, 12), model=linear, copies=6)
        assert (maps - linear.weight[block.targets]).abs().max() < 1e-6

    def test_one_sample_needs_no_copies(self):
        subject = Subject(network(), IMAGES, device="cpu")
        explained = Attributions(subject, as_explainer(gradients, subject.model), 0)
        block = next(subject.blocks())
        assert smoothed(explained, block, 1, 0.1, where="here") is None

    @pytest.mark.parametrize("order", ORDERS)
    def test_the_comparison_is_of_smoothed_maps_before_and_after(self, order):
        scores, _ = measured(gradients, order(seeds=2, samples=3))
        before, maps = states(gradients, order(seeds=2, samples=3))
        expected = torch.stack([spearman(before, after) for after in maps], dim=1).reshape(10, 2, 3)
        assert (scores["after spearman"][order_of(IMAGES)] - expected).abs().max() < 1e-5
        assert (scores["self spearman"] == 1).all()

    @pytest.mark.parametrize("order", ORDERS)
    def test_what_ignores_the_model_is_exactly_alike_at_every_depth(self, order):
        """Copies are the same for every model; with others, an edge map would seem to change."""
        scores, _ = measured(edges, order(seeds=2, samples=3), similarities=())
        assert all((scores[f"after {name}"] == 1).all() for name in ("spearman", "abs_spearman", "ssim"))

    def test_smoothing_makes_explanations_of_a_kink_more_alike(self):
        """The gradient of a steep ReLU network jumps; averaged over copies, near inputs have similar ones."""
        model = network()
        with torch.no_grad():
            model[0].weight.mul_(30)
        near = IMAGES + 0.05 * noise(*IMAGES.shape, seed=5)
        targets = torch.zeros(10, dtype=torch.long)

        def both(copies):
            maps = []
            for images in (IMAGES, near):
                subject = Subject(model, images, targets, device="cpu")
                with subject.lent():
                    block = next(subject.blocks(early=False))
                    explained = Attributions(subject, as_explainer(gradients, model), 0)
                    maps.append((smoothed(explained, block, copies, 0.1, where="here") or explained)(block))
            return spearman(*maps).mean()

        assert both(30) > both(1)


def grainy(model, inputs, targets):
    """Return the blurred image, which any model shows, under grain that other noise or another model turns over."""
    image = inputs.detach().sum(1, keepdim=True)
    grain = torch.sin(1e4 * (1 + model[5].weight.abs().sum()) * image)
    return torch.nn.functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False) + 1.2 * grain


class TestSampledCopies:
    """Where cells are sampled two copies are: the one is explained before, the other one before and after."""

    def sampled(self, explain, intervention, inputs=IMAGES, similarities=("spearman",)):
        model = network()
        subject = Subject(model, inputs, torch.zeros(len(inputs), dtype=torch.long), device="cpu")
        with subject.lent():
            block = next(subject.blocks(early=False))
            comparing = Comparison(intervention, similarities, cells="sample").start(lab_of(subject, explain), block)
            return tensors_of(comparing.measure(block)), block

    def test_the_first_copy_is_compared_with_the_second(self):
        scores, block = self.sampled(gradients, CascadingRandomization(depth=1, seeds=1, samples=9))
        model = network()
        first, second = (torch.stack([copy_of(IMAGES[i], i, number) for i in block.indices]) for number in (0, 1))
        targets = torch.zeros(10, dtype=torch.long)
        before, again = (gradients(model, copies, targets).sum(1) for copies in (first, second))
        (layer,) = find_layers(model, lambda: model(IMAGES[:1])).top_down()[:1]
        with Randomizer(model, [layer]) as randomizer:
            randomizer.randomize(layer, seed=0)
            after = gradients(model, second, targets).sum(1)
        assert (scores["self spearman"] - spearman(before, again)).abs().max() < 1e-5
        assert (scores["after spearman"].flatten() - spearman(before, after)).abs().max() < 1e-5

    def test_the_similarities_are_on_average_those_of_what_is_smoothed(self):
        """For inner products of unit maps u: E <u(copy 0), v(copy 1)> = <E u, E v>, of all noise."""
        count, image = 600, IMAGES[:1]
        inputs = image.expand(count, -1, -1, -1)
        scores, _ = self.sampled(
            gradients, CascadingRandomization(depth=1, seeds=1, samples=4, noise=0.3), inputs, ("cosine",)
        )

        def mean_unit(model):
            copies = torch.stack([copy_of(image[0], i, number, share=0.3) for i in range(500) for number in (2, 3)])
            maps = gradients(model, copies, torch.zeros(len(copies), dtype=torch.long)).sum(1).flatten(1)
            return nn.functional.normalize(maps, dim=1).mean(0)

        model = network()
        before = mean_unit(model)
        (layer,) = find_layers(model, lambda: model(image)).top_down()[:1]
        with Randomizer(model, [layer]) as randomizer:
            randomizer.randomize(layer, seed=0)
            after = mean_unit(model)
        for name, other in (("after", after), ("self", before)):
            seen = scores[f"{name} cosine"].flatten().double()
            error = seen.std() / len(seen) ** 0.5 + 0.01  # that of the mean maps by hand
            assert seen.mean().item() == pytest.approx(float(before @ other), abs=3 * float(error))

    @pytest.mark.parametrize("samples", [2, 60])
    def test_a_verdict_costs_less_than_four_explanations_an_input(self, samples):
        rows = []

        def explain(model, inputs, targets):
            rows.append(len(inputs))
            return gradients(model, inputs, targets)

        images = noise(64, 2, 8, 8, seed=7)
        explainer = Bench(network(), images, device="cpu").explainer(explain)
        explainer.changes_under("cascading_randomization", samples=samples, early=False, cells="sample")
        assert sum(rows) <= 4 * 64 + 2

    def test_grain_of_single_copies_does_not_hide_what_is_left(self):
        """Most of a single copy's map is grain, which changes; smoothed, most is the blurred image, which stays."""
        images = nn.functional.avg_pool2d(noise(96, 2, 24, 24, seed=3), 3, 1) * 3
        images = images[:, :, :8, :8]
        explainer = Bench(network(), images, device="cpu").explainer(grainy)
        plain = explainer.changes_under("cascading_randomization")
        sampled = explainer.changes_under("cascading_randomization", samples=40)
        every = explainer.changes_under("cascading_randomization", samples=40, cells="all", seeds=1)
        assert [v.failed for v in (sampled, every)] == [True, True]
        assert plain.passed
        assert "that another noisy copy leaves" in sampled.reason

    def test_a_raw_similarity_is_one_of_whole_maps(self):
        images = noise(40, 2, 8, 8, seed=7)
        explainer = Bench(network(), images, device="cpu").explainer(edges)
        settings = {"similarity": "spearman", "at_most": 0.5, "samples": 3}
        verdict = explainer.changes_under("cascading_randomization", **settings)
        assert verdict.failed
        assert verdict.estimate == 1


class TestRunning:
    @pytest.mark.parametrize("batch_size", [1, 3, 7, 25])
    def test_maps_do_not_depend_on_the_batch_size(self, batch_size):
        reference, _ = maps_of(gradients, batch_size=64)
        maps, _ = maps_of(gradients, batch_size=batch_size)
        assert (maps - reference).abs().max() < 1e-5 * reference.abs().max()

    def test_maps_do_not_depend_on_the_company(self):
        reference, _ = maps_of(gradients)
        for place in (0, 4, 9):
            alone, _ = maps_of(gradients, pick=place)
            assert (alone[0] - reference[place]).abs().max() < 1e-5 * reference.abs().max()

    @pytest.mark.parametrize("batch_size", [4, 16, 64])
    def test_no_pass_holds_more_copies_than_a_batch(self, batch_size):
        seen = []

        def explain(model, inputs, targets):
            seen.append(len(inputs))
            return gradients(model, inputs, targets)

        maps_of(explain, copies=7, batch_size=batch_size)
        assert max(seen) <= batch_size
        assert sum(seen) == 7 * 10 + 2  # the two on which it is found out whether the explainer draws

    def test_copies_share_a_pass_where_there_is_room(self):
        seen = []

        def explain(model, inputs, targets):
            seen.append(len(inputs))
            return gradients(model, inputs, targets)

        maps_of(explain, copies=7, batch_size=64)
        assert seen == [2, 60, 10]

    def test_noise_that_is_too_large_to_keep_is_the_same_when_drawn_again(self, monkeypatch):
        kept, _ = maps_of(gradients)
        monkeypatch.setattr(smoothing, "_KEPT_BYTES", 0)
        drawn, _ = maps_of(gradients)
        assert torch.equal(kept, drawn)

    def test_an_explainer_that_draws_does_so_anew_for_each_copy(self):
        def explain(model, inputs, targets):
            return torch.randn_like(inputs[:, 0])

        maps, _ = maps_of(explain, copies=16, batch_size=5)
        other, _ = maps_of(explain, copies=16, batch_size=64)
        assert torch.equal(maps, other)
        assert maps.std().item() == pytest.approx(1 / 4, rel=0.15)  # one draw for all copies would have 1
        again, _ = maps_of(explain, copies=16, run=1)
        assert not torch.equal(maps, again)

    def test_a_value_for_each_channel_is_smoothed_likewise(self):
        model = network()
        subject = Subject(model, IMAGES, device="cpu")
        with subject.lent():
            block = next(subject.blocks(early=False))
            for explain in (gradients, lambda model, inputs, targets: torch.randn_like(inputs)):
                view = Smoothed(Attributions(subject, as_explainer(explain, model, name="e"), 0, MapCache()), 3, 0.1)
                maps, channels = view(block), view.per_channel()(block)
                assert channels.shape == block.inputs[0].shape
                assert (channels.sum(1) - maps).abs().max() < 1e-5

    def test_the_seed_decides(self):
        first, second, other = (maps_of(gradients, seed=seed)[0] for seed in (3, 3, 4))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_maps_of_other_smoothings_are_kept_apart(self):
        model, cache = network(), MapCache()
        subject = Subject(model, IMAGES, device="cpu")
        with subject.lent():
            block = next(subject.blocks(early=False))
            plain = Attributions(subject, as_explainer(gradients, model), 0, cache)
            views = [plain, Smoothed(plain, 2, 0.1), Smoothed(plain, 3, 0.1), Smoothed(plain, 3, 0.2)]
            maps = [view(block) for view in views]
            assert all(not torch.equal(a, b) for i, a in enumerate(maps) for b in maps[:i])
            assert all(view(block) is kept for view, kept in zip(views, maps, strict=True))

    def test_two_claims_on_the_same_smoothed_maps_cost_one_run(self):
        seen = []

        def explain(model, inputs, targets):
            seen.append(len(inputs))
            return gradients(model, inputs, targets)

        explainer = Bench(network(), IMAGES, device="cpu").explainer(explain)
        settings = {"seeds": 1, "samples": 3, "early": False}
        explainer.changes_under("cascading_randomization", similarity="spearman", at_most=0.9, **settings)
        first = sum(seen)
        explainer.changes_under("cascading_randomization", similarity="cosine", at_most=0.9, **settings)
        assert first == 3 * 10 * (3 + 2) + 2
        assert sum(seen) - first <= 3 * 10 + 2  # the second run on the model as given was not kept

    def test_the_prediction_explained_with_a_dynamic_target_is_that_of_the_input_itself(self):
        asked = []

        def explain(model, inputs, targets):
            asked.append(targets.clone())
            return gradients(model, inputs, targets)

        measured(explain, CascadingRandomization(depth=1, seeds=1, samples=3, target="dynamic"))
        *_, last = asked
        assert torch.equal(last.reshape(3, 10), last[:10].expand(3, 10))

    def test_nothing_of_the_user_changes(self):
        model = network()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = global_state()
        Bench(model, IMAGES, device="cpu").explainer(gradients).changes_under(
            "bottom_up_randomization", similarity="spearman", at_most=0.9, seeds=2, samples=3
        )
        assert same_state(state, global_state())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())


class TestInputs:
    def test_only_floating_tensors_get_noise(self):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.table = nn.Linear(6, 2), nn.Embedding(5, 2)

            def forward(self, x, words):
                return self.layer(x) + self.table(words).sum(1)

        given = []

        def explain(model, inputs, targets):
            given.append([tensor.clone() for tensor in inputs])
            return inputs[0] * 1.0, inputs[1].float()

        x, words = noise(4, 6), torch.arange(12).reshape(4, 3) % 5
        _, block = maps_of(explain, (x, words), model=Two().eval(), copies=2, batch_size=4)
        first, second = given[-2:]
        assert torch.equal(first[1], words[list(block.indices)])
        assert torch.equal(second[1], first[1])
        for i, copies in enumerate((first, second)):
            for place, index in enumerate(block.indices):
                assert copies[0][place].tolist() == pytest.approx(copy_of(x[index], index, i).tolist(), abs=1e-6)

    def test_inputs_without_a_floating_tensor_are_an_error(self):
        model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
        explainer = Bench(model, torch.arange(60).reshape(20, 3) % 7 % 5, device="cpu").explainer(
            lambda model, inputs, targets: inputs.float()
        )
        with pytest.raises(XaiError, match=r"cascading_randomization samples: found inputs of torch.int64"):
            explainer.changes_under("cascading_randomization", samples=2)
        assert explainer.changes_under("cascading_randomization", samples=1) is not None

    def test_half_precision_gets_noise_too(self):
        model = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).to(torch.bfloat16).eval()
        maps, _ = maps_of(lambda model, x, t: x.float(), IMAGES, model=model, copies=3)
        assert maps.dtype == torch.float32
        assert torch.isfinite(maps).all()

    @pytest.mark.parametrize(
        ("settings", "found"),
        [
            ({"samples": 0}, "samples: found 0"),
            ({"samples": 2.0}, "samples: found 2.0"),
            ({"samples": True}, "samples: found True"),
            ({"samples": 4, "noise": 0}, "noise: found 0"),
            ({"samples": 4, "noise": -0.1}, "noise: found -0.1"),
            ({"samples": 4, "noise": math.nan}, "noise: found nan"),
            ({"samples": 4, "noise": math.inf}, "noise: found inf"),
            ({"samples": 4, "noise": "loud"}, "noise: found 'loud'"),
            ({"noise": 0.2}, "noise: found 0.2 beside samples=1"),
        ],
    )
    @pytest.mark.parametrize("order", ORDERS)
    def test_settings_out_of_range(self, order, settings, found):
        with pytest.raises(XaiError, match=f"{order.name} {found}"):
            order(**settings)


class TestEvidence:
    def test_the_settings_stand_in_the_evidence(self):
        _, smooth = measured(gradients, CascadingRandomization(seeds=1, samples=3, noise=0.05))
        _, plain = measured(gradients, CascadingRandomization(seeds=1))
        assert (smooth["samples"], smooth["noise"]) == (3, 0.05)
        assert "samples" not in plain

    def test_a_claim_is_called_by_its_settings(self):
        explainer = Bench(network(), IMAGES, device="cpu").explainer(Saliency)
        verdict = explainer.changes_under(
            "bottom_up_randomization", similarity="spearman", at_most=0.9, samples=2, noise=0.2
        )
        assert "samples=2, noise=0.2" in verdict.claim


class TestEdgeResemblance:
    def test_it_is_the_similarity_to_the_edges_of_the_same_image(self):
        _, description = measured(gradients, CascadingRandomization(seeds=2), model=network(torch.float64))
        resemblance = description["controls"]["edge resemblance"]["spearman"]
        model = network(torch.float64)
        targets = model(IMAGES.double()).argmax(1)
        maps, drawn = gradients(model, IMAGES.double(), targets).sum(1), edge_maps(IMAGES.double())
        expected = [stats.spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(maps, drawn, strict=True)]
        assert resemblance["before"] == pytest.approx(sum(expected) / 10, abs=1e-6)
        assert len(resemblance["after"]) == 3
        assert abs(resemblance["null"]) < 4 / (64 * 10) ** 0.5

    def test_positions_are_averaged_over_seeds(self):
        _, description = measured(gradients, BottomUpRandomization(seeds=2))
        _, maps = states(gradients, BottomUpRandomization(seeds=2))
        scores = [spearman(one, edge_maps(IMAGES)).mean().item() for one in maps]
        expected = [(first + second) / 2 for first, second in zip(scores[:3], scores[3:], strict=True)]
        after = description["controls"]["edge resemblance"]["spearman"]["after"]
        assert after == pytest.approx(expected, abs=1e-6)

    def test_an_edge_detector_resembles_edges_whatever_the_model(self):
        _, description = measured(edges, IndependentRandomization(seeds=2), similarities=("spearman", "ssim"))
        for value in description["controls"]["edge resemblance"].values():
            assert value["before"] == 1
            assert value["after"] == [1, 1, 1]
            assert abs(value["null"]) < 0.2

    def test_maps_that_are_not_finite_are_left_out(self):
        def explain(model, inputs, targets):
            maps = gradients(model, inputs, targets)
            maps[model[5].weight[0, 0] != original] = math.nan
            return maps

        model = network()
        original = model[5].weight[0, 0].item()
        _, description = measured(explain, IndependentRandomization(seeds=1), model=model)
        after = description["controls"]["edge resemblance"]["spearman"]["after"]
        assert after[0] is None
        assert None not in after[1:]

    def test_only_few_images_are_looked_at(self):
        """What comes after the first sixteen inputs of the first block changes nothing."""
        many = noise(30, 2, 8, 8, seed=3)
        model, targets = network(), torch.zeros(30, dtype=torch.long)
        found = []
        for altered in (False, True):
            subject = Subject(model, many, targets, device="cpu")
            with subject.lent():
                block = next(subject.blocks(early=False))
                if altered:
                    block.inputs[0][16:] = 0.5
                comparison = Comparison(CascadingRandomization(seeds=1), ("spearman",))
                comparing = comparison.start(lab_of(subject, gradients), block)
                comparing.measure(block)
            found.append(evidence_of(comparing)["controls"]["edge resemblance"]["spearman"])
        assert found[0]["before"] == pytest.approx(found[1]["before"], abs=1e-6)
        assert found[0]["after"] == pytest.approx(found[1]["after"], abs=1e-6)

    def test_other_inputs_than_images_have_none(self):
        rows = Bench(nn.Linear(12, 3).eval(), noise(16, 12), device="cpu").explainer(gradients)
        verdict = rows.changes_under("cascading_randomization", seeds=1)
        assert "edge resemblance" not in verdict.evidence["controls"]

    def test_claims_of_invariance_have_none(self):
        verdict = Bench(network(), IMAGES, device="cpu").explainer(gradients).invariant_under("batch_order")
        assert "edge resemblance" not in verdict.evidence["controls"]

    def test_a_report_tells_it(self):
        verdict = (
            Bench(network(), noise(40, 2, 8, 8, seed=1), device="cpu")
            .explainer(edges)
            .changes_under("cascading_randomization", similarity="spearman", seeds=1)
        )
        assert verdict.failed
        rows = [text for label, text in verdict.evidence.rows() if label == "control"]
        assert any(text.startswith("edge resemblance: spearman 1 before, 1 after (noise ") for text in rows)
