"""Small random subjects for property-based tests of explainers.

Importing this module does not import torch: Hypothesis is told of its type as soon as it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..common.call import Call
from ..common.errors import XaiError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["KINDS", "Kind", "SmallSubject"]

Kind = Literal["mlp", "tied", "functional", "cnn", "batchnorm", "residual", "attention"]
# The simplest first: what is searched shrinks towards it.
KINDS: tuple[Kind, ...] = ("mlp", "tied", "functional", "cnn", "batchnorm", "residual", "attention")


@dataclass(frozen=True, repr=False)
class SmallSubject(Call):
    """A small random model with inputs and targets, rebuilt alike at each call and without a trace in any generator.

    Attributes:
        kind: ``"mlp"``; ``"tied"``, an MLP whose hidden layers share one weight; ``"functional"``, an MLP whose
            activations are no modules; ``"cnn"``; ``"batchnorm"``, a CNN with batch normalization; ``"residual"``, a
            CNN with skip connections; ``"attention"``, a transformer.
        seed: Seed of the weights, inputs and targets.
        width: Units or channels of a hidden layer.
        depth: Number of hidden layers or blocks, 1 or more.
        classes: Number of outputs; a model with a single one has no targets.
        batch: Number of inputs.

    Raises:
        XaiError: A setting is out of range.
    """

    kind: Kind = "mlp"
    seed: int = 0
    width: int = 4
    depth: int = 1
    classes: int = 2
    batch: int = 16

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("SmallSubject kind", self.kind, KINDS, kind="kind of model")
        for setting in ("width", "depth", "classes", "batch"):
            value = getattr(self, setting)
            if type(value) is not int or value < 1:
                raise XaiError(
                    f"SmallSubject {setting}",
                    found=repr(value),
                    expected="a whole number of at least 1",
                    fix=f"change {setting}=",
                )

    def model(self) -> nn.Module:
        """Return the model, in evaluation mode: a new one at each call, with the same weights."""
        from .small_models import build

        return build(
            self.kind,
            seed=self.seed,
            width=self.width,
            depth=self.depth,
            classes=self.classes,
            batch=self.batch,
        )

    def inputs(self) -> Tensor:
        """Return normal inputs: ``(batch, 6)``, images ``(batch, 2, 6, 6)``, or tokens ``(batch, 4, 5)``, embedded."""
        from .small_models import inputs

        return inputs(self.kind, seed=self.seed, batch=self.batch)

    def targets(self) -> Tensor | None:
        """Return random class indices ``(batch,)``, or None for a model with a single output."""
        from .small_models import targets

        return targets(self.kind, seed=self.seed, classes=self.classes, batch=self.batch)
