"""Tensors whose rows cannot be read are one clear error, wherever they stand, and what the error advises works."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xaisanity.common.errors import XaiError
from pytest_xaisanity.subject.subject import Subject
from pytest_xaisanity.subject.tensors import from_numpy

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
UNFIT = {
    "sparse": (X.to_sparse(), lambda given: given.to_dense()),
    "compressed": (X.to_sparse_csr(), lambda given: given.to_dense()),
    "quantized": (torch.quantize_per_tensor(X, 0.1, 0, torch.qint8), lambda given: given.dequantize()),
    "nested": (torch.nested.nested_tensor(list(X)), lambda given: torch.nested.to_padded_tensor(given, 0.0)),
    "jagged": (
        torch.nested.nested_tensor(list(X), layout=torch.jagged),
        lambda given: torch.nested.to_padded_tensor(given, 0.0),
    ),
    "meta": (X.to("meta"), lambda given: X),
    "eight bits": (X.to(torch.float8_e4m3fn), lambda given: given.float()),
    "masked": (np.ma.masked_array(X.numpy(), mask=X.numpy() > 1), lambda given: given.filled(0.0)),
}


def first_inputs(inputs, targets=None):
    torch.manual_seed(0)
    subject = Subject(nn.Linear(5, 3).eval(), inputs, targets)
    with subject.lent():
        return next(subject.blocks()).inputs[0]


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("held", [lambda x: x, lambda x: (x,), lambda x: [x], lambda x: iter([(x,)])])
def test_inputs_of_a_kind_that_cannot_be_read_are_named(kind, held):
    given, mended = UNFIT[kind]
    with pytest.raises(XaiError) as caught:
        first_inputs(held(given))
    assert caught.value.where == "xai_inputs"
    assert first_inputs(held(mended(given))).shape == (16, 5)


@pytest.mark.parametrize(
    "targets", [torch.ones(20, 3).to_sparse(), torch.zeros(20).long().to("meta"), np.ma.masked_less(np.arange(20), 1)]
)
def test_targets_of_a_kind_that_cannot_be_read_are_named(targets):
    with pytest.raises(XaiError) as caught:
        first_inputs(X, targets)
    assert caught.value.where == "xai_targets"


def test_an_array_of_another_byte_order_is_an_array():
    assert torch.equal(from_numpy(X.numpy().astype(">f4")), X)


@pytest.mark.parametrize(
    ("array", "fix"),
    [
        (X.numpy().astype(object), "astype('float32')"),
        (X.numpy().astype(np.longdouble), "astype('float32')"),
        (np.array(["cat"] * 20), "encode what it holds as numbers"),
        (np.zeros(20, "datetime64[s]"), "encode what it holds as numbers"),
    ],
)
def test_an_array_of_what_torch_does_not_know_is_named(array, fix):
    with pytest.raises(XaiError) as caught:
        from_numpy(array)
    assert fix in caught.value.fix
    assert array.dtype.kind not in "fO" or torch.equal(from_numpy(array.astype("float32")), X)


@pytest.mark.parametrize("kind", ["sparse", "quantized", "nested", "meta", "eight bits"])
def test_outputs_of_a_kind_that_cannot_be_read_are_named(kind):
    class Odd(nn.Module):
        def forward(self, x):
            return UNFIT[kind][0]

    subject = Subject(Odd().eval(), X)
    with subject.lent(), pytest.raises(XaiError) as caught:
        subject.outputs((X,))
    assert caught.value.where == "xai_model"


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("role", ["parameter", "buffer"])
def test_what_a_model_only_holds_may_be_of_any_kind(kind, role):
    given = UNFIT[kind][0]
    if isinstance(given, np.ndarray) or (kind, role) == ("meta", "parameter"):
        pytest.skip("no tensor that a model on this device can hold")
    model = nn.Linear(5, 3).eval()
    if role == "buffer":
        model.register_buffer("held", given)
    else:
        model.register_parameter("held", nn.Parameter(given, requires_grad=False))
    held = model.held
    subject = Subject(model, X)
    subject.lend(lambda: subject.outputs((X,)))
    assert model.held is held


def test_a_masked_array_that_hides_nothing_is_an_array():
    assert torch.equal(from_numpy(np.ma.masked_array(X.numpy())), X)


def test_pending_conjugations_and_negations_are_done():
    conjugate = torch.complex(X, X).conj()
    assert not from_numpy(conjugate).is_conj()
    negated = conjugate.imag
    assert negated.is_neg()
    assert torch.equal(torch.from_numpy(from_numpy(negated).numpy()), -X)
    assert torch.equal(first_inputs([negated]), first_inputs([-X]))
