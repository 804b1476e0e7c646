"""Uninformative maps: they look like attributions and know nothing of the model (Binder et al. 2022).

Two calls for one input have zero covariance at each pixel, given the input. A map is described by a few integers and
words, so that a search can vary them, a person can read them, and the call that is its ``repr`` rebuilds it.

Importing this module does not import torch: Hypothesis is told of these types as soon as it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..common.call import Call
from ..common.errors import XaiError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FAMILIES", "MATCHES", "SIGNS", "SIZED", "Box", "UninformativeMap"]

Sign = Literal["positive", "negative", "both"]
Match = Literal["nothing", "input"]
# The simplest of each first: what is searched shrinks towards them.
FAMILIES = ("sign", "uniform", "gaussian", "laplace", "spikes", "blocky", "blurred", "checkerboard")
SIZED = ("spikes", "blocky", "blurred", "checkerboard")  # the families that have a length
SIGNS: tuple[Sign, ...] = ("positive", "negative", "both")
MATCHES: tuple[Match, ...] = ("nothing", "input")


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

    def __post_init__(self) -> None:
        for setting, known in (("family", FAMILIES), ("sign", SIGNS), ("match", MATCHES)):
            if getattr(self, setting) not in known:
                raise unknown_name(f"UninformativeMap {setting}", getattr(self, setting), known, kind=setting)
        for setting, least in (("size", 1), ("background", 0)):
            value = getattr(self, setting)
            if type(value) is not int or value < least:
                raise XaiError(
                    f"UninformativeMap {setting}",
                    found=repr(value),
                    expected=f"a whole number of at least {least}",
                    fix=f"change {setting}=",
                )

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
        import torch

        from ..common.seeding import generator
        from .noise import NOISE

        places = tuple(shape)
        if self.match == "input" and (magnitudes is None or magnitudes.shape != (len(indices), *places)):
            found = "no magnitudes" if magnitudes is None else f"magnitudes of shape {tuple(magnitudes.shape)}"
            raise XaiError(
                "UninformativeMap match='input'",
                found=found,
                expected=f"shape {(len(indices), *places)}",
                fix="pass the magnitude of each input at each place as magnitudes=",
            )
        draw = NOISE[self.family]
        maps = torch.stack([draw(places, self.size, generator(seed, "uninformative", call, i)) for i in indices])
        if self.sign != "both":
            maps = maps.abs() if self.sign == "positive" else -maps.abs()
        maps = maps * (self._weights(places) * self.amplitude)
        return maps.to(magnitudes) * magnitudes if self.match == "input" and magnitudes is not None else maps

    def _weights(self, shape: tuple[int, ...]) -> Tensor:
        import torch

        weights = torch.full(shape, float(self.background), dtype=torch.float32)
        plane = weights if len(shape) > 1 else weights[None]
        for box in self.boxes:
            plane[..., box.top : box.top + box.height, box.left : box.left + box.width] += 1
        return weights
