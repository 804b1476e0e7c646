"""Only what reaches the explained output is a layer: whatever its gradient is, and however many heads run beside it."""

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from pytest_xaisanity import Bench
from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.model.reach import UNREACHED, find_reaching_layers

torch.set_num_threads(1)

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def found(model, x=X, targets=None):
    def run():
        with torch.no_grad():
            return model(x)

    return find_reaching_layers(model.eval(), run, lambda: model(x), targets)


def names(model, targets=None):
    return [layer.name for layer in found(model, targets=targets)]


class Heads(nn.Module):
    """Two heads with a normalization each; what is returned of them is a function's choice."""

    def __init__(self, choose, normalized=True):
        super().__init__()
        torch.manual_seed(0)
        self.choose = choose
        self.body = nn.Linear(6, 8)
        self.one, self.two = nn.Linear(8, 5), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8) if normalized else nn.Identity()

    def forward(self, x):
        h = torch.relu(self.body(x))
        two = self.two(h)
        return self.choose(self.one(self.norm(h)), two)


def first(one, two):
    return one


def both(one, two):
    return torch.cat([one, two], 1)


def test_a_head_that_is_not_returned_is_no_layer_and_its_neighbors_normalization_stays():
    layers = found(Heads(first))
    assert [layer.name for layer in layers] == ["body", "one"]
    assert layers.not_randomized == {"two.weight": UNREACHED, "two.bias": UNREACHED}
    assert [norm for layer in layers for norm in layer.norms] == ["norm"]  # it was used after the head that is left out


def test_heads_in_one_output_are_layers_by_the_columns_that_are_explained():
    assert names(Heads(both)) == ["body", "two", "one"]
    assert names(Heads(both), torch.tensor([0, 4])) == ["body", "one"]
    assert names(Heads(both), torch.tensor([6])) == ["body", "two"]
    assert names(Heads(both), torch.tensor([0, 6])) == ["body", "two", "one"]


@pytest.mark.parametrize("targets", [None, torch.tensor([1])])
def test_zero_heads_and_dead_units_are_no_reason(targets):
    zero, dead, row = Heads(first), Heads(first), Heads(first)
    nn.init.zeros_(zero.one.weight)
    nn.init.constant_(dead.body.bias, -1e3)
    with torch.no_grad():
        row.one.weight[1] = 0
    for model in (zero, dead, row):
        assert names(model, targets) == ["body", "one"]


def test_what_runs_without_gradients_reaches_the_output_all_the_same():
    class Frozen(Heads):
        def forward(self, x):
            with torch.no_grad():
                h = torch.relu(self.body(x))
                self.two(h)
            return self.one(self.norm(h))

    layers = found(Frozen(first))
    assert [layer.name for layer in layers] == ["body", "one"]
    assert set(layers.not_randomized) == {"two.weight", "two.bias"}

    class Never(Heads):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    assert names(Never(first)) == ["body", "two", "one"]  # nothing can be seen of it


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_inside_of_a_script_is_taken_to_reach_it():
    class Choose(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 5), nn.Linear(6, 3)

        def forward(self, x):
            return self.one(x), self.two(x)

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.spare, self.head = torch.jit.script(Choose()), nn.Linear(6, 2), nn.Linear(5, 2)

        def forward(self, x):
            self.spare(x)
            return self.head(self.inner(x)[0])

    assert names(First()) == ["inner.one", "inner.two", "head"]


def test_the_model_is_left_as_it_was():
    model = Heads(both)
    model.body.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found(model, targets=torch.tensor([0]))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["body.weight"]
    assert all(parameter.grad is None for parameter in model.parameters())


# ----------------------------------------------------------------------------------------------- the right verdicts


class Attributes(nn.Module):
    """A body with eight heads, of which the first is explained."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten())
        self.heads = nn.ModuleList(nn.Linear(8 * 36, 4) for _ in range(8))

    def forward(self, x):
        h = self.body(x)
        outputs = [head(h) for head in self.heads]
        return outputs[0]


class Tiny(nn.Module):
    """What BERT does: an encoder, a pooler that is computed, and a head that takes the first token instead."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.pooler, self.classifier = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        states = self.encoder(x)
        output = {"last": states, "pooled": torch.tanh(self.pooler(states[:, 0]))}
        return self.classifier(output["last"][:, 0])


@pytest.mark.parametrize(
    ("model", "x", "layers", "left"),
    [
        (Attributes(), torch.randn(64, 1, 8, 8), ["heads.0", "body.0"], [f"heads.{i}.weight" for i in range(1, 8)]),
        (
            Tiny(),
            torch.randn(64, 5, 16),
            ["classifier", "encoder.linear2", "encoder.linear1", "encoder.self_attn"],
            ["pooler.weight", "pooler.bias"],
        ),
    ],
)
def test_dead_heads_and_an_unused_pooler_do_not_decide(model, x, layers, left):
    saliency = Bench(model.eval(), x).explainer(Saliency, abs=False)
    whole = saliency.changes_under("cascading_randomization", similarity="spearman")
    top = saliency.changes_under("cascading_randomization", depth=1, similarity="spearman")
    assert whole.evidence["layers"] == layers
    assert set(left) <= set(whole.evidence["not_randomized"])
    assert top.evidence["layers"] == layers[:1]
    assert whole.passed, whole
    assert not top.failed, top
    independent = saliency.changes_under("independent_randomization", similarity="spearman")
    assert independent.evidence["layers"] == layers
    later = saliency.changes_under("later_layers")
    assert set(later.evidence["layers"]) <= set(layers)
    assert not later.failed, later


# -------------------------------------------------------------------------------- weights that are no parameters


class Prototypes(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.head = body, nn.Linear(8, 8)
        self.register_buffer("prototypes", torch.randn(3, 8))
        self.register_buffer("unused", torch.randn(3))

    def forward(self, x):
        return -torch.cdist(self.head(self.body(x)), self.prototypes)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda body: torch.jit.freeze(torch.jit.script(body)), "frozen"),
        (lambda body: torch.ao.quantization.quantize_dynamic(body, {nn.Linear}, dtype=torch.qint8), "quantized"),
    ],
)
def test_weights_that_are_no_parameters_are_named_with_the_reason_and_in_the_verdict(change, word):
    torch.manual_seed(0)
    model = Prototypes(change(nn.Sequential(nn.Linear(6, 8), nn.ReLU()).eval())).eval()
    layers = found(model)
    assert [layer.name for layer in layers] == ["head"]
    held = "body" if word == "frozen" else "body.0"
    assert set(layers.not_randomized) == {held, "prototypes"}
    assert word in layers.not_randomized[held]
    assert "buffer" in layers.not_randomized["prototypes"]
    x = torch.randn(64, 6)
    verdict = (
        Bench(model, x)
        .explainer(lambda model, x, t: x * model(x)[:, :1])
        .changes_under("cascading_randomization", similarity="spearman")
    )
    assert f"not randomized: {held} ({word})" in verdict.reason
    alone = change(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval())
    with pytest.raises(XaiError, match="without parameters to randomize") as error:
        Bench(alone, x).explainer(lambda model, x, t: x * model(x)[:, :1]).changes_under("cascading_randomization")
    assert "before" in error.value.fix


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_order_that_is_not_that_of_execution_is_said_in_the_verdict():
    model = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval())
    verdict = Bench(model, torch.randn(64, 6)).explainer(Saliency).changes_under("cascading_randomization")
    assert "in order of registration, not of execution" in verdict.reason


@pytest.mark.parametrize("parametrize", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrized_heads_are_above_the_cut(parametrize):
    torch.manual_seed(0)
    change = getattr(nn.utils.parametrizations, parametrize)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), change(nn.Linear(8, 3))).eval()
    saliency = Bench(model, torch.randn(64, 6)).explainer(Saliency, abs=False)
    verdict = saliency.changes_under("later_layers")
    assert (verdict.evidence["cut"], verdict.evidence["layers"]) == ("3", ["4"])
    assert not verdict.evidence["not_randomized"]
    assert saliency.bounded("scale_preservation", at_most=1.0).passed
