"""Uninformative maps: they look like attributions and know nothing of the model (Binder et al. 2022).

Two calls for one input have zero covariance at each pixel, given the input. A map is described by a few integers and
words, so that a search can vary them, a person can read them, and the call that is its ``repr`` rebuilds it.

Importing this module does not import torch: Hypothesis is told of these types as soon as it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from zlib import crc32

from ..errors import XaiError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from ..subject import Block

__all__ = [
    "FAMILIES",
    "MATCHES",
    "SEEDINGS",
    "SIGNS",
    "SIZED",
    "Box",
    "Call",
    "InputTimesNoise",
    "UninformativeExplainer",
    "UninformativeMap",
]

Sign = Literal["positive", "negative", "both"]
Match = Literal["nothing", "input"]
Seeding = Literal["fresh", "input", "output"]
# The simplest of each first: what is searched shrinks towards them.
FAMILIES = ("sign", "uniform", "gaussian", "laplace", "spikes", "blocky", "blurred", "checkerboard")
SIZED = ("spikes", "blocky", "blurred", "checkerboard")  # the families that have a length
SIGNS: tuple[Sign, ...] = ("positive", "negative", "both")
MATCHES: tuple[Match, ...] = ("nothing", "input")
SEEDINGS: tuple[Seeding, ...] = ("fresh", "input", "output")


class Call:
    """A frozen value whose ``repr`` is the shortest call that rebuilds it."""

    def __repr__(self) -> str:
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        given = [f"{name}={value!r}" for name, (value, default) in values.items() if value != default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the same in the reports of Hypothesis, which spells out every field of a dataclass."""
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Box(Call):
    """A rectangle of places; a map with one axis has ``top=0, height=1``."""

    top: int = 0
    left: int = 0
    height: int = 1
    width: int = 1


@dataclass(frozen=True, repr=False)
class UninformativeMap(Call):
    """Noise of a family, with a root mean square of one, weighted by where it stands.

    Attributes:
        family: ``"sign"`` (plus or minus one), ``"uniform"``, ``"gaussian"``, ``"laplace"``, ``"spikes"`` (one place in
            ``size * size`` is not zero), ``"blocky"`` (squares of side ``size``), ``"blurred"`` (Gaussian, standard
            deviation ``size``, over the last two axes), ``"checkerboard"`` (squares of side ``size``, phase at random).
        sign: ``"positive"``, ``"negative"``, or ``"both"``, for a mean of zero at each place.
        size: Length in places of the families from ``"spikes"`` on, 1 or more.
        background: Weight of the places outside of all boxes, 0 or more.
        boxes: Each adds one to the weight of its places.
        match: ``"input"``: weights are multiplied by the magnitude of the input at each place, so that a map with
            weights of one has the input's root mean square there.
        amplitude: A factor for the whole map, which rankings do not see.

    The simplest map, ``UninformativeMap()``, is one everywhere; ``UninformativeMap(match="input")`` is the magnitude of
    the input.

    Raises:
        XaiError: A setting is out of range.
    """

    family: str = "sign"
    sign: Sign = "positive"
    size: int = 1
    background: int = 1
    boxes: tuple[Box, ...] = ()
    match: Match = "nothing"
    amplitude: float = 1.0
    name: ClassVar[str] = "uninformative"

    def __post_init__(self) -> None:
        for setting, known in (("family", FAMILIES), ("sign", SIGNS), ("match", MATCHES)):
            if getattr(self, setting) not in known:
                raise unknown_name(f"UninformativeMap {setting}", getattr(self, setting), known, kind=setting)
        for setting, least in (("size", 1), ("background", 0)):
            value = getattr(self, setting)
            if type(value) is not int or value < least:
                raise XaiError(
                    f"UninformativeMap {setting}", found=repr(value), expected=f"a whole number of at least {least}",
                    fix=f"change {setting}=",
                )  # fmt: skip

    def render(
        self,
        shape: Sequence[int],
        *,
        seed: int,
        indices: Sequence[int],
        call: str = "",
        magnitudes: Tensor | None = None,
    ) -> Tensor:
        """Return the maps ``(b, *shape)``, drawn by (seed, call, input).

        Args:
            shape: Places of one map: ``(F,)``, ``(H, W)``, ...
            seed: Seed of the draws.
            indices: Place of each input in the data, length b.
            call: Tells calls apart.
            magnitudes: Those of the inputs ``(b, *shape)``, for ``match="input"``.
        """
        from .noise import render

        return render(self, tuple(shape), seed=seed, indices=indices, call=call, magnitudes=magnitudes)

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``."""
        return [self.drawn(block, like, seed=seed, call="")]

    def drawn(self, block: Block, like: Tensor, *, seed: int, call: str) -> Tensor:
        """Return the maps of one call for a block."""
        from .noise import magnitude

        magnitudes = magnitude(block.inputs, like) if self.match == "input" else None
        maps = self.render(like.shape[1:], seed=seed, indices=block.indices, call=call, magnitudes=magnitudes)
        return maps.to(like.device, like.dtype)


@dataclass(frozen=True)
class InputTimesNoise:
    """The input times normal noise: the null of methods that multiply by the input."""

    name: ClassVar[str] = "input_times_noise"

    def maps(self, block: Block, like: Tensor, *, seed: int) -> list[Tensor]:
        """Return one batch of maps of the shape of ``like``."""
        noise = UninformativeMap("gaussian", "both", match="input")
        return [noise.drawn(block, like, seed=seed, call="input times noise")]


@dataclass(frozen=True, repr=False)
class UninformativeExplainer(Call):
    """An explainer that returns an uninformative map, drawn anew as its seeding says.

    Attributes:
        map: The map.
        seeding: ``"fresh"``: at each call, from torch's global generator; ``"input"``: always the same for the same
            input; ``"output"``: by the model's ranking of its outputs, so that it changes with the weights.
    """

    map: UninformativeMap = UninformativeMap()
    seeding: Seeding = "fresh"
    __name__: ClassVar[str] = "UninformativeExplainer"

    def __post_init__(self) -> None:
        if self.seeding not in SEEDINGS:
            raise unknown_name("UninformativeExplainer seeding", self.seeding, SEEDINGS, kind="seeding")

    def __call__(self, model: Callable[..., Tensor], inputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the maps of a batch: ``(N, 1, *places)`` for inputs ``(N, C, *places)``, else in their shape."""
        from ..explainers.running import empty_maps
        from .noise import magnitude

        like = empty_maps((inputs,))
        magnitudes = magnitude((inputs.detach(),), like) if self.map.match == "input" else None
        maps = self.map.render(like.shape[1:], seed=0, indices=self._seeds(model, inputs), magnitudes=magnitudes)
        maps = maps.to(like.device, like.dtype)
        return maps[:, None] if inputs.ndim > 2 else maps.reshape(inputs.shape)

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


def _bytes(row: Any) -> bytes:
    data: bytes = row.detach().cpu().double().numpy().tobytes()
    return data
