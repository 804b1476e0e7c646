"""The four verbs: statements about an explainer, and how evidence decides them.

A claim says what must be measured (:meth:`Claim.measurements`) and what the scores mean (:meth:`Claim.decide`); it
knows neither the bench nor pytest. The functions :func:`changes_under`, :func:`invariant_under`, :func:`beats` and
:func:`bounded` make claims from names or objects, and are what the fixture and the markers call.
"""

from .base import Claim, Compound, Look, Measurement
from .bounds import Bounded
from .changes import ChangesUnder
from .gains import Beats, BeatsAcross, BeatsEach
from .invariance import InvariantUnder
from .making import beats, bounded, changes_under, checked_confidence, invariant_under, make

__all__ = [
    "Beats",
    "BeatsAcross",
    "BeatsEach",
    "Bounded",
    "ChangesUnder",
    "Claim",
    "Compound",
    "InvariantUnder",
    "Look",
    "Measurement",
    "beats",
    "bounded",
    "changes_under",
    "checked_confidence",
    "invariant_under",
    "make",
]
