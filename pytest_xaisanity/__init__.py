"""pytest-xaisanity: state what must be true of a model's explanations, and decide each statement with evidence.

The public names load on first use: importing this package imports neither torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.bench import Bench, BoundExplainer
    from .bench.gap import Gap, gap
    from .claims.make import beats, bounded, changes_under, invariant_under
    from .common.errors import XaiError, XaiWarning
    from .evidence.interventions.batch_order import BatchOrder
    from .evidence.interventions.label_randomization import LabelRandomization
    from .evidence.interventions.weight_randomization import (
        BottomUpRandomization,
        CascadingRandomization,
        IndependentRandomization,
    )
    from .evidence.metrics.pixel_flipping import PixelFlipping
    from .evidence.metrics.roar import KAR, ROAR
    from .evidence.metrics.scale_preservation import ScalePreservation
    from .statistics.verdict import Verdict

__all__ = [
    "KAR",
    "ROAR",
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
    "BatchOrder": "evidence.interventions.batch_order",
    "Bench": "bench.bench",
    "BottomUpRandomization": "evidence.interventions.weight_randomization",
    "BoundExplainer": "bench.bench",
    "CascadingRandomization": "evidence.interventions.weight_randomization",
    "IndependentRandomization": "evidence.interventions.weight_randomization",
    "LabelRandomization": "evidence.interventions.label_randomization",
    "Gap": "bench.gap",
    "KAR": "evidence.metrics.roar",
    "ROAR": "evidence.metrics.roar",
    "PixelFlipping": "evidence.metrics.pixel_flipping",
    "ScalePreservation": "evidence.metrics.scale_preservation",
    "gap": "bench.gap",
    "Verdict": "statistics.verdict",
    "XaiError": "common.errors",
    "XaiWarning": "common.errors",
    "beats": "claims.make",
    "bounded": "claims.make",
    "changes_under": "claims.make",
    "invariant_under": "claims.make",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
