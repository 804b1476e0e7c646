"""The ways in which people run pytest: in one process or several, with the plugin blocked or named by hand."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report.pages import without_times

from pytest_xaisanity.report.card import cards, read_report

SUITE = """
    import pytest
    from hypothesis import given, settings, strategies as st
    from subject import bad, good, noise

    @pytest.mark.xai_beats("random", on="pixel_flipping")
    @pytest.mark.xai_changes_under("cascading_randomization", similarity="spearman", seeds=2)
    @pytest.mark.xai_explainer(good)
    @pytest.mark.xai_explainer(bad)
    def test_marked(xai_verdict):
        assert xai_verdict

    def test_noise(xai):
        assert xai.explainer(noise).changes_under("cascading_randomization", seeds=2)

    @pytest.mark.xfail(strict=True)
    def test_expected(xai):
        assert xai.explainer(bad).beats("random", on="pixel_flipping")

    @settings(max_examples=3, deadline=None, database=None, derandomize=True)
    @given(draws=st.integers(5, 9))
    def test_given(xai, draws):
        assert xai.explainer(good).beats("random", on="pixel_flipping", draws=draws)

    @pytest.fixture
    def checked(xai):
        assert xai.explainer(bad).beats("random", on="pixel_flipping")

    def test_setup(checked):
        pass
"""
PLAIN = "--assert=plain"  # rewriting the plugins' assertions takes each worker longer than its tests
OUTCOMES = {"passed": 4, "failed": 2, "xfailed": 1, "errors": 1}


def pytest_command(pytester, *args: str, **environment: str):
    """Run pytest in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return pytester.runpytest_subprocess(*args)


FILES = ("--xai-json=claims.json", "--xai-report=claims.html", "--xai-markdown=claims.md", "--junitxml=junit.xml")


NOT_OURS = re.compile(
    r"\[gw\d\] |\[\+\d+ more line|E? *assert <| *$"
)  # of pytest-xdist, JUnit and rewritten assertions


def junit_of(text: str) -> list[object]:
    """Return the tests that JUnit's file tells of, in the order of their names, without times and workers."""
    tests = sorted(ElementTree.fromstring(text).iter("testcase"), key=lambda test: sorted(test.items()))
    return [[(one.tag, *map(ours, (one.text or "", *named(one)))) for one in test.iter()] for test in tests]


def ours(text: str) -> list[str]:
    return [line for line in text.splitlines() if not NOT_OURS.match(line)]


def named(element) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(element.items()) if name != "time"]


def summary_of(result) -> tuple[list[str], list[str]]:
    """Return what the terminal says of claims at the end, and of the tests that failed, in the order of their names."""
    lines = result.outlines
    start = next(place for place, line in enumerate(lines) if "claims about explanations: " in line)
    end = next(place for place in range(start + 1, len(lines)) if lines[place].startswith("==="))
    return lines[start:end], sorted(line for line in lines[end:] if line.startswith(("FAILED ", "ERROR ", "XFAIL ")))


def reports_of(suite, *args: str) -> dict[str, object]:
    """Run the suite, and return all of its reports by name, but for times, and how they were asked for."""
    result = suite.runpytest(*FILES, "-p", "randomly", *args)
    result.assert_outcomes(**OUTCOMES)
    result.stdout.fnmatch_lines(["E  *bad is no better than random on pixel_flipping: *"])
    result.stdout.fnmatch_lines(["*claims about explanations: 4 passed, 3 failed (1 expected), 1 inconclusive*"])
    texts = {name: (suite.path / name).read_text(encoding="utf-8") for name in ("claims.json", "claims.md")}
    read = read_report(suite.path / "claims.json")
    return {
        **texts,
        "page": without_times((suite.path / "claims.html").read_text(encoding="utf-8")),
        "junit": junit_of((suite.path / "junit.xml").read_text(encoding="utf-8")),
        "cards": cards(read.records, settings=read.settings, versions=read.versions),
        "terminal": summary_of(result),
    }


@pytest.mark.parametrize("workers", [("-n0",), pytest.param(("-n2", PLAIN), marks=pytest.mark.slow)], ids=["n0", "n2"])
def test_one_process_and_several_write_the_same_reports(suite, workers, monkeypatch):
    """To the last bit, in any order of the tests, also when tests fail; the controller alone writes them.

    But for when a page was written, and how it was asked for.
    """
    pytest.importorskip("xdist")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "step.md"))
    suite.makepyfile(test_it=SUITE)
    alone, several = reports_of(suite, "-p", "no:xdist"), reports_of(suite, *workers)
    for name, report in alone.items():
        assert several[name] == report, name
    assert alone["page"].count("<article") == 8
    assert len(json.loads(alone["claims.json"])["claims"]) == 8
    assert len(alone["junit"]) == 8
    assert alone["terminal"][1]
    assert alone["cards"].startswith("# bad saliency card\n")
    assert (suite.path / "step.md").read_text(encoding="utf-8").count(alone["claims.md"]) == 2


@pytest.mark.slow
def test_the_battery_is_decided_by_several_processes(suite):
    pytest.importorskip("xdist")
    options = ["--xai-model=subject:model", "--xai-inputs=subject:inputs", "--xai-explainer=subject:good"]
    result = suite.runpytest("-n2", PLAIN, "--junitxml=junit.xml", *options)
    result.assert_outcomes(passed=5, skipped=2)
    assert 'name="xai_claim" value="good beats random' in (suite.path / "junit.xml").read_text()


def test_a_blocked_plugin_leaves_other_tests_alone(pytester):
    pytester.makepyfile(test_it="def test_it():\n    pass\n")
    result = pytest_command(pytester, "-p", "no:xaisanity")
    result.assert_outcomes(passed=1)
    assert not [line for line in result.outlines if "xaisanity" in line and not line.startswith(("plugins", "rootdir"))]


BLOCKED = """
    import pytest
    from captum.attr import Saliency
    from subject import good

    pytestmark = pytest.mark.xai_explainer(Saliency)

    @pytest.mark.xai_beats("random", on="pixel_flipping")
    @pytest.mark.xai_explainer(good)
    def test_marked_with_a_function(xai_verdict):
        assert xai_verdict

    @pytest.mark.xai_beats("random", on="pixel_flipping")
    @pytest.mark.xai_explainer(Saliency)
    def test_marked_with_a_class(xai_verdict):
        assert xai_verdict

    @pytest.fixture(scope="session")
    def explainer(xai):
        return xai.explainer(good)

    def test_fixture(explainer):
        assert explainer.beats("random", on="pixel_flipping")

    def test_other():
        pass
"""


@pytest.mark.slow
def test_a_suite_of_a_blocked_plugin_is_collected_and_its_claims_are_skipped(suite):
    """Though pytest would take an explainer for what is marked; strictly, and with settings in the ini file."""
    suite.makepyfile(test_it=BLOCKED)
    suite.makeini("[pytest]\nxai_seed = 3\naddopts = --strict-markers --strict-config\n")
    named = ("-p", "no:xaisanity", "-p", "pytest_xaisanity.plugin.blocked")
    result = pytest_command(suite, *named, "-rs", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED * pytest-xaisanity is blocked, by -p no:xaisanity"])


def test_pytest_finds_the_plugin_and_what_is_left_of_it_when_it_is_blocked():
    project = Path(__file__).parents[2] / "pyproject.toml"
    points = tomllib.loads(project.read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"xaisanity": "pytest_xaisanity.plugin", "xaisanity_blocked": "pytest_xaisanity.plugin.blocked"}


@pytest.mark.slow
def test_the_plugin_may_be_named_by_hand(suite):
    """Where pytest is told to load no plugin by itself."""
    suite.makepyfile(test_it=SUITE)
    result = pytest_command(suite, "-p", "xaisanity", "-k", "test_marked", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    result.assert_outcomes(passed=3, failed=1, deselected=4)


def test_python_warns_of_nothing_when_the_plugin_loads(pytester):
    """Such as a module that pytest can no longer rewrite."""
    pytester.makepyfile(test_it="def test_it():\n    pass\n")
    pytest_command(pytester, "-W", "error", "-p", "no:randomly").assert_outcomes(passed=1)
