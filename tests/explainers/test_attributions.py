"""Explainers: what users have becomes one kind of explainer, and every mistake in it one clear error."""

import functools

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedBackprop,
    IntegratedGradients,
    LayerGradCam,
    NeuronGradient,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from laboratory import lab_of
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.interventions.weight_randomization import CascadingRandomization
from pytest_xaisanity.explainers import LRP
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions, MapCache
from pytest_xaisanity.subject.layout import Layout
from pytest_xaisanity.subject.subject import Subject

torch.set_num_threads(1)
ignore_captum = pytest.mark.filterwarnings("ignore::UserWarning:captum")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 4 * 3, 3)
    ).eval()


def gradients(model, inputs, targets):
    """The plain gradient, written by hand."""
    inputs = inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


IMAGES = normal(20, 2, 8, 6)


def explain(source, *, model=None, inputs=IMAGES, seed=0, batch_size=None, early=True, name=None, **kwargs):
    """Return the maps of all inputs in the order in which they were given."""
    model = network() if model is None else model.eval()
    subject = Subject(model, inputs, batch_size=batch_size)
    explained = Attributions(subject, as_explainer(source, model, name=name, **kwargs), seed)
    with subject.lent():
        parts = [(block.indices, explained(block)) for block in subject.blocks(early=early)]
    order = torch.tensor(sum((indices for indices, _ in parts), ())).argsort()
    return torch.cat([maps for _, maps in parts])[order]


def raised(source, **settings):
    with pytest.raises(XaiError) as caught:
        explain(source, **settings)
    return caught.value


def expected_maps(model=None):
    model = network() if model is None else model
    return gradients(model, IMAGES.clone(), model(IMAGES).argmax(1)).sum(1)


class Callable:
    def __call__(self, model, inputs, targets, *, scale=1.0):
        return scale * gradients(model, inputs, targets)

    def method(self, model, inputs, targets):
        return gradients(model, inputs, targets)


class TestSources:
    @pytest.mark.parametrize(
        "make",
        [
            lambda model: gradients,
            lambda model: lambda m, x, t: gradients(m, x, t),
            lambda model: functools.partial(lambda m, x, t, *, scale: scale * gradients(m, x, t), scale=1.0),
            lambda model: Callable(),
            lambda model: Callable().method,
            lambda model: lambda *args: gradients(*args),
            lambda model: lambda m, x, t: gradients(m, x, t).double(),
            lambda model: lambda m, x, t: gradients(m, x, t).numpy(),
            lambda model: lambda m, x, t: np.flip(gradients(m, x, t).numpy(), 1),
            lambda model: lambda m, x, t: (gradients(m, x, t),),
            lambda model: lambda m, x, t: gradients(m, x, t).sum(1),
            lambda model: lambda m, x, t: gradients(m, x, t).sum(1, keepdim=True).requires_grad_(),
        ],
    )
    def test_may_be_any_callable(self, make):
        assert torch.allclose(explain(make(None)).float(), expected_maps(), atol=1e-6)

    def test_may_be_a_captum_class_or_an_instance_bound_to_the_model(self):
        for batch_size in (None, 3):
            model = network()
            by_class = explain(Saliency, model=model, abs=False, batch_size=batch_size)
            by_instance = explain(Saliency(model), model=model, abs=False, batch_size=batch_size)
            assert torch.allclose(by_class, expected_maps(), atol=1e-6)
            assert torch.equal(by_class, by_instance)

    def test_share_keywords_out_between_constructor_and_call(self):
        model = network()
        own = IntegratedGradients(model, multiply_by_inputs=False)
        expected = own.attribute(IMAGES, target=model(IMAGES).argmax(1), n_steps=7).detach().sum(1)
        got = explain(IntegratedGradients, model=model, multiply_by_inputs=False, n_steps=7)
        assert torch.allclose(got, expected.float(), atol=1e-5)

    def test_take_a_layer_by_module_or_by_name_and_are_upsampled(self):
        model = network()
        by_name, by_module = (explain(LayerGradCam, model=model, layer=layer) for layer in ("2", model[2]))
        target = model(IMAGES).argmax(1)
        small = LayerGradCam(model, model[2]).attribute(IMAGES, target=target).detach()
        assert small.shape == (20, 1, 4, 3)
        expected = nn.functional.interpolate(small, (8, 6), mode="bilinear")[:, 0]
        assert torch.equal(by_name, by_module)
        assert torch.allclose(by_name, expected, atol=1e-6)

    def test_may_be_a_noise_tunnel_as_class_or_instance(self):
        model = network()
        settings = {"nt_samples": 3, "stdevs": 0.2, "abs": False, "model": model, "name": "smooth"}
        by_class = explain(NoiseTunnel, attribution_method=Saliency, **settings)
        by_instance = explain(NoiseTunnel(Saliency(model)), **settings)
        assert torch.equal(by_class, by_instance)
        assert not torch.allclose(by_class, expected_maps())

    @ignore_captum
    @pytest.mark.parametrize(
        "source", [gradients, Saliency, DeepLift, GuidedBackprop, GradientShap, "instance", "tunnel"]
    )
    def test_follow_the_model_through_a_randomization(self, source):
        """Whatever the source is bound to: its maps on the randomized model are those of a model so randomized."""
        model = network()
        settings = {"baselines": torch.zeros(1, 2, 8, 6)} if source is GradientShap else {}
        source = {"instance": Saliency(model), "tunnel": NoiseTunnel(Saliency(model))}.get(source, source)
        subject = Subject(model, IMAGES[:16])
        lab = lab_of(subject, source, name="e", **settings)
        with subject.lent():
            block = next(subject.blocks())
            before = lab.attributions(block)
            procedure = CascadingRandomization(seeds=1, depth=1).start(lab, block)
            after = next(iter(procedure.maps(block)))
        assert not torch.allclose(before, after)

    def test_work_on_several_inputs(self):
        class Two(nn.Module):
            def forward(self, image, row):
                return torch.stack([image.square().sum((1, 2, 3)), row.square().sum(1)], 1)

        inputs = (IMAGES, normal(20, 5, seed=1))

        def by_hand(model, inputs, targets):
            image, row = inputs
            return [2 * image * (targets == 0)[:, None, None, None], 2 * row * (targets == 1)[:, None]]

        maps = explain(by_hand, model=Two(), inputs=inputs)
        assert maps.shape == (20, 8 * 6 + 5)
        assert torch.allclose(maps, explain(Saliency, model=Two(), inputs=inputs, abs=False), atol=1e-6)

    def test_work_on_a_model_with_a_single_output_or_positions(self):
        single = nn.Sequential(nn.Flatten(), nn.Linear(96, 1))
        assert explain(Saliency, model=single).shape == (20, 8, 6)
        matrix = nn.Sequential(nn.Flatten(), nn.Linear(96, 6), nn.Unflatten(1, (2, 3)))
        subject = Subject(matrix.eval(), IMAGES, torch.tensor([[1, 2]] * 20))
        with subject.lent():
            explained = Attributions(subject, as_explainer(Saliency, matrix, abs=False), 0)
            maps = explained(next(subject.blocks()))
        assert torch.allclose(maps[0], matrix[1].weight[5].detach().reshape(2, 8, 6).sum(0), atol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
    def test_work_in_other_precisions(self, dtype):
        maps = explain(IntegratedGradients, model=network().to(dtype), n_steps=4)
        assert maps.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)

    @pytest.mark.parametrize(
        ("source", "settings", "name"),
        [
            (Saliency, {}, "Saliency"),
            (IntegratedGradients, {"n_steps": 8}, "IntegratedGradients(n_steps=8)"),
            (gradients, {}, "gradients"),
            (NoiseTunnel, {"attribution_method": Saliency, "nt_samples": 2}, "NoiseTunnel[Saliency](nt_samples=2)"),
            (Callable(), {"scale": 2.0}, "Callable(scale=2.0)"),
            (functools.partial(Callable(), scale=2.0), {}, "Callable(scale=2.0)"),
            (NoiseTunnel(Saliency(network())), {"nt_samples": 2}, "NoiseTunnel[Saliency](nt_samples=2)"),
        ],
    )
    def test_are_named_after_what_they_are(self, source, settings, name):
        model = network() if not isinstance(source, NoiseTunnel) else source.attribution_method.forward_func
        assert as_explainer(source, model, **settings).name == name

    def test_are_the_same_by_content(self):
        model = network()
        assert as_explainer(Saliency, model, abs=False).key == as_explainer(Saliency, model, abs=False).key
        assert as_explainer(Saliency, model, abs=False).key != as_explainer(Saliency, model).key
        assert as_explainer(Callable(), model).key != as_explainer(Callable(), model).key

    def test_called_otherwise_are_others_since_the_name_seeds_them(self):
        model = network()
        assert as_explainer(Saliency, model, name="a").key != as_explainer(Saliency, model, name="b").key


class TestWrongSources:
    @pytest.mark.parametrize(
        ("source", "settings", "words"),
        [
            (3, {}, ("an object of type int", "Captum attribution class")),
            (Callable, {}, ("the class Callable", "pass an object of it: Callable(...)")),
            (IntegratedGradients, {"n_step": 3}, ("'n_step'", "'n_steps', the nearest known name")),
            (IntegratedGradients, {"target": 3}, ("target= among its settings", "override xai_targets")),
            (IntegratedGradients, {"forward_func": 3}, ("forward_func= among", "leave forward_func= out")),
            (LayerGradCam, {}, ("no layer", "pass layer=... beside the class, a module or its name")),
            (LayerGradCam, {"layer": "O"}, ("'O'", "one of 0, 1, 2, 3, 4")),
            (
                NoiseTunnel,
                {"attribution_method": Saliency, "nt_sample": 3},
                ("'nt_sample'", "'nt_samples', the nearest known name"),
            ),
            (NoiseTunnel, {"attribution_method": Saliency, "ab": True}, ("'ab'", "'abs', the nearest known name")),
            (NoiseTunnel, {}, ("no attribution_method", "pass attribution_method=")),
            (NoiseTunnel, {"attribution_method": Saliency(network())}, ("another model than xai_model",)),
            (Occlusion, {}, ("no sliding_window_shapes", "pass sliding_window_shapes=")),
            (NeuronGradient, {"layer": "4"}, ("no neuron_selector",)),
            (Saliency(network()), {}, ("another model than xai_model", "pass the class instead")),
            (NoiseTunnel(Saliency(network())), {}, ("another model than xai_model",)),
            (gradients, {"scal": 3}, ("'scal'",)),
            (Callable(), {"scal": 3}, ("'scal'", "'scale', the nearest known name")),
            (Callable(), {"targets": 3}, ("targets= among its settings",)),
            (lambda x: x, {}, ("a callable with the signature (x)", "(model, inputs, targets, **settings)")),
            (lambda m, x, t, need: x, {}, ("missing a required argument: 'need'",)),
        ],
    )
    def test_are_named_with_the_fix(self, source, settings, words):
        with pytest.raises(XaiError) as caught:
            as_explainer(source, network(), **settings)
        assert caught.value.where.startswith("xai.explainer")
        assert all(word in str(caught.value) for word in words), str(caught.value)

    def test_of_an_instance_are_named_too(self):
        model = network()
        for settings, words in (({"ab": True}, "'abs', the nearest"), ({"target": 1}, "override xai_targets")):
            with pytest.raises(XaiError, match=words):
                as_explainer(Saliency(model), model, **settings)

    def test_that_cannot_be_built_for_the_model_say_why(self):
        with pytest.raises(XaiError, match=r"GuidedBackprop: found \w+ when it was built for the model"):
            as_explainer(GuidedBackprop, lambda x: x)


class TestWrongAttributions:
    @pytest.mark.parametrize(
        "shape",
        [
            (3, 8, 6),
            (19, 2, 8, 6),
            (20, 3, 8, 6),
            (20, 2, 4, 3),
            (20, 6, 8),
            (20, 1, 6, 8),
            (20, 8, 6, 2),
            (20, 1, 1, 8, 6),
            (20, 96),
            (20,),
            (),
            (20, 1, 0, 0),
        ],
    )
    def test_of_a_wrong_shape_are_named_with_the_shapes_accepted(self, shape):
        error = raised(lambda m, x, t: torch.ones([len(x) if n == 20 else n for n in shape]))
        assert f"attributions of shape {tuple(2 if n == 20 else n for n in shape)}" in error.found
        assert "one of (2, 2, 8, 6), (2, 1, 8, 6), (2, 8, 6), (2, 1, 'h', 'w'), (2, 'h', 'w')" in error.expected

    @pytest.mark.parametrize("shape", [(20, 4), (20, 6), (20, 5, 1), (5, 20), (20,)])
    def test_of_a_row_must_be_one_a_feature(self, shape):
        model = nn.Sequential(nn.Linear(5, 3)).eval()
        error = raised(
            lambda m, x, t: torch.ones([len(x) if n == 20 else n for n in shape]), model=model, inputs=normal(20, 5)
        )
        assert "one of (2, 5)" in error.expected

    @pytest.mark.parametrize(
        ("shape", "places"),
        [
            ((20, 7), (7,)),
            ((20, 3, 7), (7,)),
            ((20, 3, 4, 5), (4, 5)),
            ((20, 2, 3, 4, 5), (3, 4, 5)),
            ((20,), (1,)),
        ],
    )
    def test_of_any_rank_are_reduced_to_places(self, shape, places):
        class Sum(nn.Module):
            def forward(self, x):
                return x.reshape(len(x), -1).sum(1)

        x = normal(*shape)
        maps = explain(lambda m, x, t: x.clone(), model=Sum(), inputs=x)
        assert maps.shape == (20, *places) == Layout.of((x,)).empty(20, like=x).shape
        assert torch.allclose(maps, x.sum(1) if len(shape) > 2 else x.reshape(20, *places))

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            (lambda m, x, t: None, "a NoneType returned on the model as given"),
            (lambda m, x, t: x.to(torch.complex64), "a Tensor of torch.complex64"),
            (lambda m, x, t: x.numpy().astype("complex64"), "a ndarray of complex64"),
            (lambda m, x, t: x.numpy().astype(object), "an array of object"),
            (lambda m, x, t: (x, x), "2 attribution tensors for 1 input tensors"),
            (lambda m, x, t: [], "0 attribution tensors for 1 input tensors"),
            (lambda m, x, t: x * torch.nan, "NaN or infinite attributions for 16 of 16 inputs"),
            (lambda m, x, t: torch.ones_like(x), "constant attributions for all of 16 inputs"),
            (lambda m, x, t: x, "the very inputs it was given"),
            (lambda m, x, t: gradients(m, x.detach(), t + 1 / 0), "ZeroDivisionError raised by the explainer"),
            (lambda m, x, t: torch.autograd.grad(m(x).sum(), x)[0], "attributions detached from any input"),
            (lambda m, x, t: m(x.detach()).sum().backward() or x.grad, "a NoneType returned"),
        ],
    )
    def test_are_named(self, source, found):
        error = raised(source, name="mine")
        assert error.where == "explainer mine"
        assert found in error.found

    def test_of_a_model_without_gradients_are_detached(self):
        class NoGradient(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = network()

            def forward(self, x):
                with torch.no_grad():
                    return self.inner(x)

        assert "detached from any input" in raised(Saliency, model=NoGradient().eval()).found

    def test_keep_the_cause_and_name_the_stage(self):
        model = network()
        first = model[4].weight.detach().clone()

        def fragile(model, x, t):
            if not torch.equal(model[4].weight, first):
                raise KeyError("lookup")
            return gradients(model, x, t)

        subject = Subject(model, IMAGES)
        with subject.lent():
            block = next(subject.blocks())
            procedure = CascadingRandomization(seeds=1, depth=1).start(lab_of(subject, fragile), block)
            with pytest.raises(XaiError) as caught:
                list(procedure.maps(block))
        assert "KeyError raised by the explainer on the model with layer 4 randomized" in caught.value.found
        assert isinstance(caught.value.__cause__, KeyError)
        assert torch.equal(model[4].weight, first)

    def test_that_are_constant_for_one_input_in_a_short_block_are_no_mistake(self):
        """The 17th input is alone in its block."""

        def one_dead(model, x, t):
            return gradients(model, x, t) * (x[:, :1, :1, :1] != IMAGES[dead, 0, 0, 0])

        subject = Subject(network(), IMAGES[:17])
        with subject.lent():
            dead = list(subject.blocks())[1].indices[0]
        maps = explain(one_dead, inputs=IMAGES[:17])
        assert (maps.flatten(1).abs().amax(1) == 0).tolist() == [i == dead for i in range(17)]


class TestRunning:
    @pytest.mark.parametrize("batch_size", [1, 3, 16, 64])
    @pytest.mark.parametrize("source", [IntegratedGradients, gradients])
    def test_gives_the_same_maps_whatever_the_micro_batch(self, source, batch_size):
        assert torch.allclose(explain(source), explain(source, batch_size=batch_size), atol=1e-5)

    @pytest.mark.parametrize(
        "draw",
        [
            lambda x: torch.randn_like(x),
            lambda x: torch.from_numpy(np.random.standard_normal(x.shape)).float(),
            lambda x: torch.nn.functional.dropout(torch.ones_like(x), 0.5),
        ],
    )
    def test_gives_a_sampling_explainer_draws_by_input(self, draw):
        def sampling(model, x, t):
            return draw(x)

        maps = explain(sampling)
        for settings in ({"batch_size": 3}, {"early": False}, {"inputs": list(IMAGES.split(7))}):
            assert torch.equal(explain(sampling, **settings), maps)
        assert not torch.equal(explain(sampling, seed=1), maps)
        assert not torch.equal(maps[0], maps[1])

    def test_draws_anew_in_another_run(self):
        subject = Subject(network(), IMAGES)
        explained = Attributions(subject, as_explainer(lambda m, x, t: torch.randn_like(x), subject.model), 0)
        with subject.lent():
            block = next(subject.blocks())
            assert torch.equal(explained(block), explained(block))
            assert not torch.equal(explained(block), explained(block, run=1))

    def test_leaves_the_global_generators_alone(self):
        def sampling(model, x, t):
            np.random.rand()
            return torch.randn_like(x)

        model, state = network(), global_state()
        maps = explain(sampling, model=model)
        assert same_state(state, global_state())
        torch.manual_seed(5)
        assert torch.equal(explain(sampling, model=model), maps)

    def test_survives_an_explainer_that_changes_what_it_is_given(self):
        model = nn.Sequential(network(), nn.Dropout(0.5))
        targets = torch.arange(20) % 3
        before = IMAGES.clone()

        def rude(model, x, t):
            maps = gradients(model, x.clone(), t)
            model[0][0].register_forward_hook(lambda *_: None)
            x.zero_()
            t.zero_()
            model(before[:1]).sum().backward()
            return maps

        subject = Subject(model.eval(), IMAGES, targets, batch_size=4)
        explained = Attributions(subject, as_explainer(rude, model), 0)
        with subject.lent():
            maps = torch.cat([explained(block) for block in subject.blocks(early=False)])
            assert not any(module.training for module in model.modules())
            order = next(subject.blocks(early=False)).indices
        assert torch.allclose(maps, gradients(model, IMAGES.clone(), targets).sum(1)[list(order)], atol=1e-6)
        assert torch.equal(before, IMAGES)
        assert torch.equal(targets, torch.arange(20) % 3)
        assert not model[0][0]._forward_hooks
        assert all(parameter.grad is None for parameter in model.parameters())

    @pytest.mark.parametrize("fails", [False, True])
    def test_refuses_an_explainer_that_puts_the_model_into_training_mode(self, fails):
        model = nn.Sequential(network(), nn.Dropout(0.5)).eval()

        def trains(model, x, t):
            model[1].train()
            if fails:
                raise ValueError("after the call of train()")
            return gradients(model, x, t)

        subject = Subject(model, IMAGES)
        match = "after the call of train" if fails else "1 put into training mode, on the model as given"
        with subject.lent(), pytest.raises(XaiError, match=match):
            Attributions(subject, as_explainer(trains, model), 0)(next(subject.blocks()))
        assert not any(module.training for module in model.modules())

    @ignore_captum
    @pytest.mark.parametrize(
        "error",
        [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")],
    )
    @pytest.mark.parametrize("source", [Saliency, GuidedBackprop, DeepLift, gradients, "in the explainer"])
    def test_gives_the_same_maps_when_memory_runs_out(self, source, error):
        class Small(nn.Module):
            def __init__(self, limit):
                super().__init__()
                self.inner, self.limit = network(), limit

            def forward(self, x):
                if len(x) > self.limit:
                    raise error
                return self.inner(x)

        def greedy(model, x, t):
            if len(x) > model.limit:
                raise error
            return gradients(model, x, t)

        source = greedy if source == "in the explainer" else source
        limits = (100, 5 if source is not DeepLift else 10)  # DeepLift runs the baselines beside the inputs
        roomy, tight = (explain(source, model=Small(limit).eval()) for limit in limits)
        assert torch.allclose(roomy, tight, atol=1e-5)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    @pytest.mark.parametrize("source", [Saliency, gradients])
    def test_works_whatever_the_mode_of_the_caller(self, mode, source):
        model = network()
        expected = explain(source, model=model)
        with mode():
            for inputs in (IMAGES * 1, [IMAGES * 1]):
                assert torch.allclose(explain(source, model=model, inputs=inputs), expected, atol=1e-6)

    def test_works_when_float64_is_the_default(self):
        expected = explain(IntegratedGradients)
        model = network()
        torch.set_default_dtype(torch.float64)
        try:
            assert torch.allclose(explain(IntegratedGradients, model=model), expected, atol=1e-5)
        finally:
            torch.set_default_dtype(torch.float32)


class TestMapCache:
    def test_drops_the_oldest_first(self):
        cache = MapCache(limit=3 * 40)
        for key in range(3):
            cache.put(key, torch.full((10,), float(key)))
        assert cache.get(0) is not None
        cache.put(3, torch.zeros(10))
        assert cache.get(1) is None
        assert [key for key in range(4) if cache.get(key) is not None] == [0, 2, 3]

    def test_keeps_nothing_above_its_limit(self):
        cache = MapCache(limit=39)
        cache.put(0, torch.zeros(10))
        assert cache.get(0) is None


class Reader(nn.Module):
    """Takes numbers beside tokens, which nobody can take a gradient of."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.numbers, self.head = nn.Embedding(20, 6), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, tokens):
        return self.head(self.numbers(x) + self.embedding(tokens).mean(1))


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (captum.attr.Saliency, {}),
        (captum.attr.InputXGradient, {}),
        (captum.attr.IntegratedGradients, {"n_steps": 4}),
        (captum.attr.NoiseTunnel, {"attribution_method": captum.attr.Saliency}),
        (LRP(), {}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:captum")
def test_whole_numbers_under_a_gradient_are_named(source, settings):
    inputs = (torch.randn(16, 4), torch.randint(0, 20, (16, 5)))
    with pytest.raises(XaiError, match=r"input tensor 1 (of |\()torch.int64"):
        Bench(Reader().eval(), inputs, explain=(0, 1)).explainer(source, **settings).changes_under(
            "cascading_randomization"
        )


TRACED = "failed\nTraceback of TorchScript:\n  x @ y\nRuntimeError: shapes differ"


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (RuntimeError("what went wrong\nCompile with TORCH_USE_CUDA_DSA to enable assertions."), ": what went wrong;"),
        (RuntimeError(TRACED), ": RuntimeError: shapes differ;"),
        (ValueError("long " * 400), "...;"),
        (AssertionError(), "AssertionError raised by the explainer on the model as given;"),
    ],
)
def test_the_text_of_libraries_is_cut_to_what_helps(error, kept):
    def broken(model, inputs, targets):
        raise error

    with pytest.raises(XaiError) as caught:
        Bench(nn.Linear(4, 3).eval(), torch.randn(16, 4)).explainer(broken).invariant_under("batch_order")
    assert kept in str(caught.value)
    assert len(str(caught.value)) < 500
