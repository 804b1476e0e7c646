"""Maps that were computed elsewhere as an explainer, which can explain nothing again."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

from ...common.digest import digest_of
from ...common.errors import XaiError
from ...subject.tensors import from_numpy
from ..explainer import Request
from ..precomputed import Precomputed, asked_again
from .base import Adapter, Attribute, Settings, check_keywords
from .keys import key_of

__all__ = ["PrecomputedAdapter"]


class PrecomputedAdapter(Adapter[Precomputed]):
    """Maps that were computed elsewhere: looks them up by the place of the input.

    Other inputs or targets than it was first asked for at that place are refused.
    """

    def accepts(self, source: object) -> bool:
        """Whether it is such maps."""
        return isinstance(source, Precomputed)

    def attribute(self, source: Precomputed, model: object, settings: Settings, *, where: str) -> Attribute:
        """Return the function that looks rows up."""
        check_keywords(lambda: None, settings, where, own=())
        maps = from_numpy(source.maps, where)
        if not isinstance(maps, Tensor) or maps.ndim < 2:
            raise XaiError(
                where,
                found=f"a {type(source.maps).__name__}"
                + (f" of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else ""),
                expected="a tensor or an array of attributions (N, ...), one row for each input",
                fix="give numpy.stack(maps)",
            )
        seen: dict[int, str] = {}

        def attribute(request: Request) -> Tensor:
            _check_count(len(maps), request, where)
            for row, place in enumerate(request.indices):
                target = None if request.targets is None else request.targets[row]
                asked = digest_of(tuple(part[row] for part in request.inputs), target)
                if seen.setdefault(place, asked) != asked:
                    raise asked_again(where, "other inputs or targets than before")
            return maps[list(request.indices)].clone()

        return attribute

    def name(self, source: Precomputed, settings: Settings) -> str:
        """Return their name."""
        return source.name

    def key(self, source: Precomputed, settings: Settings) -> tuple[Hashable, ...]:
        """Return their values."""
        return ("precomputed", key_of(source.maps))

    def precomputed(self, source: Precomputed) -> bool:
        """They are."""
        return True


def _check_count(rows: int, request: Request, where: str) -> None:
    most = max(request.indices, default=0) + 1 if request.count is None else request.count
    if rows != most if request.count is not None else rows < most:
        inputs = f"a stream of {most} inputs or more" if request.count is None else f"{most} inputs"
        raise XaiError(
            where,
            found=f"{rows} maps for {inputs}",
            expected="one map for each input of xai_inputs, in the same order",
            fix="compute the missing ones, or leave out the inputs that have none",
        )
