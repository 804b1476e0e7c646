"""What Hypothesis calls when it is imported: it then knows how to draw this package's types.

Nothing here imports torch; the strategies do, when a type is drawn for the first time.
"""

from __future__ import annotations

import importlib
from typing import Any

from hypothesis import strategies as st

from ..maps.uninformative import UninformativeMap
from .small_subject import SmallSubject
from .uninformative import UninformativeExplainer

__all__ = ["register"]

SHAPE = (8, 8)  # of the maps of a type: no shape is asked for


def register() -> None:
    """Register the types; the entry point of the group ``hypothesis``."""
    st.register_type_strategy(SmallSubject, lambda _: _strategies().subjects())
    st.register_type_strategy(UninformativeMap, lambda _: _strategies().uninformative_maps(SHAPE))
    st.register_type_strategy(UninformativeExplainer, lambda _: _strategies().uninformative_explainers(SHAPE))


def _strategies() -> Any:
    return importlib.import_module(".strategies", __package__)
