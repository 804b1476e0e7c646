"""The marker form: one test item for each claim and explainer."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ..common.errors import XaiError
from .fixture import SUBJECT_FIXTURES, Xai, fail

if TYPE_CHECKING:
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict

__all__ = ["MARKERS", "PendingVerdict", "check_marked", "generate", "install", "narrow", "with_subject"]

_COMMON = "confidence=0.95, early=True"
MARKERS = (
    "xai_changes_under(intervention, *, similarity=None, at_most=None, retention=0.5, "
    f"{_COMMON}, **settings): claim that attributions differ once the intervention is made. The test asks for "
    "xai_verdict and asserts it; it runs once for each claim and explainer among its markers.",
    "xai_invariant_under(intervention, *, similarity=None, at_least=None, tolerance=None, "
    f"{_COMMON}, **settings): claim that attributions do not differ once the intervention is made.",
    f"xai_beats(baseline, *, on, draws=5, {_COMMON}, **settings): claim that, per input, the explainer is better than "
    "the baseline on the metric.",
    f"xai_bounded(metric, *, at_most=None, at_least=None, {_COMMON}, **settings): claim that the metric stays within "
    "a bound.",
    "xai_explainer(source, *, name=None, **settings): an explainer that the test's claims are about; may be repeated. "
    "Without one, the fixture xai_explainer.",
)
_VERBS = ("changes_under", "invariant_under", "beats", "bounded")
_CLAIMS = tuple(f"xai_{verb}" for verb in _VERBS)


class _Marker:
    """A marker whose only argument may be a class or a function.

    pytest takes such an argument for the thing that is marked, so that ``xai_explainer(Saliency)`` would mark Captum's
    class and return it.
    """

    def __init__(self, mark: pytest.MarkDecorator) -> None:
        self._mark = mark

    def __call__(self, *args: Any, **kwargs: Any) -> pytest.MarkDecorator:
        return self._mark.with_args(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mark, name)


def install(config: pytest.Config) -> None:
    """Make ``pytest.mark`` offer the markers as :class:`_Marker` until the session ends."""
    for name in (*_CLAIMS, "xai_explainer"):
        if not isinstance(getattr(pytest.mark, name), _Marker):
            setattr(pytest.mark, name, _Marker(getattr(pytest.mark, name)))
            config.add_cleanup(partial(delattr, pytest.mark, name))


class _Case(NamedTuple):
    """One claim, of one marker, about one explainer; no source stands for the fixture ``xai_explainer``."""

    mark: pytest.Mark
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

    def is_decided(self) -> bool:
        """Whether the verdict was asked for."""
        return self._decided is not None

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


def check_taken(item: pytest.Item) -> None:
    """Stop at a claim on a test that cannot ask for the verdict: a method of a ``unittest.TestCase``."""
    own = [mark.name for mark in item.own_markers if mark.name in _CLAIMS]
    if own and not {"xai", "xai_verdict"} & set(getattr(item, "fixturenames", ())):
        error = XaiError(
            f"marker {own[0]} of {item.name}",
            found="a test that does not ask for the verdict",
            expected="a test function or method with the argument xai_verdict; a unittest.TestCase cannot have one",
            fix="move the claim to a plain test function",
        )
        raise pytest.UsageError(str(error))


def check_marked(name: str, obj: object) -> None:
    """Stop where a marker without arguments has swallowed the test it stands above."""
    if isinstance(obj, pytest.MarkDecorator) and obj.args:
        inner = obj.args[-1]
        if obj.name.startswith("xai_") and getattr(inner, "__name__", None) == name:
            fail(
                XaiError(
                    f"marker {obj.name}",
                    found=f"no arguments above {name}",
                    expected="its arguments in parentheses",
                    fix="see pytest --markers",
                )
            )
        check_marked(name, inner)


def with_subject(collector: pytest.Module | pytest.Class, name: str, obj: object, collected: Any) -> Any:
    """Return the items of a test function, which also depend on the subject's fixtures when they make claims.

    These must be among the fixtures of a test before it is parametrized, so that they are parametrized with it; but
    only collected items tell whether a test asks for ``xai`` by way of another fixture. So the function is marked and
    collected again.
    """
    items = collected if isinstance(collected, list) else []
    needed = list(dict.fromkeys(fixture for item in items for fixture in _needed(item)))
    if not needed or any(set(needed) <= set(mark.args) for mark in items[0].iter_markers("usefixtures")):
        return collected
    function = getattr(obj, "__func__", obj)
    if pytest.mark.usefixtures(*needed)(function) is not function:
        return collected  # no function that can be marked, such as a lambda: claims ask for the subject themselves
    return collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=obj)


def _needed(item: Any) -> list[str]:
    names = getattr(item, "fixturenames", ())
    if not {"xai", "xai_verdict"} & set(names):
        return []
    open_explainer = "xai_verdict" in names and item.get_closest_marker("xai_explainer") is None
    wanted = (*SUBJECT_FIXTURES, *(["xai_explainer"] if open_explainer else []))
    return [name for name in wanted if name not in names]


def narrow(item: pytest.Item) -> None:
    """Leave an item, of the claims that mark its function, its own: ``-k`` and ``-m`` also look at markers."""
    case = getattr(getattr(item, "callspec", None), "params", {}).get("xai_verdict")
    if isinstance(case, _Case):
        item.own_markers[:] = [m for m in item.own_markers if m.name not in _CLAIMS or m is case.mark]


def generate(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test that asks for ``xai_verdict`` with the claims and explainers of its markers."""
    try:
        if "xai_verdict" in metafunc.fixturenames:
            cases = _cases(metafunc.definition)
            metafunc.parametrize("xai_verdict", cases, indirect=True, ids=_ids(cases))
        else:
            _check_unused(metafunc.definition)
    except XaiError as error:
        fail(error)


def _check_unused(item: pytest.Item) -> None:
    for mark in item.own_markers:
        if mark.name in (*_CLAIMS, "xai_explainer"):
            raise XaiError(
                f"marker {mark.name} of {item.name}",
                found="a test that does not ask for the verdict",
                expected="the argument xai_verdict",
                fix=f"write def {item.name}(xai_verdict)",
            )


def _cases(item: pytest.Item) -> list[_Case]:
    marks = list(item.iter_markers())[::-1]  # as they are read: module, class, function; from top to bottom
    claims = [(mark, _claim(mark, item)) for mark in marks if mark.name in _CLAIMS]
    if not claims:
        raise XaiError(
            f"xai_verdict of {item.name}",
            found="a test without a claim",
            expected=f"one of the markers {', '.join(_CLAIMS)}",
            fix="mark the test, its class or its module",
        )
    sources = [_source(mark, item) for mark in marks if mark.name == "xai_explainer"] or [(None, None, {})]
    return [_Case(mark, claim, *source) for source in sources for mark, claim in claims]


def _claim(mark: pytest.Mark, item: pytest.Item) -> Claim:
    from ..claims.make import make

    verb = mark.name.removeprefix("xai_")
    try:
        return make(verb, mark.args, mark.kwargs, where=verb)
    except XaiError as error:
        where = f"marker {mark.name}{error.where.removeprefix(verb)} of {item.name}"
        raise XaiError(where, found=error.found, expected=error.expected, fix=error.fix) from None


def _source(mark: pytest.Mark, item: pytest.Item) -> tuple[Any, str | None, dict[str, Any]]:
    if len(mark.args) != 1:
        raise XaiError(
            f"marker xai_explainer of {item.name}",
            found=f"{len(mark.args)} explainers",
            expected="one explainer for each marker",
            fix="repeat the marker" if mark.args else "write xai_explainer(Saliency), with an explainer of yours",
        )
    settings = dict(mark.kwargs)
    return mark.args[0], settings.pop("name", None), settings


def _ids(cases: list[_Case]) -> list[str]:
    """Return an id for each case; where they would be equal they are numbered, which a strict pytest leaves to us."""
    names = [_id(case) for case in cases]
    return [
        f"{name}-{names[:place].count(name) + 1}" if names.count(name) > 1 else name for place, name in enumerate(names)
    ]


def _id(case: _Case) -> str:
    source = case.source
    parts = []
    if source is not None:
        shown = {k: v for k, v in case.settings.items() if isinstance(v, (bool, int, float, str))}
        settings = f"({','.join(f'{k}={v}' for k, v in shown.items())})" if shown else ""
        parts.append(case.name or (getattr(source, "__name__", None) or type(source).__name__) + settings)
    words = "-".join((*parts, *case.claim.words))
    return re.sub(r"[\[\]:/\\\s'\"]+|\(\)", "", words)  # what a shell or -k would trip over
