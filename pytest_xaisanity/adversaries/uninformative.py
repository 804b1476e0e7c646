"""Explainers that know nothing of the model (Binder et al. 2022).

Importing this module does not import torch: Hypothesis is told of its type as soon as it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal
from zlib import crc32

from ..common.errors import unknown_name

if TYPE_CHECKING:
    from torch import Tensor

from ..common.call import Call
from ..maps.uninformative import UninformativeMap

__all__ = ["SEEDINGS", "UninformativeExplainer"]

Seeding = Literal["fresh", "input", "output"]
SEEDINGS: tuple[Seeding, ...] = ("fresh", "input", "output")


_ONE_EVERYWHERE = UninformativeMap()


@dataclass(frozen=True, repr=False)
class UninformativeExplainer(Call):
    """An explainer that returns an uninformative map, drawn as its seeding says.

    Attributes:
        map: The map.
        seeding: ``"fresh"``: at each call, from torch's global generator; ``"input"``: always the same for the same
            input; ``"output"``: by the model's ranking of its outputs, so that it changes with the weights.
        axes: Which axes of the inputs are places and which channels, as in ``Bench(axes=)``.
    """

    map: UninformativeMap = _ONE_EVERYWHERE
    seeding: Seeding = "fresh"
    axes: str | None = None
    __name__: ClassVar[str] = "UninformativeExplainer"

    def __post_init__(self) -> None:
        if self.seeding not in SEEDINGS:
            raise unknown_name("UninformativeExplainer seeding", self.seeding, SEEDINGS, kind="seeding")

    def __call__(self, model: Callable[..., Tensor], inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the maps of a batch: ``(N, 1, *places)`` for inputs ``(N, C, *places)``, else in their shape."""
        from ..maps.noise import magnitude
        from ..subject.layout import Layout, checked_axes

        layout = Layout.of((inputs,), checked_axes(self.axes))
        like = layout.empty(len(inputs), like=inputs)
        magnitudes = magnitude(layout, (inputs.detach(),), like) if self.map.match == "input" else None
        maps = self.map.render(like.shape[1:], seed=0, indices=self._seeds(model, inputs), magnitudes=magnitudes)
        maps = maps.to(like.device, like.dtype)
        return layout.like_inputs(maps, inputs)

    def _seeds(self, model: Callable[..., Tensor], inputs: Tensor) -> list[int]:
        import torch

        if self.seeding == "fresh":
            seeds: list[int] = torch.randint(2**62, (len(inputs),)).tolist()
            return seeds
        rows = inputs
        if self.seeding == "output":
            with torch.no_grad():
                outputs = model(inputs.detach().clone()).reshape(len(inputs), -1)
            # A ranking is the same whatever the batch; of a single output the sign and size have to do.
            rows = outputs.argsort(dim=1, stable=True) if outputs.shape[1] > 1 else (outputs * 1000).round()
        return [crc32(_bytes(row)) for row in rows]


def _bytes(row: Tensor) -> bytes:
    data: bytes = row.detach().cpu().double().numpy().tobytes()
    return data
