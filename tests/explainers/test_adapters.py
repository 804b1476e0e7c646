"""Adapters: whose object is it, and how is it called. One family a file, found in order, and open to other packages."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from pytest_xaisanity import Bench, XaiError
from pytest_xaisanity.common import registry
from pytest_xaisanity.common.registry import Registry
from pytest_xaisanity.explainers import LRP, Adapter, as_explainer, backward_rules
from pytest_xaisanity.explainers import adapters as package
from pytest_xaisanity.explainers.adapters import ADAPTERS, adapter_of
from pytest_xaisanity.explainers.adapters.base import check_keywords

INPUTS = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()


class Theirs:
    """A method of another library, which happens to be callable otherwise than a function of ours would be."""

    def __call__(self, everything):
        raise AssertionError("it is explain() that explains")

    def explain(self, x, label, *, scale=1.0):
        return scale * x * label[:, None].add(1)


class TheirAdapter(Adapter):
    def accepts(self, source):
        return isinstance(source, Theirs)

    def attribute(self, source, model, settings, *, where):
        check_keywords(source.explain, settings, where, own=("x", "label"))
        return lambda request: source.explain(request.inputs[0], request.targets, **settings)


class RuledAdapter(TheirAdapter):
    @contextmanager
    def rules(self, source, model):
        handle = model[1].register_full_backward_hook(lambda module, gradient, above: (2 * gradient[0],))
        yield
        handle.remove()


@pytest.fixture
def register(monkeypatch):
    """Return a function that registers a class of this file as an adapter of another package."""

    def registered(name):
        points = EntryPoints([EntryPoint("theirs", f"{__name__}:{name}", "pytest_xaisanity.adapter")])
        monkeypatch.setattr(registry, "entry_points", lambda *, group: points.select(group=group))
        monkeypatch.setattr(package, "ADAPTERS", Registry("adapter", ADAPTERS._entries))

    return registered


class TestOfOtherPackages:
    def test_are_tried_before_any_callable_is_taken_for_a_function(self, register):
        with pytest.raises(XaiError, match="a callable with the signature"):
            as_explainer(Theirs(), network())
        register("TheirAdapter")
        explainer = as_explainer(Theirs(), network(), scale=2.0)
        assert explainer.name == "Theirs(scale=2.0)"
        verdict = Bench(network(), INPUTS).explainer(Theirs(), scale=2.0).invariant_under("batch_order")
        assert verdict.passed

    def test_have_their_keywords_checked_by_the_same_words(self, register):
        register("TheirAdapter")
        with pytest.raises(XaiError, match=r"xai\.explainer Theirs: found 'scal'.*'scale', the nearest known name"):
            as_explainer(Theirs(), network(), scal=2.0)

    def test_leave_what_is_ours_to_us(self, register):
        register("TheirAdapter")
        for source in (Saliency, LRP(), lambda model, inputs, targets: inputs + 1):
            assert not isinstance(adapter_of(source), TheirAdapter)

    def test_have_no_rules_unless_they_say_so(self, register):
        register("TheirAdapter")
        with pytest.raises(XaiError, match="Theirs, whose backward pass cannot be taken apart"):
            backward_rules(Theirs(), network())

    def test_give_their_rules(self, register):
        register("RuledAdapter")
        model, leaf = network(), INPUTS.clone().requires_grad_()
        (plain,) = torch.autograd.grad(model(leaf).sum(), leaf)
        for source in (Theirs(), as_explainer(Theirs(), model)):
            with backward_rules(source, model):
                (ruled,) = torch.autograd.grad(model(leaf).sum(), leaf)
            assert torch.allclose(ruled, 2 * plain)

    def test_that_are_no_adapters_are_named(self, register):
        register("Theirs")
        with pytest.raises(XaiError, match="an adapter 'theirs' that is a Theirs"):
            as_explainer(print, network())


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_an_adapter_of_ours_accepts_neither_numbers_nor_foreign_classes(name):
    adapter = ADAPTERS.build(name, {}, where="here")
    assert not any(adapter.accepts(source) for source in (3, None, "Saliency", Theirs, nn.Linear))


def test_an_explainer_is_itself():
    explainer = as_explainer(Saliency, network())
    assert as_explainer(explainer, network()) is explainer
