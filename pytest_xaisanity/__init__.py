"""pytest-xaisanity: state what must be true of a model's explanations, and decide each statement with evidence.

The public names load on first use: importing this package imports neither torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench import Bench, BoundExplainer
    from .claims import beats, bounded, changes_under, invariant_under
    from .errors import XaiError, XaiWarning
    from .interventions.batch_order import BatchOrder
    from .interventions.labels import LabelRandomization
    from .interventions.weights import BottomUpRandomization, CascadingRandomization, IndependentRandomization
    from .metrics.pixel_flipping import PixelFlipping
    from .metrics.scale_preservation import ScalePreservation
    from .ranking_gap import Gap, gap
    from .verdict import Verdict

__all__ = [
    "BatchOrder",
    "Bench",
    "BottomUpRandomization",
    "BoundExplainer",
    "CascadingRandomization",
    "Gap",
    "IndependentRandomization",
    "LabelRandomization",
    "PixelFlipping",
    "ScalePreservation",
    "Verdict",
    "XaiError",
    "XaiWarning",
    "beats",
    "bounded",
    "changes_under",
    "gap",
    "invariant_under",
]

__version__ = "0.1.0"

_HOMES = {
    "BatchOrder": "interventions.batch_order",
    "Bench": "bench",
    "BottomUpRandomization": "interventions.weights",
    "BoundExplainer": "bench",
    "CascadingRandomization": "interventions.weights",
    "IndependentRandomization": "interventions.weights",
    "LabelRandomization": "interventions.labels",
    "Gap": "ranking_gap",
    "PixelFlipping": "metrics.pixel_flipping",
    "ScalePreservation": "metrics.scale_preservation",
    "gap": "ranking_gap",
    "Verdict": "verdict",
    "XaiError": "errors",
    "XaiWarning": "errors",
    "beats": "claims",
    "bounded": "claims",
    "changes_under": "claims",
    "invariant_under": "claims",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
