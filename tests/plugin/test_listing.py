"""``--xai-list``: every name that a claim may use, with a line on it, and nothing else."""

from __future__ import annotations

import pytest

from pytest_xaisanity.adversaries.mutants import MUTANTS
from pytest_xaisanity.bench.battery import BATTERIES
from pytest_xaisanity.evidence.baselines import BASELINES
from pytest_xaisanity.evidence.interventions import INTERVENTIONS
from pytest_xaisanity.evidence.metrics import METRICS, METRICS_OF_OTHERS
from pytest_xaisanity.explainers.adapters import ADAPTERS
from pytest_xaisanity.maps.similarity import SIMILARITIES

SECTIONS = {
    "interventions": INTERVENTIONS,
    "metrics": METRICS,
    "baselines": BASELINES,
    "similarities": SIMILARITIES,
    "mutants": MUTANTS,
    "adapters": ADAPTERS,
    "metrics of other libraries": METRICS_OF_OTHERS,
    "batteries": BATTERIES,
}


def listed(pytester) -> dict[str, dict[str, str]]:
    """Return the line on each name, by section."""
    result = pytester.runpytest("--xai-list")
    assert result.ret == pytest.ExitCode.OK
    found: dict[str, dict[str, str]] = {}
    for line in result.outlines:
        if line.startswith("  "):
            name, _, about = line.strip().partition(" ")
            found[list(found)[-1]][name] = about.strip()
        elif line:
            found[line.removesuffix(":")] = {}
    return found


def test_every_name_has_a_line(pytester):
    found = listed(pytester)
    assert {title: set(names) for title, names in found.items()} == {t: set(names) for t, names in SECTIONS.items()}
    lines = [line for names in found.values() for line in names.values()]
    assert all(len(line) > 10 and "`" not in line for line in lines)


def test_nothing_is_collected_and_no_setting_looked_at(pytester):
    pytester.makepyfile("raise AssertionError('collected')\n")
    pytester.makeini("[pytest]\nxai_confidence = 3\n")
    assert listed(pytester)


def test_what_other_packages_add_is_listed_also_where_it_cannot_be_loaded(pytester, monkeypatch):
    class Point:
        name, value, group = "broken", "nowhere:Broken", "pytest_xaisanity.metric"

        def load(self):
            raise ImportError("no module named 'nowhere'")

    monkeypatch.setitem(vars(METRICS), "_foreign", {"broken": Point()})
    assert listed(pytester)["metrics"]["broken"].startswith("cannot be used: 'broken', which another package registers")
