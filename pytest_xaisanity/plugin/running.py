"""Which test is running, for what outlives a test: the session's ``xai``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..common.errors import XaiError

__all__ = ["RUNNING", "Running", "begins_again", "fixtures_of", "is_repeated"]

_WITH_FIXTURES = (pytest.Function, pytest.DoctestItem)


def fixtures_of(item: pytest.Item) -> list[str]:
    """Return the names of the fixtures that a test depends on."""
    return list(item.fixturenames) if isinstance(item, _WITH_FIXTURES) else []


def is_repeated(item: pytest.Item) -> bool:
    """Whether a test runs once for each example of Hypothesis's."""
    hypothesis = sys.modules.get("hypothesis")  # which such a test has imported
    return (
        hypothesis is not None and isinstance(item, pytest.Function) and bool(hypothesis.is_hypothesis_test(item.obj))
    )


def begins_again(item: pytest.Item) -> bool:
    """Whether a test has begun once more, as plugins let a failed one do; true once for each time."""
    begun = item.stash.get(_SETUPS, 0) > 1
    if begun:
        item.stash[_SETUPS] = 1
    return begun


class Running:
    """The tests that are running: one, or as many as there are threads of a plugin that runs several at once."""

    def __init__(self) -> None:
        self._items: dict[int, pytest.Item] = {}
        self._scopes: list[str] = []

    @contextmanager
    def test(self, item: pytest.Item) -> Iterator[None]:
        """Let ``item`` be the running test of this thread."""
        thread = threading.get_ident()
        outer = self._items.get(thread)  # of a plugin that runs a test within another
        self._items[thread] = item
        try:
            yield
        finally:
            del self._items[thread]
            if outer is not None:
                self._items[thread] = outer

    @contextmanager
    def setup(self, item: pytest.Item) -> Iterator[None]:
        """Let the setup of ``item`` begin with its ``request``, so that other fixtures can already make claims.

        Only during setup, so that nobody sees a fixture that the test does not have.
        """
        item.stash[_SETUPS] = item.stash.get(_SETUPS, 0) + 1
        if not isinstance(item, _WITH_FIXTURES):
            yield
            return
        names = item.fixturenames
        item.fixturenames = ["request", *names]
        try:
            yield
        finally:
            item.fixturenames = names

    @contextmanager
    def fixture(self, scope: str) -> Iterator[None]:
        """Let a fixture of this scope be the one that is set up."""
        self._scopes.append(scope)
        try:
            yield
        finally:
            self._scopes.pop()

    @property
    def scope(self) -> str | None:
        """The scope of the fixture that is set up; None in the call of a test."""
        return self._scopes[-1] if self._scopes else None

    @property
    def item(self) -> pytest.Item:
        """The running test, also of a thread that it has started."""
        items = list(self._items.values())
        own = self._items.get(threading.get_ident(), items[0] if len(items) == 1 else None)
        if own is None:
            raise _outside(
                "outside of a test" if not items else f"in a thread of its own, while {len(items)} tests run"
            )
        return own

    @property
    def request(self) -> pytest.FixtureRequest:
        """The fixtures of the running test."""
        item = self.item
        request = item.funcargs.get("request") if isinstance(item, _WITH_FIXTURES) else None
        if not isinstance(request, pytest.FixtureRequest):
            raise _outside(f"in {item.nodeid}, which has no fixtures")
        return request


def _outside(where: str) -> XaiError:
    return XaiError(
        "xai",
        found=f"a claim made {where}",
        expected="a test, or a fixture that a test uses",
        fix="make it there, or use pytest_xaisanity.Bench",
    )


RUNNING = pytest.StashKey[Running]()
_SETUPS = pytest.StashKey[int]()
