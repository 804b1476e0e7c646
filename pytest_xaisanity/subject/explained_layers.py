"""The layers of a subject's model that reach the output that is explained."""

from __future__ import annotations

from torch import Tensor

from ..model.layers import Layers
from ..model.reach import find_reaching_layers
from .block import Block
from .outputs import columns
from .subject import Subject

__all__ = ["explained_layers"]


def explained_layers(subject: Subject, block: Block) -> Layers:
    """Return the layers that reach the explained output, seen on a few inputs of a block.

    Where targets were given, these positions of the outputs are explained; predictions may be any.

    Raises:
        XaiError: As :func:`~pytest_xaisanity.model.layers.find_layers`.
    """
    probe = subject.probe(block)

    def outputs() -> Tensor:
        result: Tensor = columns(subject.model(*(tensor.clone() for tensor in probe)))
        return result

    return find_reaching_layers(subject.model, lambda: subject.outputs(probe), outputs, subject.given_targets)
