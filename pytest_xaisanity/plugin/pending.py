"""What ``xai_verdict`` is: a verdict that is decided when the test looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..common.errors import XaiError
from .looks import is_looked_at

if TYPE_CHECKING:
    from ..bench.bench import BoundExplainer
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict

__all__ = ["PendingVerdict"]


class PendingVerdict:
    """A verdict that is decided when it is first asked for, in the test's own call.

    It has the attributes of a :class:`~pytest_xaisanity.Verdict`.
    """

    def __init__(self, claim: Claim, explainer: BoundExplainer) -> None:
        self._claim, self._explainer = claim, explainer
        self._decided: Verdict | None = None

    def decide(self) -> Verdict:
        """Return the verdict."""
        __tracebackhide__ = True
        if self._decided is None:
            self._decided = self._explainer.decide(self._claim)
        return self._decided

    def is_looked_at(self) -> bool:
        """Whether anybody looked at the verdict."""
        return self._decided is not None and is_looked_at(self._decided)

    def lacking(self) -> str:
        """Return what the subject lacks for the claim, of a battery, in words; nothing where it can be decided."""
        try:
            return self._explainer.bench.lacking(self._claim)
        except XaiError:  # which the claim will meet itself, where it is reported
            return ""

    def cost(self, claims: Sequence[Claim], *, recorded: bool = False) -> str:
        """Return in words what claims about its explainer cost at most; nothing where that cannot be told.

        Args:
            claims: The claims.
            recorded: Whether each is recorded, too.
        """
        from ..bench.plan import together

        try:
            bench = self._explainer.bench
            asked = [one for one in claims if not bench.lacking(one)]
            plans = bench.plans(asked, self._explainer, baseline="recorded" if recorded else None)
        except XaiError:  # likewise
            return ""
        several = f"{len(asked)} claims" if len(asked) > 1 else "a claim"
        return f"{several} about {self._explainer.name}: {together(plans)}" if plans else ""

    def __bool__(self) -> bool:
        __tracebackhide__ = True
        return bool(self.decide())

    def __eq__(self, other: object) -> bool:
        __tracebackhide__ = True
        return self.decide() == (other.decide() if isinstance(other, PendingVerdict) else other)

    def __hash__(self) -> int:
        __tracebackhide__ = True
        return hash(self.decide())

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.decide(), name)

    def __repr__(self) -> str:
        return repr(self._decided) if self._decided is not None else f"<not decided yet: {self._claim}>"
