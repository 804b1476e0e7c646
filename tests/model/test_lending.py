"""Lending a model: whatever is done to it meanwhile, it comes back as it was, and what should not have been is told."""

from __future__ import annotations

import warnings

import pytest
import torch
from captum.attr import LRP, DeepLift
from model_state import state_of
from torch import nn
from torch.nn.utils import parametrize

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.explainers.adapters import as_explainer
from pytest_xaisanity.explainers.attributions import Attributions
from pytest_xaisanity.model import snapshot
from pytest_xaisanity.model.lending import Lending, evaluating, own_changes
from pytest_xaisanity.subject.subject import Subject

CPU = torch.device("cpu")
X = torch.linspace(-1, 1, 24).reshape(4, 6)


class Net(nn.Module):
    """A model with one of everything."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(5, 3)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.mask = torch.ones(3)
        self.slope = 2.0

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x)).relu())) * self.scale * self.mask


@pytest.fixture
def net():
    model = Net()
    model.norm.eval()
    model(X).sum().backward()
    model.last.bias.requires_grad_(False)
    model.first.register_forward_hook(lambda *_: None)
    return model


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def replace_forward(model):
    model.last.forward = lambda x: x


CHANGES = {
    "a weight changed": (lambda m: m.first.weight.data.mul_(2), "weights .* (first.weight)"),
    "a weight to minus zero": (lambda m: m.last.bias.data.copy_(-0.0 * m.last.bias.data.abs()), "last.bias"),
    "a weight's memory": (lambda m: setattr(m.first.weight, "data", torch.zeros(5, 6)), "first.weight"),
    "a weight's type": (lambda m: m.double(), "parts that the explainer or the model itself changed"),
    "a parameter replaced": (
        lambda m: setattr(m.first, "weight", nn.Parameter(torch.zeros(5, 6))),
        "parameter first.weight replaced",
    ),
    "a parameter deleted": (lambda m: delattr(m.first, "bias"), "parameter first.bias deleted"),
    "a parameter set to None": (lambda m: setattr(m.first, "bias", None), "parameter first.bias replaced"),
    "a parameter added": (lambda m: m.register_parameter("new", nn.Parameter(torch.ones(1))), "parameter new added"),
    "a buffer replaced": (lambda m: setattr(m, "scale", torch.zeros(3)), "buffer scale replaced"),
    "a buffer deleted": (lambda m: delattr(m, "hidden"), "buffer hidden deleted"),
    "a buffer added": (lambda m: m.norm.register_buffer("new", torch.ones(1)), "buffer norm.new added"),
    "a buffer changed": (lambda m: m.scale.mul_(2), "buffer scale changed"),
    "statistics moved": (lambda m: (m.norm.train(), m(X), m.norm.eval()), "buffer norm.running_mean changed"),
    "a module replaced": (lambda m: setattr(m, "drop", nn.Identity()), "module drop replaced"),
    "a module deleted": (lambda m: delattr(m, "drop"), "module drop deleted"),
    "a module added": (lambda m: m.add_module("new", nn.ReLU()), "module new added"),
    "forward swapped": (replace_forward, "the forward of last replaced"),
    "a parametrization": (
        lambda m: parametrize.register_parametrization(m.first, "weight", Doubled()),
        "the class of first replaced by ParametrizedLinear",
    ),
    "a class swapped": (lambda m: setattr(m.drop, "__class__", nn.Identity), "class of drop replaced by Identity"),
    "training mode": (lambda m: m.train(), "the model put into training mode"),
    "training mode of one": (lambda m: m.drop.train(), "drop put into training mode"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_an_explainer_changes_is_an_error_that_names_it_and_is_undone(net, what):
    change, told = CHANGES[what]
    before = state_of(net)
    with pytest.raises(XaiError, match=told.replace("(", r"\(").replace(")", r"\)")):
        Lending(net, CPU, 0).during(lambda: change(net))
    assert state_of(net) == before


@pytest.mark.parametrize("what", CHANGES)
def test_an_error_of_the_work_itself_comes_first_and_all_is_undone_too(net, what):
    def work():
        CHANGES[what][0](net)
        raise ValueError("of its own")

    before = state_of(net)
    with pytest.raises(ValueError, match="of its own"):
        Lending(net, CPU, 0).during(work)
    assert state_of(net) == before


def hooks_in_another_order(model):
    model.first.register_forward_hook(lambda *_: 1, prepend=True)
    model.first._forward_hooks.move_to_end(next(iter(model.first._forward_hooks)))


HARMLESS = {
    "Captum's DeepLift": lambda m: DeepLift(nn.Sequential(m.first, nn.ReLU(), m.last)).attribute(X, target=0),
    "Captum's LRP": lambda m: LRP(nn.Sequential(m.first, nn.ReLU(), m.last)).attribute(X, target=0),
    "what Captum leaves when it is cut off": lambda m: setattr(m.first, "input", X),
    "a parameter in new clothes": lambda m: setattr(m.first, "weight", nn.Parameter(m.first.weight.data)),
    "an attribute": lambda m: setattr(m, "slope", 3.0),
    "an attribute deleted": lambda m: delattr(m, "slope"),
    "a tensor that is an attribute": lambda m: setattr(m, "mask", torch.zeros(3)),
    "hooks": hooks_in_another_order,
    "backward hooks": lambda m: m.register_full_backward_hook(lambda *_: None),
    "gradients": lambda m: m(X).sum().backward(),
    "new gradients": lambda m: (m.zero_grad(), m(X).sum().backward()),
    "requires_grad": lambda m: m.requires_grad_(False),
    "random numbers": lambda m: torch.rand(3),
    "gradient mode": lambda m: torch.set_grad_enabled(False),
    "a function mode": lambda m: torch.device("cpu").__enter__(),
    "hooks for all modules": lambda m: nn.modules.module.register_module_forward_hook(lambda *_: None),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_does_not_change_what_is_explained_is_put_back_without_a_word(net, what):
    before = state_of(net)
    Lending(net, CPU, 0).during(lambda: HARMLESS[what](net))
    assert state_of(net) == before


@pytest.mark.parametrize("what", [*CHANGES, *HARMLESS])
def test_a_block_gives_the_model_back_too(net, what):
    before = state_of(net)
    error = None
    try:
        with Lending(net, CPU, 0).block():
            (CHANGES[what][0] if what in CHANGES else HARMLESS[what])(net)
    except XaiError as raised:
        error = raised
    assert (error is not None) == (what in CHANGES)
    assert state_of(net) == before


def test_what_was_not_changed_is_not_written_to(net):
    versions = {name: tensor._version for name, tensor in net.state_dict(keep_vars=True).items()}
    Lending(net, CPU, 0).during(lambda: net(X))
    assert {name: tensor._version for name, tensor in net.state_dict(keep_vars=True).items()} == versions


def test_weights_that_are_not_a_number_count_as_what_they_are(net):
    net.first.weight.data[0, 0] = torch.nan
    before = state_of(net)
    Lending(net, CPU, 0).during(lambda: net(X))
    assert state_of(net) == before


@pytest.mark.parametrize("make", [lambda t: t.to_sparse(), lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)])
def test_buffers_of_any_kind_come_back(make):
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_buffer("odd", make(torch.eye(3)))
    kept = model.odd
    with pytest.raises(XaiError, match="buffer odd replaced"):
        Lending(model, CPU, 0).during(lambda: setattr(model, "odd", make(torch.ones(3, 3))))
    assert model.odd is kept
    Lending(model, CPU, 0).during(lambda: None)


def test_of_weights_too_large_to_copy_a_change_in_place_is_still_told(net, monkeypatch):
    monkeypatch.setattr(snapshot, "COPIED_BYTES", 100)
    with pytest.raises(XaiError, match=r"parameter first.bias changed, and too large to be put back"):
        Lending(net, CPU, 0).during(lambda: nn.init.ones_(net.first.bias))
    before = state_of(net)
    with pytest.raises(XaiError, match=r"parameter first\.weight replaced"):
        Lending(net, CPU, 0).during(lambda: CHANGES["a parameter replaced"][0](net))
    assert state_of(net) == before


def test_buffers_that_the_model_itself_changes_are_put_back_without_a_word(net):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("cache", torch.zeros(()))
            self.last_size = 0

        def forward(self, x):
            self.calls += 1
            self.cache = x.mean()
            self.last_size = len(x)
            return self.inner(x)

    model = Counting().eval()
    before = state_of(model)
    result, own = own_changes(model, lambda: model(X))
    assert own == {"calls", "cache", "last_size"}
    assert result.shape == (4, 3)
    with pytest.raises(XaiError, match="buffer calls changed"):
        Lending(model, CPU, 0).during(lambda: model(X))
    model.calls.zero_()
    model.cache = torch.zeros(())
    before = state_of(model)
    lending = Lending(model, CPU, 0, own)
    lending.during(lambda: model(X))
    assert not lending.touched
    assert state_of(model) == before


def test_an_explainer_that_was_cut_off_can_be_run_again_from_a_restored_state(net):
    lending = Lending(net, CPU, 0)

    def work():
        inside = state_of(net)
        with torch.no_grad():
            net.first.weight.mul_(2)  # an intervention, which stays
        net.first.register_forward_hook(lambda *_: None)
        net.last.input = X
        net.last.forward = lambda x: x
        net.add_module("new", nn.ReLU())
        net.train()
        net.requires_grad_(False)
        net.first.weight.grad.zero_()
        lending.restore()
        after = state_of(net)
        with torch.no_grad():
            net.first.weight.mul_(0.5)
        return {key for key in after if after[key] != inside[key]}

    assert lending.during(work) == {"tensor first.weight"}
    lending.restore()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradients_can_be_taken_whatever_the_mode_of_the_caller(net, mode):
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def work():
            with torch.enable_grad():
                leaf = X.clone().requires_grad_()
                return torch.autograd.grad(net(leaf).sum(), leaf)[0]

        assert Lending(net, CPU, 0).during(work).shape == X.shape
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


def test_a_function_is_lent_too():
    state = global_state()
    assert Lending(lambda x: x, CPU, 0).during(lambda: torch.rand(2)).shape == (2,)
    assert same_state(state, global_state())


def test_scripted_models_come_back():
    scripted = torch.jit.script(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)))
    before = {name: tensor.clone() for name, tensor in scripted.state_dict().items()}
    with pytest.raises(XaiError, match=r"buffer 0\.running_mean changed"):
        Lending(scripted, CPU, 0).during(lambda: scripted[0].running_mean.add_(1))
    assert all(torch.equal(before[name], tensor) for name, tensor in scripted.state_dict().items())
    assert scripted[0].training
    Lending(torch.jit.freeze(scripted.eval()), CPU, 0).during(lambda: None)


def test_evaluating_names_what_was_in_training_mode(net):
    assert evaluating(net) == ["", "first", "drop", "last"]
    assert evaluating(net) == []
    assert evaluating(len) == []


class Moving(Net):
    """A model that is elsewhere after each move, as on an accelerator: all its tensors have other memory."""

    def to(self, device):
        self.mask = self.mask.clone()
        return self._apply(torch.clone)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_model_that_was_moved_has_its_own_memory_again(error):
    model = Moving()
    model(X).sum().backward()
    before = state_of(model)
    inside = []

    def work():
        inside.append(state_of(model))
        model(X).sum().backward()
        if error is not None:
            raise error

    if error is None:
        Lending(model, torch.device("cpu", 0), 0).during(work)
    else:
        with pytest.raises(error):
            Lending(model, torch.device("cpu", 0), 0).during(work)
    assert state_of(model) == before
    assert inside[0]["tensor first.weight"] != before["tensor first.weight"]


@pytest.mark.parametrize(("name", "kind"), [("first.weight", "weights"), ("scale", "buffer"), ("mask", "")])
def test_what_is_changed_where_a_model_was_moved_to_is_told(name, kind):
    model = Moving()
    before = state_of(model)

    def work():
        with torch.no_grad():
            (model.get_parameter(name) if name == "first.weight" else getattr(model, name)).mul_(2)

    if kind:
        with pytest.raises(XaiError, match=f"{kind}.* {name}".replace("weights.* ", r"weights.*\(")):
            Lending(model, torch.device("cpu", 0), 0).during(work)
    else:
        Lending(model, torch.device("cpu", 0), 0).during(work)
    assert state_of(model) == before


def test_an_explainer_that_runs_out_of_memory_is_run_again_without_what_it_has_left(net):
    """A hook that doubles the activations stays where the explainer is cut off before it takes it away."""
    inputs = torch.linspace(-1, 1, 120).reshape(20, 6)

    def hooked(model, x, targets):
        handle = model.first.register_forward_hook(lambda module, given, output: 2 * output)
        if len(x) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        x = x.requires_grad_()
        maps = torch.autograd.grad(model(x).sum(), x)[0]
        handle.remove()
        return maps

    maps = []
    for size in (8, 20):
        subject = Subject(net, inputs, device="cpu", batch_size=size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            maps.append(subject.lend(lambda subject=subject: explained(subject, hooked)))
    assert torch.allclose(*maps)


def test_of_a_call_that_ran_out_of_memory_only_its_own_hooks_are_taken_away(net):
    """An explainer that hooks the model once, and keeps what passes, needs its hook at the next try."""
    inputs = torch.linspace(-1, 1, 120).reshape(20, 6)

    class Hooked:
        def __init__(self):
            self.kept = None

        def __call__(self, model, x, targets):
            if self.kept is None:
                model.first.register_forward_hook(lambda module, given, output: self.kept.append(output.detach()))
            self.kept = []
            x = x.requires_grad_()
            maps = torch.autograd.grad(model(x).sum(), x)[0] * self.kept[-1].sum(1, keepdim=True)
            if len(x) > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return maps

    maps = []
    for size in (8, 20):
        subject, explainer = Subject(net, inputs, device="cpu", batch_size=size), Hooked()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            maps.append(subject.lend(lambda subject=subject, explainer=explainer: explained(subject, explainer)))
    assert torch.allclose(*maps)


def explained(subject, explainer):
    """Return the maps of all inputs."""
    attributions = Attributions(subject, as_explainer(explainer, subject.model), 0)
    return torch.cat([attributions(block) for block in subject.blocks(early=False)])
