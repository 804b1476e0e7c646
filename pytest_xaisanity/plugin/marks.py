"""The marker form: one test item for each claim and explainer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import XaiError
from .fixture import SUBJECT_FIXTURES, Xai

if TYPE_CHECKING:
    from ..claims import Claim
    from ..verdict import Verdict

__all__ = ["MARKERS", "PendingVerdict", "generate"]

_COMMON = "confidence=0.95, early=True"
MARKERS = (
    "xai_changes_under(intervention, *, similarity=None, at_most=None, retention=0.5, "
    f"{_COMMON}, **settings): claim that attributions differ once the intervention is made.",
    "xai_invariant_under(intervention, *, similarity=None, at_least=None, tolerance=None, "
    f"{_COMMON}, **settings): claim that attributions do not differ once the intervention is made.",
    f"xai_beats(baseline, *, on, draws=5, {_COMMON}, **settings): claim that, per input, the explainer is better than "
    "the baseline on the metric.",
    f"xai_bounded(metric, *, at_most=None, at_least=None, {_COMMON}, **settings): claim that the metric stays within "
    "a bound.",
    "xai_explainer(source, *, name=None, **settings): an explainer the test's claims are about; may be repeated.",
)
_VERBS = ("changes_under", "invariant_under", "beats", "bounded")


@dataclass(frozen=True)
class _Case:
    """One claim about one explainer; no source stands for the fixture ``xai_explainer``."""

    claim: Claim
    source: Any
    name: str | None
    settings: dict[str, Any]


class PendingVerdict:
    """A verdict that is decided when it is first asked for, in the test's own call."""

    def __init__(self, xai: Xai, case: _Case) -> None:
        self._xai, self._case = xai, case
        self._decided: Verdict | None = None

    def decide(self) -> Verdict:
        """Return the verdict."""
        __tracebackhide__ = True
        if self._decided is None:
            case = self._case
            self._decided = self._xai.decide(case.claim, case.source, case.name, case.settings)
        return self._decided

    def __bool__(self) -> bool:
        __tracebackhide__ = True
        return bool(self.decide())

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.decide(), name)

    def __repr__(self) -> str:
        return repr(self._decided) if self._decided is not None else f"<not decided yet: {self._case.claim}>"


def generate(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for ``xai`` or ``xai_verdict`` what they need, and parametrize the marker form."""
    names = metafunc.fixturenames
    if "xai_verdict" not in names:
        own = [mark for verb in _VERBS for mark in metafunc.definition.own_markers if mark.name == f"xai_{verb}"]
        if own:
            _fail(XaiError(
                f"marker {own[0].name}", found="a test that does not ask for the verdict",
                expected="the argument xai_verdict", fix=f"write def {metafunc.function.__name__}(xai_verdict)",
            ))  # fmt: skip
    if not {"xai", "xai_verdict"} & set(names):
        return
    if "request" not in names:
        names.insert(0, "request")
    names.extend(name for name in SUBJECT_FIXTURES if name not in names)
    if "xai_verdict" in names:
        try:
            cases = _cases(metafunc.definition)
        except XaiError as error:
            _fail(error)
        if any(case.source is None for case in cases) and "xai_explainer" not in names:
            names.append("xai_explainer")
        metafunc.parametrize("xai_verdict", cases, indirect=True, ids=[_id(case) for case in cases])


def _fail(error: XaiError) -> None:
    pytest.fail(str(error), pytrace=False)


def _cases(item: pytest.Item) -> list[_Case]:
    from ..claims import make

    marks = [(verb, mark) for verb in _VERBS for mark in item.iter_markers(f"xai_{verb}")]
    claims = [make(verb, mark.args, mark.kwargs, where=f"marker xai_{verb}") for verb, mark in reversed(marks)]
    if not claims:
        raise XaiError(
            "xai_verdict", found="a test without a claim",
            expected=f"one of the markers {', '.join('xai_' + verb for verb in _VERBS)}",
            fix="mark the test, its class or its module",
        )  # fmt: skip
    explainers = list(item.iter_markers("xai_explainer"))[::-1]
    sources = [_source(mark) for mark in explainers] or [(None, None, {})]
    return [_Case(claim, *source) for source in sources for claim in claims]


def _source(mark: pytest.Mark) -> tuple[Any, str | None, dict[str, Any]]:
    if len(mark.args) != 1:
        raise XaiError(
            "marker xai_explainer", found=f"{len(mark.args)} explainers", expected="one explainer for each marker",
            fix="repeat the marker",
        )  # fmt: skip
    settings = dict(mark.kwargs)
    return mark.args[0], settings.pop("name", None), settings


def _id(case: _Case) -> str:
    source = case.source
    parts = []
    if source is not None:
        shown = {k: v for k, v in case.settings.items() if isinstance(v, (bool, int, float, str))}
        settings = f"({','.join(f'{k}={v}' for k, v in shown.items())})" if shown else ""
        parts.append(case.name or (getattr(source, "__name__", None) or type(source).__name__) + settings)
    words = "-".join((*parts, *case.claim.words))
    return re.sub(r"[\[\]:/\\\s]+", "", words)
