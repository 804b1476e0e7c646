"""What an audit found about one explainer, as it travels between processes and stands in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Audited", "Mutation", "Status"]

Status = Literal["broken", "killed", "not judged", "survived", "equivalent", "inapplicable"]


@dataclass
class Mutation:
    """What became of one mutant.

    Attributes:
        status: ``"killed"``, ``"survived"``, ``"equivalent"`` (it explains as the original does), ``"inapplicable"``
            (there is no such mutant here), ``"broken"`` (a mutant that raises) or ``"not judged"`` (the audit was cut
            before one of the claims killed it or all had been put to it).
        killed_by: The ids of the claims that it does not pass.
        caught_by: For a survivor, a claim of this plugin that the original passes and the mutant does not, as code to
            paste behind ``xai.explainer(...).`` or into a marker; or None.
        reason: Of the last four statuses, and of a survivor for which no claim is named.
    """

    status: Status = "survived"
    killed_by: list[str] = field(default_factory=list)
    caught_by: str | None = None
    reason: str = ""


@dataclass
class Audited:
    """The mutants of one explainer, put to the claims that it passes.

    Attributes:
        explainer: Its name.
        subject: Digest of model, inputs and targets.
        claims: The ids of the claims.
        mutations: What became of each mutant, by name.
        dropped: The ids of claims that could not be audited, and why.
        words: All these claims as they were written, by id.
    """

    explainer: str
    subject: str
    claims: list[str] = field(default_factory=list)
    mutations: dict[str, Mutation] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Audited:
        """Return the reverse of :meth:`plain`."""
        mutations = {name: Mutation(**mutation) for name, mutation in values["mutations"].items()}
        return cls(**{**values, "mutations": mutations})
