"""Watching a forward pass: what is seen, what may be replaced, and that nothing of the watcher stays anywhere."""

from __future__ import annotations

import pytest
import torch
from model_state import everywhere, state_of
from planting import planted
from torch import nn
from torch.overrides import TorchFunctionMode

from pytest_xaisanity.model.tracing import Call, Watch, function_modes, put_function_modes

X = torch.linspace(-1, 1, 8).reshape(2, 4)


def net():
    """A model that calls one of its modules twice."""
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 2)).eval()


class Mode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_calls_come_with_their_numbers_in_the_order_of_their_ends():
    model, seen = net(), []
    modules = {"layer": model[0], "last": model[4], "whole": model}
    watch = Watch(modules=modules, output=lambda call, output: seen.append((call, tuple(output.shape))))
    watch.during(lambda: model(X))
    expected = [Call("layer"), Call("layer", 1), Call("last"), Call("whole")]
    assert [call for call, _ in seen] == expected
    assert [shape for _, shape in seen] == [(2, 4), (2, 4), (2, 2), (2, 2)]


def test_calls_are_counted_anew_when_they_are_forgotten():
    model, seen = net(), []

    def called(module, _):
        if module is model:
            watch.forget()

    watch = Watch(called=called, modules={"layer": model[0]}, output=lambda call, _: seen.append(call.number))
    watch.during(lambda: (model(X), model(X)))
    assert seen == [0, 1, 0, 1]


def test_an_output_may_be_replaced_behind_the_hooks_of_the_module_itself():
    model, seen = net(), []
    model[4].register_forward_hook(lambda *_: torch.ones(2, 2))
    results = []

    def output(call, value):
        seen.append(value)
        return value * 3

    Watch(modules={"last": model[4]}, output=output).during(lambda: results.append(model(X)))
    assert torch.equal(seen[0], torch.ones(2, 2))
    assert torch.equal(results[0], torch.full((2, 2), 3.0))
    assert torch.equal(model(X), torch.ones(2, 2))


def test_inputs_may_be_replaced():
    model, results = net(), []
    watch = Watch(called=lambda module, inputs: (inputs[0] * 0,) if module is model else None)
    watch.during(lambda: results.append(model(X)))
    assert torch.equal(results[0], model(X * 0))


def test_a_pass_may_be_stopped_at_the_end_of_a_module():
    model, seen = net(), []
    watch = Watch(modules={"relu": model[1], "last": model[4]}, output=lambda *_: watch.stop())
    watch.during(lambda: seen.append(model(X)))
    assert not seen


def test_a_stop_ends_its_own_watcher_alone():
    model, ended = net(), []
    outer = Watch(modules={"last": model[4]}, output=lambda *_: outer.stop())

    def inside():
        Watch(called=lambda *_: None).during(lambda: model(X))
        ended.append(1)

    outer.during(inside)
    assert not ended


def test_operations_are_seen_with_their_arguments_and_may_be_replaced():
    model, names, results = net(), [], []

    def computed(function, args, kwargs):
        names.append(function.__name__)
        return torch.zeros(2, 4) if function is torch.nn.functional.relu else function(*args, **kwargs)

    Watch(computed=computed).during(lambda: results.append(model(X)))
    assert names.count("linear") == 3
    assert names.count("relu") == 2
    assert torch.equal(results[0], model[4](torch.zeros(2, 4)))


def test_modules_that_have_run_or_raised_are_told():
    class Raises(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model, returned, left = nn.Sequential(nn.ReLU(), Raises()), [], []
    watch = Watch(returned=lambda module, _: returned.append(module), left=left.append)
    with pytest.raises(ValueError, match="no"):
        watch.during(lambda: model(X))
    assert returned == [model[0]]
    assert left == [model[0], model[1], model]


def full(model):
    """Return a watcher of everything."""
    return Watch(
        called=lambda *_: None,
        returned=lambda *_: None,
        left=lambda *_: None,
        computed=lambda function, args, kwargs: function(*args, **kwargs),
        modules={"": model[1]},
        output=lambda *_: None,
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_is_raised_at_any_line_nothing_of_the_watcher_stays(error):
    model = net()
    with Mode():
        before = state_of(model)
        lines, *_ = planted(lambda: full(model).during(lambda: model(X)), (), error)
        assert lines > 100
        for place in range(1, lines + 1):
            _, where, result = planted(lambda: full(model).during(lambda: model(X)), (place,), error)
            assert isinstance(result, error), where
            assert state_of(model) == before, where


def test_a_watcher_leaves_where_another_mode_was_left_on_it():
    model, left = net(), Mode()
    before = everywhere()
    with full(model).block():
        left.__enter__()
    assert function_modes() == [left]
    left.__exit__(None, None, None)
    assert everywhere() == before


def test_function_modes_are_put_in_any_order():
    modes = [Mode() for _ in range(3)]
    for order in ([0, 1, 2], [2, 0], [], [1], [1, 2]):
        put_function_modes([modes[place] for place in order])
        assert function_modes() == [modes[place] for place in order]
    put_function_modes([])
