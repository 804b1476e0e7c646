"""CAMs of pytorch-grad-cam, classes and objects, as explainers: those of a stand-in, and its own where it is there."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.explainers import Attributions, Request, as_explainer
from pytest_xaisanity.subject.subject import Subject

INPUTS = torch.randn(20, 2, 8, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(20) % 3
BASE = {"__module__": "pytorch_grad_cam.base_cam"}


class _Hooks:
    """Keeps what the layers return and their gradients, from hooks that stay on the model."""

    def __init__(self, model, layers):
        self.model, self.activations, self.gradients, self.handles = model, [], [], []
        for layer in layers:
            self.handles.append(layer.register_forward_hook(self.save_activation))
            self.handles.append(layer.register_forward_hook(self.save_gradient))

    def save_activation(self, module, inputs, output):
        self.activations.append(output.detach())

    def save_gradient(self, module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: setattr(self, "gradients", [gradient.detach(), *self.gradients]))

    def __call__(self, inputs):
        self.gradients, self.activations = [], []
        return self.model(inputs)

    def release(self):
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


class _BaseCAM:
    """Does to the model, to its hooks and to itself what the library's own does."""

    def __init__(self, model, target_layers, reshape_transform=None):
        self.model, self.target_layers = model.eval(), target_layers
        self.device = next(model.parameters()).device
        self.activations_and_grads = _Hooks(model, target_layers)

    def __call__(self, input_tensor, targets, aug_smooth=False, eigen_smooth=False):
        inputs = input_tensor.to(self.device)
        self.outputs = self.activations_and_grads(inputs)
        self.model.zero_grad()
        sum(target(output) for target, output in zip(targets, self.outputs, strict=True)).backward(retain_graph=True)
        hooks = self.activations_and_grads
        maps = [
            self.weighted(activation, gradient)
            for activation, gradient in zip(hooks.activations, hooks.gradients, strict=True)
        ]
        sized = [F.interpolate(one[:, None], inputs.shape[2:], mode="bilinear")[:, 0] for one in maps]
        mean = torch.stack([_scaled(one) for one in sized]).mean(0)
        return np.float32(_scaled(mean) ** (1 + eigen_smooth))

    def weighted(self, activation, gradient):
        return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).clamp(min=0)

    def __del__(self):
        self.activations_and_grads.release()


class _Drawing:
    def weighted(self, activation, gradient):
        weights = torch.from_numpy(np.random.uniform(-1, 1, gradient.shape[:2])).float()
        return (weights[:, :, None, None] * activation).sum(1).clamp(min=0)


def _scaled(maps):
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (1e-7 + maps.amax((1, 2), keepdim=True))


class StandIn:
    """What the tests use of the library."""

    BaseCAM = type("BaseCAM", (_BaseCAM,), BASE)
    GradCAM = type("GradCAM", (BaseCAM,), {"__module__": "pytorch_grad_cam.grad_cam"})
    RandomCAM = type("RandomCAM", (_Drawing, BaseCAM), {"__module__": "pytorch_grad_cam.random_cam"})
    FinerCAM = type("FinerCAM", (), {"__module__": "pytorch_grad_cam.finer_cam", "__call__": lambda *args: None})


@pytest.fixture(params=["stand-in", "library"])
def cams(request):
    return StandIn if request.param == "stand-in" else pytest.importorskip("pytorch_grad_cam")


def network(head=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(*layers, nn.Linear(4 * 48, head)).eval()
        model[5].weight.data *= 1000  # the library adds 1e-7 to the largest value before it divides by it
        return model


def asked(model, targets=TARGETS, inputs=INPUTS):
    return Request(model, (inputs.clone(),), targets, tuple(range(len(inputs))))


def by_hand(model, targets, layer=2):
    """GradCAM in float64, one input at a time: weights are mean gradients, negative parts are cut, then 0 to 1."""
    model, maps = copy.deepcopy(model).double(), []
    for x, target in zip(INPUTS.double(), targets, strict=True):
        activation = model[: layer + 1](x[None]).detach().requires_grad_()
        output = model[layer + 1 :](activation).reshape(-1)[int(target)]
        (gradient,) = torch.autograd.grad(output, activation)
        one = sum(gradient[0, k].mean() * activation[0, k].detach() for k in range(activation.shape[1])).clamp(min=0)
        maps.append((one - one.min()) / (one.max() - one.min() + 1e-7))
    return torch.stack(maps)


def photograph(model):
    return [
        (name, module.training, list(module._forward_hooks.items()), list(module._backward_hooks.items()))
        for name, module in model.named_modules()
    ] + [(name, id(p), p.requires_grad, p._version, id(p.grad)) for name, p in model.named_parameters()]


class TestMaps:
    @pytest.mark.parametrize("targets", [TARGETS, (TARGETS + 1) % 3])
    def test_are_those_of_the_explained_targets(self, cams, targets):
        model = network()
        maps = as_explainer(cams.GradCAM, model, target_layers=["2"]).attribute(asked(model, targets))
        assert maps.shape == (20, 8, 6)
        assert np.abs(maps - by_hand(model, targets).numpy()).max() < 1e-4

    def test_are_alike_by_class_and_object_and_however_the_layer_is_given(self, cams):
        model = network()
        expected = by_hand(model, TARGETS).float()
        for layers in ("2", model[2], ["2"], (model[2],)):
            maps = as_explainer(cams.GradCAM, model, target_layers=layers).attribute(asked(model))
            assert np.abs(maps - expected.numpy()).max() < 1e-4
        cam = cams.GradCAM(model, [model[2]])
        assert np.abs(as_explainer(cam, model).attribute(asked(model)) - expected.numpy()).max() < 1e-4

    def test_of_a_model_with_a_single_output(self, cams):
        for model in (network(1), nn.Sequential(*network(1), nn.Flatten(0))):
            maps = as_explainer(cams.GradCAM, model, target_layers="2").attribute(asked(model, None))
            assert np.abs(maps - by_hand(model, torch.zeros(20)).numpy()).max() < 1e-4

    def test_of_an_output_with_two_positions(self, cams):
        model = nn.Sequential(*network(6), nn.Unflatten(1, (2, 3)))
        positions = torch.stack([TARGETS % 2, TARGETS], dim=1)
        maps = as_explainer(cams.GradCAM, model, target_layers="2").attribute(asked(model, positions))
        flat = positions[:, 0] * 3 + positions[:, 1]
        assert np.abs(maps - by_hand(model, flat).numpy()).max() < 1e-4

    def test_do_not_need_weights_that_take_gradients(self, cams):
        model = network().requires_grad_(False)
        maps = as_explainer(cams.GradCAM, model, target_layers="2").attribute(asked(model))
        assert np.abs(maps - by_hand(model, TARGETS).numpy()).max() < 1e-4

    def test_take_the_settings_of_the_call(self, cams):
        model = network()
        smooth = as_explainer(cams.GradCAM, model, target_layers="2", eigen_smooth=True)
        assert smooth.name == "GradCAM(target_layers=2, eigen_smooth=True)"
        assert not np.allclose(smooth.attribute(asked(model)), by_hand(model, TARGETS).numpy(), atol=1e-2)
        bound = as_explainer(cams.GradCAM(model, [model[2]]), model, eigen_smooth=True)
        assert np.allclose(bound.attribute(asked(model)), smooth.attribute(asked(model)))

    @pytest.mark.parametrize("bound", [False, True])
    def test_follow_the_weights(self, cams, bound):
        model = network()
        bench = Bench(model, INPUTS, TARGETS, device="cpu")
        cam = (
            bench.explainer(cams.GradCAM(model, [model[2]]))
            if bound
            else bench.explainer(cams.GradCAM, target_layers="2")
        )
        assert cam.changes_under("cascading_randomization", seeds=2, similarity="cosine", at_most=0.9).passed
        assert cam.invariant_under("batch_order").passed

    def test_of_one_that_draws_do_not_depend_on_the_batch(self, cams):
        model, maps = network(), []
        for batch_size in (None, 3):
            subject = Subject(model, INPUTS, TARGETS, device="cpu", batch_size=batch_size)
            explained = Attributions(subject, as_explainer(cams.RandomCAM, model, target_layers="2"), 0)
            with subject.lent():
                maps.append(explained(next(subject.blocks())))
        assert torch.equal(*maps)
        assert not torch.equal(maps[0][0], maps[0][1])


class TestTheModel:
    """And the object are left as they were, whatever happens."""

    @pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
    @pytest.mark.parametrize("bound", [False, True])
    def test_keeps_its_hooks_modes_and_gradients(self, cams, bound, error):
        model = network().train()
        model(INPUTS).sum().backward()
        gradient = model[0].weight.grad.clone()
        cam = cams.GradCAM(model, [model[2]]) if bound else None
        explainer = as_explainer(cam, model) if bound else as_explainer(cams.GradCAM, model, target_layers="2")
        model.train()
        if error is not None:
            model[5].register_forward_hook(self.raising(error))
        before = photograph(model)
        if error is None:
            explainer.attribute(asked(model))
        else:
            with pytest.raises(error):
                explainer.attribute(asked(model))
        assert photograph(model) == before
        assert torch.equal(model[0].weight.grad, gradient)

    @staticmethod
    def raising(error):
        def hook(*_):
            raise error

        return hook

    def test_has_an_object_that_works_as_before(self, cams):
        model = network()
        cam = cams.GradCAM(model, [model[2]])
        plain = cam(INPUTS, None if cams is not StandIn else [lambda output: output[0]] * 20)
        state = {name: id(value) for name, value in vars(cam).items()}
        kept = [*cam.activations_and_grads.activations, *cam.activations_and_grads.gradients]
        bench = Bench(model, INPUTS, TARGETS, device="cpu")
        bench.explainer(cam).invariant_under("batch_order")
        assert {name: id(value) for name, value in vars(cam).items()} == state
        as_explainer(cam, model).attribute(asked(model))
        hooks = cam.activations_and_grads
        assert len(hooks.handles) == len(model[2]._forward_hooks) == 2
        assert all(a is b for a, b in zip([*hooks.activations, *hooks.gradients], kept, strict=False))
        again = cam(INPUTS, None if cams is not StandIn else [lambda output: output[0]] * 20)
        assert np.array_equal(plain, again)

    def test_does_not_let_an_object_gather_what_passes_between_its_calls(self, cams):
        model = network()
        cam = cams.GradCAM(model, [model[2]])
        explainer = as_explainer(cam, model)
        for _ in range(3):
            for _ in range(5):
                model(INPUTS[:2])
            explainer.attribute(asked(model))
            assert not cam.activations_and_grads.activations
            assert not cam.activations_and_grads.gradients

    def test_may_be_on_another_device_than_when_the_object_was_made(self, cams):
        model = network()
        cam = cams.GradCAM(model, [model[2]])
        cam.device = torch.device("meta")
        maps = as_explainer(cam, model).attribute(asked(model))
        assert np.abs(maps - by_hand(model, TARGETS).numpy()).max() < 1e-4
        assert cam.device == torch.device("meta")


class TestMistakes:
    def test_are_named(self, cams):
        model, other = network(), network()
        released = cams.GradCAM(model, [model[2]])
        released.activations_and_grads.release()
        for source, settings, words in (
            (cams.GradCAM, {}, "GradCAM: found no target_layers.*pass target_layers=... beside the class, modules or"),
            (cams.GradCAM, {"target_layers": ["7"]}, "target_layers: found '7'; expected one of 0, 1, 2, 3, 4, 5"),
            (cams.GradCAM, {"target_layers": other[2]}, "a Conv2d that is no part of xai_model"),
            (cams.GradCAM, {"target_layers": "2", "model": model}, "model= among its settings"),
            (cams.GradCAM, {"target_layers": "2", "targets": None}, "targets= among its settings"),
            (cams.GradCAM, {"target_layers": "2", "smooth": 1}, "'smooth'.*'aug_smooth', the nearest known name"),
            (cams.GradCAM(other, [other[2]]), {}, "bound to another model than xai_model"),
            (released, {}, "whose hooks have been taken off the model"),
            (cams.FinerCAM, {"target_layers": "2"}, "a FinerCAM, which is no BaseCAM"),
        ):
            with pytest.raises(XaiError, match=words):
                as_explainer(source, model, **settings)

    def test_of_several_inputs_is_named(self, cams):
        model = network()
        explainer = as_explainer(cams.GradCAM, model, target_layers="2")
        with pytest.raises(XaiError, match="found 2 input tensors for pytorch-grad-cam's GradCAM"):
            explainer.attribute(Request(model, (INPUTS, INPUTS), TARGETS, tuple(range(20))))
