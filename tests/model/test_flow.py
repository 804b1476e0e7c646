"""What a parameter can have reached in one forward pass: never too little, and what is left unused is told."""

import threading

import pytest
import torch
from torch import nn

from pytest_xaisanity.model import reach
from pytest_xaisanity.model.flow import Flow
from pytest_xaisanity.model.inventory import Inventory

torch.set_num_threads(1)

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Spare(nn.Module):
    """A head, and a spare layer that a function lets into the output or not."""

    def __init__(self, use):
        super().__init__()
        torch.manual_seed(0)
        self.use = use
        self.body, self.spare, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)
        self.alias = self.spare.weight.data
        self.scripted = torch.jit.script(nn.Linear(8, 8))

    def forward(self, x):
        return self.head(self.use(self, x, torch.tanh(self.body(x))))


class Hidden(torch.autograd.Function):
    """A sum of which no gradient goes to the second."""

    @staticmethod
    def forward(ctx, h, spare):
        return h + spare

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def in_place_through_a_view(model, x, h):
    kept = h.detach().clone()
    kept[:, :4].add_(model.spare(x)[:, :4])
    return kept


def written_by_index(model, x, h):
    kept = torch.zeros_like(h)
    kept[:, 0] = model.spare(x)[:, 0].detach()
    return kept


def into_another(model, x, h):
    kept = torch.empty_like(h)
    with torch.no_grad():
        torch.add(h, model.spare(x), out=kept)
    return kept


def in_a_thread(model, x, h):
    found = []
    thread = threading.Thread(target=lambda: found.append(model.spare(x).detach()))
    thread.start()
    thread.join()
    return h + found[0]


REACHING = {
    "plain": lambda model, x, h: h + model.spare(x),
    "no gradient": lambda model, x, h: h + model.spare(x).detach(),
    "data": lambda model, x, h: h + model.spare(x).data,
    "a number": lambda model, x, h: h * model.spare(x).sum().item(),
    "a list": lambda model, x, h: h * model.spare(x)[0].tolist()[0],
    "an array": lambda model, x, h: h + torch.from_numpy(2 * model.spare(x).detach().numpy()),
    "a shape": lambda model, x, h: h * len((model.spare(x) > 0.3).nonzero()),
    "a branch": lambda model, x, h: h if (model.spare(x) > 1e9).any() else -h,
    "an index": lambda model, x, h: h[:, model.spare(x)[0].argsort()],
    "a slice": lambda model, x, h: h.repeat(1, 9)[:, : model.spare(x).abs().sum().int().clamp(8, 8)],
    "a view written to": in_place_through_a_view,
    "an index written to": written_by_index,
    "out": into_another,
    "a thread": in_a_thread,
    "an alias of the weight": lambda model, x, h: h + x @ model.alias.T,
    "the weight alone": lambda model, x, h: h * model.spare.weight.detach().mean(),
    "a script": lambda model, x, h: h + model.scripted(model.spare(x)),
    "a function of autograd": lambda model, x, h: Hidden.apply(h, model.spare(x)),
    "a function that is mapped": lambda model, x, h: h + torch.vmap(model.spare)(x),
    "a stack": lambda model, x, h: torch.stack([h, model.spare(x)]).mean(0),
}
LEFT = {
    "not called": lambda model, x, h: h,
    "called": lambda model, x, h: (h, model.spare(x))[0],
    "beside it": lambda model, x, h: {"h": h, "pooled": torch.tanh(model.spare(x))[:, 0]}["h"],
    "a number that comes too late": lambda model, x, h: (h, model.spare(x).sum().item())[0],
}


def flowing(model):
    flow = Flow(Inventory(model))
    found = []
    flow.watch().during(lambda: found.append(model(X)))
    return flow.into(found[0])


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("way", REACHING)
def test_whatever_way_a_parameter_takes_it_is_found(way):
    model = Spare(REACHING[way]).eval()
    before = model(X)
    assert {"spare.weight", "head.weight", "head.bias"} <= flowing(model)
    names = [layer.name for layer in reach.find_reaching_layers(model, lambda: model(X), lambda: model(X))]
    with torch.no_grad():
        model.spare.weight.neg_().mul_(3)
    assert torch.equal(model(X), before) == (way in ("a branch", "a slice"))
    assert ("spare" in names) == (way not in ("a branch", "a slice", "an alias of the weight"))  # which is not its name


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["not called", "called", "beside it"])
def test_what_does_not_flow_is_left_out_without_drawing_weights(way, monkeypatch):
    model = Spare(LEFT[way]).eval()
    assert flowing(model) == {"body.weight", "body.bias", "head.weight", "head.bias"}
    monkeypatch.setattr(reach, "Randomizer", None)
    layers = reach.find_reaching_layers(model, lambda: model(X), lambda: model(X))
    assert [layer.name for layer in layers] == ["body", "head"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_only_may_have_flowed_is_left_out_by_drawing_weights():
    model = Spare(LEFT["a number that comes too late"]).eval()
    assert "spare.weight" in flowing(model)
    layers = reach.find_reaching_layers(model, lambda: model(X), lambda: model(X))
    assert [layer.name for layer in layers] == ["body", "head"]


def test_tied_parameters_and_a_model_that_was_not_called_flow_too():
    model = Spare(LEFT["called"])
    model.other = nn.Linear(6, 8)
    model.other.weight = model.body.weight
    assert "other.weight" in flowing(model)
    assert "other.bias" not in flowing(model)
    flow = Flow(Inventory(model))
    assert flow.into(X) == set(Inventory(model).parameters)  # nothing was seen
