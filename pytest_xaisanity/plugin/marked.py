"""From markers to tests: one test item for each claim and explainer."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ..claims.make import make
from ..common.checks import check_name
from ..common.errors import XaiError
from .fixture import SUBJECT_FIXTURES, Xai
from .markers import CLAIMS, EXPLAINER
from .named import fail
from .options import explainers
from .pending import PendingVerdict
from .running import fixtures_of
from .specs.sources import shown_explainer
from .taken import check_names

if TYPE_CHECKING:
    from ..claims.base import Claim

__all__ = ["ask_for_parametrized", "check_marked", "generate", "narrow", "pending", "with_params", "with_subject"]

_ASKING = {"xai", "xai_verdict"}
_OURS = (*CLAIMS, EXPLAINER)
_NO_CLAIM = "no-claim"
_OUTER = pytest.StashKey[
    dict[str, list[pytest.Mark]]
]()  # markers of a test function, its class and module, by its name
_IN_PARAMS = pytest.StashKey[dict[str, list[pytest.Mark]]]()  # markers in a test's pytest.param, by the test's name


class _Case(NamedTuple):
    """One claim about one explainer, with their markers; without a second, that of the fixture ``xai_explainer``."""

    claim: Claim
    mark: pytest.Mark
    explainer: pytest.Mark | None

    def is_of(self, item: pytest.Item) -> bool:
        """Whether a test has both markers: those in ``pytest.param`` are the markers of one parameter alone."""
        marks = [mark for mark in item.iter_markers() if mark.name in _OURS]
        if self.explainer is None:
            explained = all(mark.name != EXPLAINER for mark in marks)
        else:
            explained = any(_equal(mark, self.explainer) for mark in marks)
        return explained and any(_equal(mark, self.mark) for mark in marks)


def pending(request: pytest.FixtureRequest, xai: Xai) -> PendingVerdict:
    """Return the verdict on the claim that a test is parametrized with."""
    case: _Case = request.param
    if case.explainer is None:
        return PendingVerdict(case.claim, xai.explainer(request.getfixturevalue(EXPLAINER)))
    return PendingVerdict(case.claim, xai.explainer(*case.explainer.args, **case.explainer.kwargs))


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


def ask_for_parametrized(collector: pytest.Module | pytest.Class, obj: object) -> None:
    """Let a test ask for the subject's fixtures that it is parametrized with, which it need not name by itself."""
    if not inspect.isfunction(obj):
        return
    marks = [*vars(obj).get("pytestmark", ()), *collector.iter_markers("parametrize")]
    named = [
        mark.args[0] for mark in marks if isinstance(mark, pytest.Mark) and mark.name == "parametrize" and mark.args
    ]
    words = {word.strip() for names in named for word in (names.split(",") if isinstance(names, str) else names)}
    parametrized = [name for name in (*SUBJECT_FIXTURES, EXPLAINER) if name in words]
    if parametrized:
        pytest.mark.usefixtures(*parametrized)(obj)


def with_params(collector: pytest.Module | pytest.Class, name: str, obj: object, collected: object) -> object:
    """Return the items of a test function, each with the claims and explainers of its own parameters.

    Only collected items tell which markers stand in a ``pytest.param``, of a test or of a fixture. So the function is
    collected again for the claims of all parameters, and each item keeps its own.
    """
    if not isinstance(collected, list):
        return collected
    items = [item for item in collected if "xai_verdict" in _params(item)]
    if not items:
        return collected
    in_params = collector.stash.setdefault(_IN_PARAMS, {})
    if name not in in_params:
        outer = {id(mark) for mark in collector.stash[_OUTER][name]}
        marks = (mark for item in items for mark in item.iter_markers() if mark.name in _OURS)
        in_params[name] = _each_once(mark for mark in marks if id(mark) not in outer)
        if in_params[name]:
            again: object = collector.ihook.pytest_pycollect_makeitem(collector=collector, name=name, obj=obj)
            return again
    try:
        return [item for item in collected if item not in items or _is_its_own(item)]
    except XaiError as error:
        fail(error)


def _params(item: object) -> Mapping[str, object]:
    callspec = getattr(item, "callspec", None)  # only parametrized tests have one
    return {} if callspec is None else callspec.params


def _is_its_own(item: pytest.Item) -> bool:
    """Whether the claim that a test is parametrized with is one of its own markers."""
    case = _params(item)["xai_verdict"]
    if isinstance(case, _Case):
        return case.is_of(item)
    if any(mark.name in CLAIMS for mark in item.iter_markers()):
        return False
    raise XaiError(
        f"xai_verdict of {item.name.replace(f'{_NO_CLAIM}-', '').replace(f'[{_NO_CLAIM}]', '')}",
        found="a test without a claim",
        expected=f"one of the markers {', '.join(CLAIMS)}",
        fix="mark the test, its class or its module",
    )


def _each_once(marks: Iterable[pytest.Mark]) -> list[pytest.Mark]:
    found: list[pytest.Mark] = []
    for mark in marks:
        if not any(_equal(mark, other) for other in found):
            found.append(mark)
    return found


def _equal(mark: pytest.Mark, other: pytest.Mark) -> bool:
    if mark is other:
        return True
    values, others = ((*one.args, *(one.kwargs[key] for key in sorted(one.kwargs))) for one in (mark, other))
    return (
        (mark.name, len(mark.args), sorted(mark.kwargs)) == (other.name, len(other.args), sorted(other.kwargs))
    ) and all(map(_same, values, others))


def _same(value: object, other: object) -> bool:
    try:
        return value is other or bool(value == other)
    except Exception:  # a tensor is equal in each place
        return False


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
    case = _params(item).get("xai_verdict")
    if isinstance(case, _Case):
        item.own_markers[:] = [m for m in item.own_markers if m.name not in CLAIMS or _equal(m, case.mark)]


def generate(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test that asks for ``xai_verdict`` with the claims and explainers of its markers."""
    item = metafunc.definition
    marks = list(item.iter_markers())[::-1]  # as they are read: module, class, function; from top to bottom
    try:
        check_names(metafunc.config, marks, item.name)
        _of_each_explainer(metafunc)
        if "xai_verdict" in metafunc.fixturenames:
            cases = _cases(item, marks)
            metafunc.parametrize("xai_verdict", cases, indirect=True, ids=_ids(cases))
        else:
            _check_unused(item)
    except XaiError as error:
        fail(error)


def _of_each_explainer(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test whose markers name no explainer with those of the command line, where there are several."""
    texts = explainers(metafunc.config)
    if EXPLAINER in metafunc.fixturenames and len(texts) > 1:
        names = [_plain(shown_explainer(text)) for text in texts]
        metafunc.parametrize(EXPLAINER, texts, indirect=True, ids=_told_apart(names))


def _check_unused(item: pytest.Item) -> None:
    for mark in item.own_markers:
        if mark.name in _OURS:
            raise XaiError(
                f"marker {mark.name} of {item.name}",
                found="a test that does not ask for the verdict",
                expected="the argument xai_verdict",
                fix=f"write def {item.name}(xai_verdict)",
            )


def _cases(item: pytest.Item, outer: list[pytest.Mark]) -> list[_Case | None]:
    """Return claims about explainers; None stands for the parameters that have no claim, if these can be any."""
    assert item.parent is not None
    item.parent.stash.setdefault(_OUTER, {})[item.name] = outer
    in_params = item.parent.stash.get(_IN_PARAMS, {}).get(item.name, [])
    claims = [(mark, _claim(mark, item)) for mark in (*outer, *in_params) if mark.name in CLAIMS]
    explainers: list[pytest.Mark | None] = [
        _checked_explainer(mark, item) for mark in (*outer, *in_params) if mark.name == EXPLAINER
    ]
    if all(mark.name != EXPLAINER for mark in outer):
        explainers.append(None)
    cases: list[_Case | None] = [_Case(claim, mark, explainer) for explainer in explainers for mark, claim in claims]
    return cases if any(mark.name in CLAIMS for mark in outer) else [*cases, None]


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


def _ids(cases: list[_Case | None]) -> list[str]:
    """Return an id for each case; where they would be equal they are numbered, which a strict pytest leaves to us."""
    return _told_apart([_NO_CLAIM if case is None else _id(case) for case in cases])


def _told_apart(names: list[str]) -> list[str]:
    times = Counter(names)
    return [f"{name}-{names[:place].count(name) + 1}" if times[name] > 1 else name for place, name in enumerate(names)]


def _id(case: _Case) -> str:
    if case.explainer is None:
        return case.claim.claim_id
    (source,), settings = case.explainer.args, dict(case.explainer.kwargs)
    name = settings.pop("name", None)
    shown = [f"{key}{value}" for key, value in settings.items() if isinstance(value, (bool, int, float, str))]
    called = name or "-".join([getattr(source, "__name__", None) or type(source).__name__, *shown])
    return f"{_plain(called)}-{case.claim.claim_id}"


def _plain(name: str) -> str:
    """Return the name of an explainer without what a shell or ``-k`` would trip over."""
    return re.sub(r"[^\w.+-]+", "-", re.sub(r"['\"=\s]+|\(\)", "", name)).strip("-").lower()
