"""Attributions that were computed elsewhere, one for each input, in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import XaiError
from ..subject.files import tensor_of_file

__all__ = ["Precomputed", "asked_again"]


@dataclass(frozen=True, eq=False)
class Precomputed:
    """Maps of the subject's inputs, by their place: row i belongs to input i of ``xai_inputs``.

    They serve claims that score given maps: ``beats`` against random orders, edges, maps of other inputs and so on, and
    ``bounded`` of a metric of maps. A claim that has to explain again, another model, other targets, other inputs or
    another order, is refused with an error.

    Args:
        maps: Attributions ``(N, ...)``, a tensor or an array, of any shape that an explainer may return.
        name: What verdicts call them.

    >>> xai.explainer(Precomputed(numpy.load("maps.npy"), "Grad-CAM of the service"))  # doctest: +SKIP
    """

    maps: Tensor | NDArray[Any]
    name: str = "precomputed maps"

    @classmethod
    def of_file(cls, file: Path | str, *, name: str | None = None, where: str = "Precomputed") -> Precomputed:
        """Return the maps in a file: ``.npy``, ``.safetensors``, ``.pt`` or ``.pth``.

        Args:
            file: The file, which holds one tensor or array.
            name: What verdicts call them; by default the file's name.
            where: For errors: the option or argument that named the file.

        Raises:
            XaiError: It cannot be read, or holds no tensor, or several.
        """
        path = Path(file)
        return cls(tensor_of_file(path, where=where), name or path.stem)


def asked_again(where: str, what: str) -> XaiError:
    """Return the error for a claim that needs more than the maps of the inputs as they are."""
    return XaiError(
        where,
        found=f"maps that were computed elsewhere, and a claim that has to explain again: {what}",
        expected="an explainer that can be run, for claims that change the model, targets, inputs or their order",
        fix="claim beats(...) or bounded(...) of a metric of given maps, such as pixel_flipping; or give the explainer "
        "itself, in place of its maps",
    )
