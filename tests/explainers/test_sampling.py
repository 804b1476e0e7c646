"""What an input gets never depends on the inputs beside it: explainers that draw, models that take no single input."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from captum.attr import FeaturePermutation, GradientShap, IntegratedGradients, NoiseTunnel, Occlusion, Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.explainers import Attributions, as_explainer
from pytest_xaisanity.subject.subject import Subject

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


def inputs_of(count):
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Takes batches of certain sizes, and drops the axis of a batch of one if it squeezes."""

    def __init__(self, takes=lambda count: True, *, squeezes=False):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1 if squeezes else 3))
        self.takes, self.squeezes = takes, squeezes

    def forward(self, x):
        if not self.takes(len(x)):
            raise ValueError(f"a batch of {len(x)}")
        return self.net(x).squeeze() if self.squeezes else self.net(x)


def gradients(model, inputs, targets):
    inputs = inputs.requires_grad_()
    outputs = model(inputs)
    outputs = outputs if targets is None else outputs.gather(1, targets[:, None])
    return torch.autograd.grad(outputs.sum(), inputs)[0]


def noisy(model, inputs, targets):
    return gradients(model, inputs, targets) + torch.randn_like(inputs)


def maps_of(source, *, model=None, count=20, batch_size=None, **settings):
    """Return the maps of all inputs, in the order in which they were given."""
    model = Net().eval() if model is None else model.eval()
    subject = Subject(model, inputs_of(count), device="cpu", batch_size=batch_size)
    explained = Attributions(subject, as_explainer(source, model, name="e", **settings), 0)
    with subject.lent():
        parts = [(block.indices, explained(block)) for block in subject.blocks()]
    return torch.cat([maps for _, maps in parts])[torch.tensor(sum((places for places, _ in parts), ())).argsort()]


class TestDraws:
    @pytest.mark.parametrize("batch_size", [None, 4, 2, 1])
    @pytest.mark.parametrize("least", [2, 3])
    def test_in_company_alone_are_an_error(self, least, batch_size):
        """Whatever the batch size, where the company is large enough to draw."""

        def in_company(model, inputs, targets):
            return (noisy if len(inputs) >= least else gradients)(model, inputs, targets)

        if least > (batch_size or 16) and least > 2:
            assert torch.allclose(maps_of(in_company, batch_size=batch_size), maps_of(gradients), atol=1e-6)
            return
        with pytest.raises(XaiError, match=r"random numbers drawn for \d+ inputs together, and none"):
            maps_of(in_company, batch_size=batch_size)

    @pytest.mark.parametrize("batch_size", [None, 4, 1])
    def test_that_mix_the_inputs_of_a_batch_are_an_error(self, batch_size):
        with pytest.raises(XaiError, match="none for one alone; expected an explainer that draws for each input by it"):
            maps_of(FeaturePermutation, batch_size=batch_size)

    def test_in_company_alone_are_an_error_whenever_it_is_asked(self):
        bench = Bench(Net().eval(), inputs_of(20), device="cpu", batch_size=1)
        for _ in range(2):
            with pytest.raises(XaiError, match="none for one alone"):
                bench.explainer(FeaturePermutation).invariant_under("batch_order")

    def test_for_an_input_alone_but_not_in_company_are_an_error(self):
        def alone(model, inputs, targets):
            return (noisy if len(inputs) == 1 else gradients)(model, inputs, targets)

        with pytest.raises(
            XaiError, match="random numbers drawn for 1 inputs together, and none when it was tried on 2"
        ):
            maps_of(alone, count=17)

    def test_of_what_is_kept_from_the_first_call_on_are_none(self):
        class Lazy:
            def __init__(self):
                self.reference, self.seen = None, []

            def __call__(self, model, inputs, targets):
                self.seen.append(len(inputs))
                self.reference = torch.rand(8) if self.reference is None else self.reference
                return gradients(model, inputs, targets) * self.reference

        lazy = Lazy()
        maps = maps_of(lazy)
        assert max(lazy.seen) == 16
        for batch_size in (None, 3):
            assert torch.allclose(maps_of(Lazy(), batch_size=batch_size), maps, atol=1e-6)

    def test_are_found_in_blocks_of_several_after_blocks_of_one(self):
        model = Net().eval()
        subject = Subject(model, inputs_of(20), device="cpu")

        def in_company(model, inputs, targets):
            return (noisy if len(inputs) > 1 else gradients)(model, inputs, targets)

        explained = Attributions(subject, as_explainer(in_company, model), 0)
        with subject.lent():
            block = next(subject.blocks())
            explained(block.part(0, 1))
            with pytest.raises(XaiError, match="none for one alone"):
                explained(block)

    @pytest.mark.parametrize("draw", ["torch", "numpy"])
    def test_leave_the_global_generators_alone(self, draw):
        def sampling(model, inputs, targets):
            if draw == "numpy":
                return np.random.standard_normal(inputs.shape)
            return torch.randn_like(inputs)

        state = global_state()
        for source in (sampling, gradients):
            maps_of(source)
            assert same_state(state, global_state())

    def test_of_an_explainer_that_seeds_them_itself_are_none(self):
        """And their numbers depend on the company, which ``batch_order`` finds."""

        def seeded(model, inputs, targets):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return gradients(model, inputs, targets) + torch.randn_like(inputs)

        bench = Bench(Net().eval(), inputs_of(20), device="cpu")
        assert bench.explainer(seeded).invariant_under("batch_order").failed

    def test_make_a_constant_map_explicable(self):
        """A permutation of its own inputs, which draws for one input too, and then changes nothing."""

        def permuting(model, inputs, targets):
            return inputs - inputs[torch.rand(len(inputs)).argsort()]

        with pytest.raises(
            XaiError, match=r"constant attributions .* an explainer that draws must draw for each input by itself"
        ):
            maps_of(permuting)


class TestModels:
    @pytest.mark.parametrize("source", [gradients, Saliency, IntegratedGradients, Occlusion])
    def test_that_drop_the_axis_of_a_batch_of_one_are_never_asked_about_one(self, source):
        settings = {"sliding_window_shapes": (1,)} if source is Occlusion else {}
        model = Net(lambda count: count > 1, squeezes=True)
        assert maps_of(source, model=model, count=64, **settings).shape == (64, 8)

    def test_that_drop_the_axis_of_a_batch_of_one_are_told_to_keep_it(self):
        targets = torch.zeros(17, dtype=torch.long)
        for source, inputs, given in (
            (gradients, inputs_of(17), None),
            (Saliency, inputs_of(17), targets),
            (lambda model, x, t: model(x)[0] * x, inputs_of(17), targets),
            (lambda model, x, t: noisy(model, x, t) * model(x)[:, None].detach(), inputs_of(16), None),
        ):
            model = Net(squeezes=True).eval()
            subject = Subject(model, inputs, given, device="cpu")
            explained = Attributions(subject, as_explainer(source, model, name="e"), 0)
            with pytest.raises(XaiError, match=r"whose axis the model drops") as caught:
                self.explain(subject, explained)
            assert "squeeze(1)" in caught.value.fix

    @staticmethod
    def explain(subject, explained):
        with subject.lent():
            for block in subject.blocks():
                explained(block)

    def test_that_drop_the_axis_have_sampling_explainers_that_make_batches_of_one_input(self):
        model = Net(squeezes=True)
        maps = maps_of(NoiseTunnel, model=model, attribution_method=Saliency, nt_samples=2, abs=False)
        assert torch.equal(
            maps, maps_of(NoiseTunnel, model=model, batch_size=3, attribution_method=Saliency, nt_samples=2, abs=False)
        )

    def test_that_take_no_single_input_are_named_where_an_explainer_draws(self):
        model = Net(lambda count: count > 1)
        with pytest.raises(XaiError, match=r"random numbers drawn, and an error for an input alone .* a batch of 1"):
            maps_of(noisy, model=model)
        assert torch.equal(maps_of(gradients, model=model), maps_of(gradients))

    @pytest.mark.parametrize("size", [1, 4, 16])
    def test_that_take_batches_of_one_size_alone(self, size):
        model = Net(lambda count: count == size)
        maps = maps_of(gradients, model=model, count=32, batch_size=size)
        assert torch.allclose(maps, maps_of(gradients, count=32), atol=1e-6)
        if size == 1:
            assert torch.equal(maps_of(noisy, model=model, batch_size=1), maps_of(noisy, batch_size=1))
            return
        with pytest.raises(XaiError, match=r"for an input alone .* a batch of 1"):
            maps_of(noisy, model=model, count=32, batch_size=size)

    def test_that_cannot_be_explained_at_all_raise_what_they_raise(self):
        def broken(model, inputs, targets):
            raise KeyError("lookup")

        with pytest.raises(XaiError, match="KeyError raised by the explainer on the model as given: 'lookup'"):
            maps_of(broken)


class Small(nn.Module):
    """Has memory for so many rows."""

    def __init__(self, rows):
        super().__init__()
        self.net, self.rows = Net().net, rows

    def forward(self, x):
        if len(x) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words.")
        return self.net(x)


class TestMemory:
    @pytest.mark.parametrize(
        ("source", "settings", "fix"),
        [
            (IntegratedGradients, {"n_steps": 50}, "internal_batch_size= or n_steps="),
            (GradientShap, {"n_samples": 50, "baselines": torch.zeros(4, 8)}, "n_samples="),
            (
                NoiseTunnel,
                {"attribution_method": IntegratedGradients, "nt_samples": 50},
                "internal_batch_size= or nt_samples_batch_size= or n_steps= or nt_samples=",
            ),
            (
                lambda model, x, t: gradients(model, x.repeat(50, 1), t.repeat(50))[: len(x)],
                {},
                "let it hold less at once",
            ),
        ],
    )
    def test_that_has_no_room_for_one_input_is_one_error(self, source, settings, fix):
        with pytest.raises(
            XaiError, match=r"explainer e: found no memory left for a single input \(CUDA out"
        ) as caught:
            maps_of(source, model=Small(32), **settings)
        assert fix in caught.value.fix
        assert "More words" not in str(caught.value)

    @pytest.mark.parametrize(
        ("source", "settings"),
        [
            (IntegratedGradients, {"n_steps": 8}),
            (GradientShap, {"n_samples": 20, "baselines": torch.zeros(4, 8)}),
            (NoiseTunnel, {"attribution_method": Saliency, "nt_samples": 20}),
        ],
    )
    def test_that_runs_out_changes_no_map(self, source, settings):
        tight, roomy = (maps_of(source, model=Small(rows), **settings) for rows in (32, 4096))
        assert torch.allclose(tight, roomy, atol=1e-5)

    def test_that_runs_out_in_the_middle_of_a_call_leaves_nothing_to_the_next(self):
        class Abrupt:
            """Hooks and freezes the model, which it would take back at the end."""

            def __init__(self):
                self.cut_off = 0

            def __call__(self, model, inputs, targets):
                assert not model.net[0]._forward_hooks
                assert model.net[0].weight.requires_grad
                assert not model.net[0].training
                handle = model.net[0].register_forward_hook(lambda module, inputs, output: 2 * output)
                model.net[0].weight.requires_grad_(False)
                model.net[0].train()
                if len(inputs) > 5:
                    self.cut_off += 1
                    raise torch.OutOfMemoryError("CUDA out of memory")
                maps = gradients(model, inputs, targets)
                handle.remove()
                model.net[0].weight.requires_grad_(True)
                model.net[0].eval()
                return maps

        abrupt = Abrupt()
        assert torch.allclose(maps_of(abrupt), maps_of(Abrupt(), batch_size=4), atol=1e-6)
        assert abrupt.cut_off > 0

    def test_that_runs_out_while_it_is_found_out_who_draws_leaves_the_batches_of_the_subject(self):
        model = Small(32).eval()
        subject = Subject(model, inputs_of(20), device="cpu", batch_size=16)
        explainer = as_explainer(NoiseTunnel, model, attribution_method=Saliency, nt_samples=20)
        with subject.lent():
            Attributions(subject, explainer, 0)(next(subject.blocks()))
        assert subject.batches.size == 16

    def test_of_a_claim_is_the_same_error(self):
        bench = Bench(Small(32).eval(), inputs_of(20), device="cpu")
        with pytest.raises(XaiError, match=re.escape("n_steps=50): found no memory left")):
            bench.explainer(IntegratedGradients, n_steps=50).beats("random", on="pixel_flipping")


class Counted(nn.Module):
    """Keeps with how many rows it was called."""

    def __init__(self, side):
        super().__init__()
        self.net = nn.Sequential(nn.AvgPool2d(side // 2), nn.Flatten(), nn.Linear(12, 3))
        self.rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.net(x)


class TestCopies:
    @pytest.mark.parametrize(("side", "most"), [(224, 64), (16, 20 * 16)])
    def test_of_large_inputs_fill_a_pass_and_no_more(self, side, most):
        """Captum's paths have all of their steps in one pass: 64 images of 32 steps would take 50 GB of a ResNet-18."""
        model = Counted(side).eval()
        subject = Subject(model, torch.rand(16, 3, side, side), device="cpu")
        explained = Attributions(subject, as_explainer(IntegratedGradients, model, n_steps=20), 0)
        with subject.lent():
            block = next(iter(subject.blocks()))
            maps = explained(block)
            alone = torch.cat([explained(block.part(row, row + 1)) for row in range(2)])
        assert max(model.rows) <= most
        assert max(model.rows) > most - 20
        assert torch.allclose(maps[:2], alone, atol=1e-6)
