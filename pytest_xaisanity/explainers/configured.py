"""An explainer together with its settings, as one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Configured"]


@dataclass(frozen=True, eq=False)
class Configured:
    """What ``xai.explainer(source, **settings)`` takes, to be given where a single object is wanted.

    Attributes:
        source: A class or an object.
        settings: The keywords beside it, ``name`` among them.
    """

    source: object
    settings: Mapping[str, object] = field(default_factory=dict)
