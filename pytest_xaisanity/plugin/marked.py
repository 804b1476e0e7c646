"""From markers to tests: one test item for each claim and explainer."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ..claims.make import make
from ..common.checks import check_name
from ..common.errors import XaiError
from .fixture import SUBJECT_FIXTURES, Xai
from .markers import CLAIMS, EXPLAINER
from .named import fail
from .pending import PendingVerdict
from .running import fixtures_of

if TYPE_CHECKING:
    from ..claims.base import Claim

__all__ = ["check_marked", "check_taken", "generate", "narrow", "pending", "with_subject"]

_ASKING = {"xai", "xai_verdict"}


class _Case(NamedTuple):
    """One claim about one explainer, with their markers; without a second, that of the fixture ``xai_explainer``."""

    claim: Claim
    mark: pytest.Mark
    explainer: pytest.Mark | None


def pending(request: pytest.FixtureRequest, xai: Xai) -> PendingVerdict:
    """Return the verdict on the claim that a test is parametrized with."""
    case: _Case = request.param
    if case.explainer is None:
        return PendingVerdict(case.claim, xai.explainer(request.getfixturevalue(EXPLAINER)))
    return PendingVerdict(case.claim, xai.explainer(*case.explainer.args, **case.explainer.kwargs))


def check_taken(item: pytest.Item) -> None:
    """Stop at a claim on a test that cannot ask for the verdict: a method of a ``unittest.TestCase``."""
    own = [mark.name for mark in item.own_markers if mark.name in CLAIMS]
    if own and not _ASKING & set(fixtures_of(item)):
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


def with_subject(collector: pytest.Module | pytest.Class, name: str, obj: object, collected: object) -> object:
    """Return the items of a test function, which also depend on the subject's fixtures when they make claims.

    These must be among the fixtures of a test before it is parametrized, so that they are parametrized with it; but
    only collected items tell whether a test asks for ``xai`` by way of another fixture. So the function is marked and
    collected again.
    """
    items = [item for item in collected if isinstance(item, pytest.Item)] if isinstance(collected, list) else []
    needed = list(dict.fromkeys(fixture for item in items for fixture in _needed(item)))
    if not needed or any(set(needed) <= set(mark.args) for mark in items[0].iter_markers("usefixtures")):
        return collected
    function = getattr(obj, "__func__", obj)
    if pytest.mark.usefixtures(*needed)(function) is not function:
        return collected  # no function that can be marked, such as a lambda: claims ask for the subject themselves
    again: object = collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=obj)
    return again


def _needed(item: pytest.Item) -> list[str]:
    names = fixtures_of(item)
    if not _ASKING & set(names):
        return []
    open_explainer = "xai_verdict" in names and item.get_closest_marker(EXPLAINER) is None
    wanted = (*SUBJECT_FIXTURES, *([EXPLAINER] if open_explainer else []))
    return [name for name in wanted if name not in names]


def narrow(item: pytest.Item) -> None:
    """Leave an item, of the claims that mark its function, its own: ``-k`` and ``-m`` also look at markers."""
    callspec = getattr(item, "callspec", None)  # only parametrized tests have one
    case = None if callspec is None else callspec.params.get("xai_verdict")
    if isinstance(case, _Case):
        item.own_markers[:] = [m for m in item.own_markers if m.name not in CLAIMS or m is case.mark]


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
        if mark.name in (*CLAIMS, EXPLAINER):
            raise XaiError(
                f"marker {mark.name} of {item.name}",
                found="a test that does not ask for the verdict",
                expected="the argument xai_verdict",
                fix=f"write def {item.name}(xai_verdict)",
            )


def _cases(item: pytest.Item) -> list[_Case]:
    marks = list(item.iter_markers())[::-1]  # as they are read: module, class, function; from top to bottom
    claims = [(mark, _claim(mark, item)) for mark in marks if mark.name in CLAIMS]
    if not claims:
        raise XaiError(
            f"xai_verdict of {item.name}",
            found="a test without a claim",
            expected=f"one of the markers {', '.join(CLAIMS)}",
            fix="mark the test, its class or its module",
        )
    explainers: list[pytest.Mark | None] = [_checked_explainer(mark, item) for mark in marks if mark.name == EXPLAINER]
    return [_Case(claim, mark, explainer) for explainer in explainers or [None] for mark, claim in claims]


def _claim(mark: pytest.Mark, item: pytest.Item) -> Claim:
    verb = mark.name.removeprefix("xai_")
    try:
        return make(verb, mark.args, mark.kwargs, where=verb)
    except XaiError as error:
        where = " ".join([f"marker {mark.name}", *error.where.removeprefix(verb).split(), f"of {item.name}"])
        raise XaiError(where, found=error.found, expected=error.expected, fix=error.fix) from None


def _checked_explainer(mark: pytest.Mark, item: pytest.Item) -> pytest.Mark:
    if len(mark.args) != 1:
        raise XaiError(
            f"marker {EXPLAINER} of {item.name}",
            found=f"{len(mark.args)} explainers",
            expected="one explainer for each marker",
            fix="repeat the marker" if mark.args else f"write {EXPLAINER}(Saliency), with an explainer of yours",
        )
    check_name(f"marker {EXPLAINER} of {item.name}", mark.kwargs.get("name"))
    return mark


def _ids(cases: list[_Case]) -> list[str]:
    """Return an id for each case; where they would be equal they are numbered, which a strict pytest leaves to us."""
    names = [_id(case) for case in cases]
    times = Counter(names)
    return [f"{name}-{names[:place].count(name) + 1}" if times[name] > 1 else name for place, name in enumerate(names)]


def _id(case: _Case) -> str:
    if case.explainer is None:
        return case.claim.claim_id
    (source,), settings = case.explainer.args, dict(case.explainer.kwargs)
    name = settings.pop("name", None)
    shown = {key: value for key, value in settings.items() if isinstance(value, (bool, int, float, str))}
    text = f"({','.join(f'{key}={value}' for key, value in shown.items())})" if shown else ""
    called = name or (getattr(source, "__name__", None) or type(source).__name__) + text
    return f"{_plain(called)}-{case.claim.claim_id}"


def _plain(name: str) -> str:
    """Return the name of an explainer without what a shell or ``-k`` would trip over."""
    return re.sub(r"[\[\]:/\\\s'\"]+|\(\)", "", name)
