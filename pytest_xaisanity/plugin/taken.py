"""Markers that nothing comes of: claims that no test takes up, and names that are no marker's."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import pytest

from ..common.errors import XaiError, unknown_name
from .markers import CLAIMS, EXPLAINER
from .running import fixtures_of

__all__ = ["Taken", "check_names", "check_not_added", "remember"]

_OURS = (*CLAIMS, EXPLAINER)
_COLLECTED = pytest.StashKey[list[pytest.Mark]]()  # the markers of a test when it was collected


def check_names(config: pytest.Config, marks: Iterable[pytest.Mark], name: str) -> None:
    """Raise at a marker ``xai_...`` that neither this plugin nor anyone else has registered.

    Args:
        config: The session's.
        marks: All markers of a test.
        name: The test.
    """
    for mark in marks:
        if mark.name.startswith("xai_") and mark.name not in _registered(config):
            raise unknown_name(f"a marker of {name}", mark.name, _OURS, kind="marker")


def _registered(config: pytest.Config) -> set[str]:
    return {line.partition(":")[0].partition("(")[0].strip() for line in config.getini("markers")}


def remember(item: pytest.Item) -> None:
    """Remember the markers that a test is collected with."""
    item.stash[_COLLECTED] = list(item.own_markers)


def check_not_added(item: pytest.Item) -> None:
    """Raise at a claim or explainer that was added to a test when it had been collected, and makes no test of it."""
    known = item.stash.get(_COLLECTED, item.own_markers)
    check_names(item.config, item.own_markers, item.name)
    for mark in item.own_markers:
        if mark.name in _OURS and not any(mark is other for other in known):
            raise XaiError(
                f"marker {mark.name} of {item.name}",
                found="a marker that was added after the test had been collected, so that no test comes of it",
                expected="one that stands above the test, its class or its module, or in a pytest.param",
                fix="write it there",
            )


class Taken:
    """A plugin for one session: ends the collection of what holds a marker that no test takes up in an error."""

    def __init__(self) -> None:
        self._children: dict[pytest.Collector, list[pytest.Collector]] = {}  # of modules and classes
        self._taking: set[pytest.Item | pytest.Collector] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Check the tests of a module or class, and whatever it is the last part of."""
        report = yield
        if report.passed and isinstance(collector, (pytest.Module, pytest.Class)):
            try:
                self._collected(collector, report.result)
            except XaiError as error:
                report.outcome, report.longrepr, report.result = "failed", str(error), []
        return report

    def _collected(self, collector: pytest.Collector, nodes: Iterable[pytest.Item | pytest.Collector]) -> None:
        nodes = list(nodes)
        self._children[collector] = [node for node in nodes if isinstance(node, pytest.Collector)]
        for item in (node for node in nodes if isinstance(node, pytest.Item)):
            check_names(item.config, item.iter_markers(), item.name)
            if "xai_verdict" in fixtures_of(item):
                self._taking.update(item.listchain())  # type: ignore[arg-type]
            self._check(item, "a test that does not ask for the verdict")
        for node in collector.listchain():
            # What stands above may have parts that are not collected, such as where a test is asked for by its name.
            if isinstance(node, (pytest.Module, pytest.Class)) and self._is_whole(node):
                self._check(node, "no test in it that asks for the verdict")

    def _is_whole(self, node: pytest.Collector) -> bool:
        return node in self._children and all(map(self._is_whole, self._children[node]))

    def _check(self, node: pytest.Item | pytest.Collector, found: str) -> None:
        for mark in node.own_markers:
            if mark.name in _OURS and node not in self._taking:
                raise XaiError(
                    f"marker {mark.name} of {node.name}",
                    found=found,
                    expected="a test function or method with the argument xai_verdict; a unittest.TestCase cannot have "
                    "one",
                    fix="add the argument xai_verdict and assert it, or take the marker away",
                )
