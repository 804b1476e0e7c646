"""Nothing is green that should not be, and nothing that was decided is lost."""

from __future__ import annotations

import json

import pytest
from report.pages import Page

IMPORTS = """import copy, os, pickle, signal, time
import pytest
from subject import good, bad, noise
BEATS = pytest.mark.xai_beats("random", on="pixel_flipping")
ORDER = pytest.mark.xai_invariant_under("batch_order")
GOOD, BAD = pytest.mark.xai_explainer(good), pytest.mark.xai_explainer(bad)
KEPT = []
def broken(model, inputs, targets):
    return 1 / 0
def decided(xai, explainer=bad):
    return xai.explainer(explainer).beats("random", on="pixel_flipping")
"""


def run(suite, body: str, *args: str):
    suite.makepyfile(test_it=IMPORTS + body)
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *args)


def report_of(suite) -> dict:
    return json.loads((suite.path / "claims.json").read_text())


# ---------------------------------------------------------------------------------------------------------------------
# Markers


def test_markers_of_a_parameter_count_for_that_parameter(suite):
    """Of a test, of a class and of a fixture; claims and explainers alike, beside those that stand above the test."""
    result = run(
        suite,
        """
@BAD
@pytest.mark.parametrize("p", [pytest.param(1, marks=BEATS), pytest.param(2, marks=[BEATS, ORDER])])
def test_claims(xai_verdict, p):
    assert xai_verdict

@BEATS
@pytest.mark.parametrize("p", [pytest.param(1, marks=GOOD), pytest.param(2, marks=BAD)])
class TestIt:
    def test_explainers(self, xai_verdict, p):
        assert xai_verdict

@pytest.fixture(params=[pytest.param("a", marks=BEATS), "b"])
def value(request):
    return request.param

@GOOD
@ORDER
def test_fixture(xai_verdict, value):
    assert xai_verdict
""",
        "-rA",
    )
    result.assert_outcomes(passed=5, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_claims[[]bad-beats-random-on-pixel_flipping-1]*",
            "FAILED *::test_claims[[]bad-beats-random-on-pixel_flipping-2]*",
            "PASSED *::test_claims[[]bad-invariant_under-batch_order-2]*",
            "PASSED *::test_explainers[[]good-beats-random-on-pixel_flipping-1]*",
            "FAILED *::test_explainers[[]bad-beats-random-on-pixel_flipping-2]*",
            "PASSED *::test_fixture[[]good-beats-random-on-pixel_flipping-a]*",
            "PASSED *::test_fixture[[]good-invariant_under-batch_order-a]*",
            "PASSED *::test_fixture[[]good-invariant_under-batch_order-b]*",
        ]
    )


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            '@pytest.mark.xai_beat("random")\ndef test_a():\n    pass\n',
            "a marker of test_a: found 'xai_beat'*use 'xai_beats', the nearest known name*",
        ),
        (
            '@pytest.mark.parametrize("p", [pytest.param(1, marks=pytest.mark.xai_explain(good, name="g"))])\n'
            "def test_a(p):\n    pass\n",
            "*found 'xai_explain'*use 'xai_explainer', the nearest known name*",
        ),
        (
            '@pytest.mark.parametrize("p", [pytest.param(1, marks=BEATS), 2])\ndef test_a(xai, p):\n    pass\n',
            "marker xai_beats of test_a[[]1]: found a test that does not ask for the verdict*",
        ),
        (
            '@GOOD\n@pytest.mark.parametrize("p", [pytest.param(1, marks=BEATS), 2])\n'
            "def test_a(xai_verdict, p):\n    assert xai_verdict\n",
            "xai_verdict of test_a[[]2]: found a test without a claim*",
        ),
        (
            "@BEATS\nclass TestA:\n    def test_a(self):\n        pass\n"
            "class TestB:\n    @BEATS\n    @GOOD\n    def test_b(self, xai_verdict):\n        assert xai_verdict\n",
            "marker xai_beats of TestA: found no test in it that asks for the verdict*",
        ),
        (
            "pytestmark = GOOD\nclass TestA:\n    def test_a(self):\n        pass\n",
            "marker xai_explainer of test_it.py: found no test in it that asks for the verdict*",
        ),
    ],
)
def test_a_marker_that_nothing_comes_of_is_an_error_at_collection(suite, body, error):
    result = run(suite, body, "-W", "ignore")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([error])


def test_a_marker_of_somebody_else_is_none_of_our_business(suite):
    suite.makeini("[pytest]\nmarkers = xai_mine(x): of another plugin\n")
    run(suite, "@pytest.mark.xai_mine(3)\ndef test_a():\n    pass\n").assert_outcomes(passed=1)


def test_a_test_that_is_asked_for_by_its_name_says_nothing_of_the_rest(suite):
    """Whose tests were not collected, so that nobody knows whether they take up the claims of the module."""
    body = "pytestmark = [BEATS, GOOD]\nclass TestA:\n    def test_a(self):\n        pass\n"
    body += "class TestB:\n    def test_b(self, xai_verdict):\n        assert xai_verdict\n"
    run(suite, body, "test_it.py::TestA").assert_outcomes(passed=1)


def test_a_claim_that_is_added_too_late_is_an_error_of_its_test(suite):
    conftest = suite.path / "conftest.py"
    late = "\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
    late += '        item.add_marker(pytest.mark.xai_beats("random", on="pixel_flipping"))\n'
    conftest.write_text(conftest.read_text() + late)
    result = run(suite, "def test_a():\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["marker xai_beats of test_a: found a marker that was added after*"])


# ---------------------------------------------------------------------------------------------------------------------
# Looking


FORGOTTEN = {
    "nothing": "def test_a(xai):\n    decided(xai)\n",
    "a name": "def test_a(xai):\n    verdict = decided(xai)\n",
    "printed": "def test_a(xai):\n    print(decided(xai))\n",
    "a message": "def test_a(xai):\n    assert (decided(xai), 'message')\n",
    "a list": "def test_a(xai):\n    assert [decided(xai)]\n",
    "a fixture": "@pytest.fixture\ndef verdict(xai):\n    return decided(xai)\ndef test_a(verdict):\n    pass\n",
    "a wide fixture": "@pytest.fixture(scope='module')\ndef verdict(xai):\n    return decided(xai)\n"
    "def test_a(verdict):\n    pass\n",
    "kept for ever": "def test_a(xai):\n    KEPT.append(decided(xai))\n",
    "a marker": "@BEATS\n@BAD\ndef test_a(xai_verdict):\n    print(xai_verdict.claim)\n",
}


@pytest.mark.parametrize("body", FORGOTTEN.values(), ids=FORGOTTEN)
def test_a_verdict_that_nobody_looks_at_is_an_error(suite, body):
    result = run(suite, body)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*look* at*"])


def test_an_expected_failure_that_looks_at_nothing_is_an_error_too(suite):
    run(suite, "@pytest.mark.xfail\ndef test_a(xai):\n    decided(xai)\n").assert_outcomes(xpassed=1, errors=1)


LOOKED = """
def test_not(xai):
    assert not decided(xai)
def test_outcome(xai):
    assert decided(xai).outcome == "failed"
def test_all(xai):
    assert not any([decided(xai), decided(xai)])
def test_equal(xai):
    assert decided(xai) == decided(xai)
    assert len({decided(xai), decided(xai, good)}) == 2 and decided(xai).failed
def test_copies(xai):
    assert [copy.copy(decided(xai)), copy.deepcopy(decided(xai)), pickle.loads(pickle.dumps(decided(xai)))] == (
        [decided(xai)] * 3)
@BEATS
@BAD
def test_equals_a_marked_one(xai, xai_verdict):
    assert decided(xai) == xai_verdict == decided(xai) and xai_verdict == xai_verdict != 1
@BEATS
@BAD
def test_of_a_marked_one(xai_verdict):
    assert xai_verdict != "passed"
def test_keeps(xai):
    KEPT.append(decided(xai))
def test_looks_later():
    assert not KEPT.pop()
@pytest.fixture(scope="module")
def wide(xai):
    return decided(xai)
@pytest.fixture
def checked(xai):
    verdict = decided(xai)
    yield verdict
    assert not verdict
def test_has_it(wide):
    pass
def test_of_a_fixture(wide, checked):
    assert wide.failed
def test_skips(xai):
    decided(xai)
    pytest.skip("before it looks")
@pytest.mark.xfail
def test_fails_before_it_looks(xai):
    decided(xai)
    raise KeyError
"""


def test_a_look_may_take_many_forms_and_come_late(suite):
    result = run(suite, LOOKED.replace("assert len({decided(xai), decided(xai, good)}) == 2 and ", "assert "))
    result.assert_outcomes(passed=11, skipped=1, xfailed=1)


# ---------------------------------------------------------------------------------------------------------------------
# Claims that raised, and runs that repeat


def test_a_claim_that_raised_is_an_outcome_of_its_own(suite):
    body = "def test_a(xai):\n    assert decided(xai, broken)\ndef test_b(xai):\n    assert decided(xai, good)\n"
    body += "def test_c(xai):\n    with pytest.raises(Exception):\n        decided(xai, broken)\n"
    result = run(suite, body, "--xai-json=claims.json")
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*claims about explanations: 1 passed, 2 error*",
            "error         broken beats random on pixel_flipping",
            "              explainer broken: found ZeroDivisionError raised by *",
            "              *",
            "              test_it.py::test_a",
            "error         broken beats random on pixel_flipping (the test passed)",
        ]
    )
    raised, decided, _ = report_of(suite)["claims"]
    assert (raised["outcome"], raised["n"], raised["estimate"]) == ("error", 0, None)
    assert "ZeroDivisionError" in raised["reason"]
    assert decided["outcome"] == "passed"


def test_a_test_that_runs_again_measures_again(suite):
    """What was measured the first time is forgotten, and so is what it said."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "\nfrom _pytest.runner import runtestprotocol\ndef pytest_runtest_protocol(item, nextitem):\n"
        + "    runtestprotocol(item, nextitem=nextitem)\n"
    )
    body = "def first_bad(model, inputs, targets):\n    return (good if KEPT else bad)(model, inputs, targets)\n"
    body += "def test_a(xai):\n    verdict = decided(xai, first_bad)\n    KEPT.append(1)\n    assert verdict\n"
    run(suite, body, "--xai-json=claims.json", "--junitxml=junit.xml")
    (claim,) = report_of(suite)["claims"]
    assert claim["outcome"] == "passed"


def test_reruns_of_failures_measure_again(suite):
    pytest.importorskip("pytest_rerunfailures")
    body = "def first_bad(model, inputs, targets):\n    return (good if KEPT else bad)(model, inputs, targets)\n"
    body += "def test_a(xai):\n    verdict = decided(xai, first_bad)\n    KEPT.append(1)\n    assert verdict\n"
    result = run(suite, body, "--reruns=1")
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}


def test_an_option_beside_a_fixture_is_said(suite):
    """The fixture goes before it, so that the model that is named is not the one that is tested."""
    result = run(suite, "def test_a(xai):\n    assert decided(xai, good)\n", "--xai-model=subject:model")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*--xai-model=subject:model is not what the tests explain*xai_model of conftest.py*"])


# ---------------------------------------------------------------------------------------------------------------------
# Nothing lost


@pytest.mark.parametrize(("file", "words"), [("no/claims.json", "does not exist"), (".", "the folder")])
def test_a_report_that_cannot_be_written_is_said_at_the_start(suite, file, words):
    result = run(suite, "def test_a(xai):\n    assert decided(xai, good)\n", f"--xai-json={file}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--xai-json: found *{words}*"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_an_interrupt_leaves_the_claims_decided_so_far(suite, name):
    """Also those of the test that is interrupted, in reports that say so."""
    body = "def test_a(xai):\n    assert decided(xai, good)\ndef test_b(xai):\n    assert decided(xai, good)\n"
    body += f"    os.kill(os.getpid(), signal.{name})\n    time.sleep(9)\ndef test_c(xai):\n    assert decided(xai)\n"
    suite.makepyfile(test_it=IMPORTS + body)
    result = suite.runpytest_subprocess(
        "-p", "no:randomly", "--assert=plain", "--xai-json=claims.json", "--xai-report=report.html"
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    page = Page((suite.path / "report.html").read_text(encoding="utf-8"))
    assert "Interrupted." in page.text
    assert [one["data-outcome"] for one in page.all("article")] == ["passed", "passed"]
    report = report_of(suite)
    assert report["interrupted"] is True
    assert [(claim["test"], claim["outcome"], claim["test_outcome"]) for claim in report["claims"]] == [
        ("test_it.py::test_a", "passed", "passed"),
        ("test_it.py::test_b", "passed", "interrupted"),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The summary


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_no_line_of_the_summary_is_wider_than_the_terminal(suite, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    body = "@pytest.mark.parametrize('name', ['x' * 300, 'a b' * 90])\ndef test_a(xai, name):\n"
    body += '    one = xai.explainer(bad, name=name)\n    assert one.beats("random", on="pixel_flipping")\n'
    text = str(run(suite, body, "--tb=no").stdout)
    lines = text[text.index("claims about explanations") :].partition("short test summary")[0].splitlines()[1:-1]
    assert len(lines) >= 6
    assert max(map(len, lines)) <= columns
