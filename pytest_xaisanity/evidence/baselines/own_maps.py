"""What baselines that are the explainer's own maps of other inputs have in common."""

from __future__ import annotations

from typing import ClassVar

from ..base import Baseline

__all__ = ["OwnMaps"]


class OwnMaps(Baseline):
    """The explainer's own maps of other inputs of the same target.

    A map that does not see its input gains nothing, and one that does may gain little where a network is nearly linear:
    what is too small to count is 0.01, and gains are clipped to 0.25, so that so little can be told from nothing with
    some two hundred inputs.
    """

    from_explainer: ClassVar[bool] = True
    of_others: ClassVar[bool] = True
    why_none: ClassVar[str] = "no other input of their target among those measured"
    margin: ClassVar[float] = 0.01
    reach: ClassVar[float] = 0.25
