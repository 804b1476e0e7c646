"""Softplus and log-sum-exp by their definitions, and in the forward passes of models."""

from __future__ import annotations

import copy
from math import inf, log

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import XaiError
from pytest_xaisanity.model.smooth import Smooth, smooths_of
from pytest_xaisanity.model.smoothing import Smoothing
from pytest_xaisanity.model.tracing import function_modes

SHARPNESSES = [1.0, 2.0, 5.0, 10.0, 50.0, 1e4]


class Computes(nn.Module):
    """A model that computes a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def smoothed(model, inputs, **settings):
    """Return the smoothed output of a model or a function."""
    model = model if isinstance(model, nn.Module) else Computes(model)
    with Smoothing(model, Smooth(**settings)).block():
        return model(inputs)


def values(*sizes, dtype=torch.float64):
    return torch.randn(sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype) * 3


@pytest.mark.parametrize("beta", SHARPNESSES)
def test_softplus_is_above_relu_by_ln_2_over_beta_at_most(beta):
    """The difference is largest at 0, and its gradient is the sigmoid of beta z."""
    z = torch.cat([torch.linspace(-30, 30, 601, dtype=torch.float64), torch.zeros(1)]).requires_grad_()
    found = smoothed(F.relu, z, beta=beta)
    gap = (found - z.relu()).detach()
    assert gap.max() == pytest.approx(log(2) / beta)
    assert gap.argmax() in (300, 601)
    assert gap.min() >= -1e-12
    (gradient,) = torch.autograd.grad(found.sum(), z)
    assert torch.allclose(gradient, torch.sigmoid(beta * z), atol=1e-8)


@pytest.mark.parametrize("r", SHARPNESSES)
def test_log_sum_exp_lies_between_the_maximum_and_ln_n_over_r_above_it(r):
    """And the mean form as far below it; the gradient of both is the softmax of r z."""
    z = values(40, 6).requires_grad_()
    top = z.detach().amax(1)
    for lse, low, high in (("sum", 0.0, log(6) / r), ("mean", -log(6) / r, 0.0)):
        found = smoothed(lambda x: x.amax(1), z, r=r, lse=lse)
        gap = found.detach() - top
        assert gap.min() >= low - 1e-9
        assert gap.max() <= high + 1e-9
        (gradient,) = torch.autograd.grad(found.sum(), z)
        assert torch.allclose(gradient, torch.softmax(r * z, 1).detach())
    equal = smoothed(lambda x: x.amax(1), torch.ones(2, 6).double(), r=r)
    assert torch.allclose(equal, torch.full((2,), 1 + log(6) / r).double())


def by_definition(inputs, kernel, stride, padding, dilation, sizes, r, *, mean):
    """Log-sum-exp pooling of planes, window by window."""
    rows, columns = inputs.shape[-2:]
    found = inputs.new_empty(*inputs.shape[:-2], *sizes)
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            places = [
                (i * stride[0] - padding[0] + a * dilation[0], j * stride[1] - padding[1] + b * dilation[1])
                for a in range(kernel[0])
                for b in range(kernel[1])
            ]
            window = [inputs[..., y, x] for y, x in places if 0 <= y < rows and 0 <= x < columns]
            total = torch.stack([(r * one).exp() for one in window]).sum(0) / (len(window) if mean else 1)
            found[..., i, j] = total.log() / r
    return found


POOLINGS = {
    "plain": {"kernel_size": 2},
    "overlapping": {"kernel_size": 3, "stride": 1},
    "padded": {"kernel_size": 3, "stride": 2, "padding": 1},
    "dilated": {"kernel_size": 2, "stride": 1, "dilation": 2},
    "ceil": {"kernel_size": (2, 3), "stride": (2, 2), "ceil_mode": True},
    "all": {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "ceil_mode": True},
}


@pytest.mark.parametrize("lse", ["sum", "mean"])
@pytest.mark.parametrize("kind", POOLINGS)
def test_pooling_is_log_sum_exp_over_each_window_and_never_of_a_padded_place(kind, lse):
    given = POOLINGS[kind]
    inputs = values(2, 3, 9, 8)
    found = smoothed(nn.MaxPool2d(**given), inputs, r=2.0, lse=lse)
    kernel, padding, dilation = (
        (one,) * 2 if isinstance(one, int) else one
        for one in (given["kernel_size"], given.get("padding", 0), given.get("dilation", 1))
    )
    stride = given.get("stride", kernel)
    stride = (stride,) * 2 if isinstance(stride, int) else stride
    sizes = F.max_pool2d(inputs, **given).shape[-2:]
    expected = by_definition(inputs, kernel, stride, padding, dilation, sizes, 2.0, mean=lse == "mean")
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("lse", ["sum", "mean"])
def test_adaptive_pooling_is_log_sum_exp_over_windows_of_any_length(lse):
    inputs = values(2, 3, 9, 7)
    found = smoothed(nn.AdaptiveMaxPool2d((4, None)), inputs, r=2.0, lse=lse)
    ends = [(0, 3), (2, 5), (4, 7), (6, 9)]
    rows = [torch.logsumexp(2.0 * inputs[:, :, a:b], 2) / 2 - (log(b - a) / 2 if lse == "mean" else 0) for a, b in ends]
    assert torch.allclose(found, torch.stack(rows, 2))


SAME = {
    "relu": [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        nn.Threshold(0, 0),
        nn.LeakyReLU(0.0),
        nn.LeakyReLU(0.0, inplace=True),
        nn.Sequential(nn.Sequential(nn.ReLU())),
        F.relu,
        torch.relu,
        torch.relu_,
        torch.Tensor.relu,
        torch.Tensor.relu_,
        torch.ops.aten.relu.default,
        lambda x: F.relu(input=x),
        lambda x: x.clamp(min=0),
        lambda x: x.clip(0),
        lambda x: torch.clamp_min(x, 0),
    ],
    "relu6": [nn.ReLU6(), F.relu6, nn.Hardtanh(0, 6), lambda x: F.hardtanh(x, 0, 6, inplace=True)],
    "leaky": [nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3), nn.PReLU(init=0.3, dtype=torch.float64)],
    "max_pool": [
        nn.MaxPool2d(2),
        nn.AdaptiveMaxPool2d((4, 3)),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, (2, 2), (2, 2)),
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        lambda x: F.max_pool3d(x, (1, 2, 2)),
        lambda x: torch.max_pool2d(x, [2], [], 0),
        lambda x: torch.ops.aten.max_pool2d.default(x, [2, 2]),
    ],
    "over time": [
        nn.AdaptiveMaxPool2d(1),
        lambda x: x.amax((2, 3)),
        lambda x: x.max(3).values.max(dim=2)[0],
        lambda x: torch.amax(x, dim=(-1, -2), keepdim=True),
        lambda x: F.max_pool1d(x.flatten(2), 48),
    ],
}


@pytest.mark.parametrize("kind", SAME)
def test_modules_functions_methods_and_calls_in_place_are_all_alike(kind):
    inputs = values(2, 3, 8, 6)
    found = [smoothed(form, inputs.clone(), beta=2.0, r=2.0).reshape(2, -1) for form in SAME[kind]]
    plain = [form(inputs.clone()).reshape(2, -1) for form in SAME[kind]]
    assert all(torch.allclose(one, found[0]) for one in found)
    assert all(not torch.allclose(one, found[0], atol=1e-3) for one in plain)


def test_calls_in_place_write_into_what_they_are_given_and_have_the_same_gradient():
    inputs = values(3, 4).requires_grad_()

    def gradient(relu):
        out = smoothed(lambda x: relu(x * 1.0) * 2, inputs, beta=2.0)
        return torch.autograd.grad(out.sum(), inputs)[0]

    assert torch.equal(gradient(torch.relu), gradient(torch.relu_))
    given = inputs.detach().clone()
    assert smoothed(torch.relu_, given, beta=2.0) is given
    assert torch.equal(given, F.softplus(inputs.detach(), 2.0))


def test_indices_of_a_pooling_stay_those_of_the_maximum():
    inputs = values(2, 3, 8, 6)
    found, indices = smoothed(lambda x: F.max_pool2d(x, 2, return_indices=True), inputs)
    assert torch.equal(indices, F.max_pool2d(inputs, 2, return_indices=True)[1])
    assert torch.equal(found, smoothed(nn.MaxPool2d(2), inputs))
    named = smoothed(lambda x: x.max(1), inputs)
    assert torch.equal(named.indices, inputs.argmax(1))


@pytest.mark.parametrize("sharp", [1e3, 1e8, 1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_however_sharp_it_does_not_overflow_and_comes_to_relu_and_the_maximum(dtype, sharp):
    inputs = (values(2, 3, 8, 6) * 1000).to(dtype).requires_grad_()
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    found = smoothed(net, inputs, beta=sharp, r=sharp)
    assert found.dtype == dtype
    assert torch.allclose(found, net(inputs), atol=1e-2 if sharp < 1e4 else 1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), inputs)
    assert gradient.isfinite().all()


def test_a_window_of_minus_infinities_has_no_gradient():
    inputs = torch.full((2, 4), -inf, dtype=torch.float64)
    inputs[1, 2] = 1.0
    inputs.requires_grad_()
    found = smoothed(lambda x: x.amax(1), inputs)
    assert found.tolist() == [-inf, 1.0]
    (gradient,) = torch.autograd.grad(found[1], inputs)
    assert gradient.tolist() == [[0.0] * 4, [0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clamp(min=1e-3),
        lambda x: x.clamp(min=0, max=1),
        lambda x: x.clamp(max=0),
        lambda x: F.threshold(x, 0.1, 0.0),
        lambda x: torch.max(x),
        lambda x: torch.max(x, x + 1),
        lambda x: F.gelu(x).tanh(),
        lambda x: x.long().relu(),
        lambda x: x.long().amax(1),
        lambda x: F.avg_pool2d(x, 2),
    ],
)
def test_what_is_no_relu_and_no_pooling_stays(function):
    inputs = values(2, 3, 8, 6)
    assert torch.equal(smoothed(function, inputs, beta=1.0, r=1.0), function(inputs))


def test_infinity_leaves_one_of_the_two_as_it_is():
    inputs = values(2, 3, 8, 6)
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    assert torch.equal(smoothed(net, inputs, beta=inf, r=2.0), smoothed(nn.MaxPool2d(2), inputs.relu(), r=2.0))
    assert torch.equal(smoothed(net, inputs, beta=2.0, r=inf), F.max_pool2d(F.softplus(inputs, 2.0), 2))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.shared = nn.ReLU(inplace=True)
        self.head = nn.Linear(4 * 3 * 3, 3)

    def forward(self, inputs):
        return self.head(self.shared(F.max_pool2d(self.shared(self.conv(inputs)), 2)).flatten(1))


def test_outside_of_the_model_nothing_is_smoothed():
    """Such as the ReLU that ends GradCAM."""
    net, inputs = Network().eval(), torch.randn(2, 1, 8, 8)
    smoothing = Smoothing(net, Smooth(1.0, 1.0))
    with smoothing.block():
        assert torch.equal(F.relu(inputs), inputs.clamp(min=0))
        assert torch.equal(nn.Sequential(nn.ReLU())(inputs), inputs.clamp(min=0))
        net(inputs)
        assert torch.equal(nn.MaxPool2d(2)(inputs), nn.AdaptiveMaxPool2d(4)(inputs))
    assert smoothing.met == {"relu": 2, "max_pool2d": 1}


def test_copies_wrappers_and_parts_of_the_model_are_smoothed():
    net, inputs = Network().eval(), torch.randn(2, 1, 8, 8)
    with Smoothing(net, Smooth(1.0, 1.0)).block():
        expected = net(inputs)
        assert torch.equal(copy.deepcopy(net)(inputs), expected)
        assert torch.equal(nn.Sequential(net)(inputs), expected)
        assert torch.equal(net.shared(inputs.clone()), F.softplus(inputs))
    assert not torch.equal(net(inputs), expected)


def test_exceptions_inside_leave_nothing_behind():
    net, inputs = Network().eval(), torch.randn(2, 1, 8, 8)
    before, state = net(inputs), copy.deepcopy(net.state_dict())
    smoothing = Smoothing(net, Smooth(1.0, 1.0))
    for error in (ValueError, KeyboardInterrupt):

        def fails(*_, error=error):
            raise error

        handle = net.head.register_forward_pre_hook(fails)
        with pytest.raises(error), smoothing.block():
            net(inputs)
        handle.remove()
        assert function_modes() == []
        assert torch.equal(net(inputs), before)
    assert all(torch.equal(one, state[name]) for name, one in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with smoothing.block():
        assert not torch.equal(net(inputs), before)


def test_a_transformer_is_smoothed_with_gradients_and_without():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    inputs = torch.randn(2, 4, 8)
    with torch.no_grad():
        found = smoothed(layer, inputs, beta=1.0)
    assert torch.allclose(found, smoothed(layer, inputs, beta=1.0), atol=1e-6)
    assert not torch.allclose(found, layer(inputs), atol=1e-3)


@pytest.mark.parametrize("model", [lambda x: x, torch.jit.script(nn.ReLU())], ids=["function", "scripted"])
def test_a_model_that_cannot_be_seen_inside_is_refused(model):
    with pytest.raises(XaiError, match=r"expected a torch\.nn\.Module whose operations can be seen"):
        Smoothing(model, Smooth())


def test_a_sweep_pairs_several_settings():
    assert smooths_of((1.0, 2.0), 5.0, "sum") == (Smooth(1.0, 5.0), Smooth(2.0, 5.0))
    assert smooths_of((1.0, 2.0), (3.0, 4.0), "mean") == (Smooth(1.0, 3.0, "mean"), Smooth(2.0, 4.0, "mean"))
    with pytest.raises(XaiError, match=r"3 values beside 2 of beta=.*change r="):
        smooths_of((1.0, 2.0), (3.0, 4.0, 5.0), "sum")
