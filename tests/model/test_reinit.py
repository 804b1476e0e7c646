"""Layers get new weights in place, from a distribution and a seed, and the model comes back bit for bit."""

import copy
import threading
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import generator, global_state, same_state
from pytest_xaisanity.model.layers import find_layers
from pytest_xaisanity.model.reinit.distributions import REINITS, Distribution, Own, Permutation, TruncatedNormal
from pytest_xaisanity.model.reinit.randomizer import Randomizer

torch.set_num_threads(1)
torchvision = pytest.importorskip("torchvision")

DISTRIBUTIONS = [Own(), TruncatedNormal(), Permutation()]
each_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda one: type(one).__name__)
old_style = pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")


class Small(nn.Module):
    """Convolutions of equal shape, batch normalization, bare tokens, attention, a frozen and an unused part."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1), torchvision.ops.FrozenBatchNorm2d(8)
        self.stem = nn.Conv2d(1, 8, 1, bias=False).requires_grad_(False)
        self.auxiliary = nn.Linear(8, 2)

    def forward(self, x):
        x = self.norm1(self.conv1(self.stem(x)))
        x = x + F.relu(self.norm2(self.conv2(x)))
        x = torch.cat([self.token.expand(len(x), -1, -1), x.flatten(2).mT], 1)
        return self.head(self.attention(x, x, x)[0][:, 0])


IMAGES = torch.randn(2, 1, 4, 4, generator=generator("images"))


def trained(model, *inputs):
    """Return the model with statistics, gradients and biases as training would leave them, in eval mode."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.train()
    output = model(*inputs)
    if output.requires_grad:
        output.abs().sum().backward()
    return model.eval()


def layers_of(model, *inputs):
    with torch.no_grad():
        return find_layers(model, lambda: model(*inputs))


def bits(tensor):
    return None if tensor is None else tensor.detach().clone()


def snapshot(model):
    """Return all of a model that a user could tell apart."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    hooks = [
        {name: dict(value) for name, value in vars(m).items() if "hooks" in name and isinstance(value, dict)}
        for m in model.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]
    plain = [value for m in model.modules() for value in vars(m).values() if isinstance(value, torch.Tensor)]
    return {
        "values": {name: bits(t) for name, t in tensors.items()},
        "grads": {name: bits(t.grad) for name, t in model.named_parameters()},
        "identity": {
            name: (id(t), t.data_ptr(), t._version, t.requires_grad, id(t.grad)) for name, t in tensors.items()
        },
        "hooks": hooks,
        "plain": [(id(value), bits(value)) for value in plain],
        "modes": [module.training for module in model.modules()],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def values(model):
    return snapshot(model)["values"]


def changed(model, before):
    after = values(model)
    return {name for name in after if not same(before[name], after[name])}


def randomized(model, layers, distribution="own", seed=0):
    """Return the values of a model all of whose layers are randomized."""
    with Randomizer(model, layers, distribution) as randomizer:
        for layer in layers:
            randomizer.randomize(layer, seed)
        return values(model)


@pytest.fixture
def small():
    return trained(Small(), IMAGES)


# ------------------------------------------------------------------------------------------------------ restoration


@each_distribution
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, torch.OutOfMemoryError])
def test_everything_is_bit_equal_afterwards(small, distribution, error):
    layers = layers_of(small, IMAGES)
    before, state = snapshot(small), global_state()

    def use():
        with Randomizer(small, layers, distribution) as randomizer:
            for layer in layers.top_down():
                randomizer.randomize(layer, seed=1)
                small(IMAGES)
            assert changed(small, before["values"])
            assert snapshot(small)["identity"] == before["identity"]
            if error is not None:
                raise error

    if error is None:
        use()
    else:
        with pytest.raises(error):
            use()
    assert same(before, snapshot(small))
    assert same_state(state, global_state())


def test_an_interrupt_during_restoration_is_raised_when_everything_is_back(small, monkeypatch):
    layers, before = layers_of(small, IMAGES), snapshot(small)
    randomizer = Randomizer(small, layers)
    interrupts = [1, 3]
    plain_copy = torch.Tensor.copy_
    calls = 0

    def interrupted_copy(tensor, source):
        nonlocal calls
        calls += 1
        if calls in interrupts:
            raise KeyboardInterrupt
        return plain_copy(tensor, source)

    def use():
        with randomizer:
            for layer in layers:
                randomizer.randomize(layer)
            monkeypatch.setattr(torch.Tensor, "copy_", interrupted_copy)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    assert calls > 3
    assert same(before, snapshot(small))


def test_an_interrupt_halfway_through_a_layer_is_undone_too(small, monkeypatch):
    layers, before = layers_of(small, IMAGES), snapshot(small)
    plain_copy, calls = torch.Tensor.copy_, []

    def interrupted_copy(tensor, source):
        calls.append(tensor)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain_copy(tensor, source)

    def use():
        with Randomizer(small, layers, "truncated_normal") as randomizer:
            monkeypatch.setattr(torch.Tensor, "copy_", interrupted_copy)
            for layer in layers:
                randomizer.randomize(layer)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    assert same(before, snapshot(small))


def test_one_backup_serves_several_seeds(small):
    layers, before = layers_of(small, IMAGES), snapshot(small)
    seen = []
    with Randomizer(small, layers) as randomizer:
        for seed in (0, 1, 0):
            for layer in layers:
                randomizer.randomize(layer, seed)
            seen.append(values(small))
            randomizer.restore()
            assert same(before, snapshot(small))
    assert same(seen[0], seen[2])
    assert not same(seen[0], seen[1])


def test_only_the_altered_is_backed_up(small):
    layers = layers_of(small, IMAGES)
    head = layers.top_down()[0]
    with Randomizer(small, layers) as randomizer:
        randomizer.randomize(head)
        randomizer.randomize(head, 1)
        assert randomizer._rewriting.kept == len(head.parameters)


def test_closures_over_the_weights_follow(small):
    weight, output = small.head.weight, small(IMAGES)
    layers = layers_of(small, IMAGES)
    with Randomizer(small, layers) as randomizer:
        before = weight.sum().item()
        randomizer.randomize(layers.top_down()[0])
        assert weight is small.head.weight
        assert weight.sum().item() != before
        assert not torch.equal(small(IMAGES), output)


# ---------------------------------------------------------------------------------------------------- what changes


@each_distribution
def test_every_listed_parameter_changes(small, distribution):
    layers, before = layers_of(small, IMAGES), values(small)
    with Randomizer(small, layers, distribution) as randomizer:
        for layer in layers:
            randomizer.randomize(layer)
        names = {name for layer in layers for name in (*layer.parameters, *layer.norm_parameters)}
        statistics = {f"norm{i}.running_{kind}" for i in (1, 2) for kind in ("mean", "var")}
        frozen = {"norm1.weight", "norm1.bias"} & changed(small, before)  # constant as built
        assert changed(small, before) == names | (statistics - {"norm1.running_mean", "norm1.running_var"}) | (
            {"norm2.num_batches_tracked"} | frozen
        )
        assert all(tensor.isfinite().all() for tensor in values(small).values())
    assert names | set(layers.not_randomized) == {name for name, _ in small.named_parameters()}


@each_distribution
def test_randomizing_one_layer_leaves_all_others_bit_equal(small, distribution):
    layers, before = layers_of(small, IMAGES), values(small)
    with Randomizer(small, layers, distribution) as randomizer:
        for layer in layers:
            randomizer.randomize(layer)
            allowed = {*layer.parameters, *layer.norm_parameters}
            allowed |= {name for norm in layer.norms for name in before if name.startswith(f"{norm}.")}
            assert set(layer.parameters) <= changed(small, before) <= allowed
            randomizer.restore()


@pytest.mark.slow
@each_distribution
def test_cascading_over_a_residual_network_leaves_no_layer_as_it_was(distribution):
    images = torch.randn(2, 3, 32, 32, generator=generator("images"))
    model = trained(torchvision.models.resnet18(num_classes=4), images)
    layers, before = layers_of(model, images), values(model)
    with Randomizer(model, layers, distribution) as randomizer:
        for layer in layers.top_down():
            randomizer.randomize(layer)
        assert changed(model, before) == set(before)
        if distribution.resets_norms:
            assert bool((model.layer1[0].bn1.weight == 1).all())
            assert bool((model.layer1[0].bn1.bias == 0).all())
        assert bool((model.layer1[0].bn1.running_var == 1).all())
        assert int(model.bn1.num_batches_tracked) == 0
    assert not changed(model, before)


@each_distribution
def test_a_vision_transformer_is_randomized_with_its_tokens(distribution):
    images = torch.randn(1, 3, 32, 32, generator=generator("images"))
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    model = trained(model, images)
    layers, before = layers_of(model, images), values(model)
    after = randomized(model, layers, distribution)
    assert not [name for name in before if same(before[name], after[name])]
    assert not changed(model, before)


def test_the_fast_path_of_a_transformer_follows():
    x = torch.randn(2, 3, 8)
    model = trained(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x)
    layers = layers_of(model, x)
    with torch.inference_mode(), Randomizer(model, layers) as randomizer:
        outputs = [model(x)]
        for layer in layers.top_down():
            randomizer.randomize(layer)
            outputs.append(model(x))
    assert all(not torch.equal(a, b) for a, b in pairwise(outputs))
    with torch.inference_mode():
        assert torch.equal(model(x), outputs[0])


def test_layers_of_equal_shape_get_different_weights(small):
    layers = layers_of(small, IMAGES)
    with torch.no_grad():
        small.conv2.weight.copy_(small.conv1.weight)
    for distribution in DISTRIBUTIONS:
        after = randomized(small, layers, distribution)
        assert not torch.equal(after["conv1.weight"], after["conv2.weight"])


@each_distribution
def test_numbers_depend_on_seed_and_layer_alone(small, distribution):
    layers = layers_of(small, IMAGES)
    alone, head = {}, layers.top_down()[0]
    with Randomizer(small, layers, distribution) as randomizer:
        randomizer.randomize(head, seed=5)
        alone = values(small)["head.weight"]
        for layer in layers:
            randomizer.randomize(layer, seed=4)
        torch.manual_seed(99)
        randomizer.randomize(head, seed=5)
        assert torch.equal(values(small)["head.weight"], alone)
    twin = copy.deepcopy(small)
    assert same(randomized(twin, layers_of(twin, IMAGES), distribution, 5)["head.weight"], alone)
    assert not same(randomized(twin, layers, distribution, 6)["head.weight"], alone)


# ----------------------------------------------------------------------------------------------------- distributions


def test_own_is_the_reset_of_the_module_itself():
    model = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 2))
    with torch.no_grad():
        model[0].weight.fill_(7.0)
    x = torch.randn(1, 400)
    after = randomized(model, layers_of(model, x))
    assert after["0.weight"].abs().max() <= 400**-0.5
    assert after["0.weight"].std() == pytest.approx((400 * 3) ** -0.5, rel=0.02)
    assert after["0.bias"].abs().max() <= 400**-0.5


def test_attention_is_reset_as_it_was_built(small):
    after = randomized(small, layers_of(small, IMAGES))
    assert bool((after["attention.in_proj_bias"] == 0).all())
    assert bool((after["attention.out_proj.bias"] == 0).all())
    assert after["attention.out_proj.weight"].abs().max() <= 8**-0.5


def test_what_a_reset_does_not_set_keeps_its_own_mean_and_deviation():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = nn.Parameter(3 + 0.5 * torch.randn(4000))
            self.constant = nn.Parameter(torch.full((4000,), 2.0))
            self.zero = nn.Parameter(torch.zeros(4000))
            self.number = nn.Parameter(torch.tensor(-4.0))
            self.reset = nn.Parameter(torch.randn(3))
            self.calls = threading.Lock()  # cannot be copied

        def reset_parameters(self):
            nn.init.ones_(self.reset)
            raise RuntimeError("and then it fails")

        def forward(self, x):
            return x * (self.kept.sum() + self.constant.sum() + self.zero.sum() + self.number) * self.reset.sum()

    model, x = nn.Sequential(Partly()), torch.randn(2, 3)
    after = randomized(model, layers_of(model, x))
    assert after["0.kept"].mean() == pytest.approx(3, abs=0.05)
    assert after["0.kept"].std() == pytest.approx(0.5, abs=0.03)
    assert (after["0.constant"].mean(), after["0.constant"].std()) == pytest.approx((2, 2), abs=0.15)
    assert (after["0.zero"].mean(), after["0.zero"].std()) == pytest.approx((0, 0.02), abs=0.0015)
    assert after["0.number"] != -4
    assert bool((after["0.reset"] == 1).all())


def test_a_reset_of_a_container_does_not_reach_its_children():
    class Container(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.child = nn.Parameter(torch.zeros(2, 4)), nn.Linear(4, 4)
            self.everything = [self.token, self.child.weight]

        def reset_parameters(self):
            nn.init.uniform_(self.everything[0], 5, 6)
            nn.init.zeros_(self.everything[1])
            self.child.reset_parameters()

        def forward(self, x):
            return self.child(x) + self.token

    model, x = Container(), torch.randn(2, 4)
    layers, before = layers_of(model, x), values(model)
    with Randomizer(model, layers) as randomizer:
        randomizer.randomize(next(layer for layer in layers if layer.name == "token"))
        assert changed(model, before) == {"token"}
        assert bool(((model.token >= 5) & (model.token <= 6)).all())


def test_a_layer_that_its_reset_leaves_as_it_was_gets_new_values():
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(4))

        def reset_parameters(self):
            nn.init.ones_(self.gain)

        def forward(self, x):
            return x * self.gain

    model, x = nn.Sequential(Gain()), torch.randn(2, 4)
    for distribution in (Own(), Permutation()):
        assert not bool((randomized(model, layers_of(model, x), distribution)["0.gain"] == 1).any())


def test_truncated_normal_stays_within_two_deviations():
    model, x = nn.Sequential(nn.Linear(100, 100)), torch.randn(1, 100)
    weight = randomized(model, layers_of(model, x), TruncatedNormal(std=0.1))["0.weight"]
    assert weight.abs().max() <= 0.2
    assert weight.mean() == pytest.approx(0, abs=0.004)
    assert weight.std() == pytest.approx(0.1 * 0.8796, rel=0.03)  # deviation of the cut distribution


@pytest.mark.parametrize("std", [0, -1.0, float("nan"), "wide"])
def test_truncated_normal_needs_a_positive_deviation(std):
    with pytest.raises(XaiError, match="positive"):
        TruncatedNormal(std=std)


def test_permutation_keeps_the_entries_of_each_parameter(small):
    before = values(small)
    after = randomized(small, layers_of(small, IMAGES), "permutation")
    for name in ("conv1.weight", "head.bias", "token", "norm2.weight", "attention.in_proj_weight"):
        assert torch.equal(after[name].flatten().sort().values, before[name].flatten().sort().values)


def test_names_and_objects_of_distributions_are_interchangeable(small):
    assert sorted(REINITS) == ["own", "permutation", "truncated_normal"]
    layers = layers_of(small, IMAGES)
    for name, distribution in (("own", Own()), ("truncated_normal", TruncatedNormal()), ("permutation", Permutation())):
        assert same(randomized(small, layers, name), randomized(small, layers, distribution))
    with pytest.raises(XaiError, match="permutation"):
        Randomizer(small, layers, "permutations")


def test_weights_that_are_not_finite_are_an_error_and_leave_the_model_alone(small):
    class Infinite(Distribution):
        def new_values(self, values, rng):
            return values / 0 * 0

    layers, before = layers_of(small, IMAGES), snapshot(small)
    with pytest.raises(XaiError, match="finite"), Randomizer(small, layers, Infinite()) as randomizer:
        randomizer.randomize(layers.layers[0])
    assert same(before, snapshot(small))


def test_a_layer_of_another_model_is_an_error(small):
    other = layers_of(nn.Sequential(nn.Linear(3, 2)), torch.randn(1, 3))
    with pytest.raises(XaiError, match="find_layers"):
        Randomizer(small, other)


# -------------------------------------------------------------------------------------------------- unusual weights


def orthogonal_without_base(module):
    return parametrizations.orthogonal(module, use_trivialization=False)


class Symmetric(nn.Module):
    """A parametrization that cannot be inverted, with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight):
        return self.gain * (weight.triu() + weight.triu(1).mT)


def symmetric(module):
    parametrize.register_parametrization(module, "weight", Symmetric())
    return module


@old_style
@each_distribution
@pytest.mark.parametrize(
    "reparametrize",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        orthogonal_without_base,
        symmetric,
    ],
)
def test_effective_weights_of_reparametrized_layers_change_and_come_back(distribution, reparametrize):
    x = torch.randn(2, 4, generator=generator("x"))
    model = nn.Sequential(nn.Linear(4, 4), reparametrize(nn.Linear(4, 4)), nn.Linear(4, 3))
    model = trained(model, x)
    with torch.no_grad():
        output = model(x)
    layers, before = layers_of(model, x), snapshot(model)
    weight = model[1].weight.detach().clone()
    with torch.no_grad(), Randomizer(model, layers, distribution) as randomizer:
        for seed in range(3):
            randomizer.restore()
            randomizer.randomize(layers.layers[1], seed)
            new = model[1].weight.detach().clone()
            assert not bool((new == weight).all(1).any())
            assert new.isfinite().all()
            assert not torch.equal(model(x), output)
            if "spectral" in reparametrize.__name__:
                assert torch.linalg.matrix_norm(new, 2) == pytest.approx(1, rel=0.05)
            if "orthogonal" in reparametrize.__name__:
                assert torch.allclose(new @ new.T, torch.eye(4), atol=1e-5)
    assert same(before, snapshot(model))
    assert torch.equal(model(x), output)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_orthogonal_rectangles_stay_orthogonal(shape):
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(*shape), use_trivialization=False))
    layers = layers_of(model, torch.randn(1, shape[0]))
    for distribution in DISTRIBUTIONS:
        with Randomizer(model, layers, distribution) as randomizer:
            randomizer.randomize(layers.layers[0])
            singular = torch.linalg.svdvals(model[0].weight)
            assert torch.allclose(singular, torch.ones(3), atol=1e-5)


def test_weight_norm_is_reset_to_the_distribution_of_the_plain_module():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(100, 100)))
    layers = layers_of(model, torch.randn(1, 100))
    with Randomizer(model, layers) as randomizer:
        randomizer.randomize(layers.layers[0])
        weight = model[0].weight.detach()
        assert weight.abs().max() <= 0.1 + 1e-6
        assert weight.std() == pytest.approx(0.1 / 3**0.5, rel=0.03)


@each_distribution
def test_tied_weights_change_once_and_padding_stays_zero(distribution):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.decoder = nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 7)
            self.decoder.weight = self.embedding.weight

        def forward(self, tokens):
            return self.decoder(self.embedding(tokens))

    model, tokens = Tied().eval(), torch.tensor([[1, 2]])
    layers, before = layers_of(model, tokens), values(model)
    with Randomizer(model, layers, distribution) as randomizer:
        randomizer.randomize(layers.layers[0])
        assert model.decoder.weight is model.embedding.weight
        assert bool((model.embedding.weight[0] == 0).all())
        assert bool((model.embedding.weight[1:] != before["embedding.weight"][1:]).any(1).all())
        assert "decoder.bias" in changed(model, before)
    assert not changed(model, before)


@each_distribution
def test_weights_tied_under_a_parametrization_change_once(distribution):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = parametrizations.spectral_norm(nn.Linear(4, 4))
            self.second = parametrizations.spectral_norm(nn.Linear(4, 4, bias=False))
            self.second.parametrizations.weight.original = self.first.parametrizations.weight.original

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    model, x = Tied().eval(), torch.randn(2, 4)
    (layer,) = layers_of(model, x)
    before = snapshot(model)
    weights = model.first.weight.detach().clone(), model.second.weight.detach().clone()
    with Randomizer(model, [layer], distribution) as randomizer:
        randomizer.randomize(layer)
        assert not torch.equal(model.first.weight, weights[0])
        assert not torch.equal(model.second.weight, weights[1])
        assert torch.linalg.matrix_norm(model.second.weight.detach(), 2) < 2
    assert same(before, snapshot(model))


@each_distribution
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128])
def test_parameters_of_every_precision_change(distribution, dtype):
    model, x = nn.Sequential(nn.Linear(5, 4, dtype=dtype), nn.Linear(4, 3, dtype=dtype)), torch.randn(2, 5).to(dtype)
    layers, before = layers_of(model, x), values(model)
    after = randomized(model, layers, distribution)
    for name in before:
        assert not torch.equal(after[name], before[name])
        assert after[name].dtype == dtype
        assert after[name].isfinite().all()
        if distribution == Permutation():
            assert torch.equal(
                torch.view_as_real(after[name]).flatten().sort().values
                if dtype.is_complex
                else after[name].flatten().sort().values,
                torch.view_as_real(before[name]).flatten().sort().values
                if dtype.is_complex
                else before[name].flatten().sort().values,
            )
    assert all(torch.equal(before[name], value) for name, value in values(model).items())


@each_distribution
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_weights_change_and_come_back(distribution, kind):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(3, 4, bidirectional=True)

        def forward(self, x):
            return self.layer(x)[0]

    x = torch.randn(5, 2, 3, generator=generator("x"))
    model = trained(Recurrent(), x)
    layers, before, output = layers_of(model, x), snapshot(model), model(x)
    with Randomizer(model, layers, distribution) as randomizer:
        randomizer.randomize(layers.layers[0])
        assert changed(model, before["values"]) == set(before["values"])
        assert not torch.equal(model(x), output)
    assert same(before, snapshot(model))
    assert torch.equal(model(x), output)


@each_distribution
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("compile_", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 3))])
def test_script_modules_change_and_come_back(distribution, compile_):
    x = torch.randn(2, 3, generator=generator("x"))
    model = compile_(trained(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), x))
    layers, before, output = layers_of(model, x), values(model), model(x)
    with Randomizer(model, layers, distribution) as randomizer:
        for layer in layers:
            randomizer.randomize(layer)
        assert changed(model, before) == set(before)
        assert not torch.equal(model(x), output)
    assert not changed(model, before)
    assert torch.equal(model(x), output)


def test_compiled_and_copied_models_get_the_same_numbers(small):
    layers = layers_of(small, IMAGES)
    expected = randomized(small, layers)
    compiled = torch.compile(copy.deepcopy(small), backend="eager")
    output = compiled(IMAGES)
    found = randomized(compiled, layers_of(compiled, IMAGES))
    assert same(expected, {name.removeprefix("_orig_mod."): value for name, value in found.items()})
    assert torch.equal(compiled(IMAGES), output)


def test_casts_that_autocast_keeps_do_not_outlive_the_weights():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), torch.randn(2, 4)
    layers = layers_of(model, x)
    with torch.autocast("cpu", torch.bfloat16), Randomizer(model, layers) as randomizer:
        output = model(x)
        for layer in layers:
            randomizer.randomize(layer)
        assert not torch.equal(model(x), output)
        randomizer.restore()
        assert torch.equal(model(x), output)
