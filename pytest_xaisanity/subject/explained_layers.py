"""The layers of a subject's model that reach the output that is explained."""

from __future__ import annotations

from torch import Tensor

from ..model.layers import Layers
from ..model.reach import find_reaching_layers
from .block import Block, Inputs
from .outputs import columns
from .subject import Subject

__all__ = ["LEFT_ALONE", "explained_layers"]

LEFT_ALONE = "embeds the tokens, and is left alone with embedding=False"


def explained_layers(subject: Subject, block: Block, *, embedding: bool = True) -> Layers:
    """Return the layers that reach the explained output, seen on a few inputs of a block.

    Where targets were given, these positions of the outputs are explained; predictions may be any. What was found once
    is kept as long as the model, the inputs and the targets are the same.

    Args:
        subject: What is explained.
        block: Some of its inputs.
        embedding: Whether what embeds tokens is one of them.

    Raises:
        XaiError: As :func:`~pytest_xaisanity.model.layers.find_layers`.
    """
    probe = subject.probe(block)
    key = ("explained layers", block.indices[: len(probe[0])], embedding)
    return subject.once(key, lambda: _found(subject, probe, embedding=embedding))


def _found(subject: Subject, probe: Inputs, *, embedding: bool) -> Layers:
    def outputs() -> Tensor:
        result: Tensor = columns(subject.presented(*(tensor.clone() for tensor in probe)))
        return result

    module = None if embedding else subject.presentation.embedding
    own = set() if module is None else {id(parameter) for parameter in module.parameters()}
    named = () if module is None else subject.model.named_parameters()
    without = {name: LEFT_ALONE for name, parameter in named if id(parameter) in own}
    targets = subject.given_targets
    return find_reaching_layers(subject.model, lambda: subject.outputs(probe), outputs, targets, without=without)
