"""Forms of a map: by which reduction it was made of attributions, and whether these were multiplied by the input.

Both decide verdicts (Kokhlikyan et al. 2021). The forms that are not the explainer's own cost no further pass: another
reduction is one of the same attributions, and the other multiplier is a product with what is known of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .reduction import REDUCTIONS

__all__ = ["Form", "Multiplier", "forms_of"]

Multiplier = Literal["with", "without"]

_SAME = ({"sum", "mean"},)  # but for a factor, of which no similarity takes notice


@dataclass(frozen=True)
class Form:
    """One form of a map.

    Attributes:
        reduction: What made one value for each token of those of its dimensions; None where nothing was reduced.
        multiplier: Whether attributions are multiplied by the input; None where they have no multiplier.
    """

    reduction: str | None = None
    multiplier: Multiplier | None = None

    @property
    def name(self) -> str:
        """What it was made by, as settings are written."""
        return self.beside(Form())

    def beside(self, own: Form) -> str:
        """Return what tells it from the explainer's own form, as settings are written; nothing of that itself."""
        reduction = f"reduction={self.reduction}" if self.reduction != own.reduction else ""
        multiplier = f"multiplier={self.multiplier}" if self.multiplier != own.multiplier else ""
        return ", ".join(part for part in (reduction, multiplier) if part)

    def null(self, own: Form) -> str:
        """Return the name of the control that has nothing of a model, and is otherwise as this form of maps is."""
        if self == own and self.multiplier == "without":
            return "fresh noise" if self.reduction is None else "noise of dimensions"
        null = "noise" if self.multiplier == "without" else "input × noise"
        return null if self == own else f"{null}, {self.beside(own)}"


def forms_of(own: Form, *, both: bool) -> tuple[Form, ...]:
    """Return the forms of a map, the explainer's own first: by each other reduction, and by the other multiplier.

    Args:
        own: The explainer's own form.
        both: Whether attributions with and without the multiplier are known.
    """
    same = next((one for one in _SAME if own.reduction in one), {own.reduction})
    others = [name for name in REDUCTIONS if name not in same] if own.reduction is not None else []
    others = [name for name in others if name != "mean" or "sum" not in others]
    forms = [own, *(Form(name, own.multiplier) for name in others)]
    if both:
        forms.append(Form(own.reduction, "without" if own.multiplier == "with" else "with"))
    return tuple(forms)
