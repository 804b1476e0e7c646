"""Weight randomization through the whole harness, against what theory says of it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from captum.attr import (
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Saliency,
)
from laboratory import evidence_of, lab_of, tensors_of
from torch import nn
from torch.nn import functional as F

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.evidence.comparison import Comparison
from pytest_xaisanity.evidence.interventions import weight_randomization as weights
from pytest_xaisanity.evidence.interventions.weight_randomization import (
    BottomUpRandomization,
    CascadingRandomization,
    IndependentRandomization,
)
from pytest_xaisanity.maps.edges import edge_maps
from pytest_xaisanity.maps.similarity import spearman
from pytest_xaisanity.subject.subject import Subject

pytestmark = pytest.mark.long

ORDERS = [CascadingRandomization, IndependentRandomization, BottomUpRandomization]
DEFAULT = ("spearman", "abs_spearman", "ssim")


def seeded(build, seed=0):
    """Return what ``build`` makes with a seeded global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def noise(*shape, seed=0, dtype=torch.float32):
    """Return seeded standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class CNN(nn.Module):
    """Two convolutions with batch normalization, and two dense layers."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.fc1, self.relu3, self.fc2 = nn.Linear(8 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 4)

    def forward(self, x):
        x = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return self.fc2(self.relu3(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    """A block with a skip connection, functional activations, and a module that is used twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = x + F.relu(self.conv(x))
        x = x + F.relu(self.conv(x))
        return self.head(x.mean((2, 3)))


class ViT(nn.Module):
    """Patches, a class token, position embeddings and one encoder layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, stride=4)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, 16))
        self.places = nn.Parameter(0.1 * torch.randn(1, 10, 16))
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        return self.head(self.encoder(x)[:, 0])


class Recurrent(nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(12, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.lstm(x[:, 0])[0][:, -1])


class Tied(nn.Module):
    """An encoder whose transposed weights decode."""

    def __init__(self):
        super().__init__()
        self.code, self.decode, self.head = nn.Linear(144, 20), nn.Linear(20, 144), nn.Linear(144, 4)
        self.decode.weight = nn.Parameter(self.code.weight.mT.contiguous())
        self.second = nn.Linear(144, 20)
        self.second.weight = self.code.weight

    def forward(self, x):
        x = torch.tanh(self.code(x.flatten(1)))
        return self.head(self.decode(x + torch.tanh(self.second(self.decode(x)))))


def weight_normed():
    """Return a network with parametrized weights."""
    dense = nn.utils.parametrizations.weight_norm(nn.Linear(144, 16))
    return nn.Sequential(nn.Flatten(), dense, nn.ReLU(), nn.Linear(16, 4))


def single_output():
    """Return a network with one output."""
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.Tanh(), nn.Linear(16, 1))


MODELS = {
    "batch norm": CNN,
    "residual": Residual,
    "vision transformer": ViT,
    "lstm": Recurrent,
    "tied": Tied,
    "weight norm": weight_normed,
    "single output": single_output,
}


@pytest.fixture(scope="module")
def images():
    return noise(12, 1, 12, 12, seed=1)


@pytest.fixture
def cnn():
    return seeded(CNN).eval()


def measured(model, explain, intervention, inputs, similarities=DEFAULT, *, targets=None, seed=0, **kwargs):
    """Return what a comparison measures on one block, and how it describes itself."""
    subject = Subject(model, inputs, targets, device="cpu", seed=seed)
    with subject.lent():
        block = next(subject.blocks(early=False))
        comparing = Comparison(intervention, similarities).start(lab_of(subject, explain, seed, **kwargs), block)
        return tensors_of(comparing.measure(block)), evidence_of(comparing)


def gradients(model, inputs, targets):
    """Return the gradient of the explained output."""
    inputs = inputs.requires_grad_()
    outputs = model(inputs)
    outputs = outputs[:, 0] if targets is None else outputs[torch.arange(len(outputs)), targets]
    return torch.autograd.grad(outputs.sum(), inputs)[0]


def state_of(model):
    """Return all numbers, objects and modes of a model."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    numbers = {name: (id(tensor), tensor.detach().clone(), tensor.requires_grad) for name, tensor in tensors.items()}
    return numbers, [module.training for module in model.modules()]


def assert_same(model, before):
    """Assert that nothing of a model differs from what :func:`state_of` returned."""
    numbers, modes = state_of(model)
    assert modes == before[1]
    assert numbers.keys() == before[0].keys()
    for name, (identity, values, requires_grad) in numbers.items():
        assert identity == before[0][name][0]
        assert torch.equal(*(tensor.reshape(-1).view(torch.uint8) for tensor in (values, before[0][name][1])))
        assert requires_grad == before[0][name][2]


class TestControls:
    """What explainers that know no model get."""

    @pytest.mark.parametrize("explain", [gradients, Saliency, InputXGradient, GuidedBackprop])
    def test_before_any_randomization_maps_are_exactly_alike(self, cnn, images, explain):
        """Depth 0 of a deterministic explainer: 1.0, not 0.999."""
        names = (*DEFAULT, "cosine", "pearson", "hog", "mse")
        scores, _ = measured(cnn, explain, CascadingRandomization(1, 1), images, names)
        assert all((scores[f"self {name}"] == (0 if name == "mse" else 1)).all() for name in names)

    @pytest.mark.parametrize("order", ORDERS)
    def test_edge_maps_are_exactly_alike_at_every_depth(self, cnn, images, order):
        names = (*DEFAULT, "cosine", "pearson", "hog", "mse")
        scores, _ = measured(cnn, lambda _m, x, _t: edge_maps(x), order(seeds=2), images, names)
        for name in names:
            assert scores[f"after {name}"].shape == (12, 2, 4)
            assert (scores[f"after {name}"] == (0 if name == "mse" else 1)).all()

    def test_fresh_noise_has_no_similarity(self, cnn, images):
        """0 ± 3 / sqrt(F B): F features, B inputs."""
        scores, _ = measured(cnn, lambda _m, x, _t: torch.randn_like(x), CascadingRandomization(seeds=1), images)
        bound = 3 / math.sqrt(144 * 12)
        for part in ("self", "after"):
            rows = scores[f"{part} spearman"].reshape(12, -1).mean(0)
            assert (rows.abs() < 1.4 * bound).all()  # the largest of a few
            assert abs(float(scores[f"{part} spearman"].mean())) < bound

    @pytest.mark.parametrize("ones", [0.1, 0.19, 0.5])
    def test_binary_inputs_times_noise_follow_the_closed_form(self, cnn, ones):
        """Spearman of absolute values 3 (1 - s) / (3 (1 - s) + s²); signed 0."""
        inputs = torch.zeros(64, 144)
        inputs[:, : round(144 * ones)] = 1
        s = round(144 * ones) / 144
        model = seeded(lambda: nn.Linear(144, 3))
        scores, _ = measured(
            model, lambda _m, x, _t: x * torch.randn_like(x), CascadingRandomization(seeds=3), inputs, DEFAULT[:2]
        )
        assert float(scores["after abs_spearman"].mean()) == pytest.approx(3 * (1 - s) / (3 * (1 - s) + s**2), abs=0.01)
        assert abs(float(scores["after spearman"].mean())) < 3 / math.sqrt(s * 144 * 64 * 3)

    def test_uniform_inputs_times_noise_follow_the_closed_form(self):
        """Pearson of absolute values (2/π)(m2 - m1²) / (m2 - (2/π) m1²): 0.305 for uniform inputs."""
        inputs = torch.rand(48, 900, generator=torch.Generator().manual_seed(0))
        model = seeded(lambda: nn.Linear(900, 3))
        scores, _ = measured(
            model,
            lambda _m, x, _t: (x * torch.randn_like(x)).abs(),
            CascadingRandomization(seeds=3),
            inputs,
            ("pearson",),
        )
        assert float(scores["after pearson"].mean()) == pytest.approx(0.305, abs=0.01)


class TestTheory:
    def test_gradients_of_a_linear_model_are_its_weights(self):
        """So their similarity is that of two independent weight vectors: mean 0, sd 1 / sqrt(F - 1)."""
        model, seeds = seeded(lambda: nn.Linear(200, 1, bias=False)), 40
        trained = model.weight.detach().clone()
        seen = []

        def explain(model, inputs, targets):
            seen.append(model.weight.detach().clone())
            return gradients(model, inputs, targets)

        scores, _ = measured(model, explain, CascadingRandomization(seeds=seeds), noise(2, 200), ("spearman",))
        drawn = [weight for weight in seen if not torch.equal(weight, trained)]
        expected = torch.cat([spearman(trained, weight) for weight in drawn])
        assert torch.allclose(scores["after spearman"][0, :, 0], expected, atol=1e-6)
        assert float(scores["after spearman"][0].std()) == pytest.approx(1 / math.sqrt(199), rel=0.35)
        assert abs(float(scores["after spearman"][0].mean())) < 3 / math.sqrt(199 * seeds)

    def test_integrated_gradients_of_a_linear_model_are_the_null_of_multipliers(self):
        """Inputs times other weights: alike in absolute value although every weight is new."""
        inputs = (torch.arange(400) % 10 == 0).float().repeat(4, 1)
        model = seeded(lambda: nn.Linear(400, 1, bias=False))
        scores, _ = measured(model, IntegratedGradients, CascadingRandomization(seeds=20), inputs, DEFAULT[:2])
        s = 0.1
        assert float(scores["after abs_spearman"].mean()) == pytest.approx(3 * (1 - s) / (3 * (1 - s) + s**2), abs=0.01)
        assert abs(float(scores["after spearman"].mean())) < 0.15

    @pytest.mark.parametrize(
        ("explain", "multiplied"),
        [
            (lambda model, x, t: NoiseTunnel(Saliency(model)).attribute(x, target=t, nt_samples=4, abs=False), False),
            (lambda model, x, t: InputXGradient(model).attribute(x, target=t), True),
            (lambda model, x, t: IntegratedGradients(model).attribute(x, target=t, n_steps=1), True),
        ],
        ids=["SmoothGrad", "Gradient × Input", "Integrated Gradients"],
    )
    def test_explanations_of_a_linear_model_are_written_down(self, explain, multiplied):
        """The weights w, or w ⊙ x, on the model as given and on each randomized one; noise and steps do not matter."""
        model = seeded(lambda: nn.Linear(30, 1, bias=False))
        drawn = []

        def watch(model, inputs, targets):
            weights = model.weight.detach().clone()
            maps = explain(model, inputs.requires_grad_(), 0)
            assert torch.allclose(maps, weights * inputs if multiplied else weights.expand_as(maps), atol=1e-6)
            drawn.append(weights)
            return maps

        measured(model, watch, CascadingRandomization(seeds=3), noise(4, 30), ("spearman",))
        assert len({float(weights.sum()) for weights in drawn}) == 4

    def test_one_convolution_sees_edges_without_training(self):
        """Where the image is uniform the gradient of l = sum ReLU(conv(x)) is constant: what varies is an edge map."""
        image = torch.zeros(1, 1, 16, 16)
        image[..., 7:] = 1
        model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Flatten(), _Sum())
        model[0].weight.data = noise(1, 1, 3, 3, seed=2)
        row = gradients(model, image, None)[0, 0, 5].tolist()  # away from the upper and the lower border
        dark, edge, bright = row[2:5], row[5:9], row[9:14]
        assert len(set(dark)) == len(set(bright)) == 1
        assert len(set(edge) - {dark[0], bright[0]}) == 4

    def test_one_convolution_has_the_gradient_that_is_written_down(self):
        """dl/dx_ij = sum_kl w_kl a_(i-k, j-l) for l = sum ReLU(conv(x)), on the model as given and after."""
        model = nn.Sequential(seeded(lambda: nn.Conv2d(1, 1, 3)), nn.ReLU(), nn.Flatten(), _Sum())
        maps = []

        def explain(model, inputs, targets):
            result = gradients(model, inputs, targets)
            weight = model[0].weight.detach()[0, 0].double()
            active = (model[0](inputs) > 0).double()[:, 0]
            for image, map_ in zip(active, result[:, 0], strict=True):
                assert torch.allclose(map_.double(), _written_down(weight, image), atol=1e-6)
            maps.append(result)
            return result

        measured(model, explain, CascadingRandomization(seeds=2), noise(3, 1, 7, 7), ("spearman",))
        assert len({float(result.sum()) for result in maps}) >= 3

    def test_grad_cam_changes_with_the_top_layer(self, cnn, images):
        """Its weights come from the logits."""
        scores, _ = measured(cnn, LayerGradCam, CascadingRandomization(1, 3), images, ("spearman",), layer=cnn.conv2)
        assert float(scores["after spearman"].mean()) < 0.5

    def test_guided_backprop_hardly_changes_before_the_first_convolutions(self, images):
        """It shows what the first convolutions see, whatever lies above."""
        model = seeded(lambda: _Tower(5)).eval()
        scores, described = measured(model, GuidedBackprop, CascadingRandomization(seeds=3), images, ("spearman",))
        by_depth = scores["after spearman"].mean((0, 1))
        plain = measured(model, gradients, CascadingRandomization(seeds=3), images, ("spearman",))[0]["after spearman"]
        assert described["layers"][-1] == "convolutions.0"
        assert (by_depth[:-1] > 0.85).all()
        assert (by_depth[:-1] > plain.mean((0, 1))[:-1] + 0.3).all()
        assert by_depth[-1] < by_depth[:-1].min()


class _Sum(nn.Module):
    def forward(self, x):
        return x.sum(1, keepdim=True)


class _Tower(nn.Module):
    """Convolutions with ReLUs of their own, then a dense layer."""

    def __init__(self, depth):
        super().__init__()
        widths = [1, *[16] * depth]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(depth))
        self.head = nn.Linear(16 * 144, 4)

    def forward(self, x):
        for convolution, relu in zip(self.convolutions, self.relus, strict=True):
            x = relu(convolution(x))
        return self.head(x.flatten(1))


def _written_down(weight, active):
    side = len(active) + 2
    gradient = torch.zeros(side, side, dtype=torch.float64)
    for i in range(side):
        for j in range(side):
            for k in range(3):
                for m in range(3):
                    if 0 <= i - k < len(active) and 0 <= j - m < len(active):
                        gradient[i, j] += weight[k, m] * active[i - k, j - m]
    return gradient


class TestOrder:
    """Which layers hold new weights when a map is made."""

    def changed(self, model, intervention, images, explain=gradients):
        """Return the layers with new weights at each call of the explainer."""
        trained = {name: p.detach().clone() for name, p in model.named_parameters() if name.endswith("weight")}
        seen = []

        def watch(model, inputs, targets):
            new = [
                name.removesuffix(".weight")
                for name, p in model.named_parameters()
                if name in trained and not torch.equal(p, trained[name])
            ]
            seen.append([name for name in new if not name.startswith("bn")])
            return explain(model, inputs, targets)

        _, described = measured(model, watch, intervention, images)
        return seen, described

    def test_cascading_goes_down_from_the_output(self, cnn, images):
        seen, described = self.changed(cnn, CascadingRandomization(seeds=2), images)
        steps = [["fc2"], ["fc1", "fc2"], ["conv2", "fc1", "fc2"], ["conv1", "conv2", "fc1", "fc2"]]
        assert [new for new in seen if new] == steps * 2
        assert described["layers"] == ["fc2", "fc1", "conv2", "conv1"]
        assert described["not_randomized"] == {}
        assert described["layer_order"] == "execution"

    def test_bottom_up_goes_up_from_the_input(self, cnn, images):
        seen, described = self.changed(cnn, BottomUpRandomization(seeds=1), images)
        steps = [["conv1"], ["conv1", "conv2"], ["conv1", "conv2", "fc1"], ["conv1", "conv2", "fc1", "fc2"]]
        assert [new for new in seen if new] == steps
        assert described["layers"] == ["conv1", "conv2", "fc1", "fc2"]

    def test_independent_leaves_all_other_layers_as_trained(self, cnn, images):
        seen, _ = self.changed(cnn, IndependentRandomization(seeds=2), images)
        assert [new for new in seen if new] == [["fc2"], ["fc1"], ["conv2"], ["conv1"]] * 2

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("depth", [1, 3])
    def test_depth_counts_from_where_the_order_begins(self, cnn, images, order, depth):
        scores, described = measured(cnn, gradients, order(depth=depth, seeds=1), images)
        whole, _ = measured(cnn, gradients, order(seeds=1), images)
        assert len(described["layers"]) == depth
        for name in DEFAULT:
            assert torch.equal(scores[f"after {name}"], whole[f"after {name}"][..., :depth])

    def test_more_depth_than_layers_is_an_error_that_counts_them(self, cnn, images):
        with pytest.raises(XaiError, match="depth: found 5; expected at most the model's 4 layers"):
            measured(cnn, gradients, CascadingRandomization(depth=5), images)

    def test_nothing_of_a_cascade_is_left_at_full_depth(self, cnn, images):
        """Normalization included: its statistics are reset."""
        noise_ = noise(6, seed=3)
        cnn.bn1.running_mean.copy_(noise_)
        trained = {name: tensor.detach().clone() for name, tensor in cnn.named_parameters() if "bn" not in name}
        last = {}

        def watch(model, inputs, targets):
            last.update({name: tensor.detach().clone() for name, tensor in model.state_dict().items()})
            return gradients(model, inputs, targets)

        measured(cnn, watch, CascadingRandomization(seeds=1), images)
        assert not any(torch.equal(last[name], tensor) for name, tensor in trained.items())
        assert (last["bn1.running_mean"] == 0).all()
        assert torch.equal(cnn.bn1.running_mean, noise_)

    def test_a_seed_draws_the_same_whatever_else_is_asked(self, cnn, images):
        """The first seeds of many are the seeds of few; other seeds draw other weights."""
        few, _ = measured(cnn, gradients, CascadingRandomization(seeds=2), images)
        many, _ = measured(cnn, gradients, CascadingRandomization(seeds=3), images)
        other, _ = measured(cnn, gradients, CascadingRandomization(seeds=2), images, seed=1)
        assert torch.equal(few["after ssim"], many["after ssim"][:, :2])
        assert not torch.equal(few["after ssim"][:, 0], few["after ssim"][:, 1])
        assert not torch.equal(few["after ssim"], other["after ssim"])

    @pytest.mark.parametrize(("target", "follows"), [("fixed", False), ("dynamic", True)])
    def test_the_class_stays_or_follows_the_model(self, cnn, images, target, follows):
        seen = []

        def watch(model, inputs, targets):
            with torch.no_grad():
                seen.append((targets.clone(), model(inputs).argmax(1)))
            return gradients(model, inputs, targets)

        scores, described = measured(cnn, watch, CascadingRandomization(seeds=2, target=target), images)
        batches = [(targets, predicted) for targets, predicted in seen if len(targets) == len(images)]
        given = batches[0][0]
        assert all(torch.equal(targets, predicted if follows else given) for targets, predicted in batches)
        assert any(not torch.equal(predicted, given) for _, predicted in batches)
        assert described["target"] == target
        assert torch.isfinite(scores["after spearman"]).all()

    def test_the_distributions_draw_other_weights(self, cnn, images):
        reinits = ["own", "truncated_normal", "permutation"]
        scores = [
            measured(cnn, gradients, CascadingRandomization(seeds=1, reinit=reinit), images)[0]["after spearman"]
            for reinit in reinits
        ]
        assert not torch.equal(scores[0], scores[1])
        assert not torch.equal(scores[0], scores[2])
        described = measured(cnn, gradients, CascadingRandomization(seeds=1, reinit="permutation"), images)[1]
        assert described["reinit"].lower().startswith("permutation")

    def test_a_permutation_keeps_the_numbers_of_each_parameter(self, cnn, images):
        trained = {name: p.detach().flatten().sort().values for name, p in cnn.named_parameters()}

        def watch(model, inputs, targets):
            for name, p in model.named_parameters():
                assert torch.equal(p.detach().flatten().sort().values, trained[name])
            return gradients(model, inputs, targets)

        measured(cnn, watch, CascadingRandomization(seeds=1, reinit="permutation"), images)


class TestModels:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("kind", MODELS)
    def test_every_kind_of_model_is_randomized_and_comes_back(self, kind, order, images):
        """Every weight is covered, bit for bit restored, and the global generators have not moved."""
        model = seeded(MODELS[kind]).eval()
        before, generators = state_of(model), global_state()
        scores, described = measured(model, gradients, order(seeds=2), images)
        assert_same(model, before)
        assert same_state(generators, global_state())
        assert described["not_randomized"] == {}
        assert (scores["self spearman"] == 1).all()
        assert (scores["after spearman"][..., -1] < 0.9).all()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_other_precisions_are_randomized_and_come_back(self, dtype, images):
        model = seeded(CNN).eval().to(dtype)
        before = state_of(model)
        scores, _ = measured(model, gradients, CascadingRandomization(seeds=1), images)
        assert_same(model, before)
        assert torch.isfinite(scores["after spearman"]).all()
        assert (scores["after spearman"] < 0.9).any()

    @pytest.mark.parametrize(
        "build",
        [
            lambda model: (Saliency, {}),
            lambda model: (Saliency(model), {"abs": False}),
            lambda model: (IntegratedGradients(model), {"n_steps": 4}),
            lambda model: (NoiseTunnel(Saliency(model)), {"nt_samples": 3, "stdevs": 0.1}),
            lambda model: (LayerGradCam(model, model.conv2), {}),
            lambda model: (GuidedBackprop(model), {}),
            lambda model: (lambda _model, x, t: gradients(model, x, t), {}),
        ],
    )
    def test_whatever_is_bound_to_the_model_follows_it(self, cnn, images, build):
        source, settings = build(cnn)
        before = state_of(cnn)
        scores, _ = measured(cnn, source, CascadingRandomization(seeds=2), images, **settings)
        assert_same(cnn, before)
        after = scores["after spearman"]
        assert (after[:, 0] != after[:, 1]).any(), "other seeds must give other maps"
        assert float(after[..., -1].nanmean()) < 0.9

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("broken")])
    @pytest.mark.parametrize("order", ORDERS)
    def test_the_model_comes_back_when_the_explainer_raises_in_the_middle(self, cnn, images, order, error):
        cnn.train()
        before, generators, calls = state_of(cnn), global_state(), []

        def explain(model, inputs, targets):
            calls.append(1)
            if len(calls) == 6:
                model.conv1.weight.requires_grad_(False)
                raise error
            return gradients(model, inputs, targets)

        with pytest.raises((KeyboardInterrupt, XaiError)) as caught, pytest.warns(match="training mode"):
            measured(cnn, explain, order(seeds=2), images)
        assert_same(cnn, before)
        assert same_state(generators, global_state())
        if isinstance(error, RuntimeError):
            assert "broken" in str(caught.value)
            assert "randomized" in str(caught.value)

    def test_the_model_comes_back_when_a_comparison_is_interrupted(self, cnn, images, monkeypatch):
        """Even while the traceback, and with it every frame, is kept alive, as pytest does."""
        before, calls = state_of(cnn), []
        isfinite = torch.isfinite

        def interrupted(tensor):
            weights = dict(cnn.named_parameters())
            if not torch.equal(weights["fc2.weight"], before[0]["fc2.weight"][1]):
                calls.append(1)
                raise KeyboardInterrupt
            return isfinite(tensor)

        monkeypatch.setattr(torch, "isfinite", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            measured(cnn, gradients, CascadingRandomization(seeds=2), images)
        assert caught.value.__traceback__ is not None
        assert calls
        assert_same(cnn, before)


class TestKeptWeights:
    class Counting(nn.Linear):
        """A layer that counts how often it was drawn."""

        drawn = 0

        def reset_parameters(self):
            type(self).drawn += 1
            super().reset_parameters()

    def claimed(self, monkeypatch, limit):
        """Return the scores of a claim over three blocks, and how often a layer was re-initialized."""
        monkeypatch.setattr(weights, "_KEPT_BYTES", limit)
        model = seeded(lambda: nn.Sequential(self.Counting(12, 8), nn.Tanh(), self.Counting(8, 3)).eval())
        before = self.Counting.drawn
        verdict = (
            Bench(model, noise(130, 12), device="cpu")
            .explainer(gradients)
            .changes_under("bottom_up_randomization", similarity="spearman", at_most=0.5, seeds=3, early=False)
        )
        return verdict.evidence["scores"], self.Counting.drawn - before

    def test_weights_are_drawn_once_for_all_blocks_where_they_are_small(self, monkeypatch):
        kept, once = self.claimed(monkeypatch, 2**20)
        anew, thrice = self.claimed(monkeypatch, 0)
        assert (once, thrice) == (2 * 3, 3 * 2 * 3)
        assert kept == anew


@pytest.mark.parametrize("kind", ORDERS)
def test_a_distribution_that_is_none_is_refused_when_it_is_set(kind):
    with pytest.raises(XaiError, match=r"reinit: found a int; expected the name of a distribution"):
        kind(reinit=3)
