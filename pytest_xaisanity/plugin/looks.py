"""Whether anybody looked at a verdict: a test that forgets its ``assert`` passes whatever was found.

A verdict is looked at when its truth value is asked for, when it is compared, copied or pickled, or when something that
was found is read of it: ``passed``, ``outcome``, ``estimate``, ``evidence``, ... Printing it is no look, for a test
that prints passes whatever is printed; a doctest, which compares what is printed, is not watched.

Only a test that passes is held to it, and only when it is certain that nobody will look any more: a verdict that a
fixture of a wider scope, a class or a module still holds when the test is over has time until it is let go, or until
the last test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from weakref import ref

import pytest

from ..common.errors import XaiError
from ..statistics.verdict import Verdict

__all__ = ["LOOKS", "Looks", "Watched", "is_looked_at", "place_of_user"]

_FOUND = frozenset(
    {"advice", "estimate", "evidence", "failed", "inconclusive", "interval", "n", "outcome", "passed", "reason"}
)
_PACKAGE = __name__.partition(".")[0]


@dataclass
class _Look:
    """What is known about one verdict.

    Attributes:
        claim: The claim in one phrase.
        test: The test in which it was decided.
        place: The line that made the claim.
        own: Whether it can only be the test's own: made in its call, or in a fixture of its own.
        kept: Whether it was made in a fixture, which has it until the test is torn down.
        looked: Whether anybody looked.
    """

    claim: str
    test: str
    place: str
    own: bool
    kept: bool
    looked: bool = False


class Watched(Verdict):
    """A verdict that knows whether anybody looked at it."""

    def __getattribute__(self, name: str) -> object:
        if name in _FOUND:
            _note(self)
        return super().__getattribute__(name)

    def __eq__(self, other: object) -> bool:
        _note(self)
        if not isinstance(other, Verdict):
            return NotImplemented  # one that is not decided yet knows
        _note(other)
        return _plain(self) == _plain(other)

    def __hash__(self) -> int:
        return hash(_plain(self))

    def __repr__(self) -> str:
        return repr(_plain(self))

    def report(self) -> str:
        """Return what is printed of it, which is no look."""
        return _plain(self).report()

    def _repr_html_(self) -> str:
        """Return what notebooks show of it, likewise."""
        return _plain(self)._repr_html_()

    def __reduce__(self) -> tuple[object, ...]:
        """Return what a copy or a pickle is made of: a plain verdict, which is no longer watched."""
        _note(self)
        plain = _plain(self)
        return Verdict, tuple(getattr(plain, one.name) for one in fields(Verdict))


def _note(verdict: Verdict) -> None:
    look: _Look | None = vars(verdict).get("_look")
    if look is not None:  # dataclasses.replace makes a verdict of one's own
        look.looked = True


def _plain(verdict: Verdict) -> Verdict:
    values = vars(verdict)
    return Verdict(**{one.name: values[one.name] for one in fields(Verdict)})


def is_looked_at(verdict: Verdict) -> bool:
    """Whether anybody looked at a verdict, as far as it is watched."""
    look: _Look | None = vars(verdict).get("_look")
    return look is None or look.looked


class Looks:
    """The verdicts of a session at which nobody looked yet."""

    def __init__(self) -> None:
        self._open: list[tuple[_Look, ref[Watched]]] = []

    def watch(self, item: pytest.Item, verdict: Verdict, *, scope: str | None) -> Verdict:
        """Return the verdict so that it is known whether anybody looks at it.

        Args:
            item: The test.
            verdict: The verdict.
            scope: That of the fixture that made the claim; None in the call of the test.
        """
        if isinstance(item, pytest.DoctestItem):
            return verdict
        look = _Look(verdict.claim, item.nodeid, place_of_user(), scope in (None, "function"), scope is not None)
        values = vars(verdict)
        watched = Watched(**{one.name: values[one.name] for one in fields(Verdict)})
        vars(watched)["_look"] = look
        self._open.append((look, ref(watched)))
        return watched

    def drop(self, item: pytest.Item) -> None:
        """Forget the own verdicts of a test: it did not pass, or begins once more."""
        self._open = [(look, held) for look, held in self._open if not (look.own and look.test == item.nodeid)]

    def overlooked(self, item: pytest.Item, *, last: bool) -> Iterator[str]:
        """Yield, once, the claims and places of the verdicts at which nobody will look any more.

        Args:
            item: The test that was torn down.
            last: Whether it was the last.
        """
        waiting = []
        for look, held in self._open:
            own = look.own and look.test == item.nodeid
            if look.looked:
                continue
            if last or held() is None or (own and look.kept):
                yield f"{look.claim} ({look.place}{'' if own else f', in {look.test}'})"
            else:
                waiting.append((look, held))
        self._open = waiting

    def check(self, item: pytest.Item, *, last: bool) -> None:
        """Raise where a test passed without a look at its verdicts."""
        if found := list(self.overlooked(item, last=last)):
            raise XaiError(
                item.name,
                found=f"{'a verdict' if len(found) == 1 else f'{len(found)} verdicts'} that nobody looked at, so that "
                f"the test passes whatever was found: {'; '.join(found)}",
                expected="a test that asserts each verdict",
                fix="assert it, or read what you want of it, such as its outcome; printing it decides nothing",
            )


def place_of_user() -> str:
    """Return file and line of the innermost frame that is not this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


LOOKS = pytest.StashKey[Looks]()
