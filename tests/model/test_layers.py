"""Layers are found by what the forward pass uses, in the order in which it uses it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.common.seeding import global_state, same_state
from pytest_xaisanity.model.layers import find_layers

torch.set_num_threads(1)
torchvision = pytest.importorskip("torchvision")


def layers_of(model, *inputs):
    model.eval()
    with torch.no_grad():
        return find_layers(model, lambda: model(*inputs))


def names(layers):
    return [layer.name for layer in layers]


def listed(layers):
    return {name for layer in layers for name in (*layer.parameters, *layer.norm_parameters, *layer.tied)}


class Shuffled(nn.Module):
    """Registered from the output to the input."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.middle = nn.Linear(4, 4)
        self.stem = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(x + torch.tanh(self.middle(x)))


class Functional(nn.Module):
    """Only bare parameters, in the root and in a list."""

    def __init__(self):
        super().__init__()
        self.bias2 = nn.Parameter(torch.randn(3))
        self.weight2 = nn.Parameter(torch.randn(4, 3))
        self.first = nn.ParameterList([nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(4))])

    def forward(self, x):
        x = F.relu(F.linear(x, self.first[0], bias=self.first[1]))
        return x @ self.weight2 + self.bias2


class Tokens(nn.Module):
    """Bare class and position tokens, computed with before they meet data, around an encoder layer."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 4, 8))
        self.class_token = nn.Parameter(torch.randn(1, 1, 8))
        self.head = nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.patch = nn.Linear(5, 8)

    def forward(self, x):
        token, position = self.class_token.expand(len(x), -1, -1), 2 * self.position
        x = torch.cat([token, self.patch(x)], 1) + position
        return self.head(self.encoder(x)[:, 0])


class Tied(nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.middle = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 7, bias=bias)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens):
        return self.decoder(torch.relu(self.middle(self.embedding(tokens))))


def test_order_is_that_of_execution_not_of_registration():
    layers = layers_of(Shuffled(), torch.randn(2, 5))
    assert names(layers.bottom_up()) == ["stem", "middle", "head"]
    assert names(layers.top_down()) == ["head", "middle", "stem"]
    assert layers.order == "execution"
    assert layers.layers[0].parameters == ("stem.weight", "stem.bias")


def test_bare_parameters_are_layers_and_vectors_go_with_the_matrix_before():
    layers = layers_of(Functional(), torch.randn(2, 5))
    assert [layer.parameters for layer in layers] == [("first.0", "first.1"), ("weight2", "bias2")]
    assert names(layers) == ["first.0", "weight2"]


def test_tokens_stand_where_they_first_meet_data():
    layers = layers_of(Tokens(), torch.randn(2, 3, 5))
    expected = ["patch", "class_token", "position", "encoder.self_attn", "encoder.linear1", "encoder.linear2", "head"]
    assert names(layers) == expected


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_is_traced_without_its_fast_path(norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    layers = layers_of(layer, torch.randn(2, 3, 8))
    assert names(layers) == ["self_attn", "linear1", "linear2"]
    norms = [("norm1", "norm2"), (), ()] if norm_first else [("norm1",), (), ("norm2",)]
    assert [found.norms for found in layers] == norms


def test_attention_is_one_layer_with_its_output_projection():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, add_bias_kv=True, batch_first=True)

        def forward(self, x):
            return self.attention(x, x[..., :4], x[..., :4])[0]

    model = Attention()
    (layer,) = layers_of(model, torch.randn(2, 3, 8))
    assert layer.name == "attention"
    assert set(layer.parameters) == {name for name, _ in model.named_parameters()}


def test_vision_transformer_covers_every_parameter():
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    layers = layers_of(model, torch.randn(1, 3, 32, 32))
    assert names(layers)[:3] == ["conv_proj", "class_token", "encoder.pos_embedding"]
    assert names(layers)[-1] == "heads.head"
    assert len(layers) == 3 + 2 * 3 + 1
    assert listed(layers) == {name for name, _ in model.named_parameters()}


def test_resnet_has_21_layers_and_batch_norms_go_with_the_convolutions():
    model = torchvision.models.resnet18()
    layers = layers_of(model, torch.randn(1, 3, 32, 32))
    assert len(layers) == 21
    assert names(layers.top_down())[0] == "fc"
    assert names(layers.top_down())[-1] == "conv1"
    by_name = {layer.name: layer for layer in layers}
    assert by_name["conv1"].norms == ("bn1",)
    assert by_name["layer2.0.downsample.0"].norms == ("layer2.0.downsample.1",)
    assert listed(layers) == {name for name, _ in model.named_parameters()}
    assert not layers.not_randomized


def test_norms_without_parameters_or_before_every_layer_are_found():
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 4), torchvision.ops.FrozenBatchNorm2d(4))
    run = nn.Sequential(*model[:2], nn.Unflatten(1, (4, 1, 1)), model[2])
    (layer,) = layers_of(run, torch.randn(2, 5))
    assert layer.norms == ("0", "3")
    assert layer.norm_parameters == ("0.weight", "0.bias")


def test_tied_weights_are_one_layer_at_both_ends():
    layers = layers_of(Tied(), torch.tensor([[1, 2]]))
    assert names(layers.bottom_up()) == ["embedding", "middle"]
    assert names(layers.top_down()) == ["embedding", "middle"]
    assert layers.layers[0].tied == ("decoder.weight",)
    assert layers.layers[0].parameters == ("embedding.weight", "decoder.bias")


def test_parameters_over_the_same_memory_are_tied():
    model = Tied(bias=False)
    model.decoder.weight = nn.Parameter(model.embedding.weight.data)
    layers = layers_of(model, torch.tensor([[1, 2]]))
    assert layers.layers[0].tied == ("decoder.weight",)


def test_a_module_used_twice_counts_at_its_last_use_from_the_top_and_at_its_first_from_the_bottom():
    class Reused(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.between = nn.Linear(4, 4), nn.Linear(4, 4)
            self.alias = self.shared

        def forward(self, x):
            return self.shared(self.between(self.shared(x)))

    layers = layers_of(Reused(), torch.randn(2, 4))
    assert names(layers.top_down()) == names(layers.bottom_up()) == ["shared", "between"]
    assert set(layers.layers[0].tied) == {"alias.weight", "alias.bias"}


def test_unused_and_integer_parameters_are_reported_with_the_reason():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.auxiliary, self.head = nn.Linear(4, 2), nn.Linear(4, 2)
            self.spare = nn.Parameter(torch.randn(3))
            self.codes = nn.Parameter(torch.ones(4, dtype=torch.int8), requires_grad=False)
            self.wide, self.empty = nn.Parameter(torch.ones(1).expand(4)), nn.Parameter(torch.ones(0, 4))

        def forward(self, x):
            return self.head(torch.cat([x * self.codes * self.wide, self.empty]))

    layers = layers_of(Odd(), torch.randn(2, 4))
    assert names(layers) == ["head"]
    assert set(layers.not_randomized) == {"auxiliary.weight", "auxiliary.bias", "spare", "codes", "wide", "empty"}
    assert "not used" in layers.not_randomized["spare"]
    assert "memory" in layers.not_randomized["wide"]
    assert "int8" in layers.not_randomized["codes"]


def test_a_parameter_used_as_a_plain_number_is_used():
    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.head = nn.Parameter(torch.tensor(1.5)), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x) * self.scale.item()

    assert names(layers_of(Tempered(), torch.randn(2, 4))) == ["head", "scale"]


def test_a_parameter_that_lends_only_its_type_is_not_used():
    class Typed(nn.Module):
        def __init__(self):
            super().__init__()
            self.spare, self.head = nn.Parameter(torch.randn(2, 2)), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(x.type_as(self.spare).to(self.spare.device))

    assert set(layers_of(Typed(), torch.randn(2, 4)).not_randomized) == {"spare"}


@pytest.mark.parametrize(
    "reparametrize",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
    ],
)
@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
def test_reparametrized_layers_keep_their_module_and_place(reparametrize):
    model = Shuffled()
    model.middle = reparametrize(model.middle)
    layers = layers_of(model, torch.randn(2, 5))
    assert names(layers) == ["stem", "middle", "head"]
    assert not any(layer.norms for layer in layers)
    assert listed(layers) == {name for name, _ in model.named_parameters()}


def test_recurrent_layers_are_one_layer():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.lstm, self.gru = nn.Linear(4, 2), nn.LSTM(3, 4, num_layers=2), nn.GRU(4, 4)

        def forward(self, x):
            return self.head(self.gru(self.lstm(x)[0])[0])

    layers = layers_of(Recurrent(), torch.randn(5, 2, 3))
    assert names(layers) == ["lstm", "gru", "head"]
    assert len(layers.layers[0].parameters) == 8


def test_a_single_module_is_a_model_too():
    (layer,) = layers_of(nn.Linear(3, 2), torch.randn(2, 3))
    assert (layer.name, layer.parameters) == ("Linear", ("weight", "bias"))


def test_owners_whose_weights_are_used_out_of_sight_are_placed_by_their_call():
    class Hidden(nn.Linear):
        def forward(self, x):
            with torch._C.DisableTorchFunction():
                return super().forward(x)

    layers = layers_of(nn.Sequential(nn.Linear(4, 4), Hidden(4, 4), nn.Linear(4, 2)), torch.randn(2, 4))
    assert names(layers) == ["0", "1", "2"]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("compile_", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 3))])
def test_script_modules_fall_back_to_registration_order_and_say_so(compile_):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.body = compile_(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).eval())

        def forward(self, x):
            return self.head(self.body(x))

    layers = layers_of(Wrapped(), torch.randn(2, 3))
    assert names(layers) == ["body.0", "body.2", "head"]
    assert layers.layers[0].norms == ("body.1",)
    assert layers.order == "registration"
    whole = compile_(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    assert names(layers_of(whole, torch.randn(2, 3))) == ["0", "1"]


def test_exported_models_keep_their_order_and_normalization():
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    exported = torch.export.export(plain, (torch.randn(2, 3),)).module()
    layers = find_layers(exported, lambda: exported(torch.randn(2, 3)))
    assert [(layer.name, layer.norms) for layer in layers] == [("0", ("1",)), ("2", ())]


def test_compiled_models_are_traced_eagerly_under_their_own_names(recwarn):
    model = Shuffled()
    compiled = torch.compile(model, backend="eager")
    layers = layers_of(compiled, torch.randn(2, 5))
    assert layers == layers_of(model, torch.randn(2, 5))
    assert not [warning for warning in recwarn if "hooks" in str(warning.message)]


def test_the_trace_sees_through_autocast_nested_modes_and_checkpointing():
    class Nested(Shuffled):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16), torch.enable_grad():
                x = torch.utils.checkpoint.checkpoint(self.stem, x, use_reentrant=False)
            with torch.no_grad():
                return self.head(F.dropout(self.middle(x.float()), training=False))

    assert names(layers_of(Nested(), torch.randn(2, 5))) == ["stem", "middle", "head"]


def test_the_trace_leaves_no_trace():
    model, x = Tokens().eval(), torch.randn(2, 3, 5)
    model.patch.register_forward_hook(lambda *_: None)
    before, hooks, state = dict(model.state_dict()), dict(model.patch._forward_hooks), global_state()
    find_layers(model, lambda: model(x))
    assert same_state(state, global_state())
    assert model.patch._forward_hooks == hooks
    assert not nn.modules.module._global_forward_pre_hooks
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_error_in_the_forward_pass_reaches_the_caller_and_leaves_no_hook():
    model = Shuffled()
    with pytest.raises(RuntimeError, match="shapes"):
        find_layers(model, lambda: model(torch.randn(2, 4)))
    assert not nn.modules.module._global_forward_pre_hooks
    assert names(layers_of(model, torch.randn(2, 5))) == ["stem", "middle", "head"]


@pytest.mark.parametrize(
    ("model", "runs", "found"),
    [
        (abs, True, "builtin_function"),
        (nn.Sequential(nn.ReLU()), True, "without parameters"),
        (nn.Sequential(nn.LayerNorm(5)), True, "normalization"),
        (nn.Linear(5, 2), False, "not used"),
        (nn.LazyLinear(3), True, "uninitialized"),
        (nn.Linear(5, 3, device="meta"), True, "meta"),
    ],
)
def test_a_model_without_layers_is_an_error_that_names_the_fix(model, runs, found):
    with pytest.raises(XaiError, match=found) as error:
        find_layers(model, lambda: model(torch.randn(2, 5)) if runs else None)
    assert error.value.where == "xai_model"
    assert error.value.fix
