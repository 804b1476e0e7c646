"""Sessions with a recorded baseline: recording, reviewing, comparing, failing, and all that is said of it."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from report.pages import Page

from pytest_xaisanity.report.schema import schema

SUITE = """
import pytest
from hypothesis import given, settings, strategies as st
from subject import good, bad
from method import method
COMPLEX = pytest.mark.xai_bounded("complexity", at_most=2.0)
def test_fixture(xai):
    assert xai.explainer(method).beats("random", on="pixel_flipping")
    assert xai.explainer(method).bounded("complexity", at_most=2.0)
@COMPLEX
@pytest.mark.xai_explainer(method)
@pytest.mark.xai_explainer(good)
def test_marked(xai_verdict):
    assert xai_verdict
"""
METHOD = """
from subject import good
def method(model, inputs, targets):
    return {maps}
"""
SAME, WORSE = (
    "good(model, inputs, targets)",
    "good(model, inputs, targets).sign() * good(model, inputs, targets).abs().sqrt()",
)
UPDATE = ("--xai-baseline=b.json", "--xai-update-baseline")
FAIL = ("--xai-baseline=b.json", "--xai-fail-on-regression")


@pytest.fixture
def recorded(suite):
    """Return a suite of four claims of which a baseline is recorded."""
    explained_by(suite, SAME)
    suite.makepyfile(test_it=SUITE)
    run(suite, *UPDATE).assert_outcomes(passed=3)
    return suite


def explained_by(suite, maps):
    suite.makepyfile(method=METHOD.format(maps=maps))


def run(suite, *args: str):
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *args)


def claims_of(suite) -> list:
    """Return the claims of the JSON report, which must be as its schema says."""
    report = json.loads((suite.path / "claims.json").read_text())
    Draft202012Validator(schema()).validate(report)
    return report["claims"]


def names_of(suite) -> list[tuple[str, str, str]]:
    blocks = json.loads((suite.path / "b.json").read_text(encoding="utf-8"))["claims"]
    return [(block["test"], block["explainer"], block["claim"]) for block in blocks]


@pytest.mark.slow
def test_unchanged_code_keeps_its_record(recorded):
    before = (recorded.path / "b.json").read_text()
    result = run(recorded, *FAIL, "--xai-json=claims.json")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["held against b.json: 4 no regression shown"])
    assert {claim["compared"]["status"] for claim in claims_of(recorded)} == {"kept"}
    result = run(recorded, *UPDATE)
    result.stdout.fnmatch_lines(["4 claims recorded in b.json: 4 as before"])
    assert (recorded.path / "b.json").read_text() == before


def test_a_regression_fails_its_test_and_is_news_everywhere(recorded, monkeypatch):
    """Though each claim passes by itself: maps are less complex than is asked for, and more than they were."""
    explained_by(recorded, WORSE)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    files = ("--xai-json=claims.json", "--xai-markdown=claims.md", "--xai-report=claims.html")
    result = run(recorded, *FAIL, *files)
    assert result.ret == 1
    claims = claims_of(recorded)
    held = [claim["compared"] for claim in claims if claim["explainer"] == "method"]
    assert [(one["status"], one["fails"]) for one in held] == [
        ("kept", False),
        ("regressed", True),
        ("regressed", True),
    ]
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "  find out what has made it worse; where that is meant, accept it with:",
            "  pytest --xai-baseline=b.json --xai-update-baseline",
            "*2 regressed*",
            "regressed * method bounded complexity*",
            "held against b.json: 2 no regression shown, 2 regressed",
            "FAILED test_it.py::test_fixture - regressed: method bounded complexity*",
        ]
    )
    start = next(place for place, line in enumerate(result.outlines) if line.startswith("regressed: method"))
    assert all(len(line) <= 80 for line in result.outlines[start : start + 8])
    assert any(line.startswith("::error") and "regressed" in line for line in result.outlines)
    assert "**regressed**" in (recorded.path / "claims.md").read_text()
    page = (recorded.path / "claims.html").read_text()
    assert "2 regressed" in page
    assert held[1]["reason"].partition(":")[0] in Page(page).text


@pytest.mark.slow
def test_without_the_option_a_regression_is_told_and_fails_nothing(recorded):
    explained_by(recorded, WORSE)
    result = run(recorded, "--xai-baseline=b.json")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*2 regressed*", "held against b.json: 2 no regression shown, 2 regressed"])


@pytest.mark.slow
def test_what_cannot_be_compared_fails_with_the_reason(recorded):
    conftest = recorded.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("return inputs()", "return inputs() + 1"))
    result = run(recorded, *FAIL)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["refused: method beats random on pixel_flipping", "  other data: * was recorded*"])
    result.stdout.fnmatch_lines(["held against b.json: 4 not comparable"])


@pytest.mark.slow
def test_a_new_claim_fails_until_it_is_recorded_and_nothing_is_pruned(recorded):
    recorded.makepyfile(test_new=SUITE.partition("@COMPLEX")[0].replace("test_fixture", "test_new"))
    result = run(recorded, *FAIL, "test_new.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["missing: method beats random*", "held against b.json: 2 not recorded", "4 recorded*"])
    run(recorded, *UPDATE, "test_new.py").stdout.fnmatch_lines(
        ["2 claims recorded*: 2 new; 4 others stay as they were"]
    )
    names = names_of(recorded)
    assert len(names) == 6
    assert names == sorted(names)


@pytest.mark.slow
def test_a_claim_that_is_expected_to_fail_may_not_get_worse(suite):
    body = "import pytest\nfrom method import method\n@pytest.mark.xfail\ndef test_it(xai):\n"
    suite.makepyfile(test_it=f"{body}    assert xai.explainer(method).bounded('complexity', at_most=0.1)\n")
    explained_by(suite, SAME)
    run(suite, *UPDATE).assert_outcomes(xfailed=1)
    run(suite, *FAIL).assert_outcomes(xfailed=1)
    explained_by(suite, WORSE)
    run(suite, *FAIL).assert_outcomes(failed=1)


def test_a_claim_against_its_record_is_left_open_while_it_is_recorded(suite):
    suite.makepyfile(
        test_it="from method import method\ndef test_it(xai):\n"
        "    assert xai.explainer(method).beats('recorded', on='pixel_flipping')\n"
    )
    explained_by(suite, f"-{SAME}")
    result = run(suite, *UPDATE, "-Wignore")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*1 inconclusive*", "inconclusive  method beats recorded on pixel_flipping (tolerated)"]
    )
    run(suite, "--xai-baseline=b.json").assert_outcomes(failed=1)
    explained_by(suite, SAME)
    run(suite, *FAIL).assert_outcomes(passed=1)
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no recorded baseline*--xai-update-baseline*"])


@pytest.mark.slow
def test_claims_of_examples_are_neither_recorded_nor_compared(recorded):
    recorded.makepyfile(
        test_it=SUITE
        + "@settings(max_examples=2, database=None)\n@given(st.sampled_from([1.9, 2.0]))\ndef test_given(xai, most):\n"
        "    assert xai.explainer(method).bounded('complexity', at_most=most)\n"
    )
    result = run(recorded, *FAIL)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["held against b.json: 4 no regression shown, 1 of examples, not compared"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (FAIL, "found no file 'b.json'*pytest --xai-baseline=b.json --xai-update-baseline*"),
        (("--xai-fail-on-regression",), "--xai-fail-on-regression: found no recorded baseline*"),
        (("--xai-update-baseline",), "--xai-update-baseline: found no recorded baseline*"),
        ((*FAIL, "--xai-update-baseline"), "*--xai-fail-on-regression beside it*"),
        (("--xai-baseline=no/b.json", "--xai-update-baseline"), "--xai-baseline: found 'no?b.json' in a folder that*"),
        (("--xai-baseline=old.json",), "--xai-baseline: found 'old.json' with schema_version 9, of a newer*"),
    ],
)
def test_options_that_cannot_be_are_said_at_the_start(suite, args, said):
    (suite.path / "old.json").write_text('{"file": "recorded baseline of pytest-xaisanity", "schema_version": 9}')
    suite.makepyfile(test_it="def test_it():\n    pass\n")
    result = run(suite, *args)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*{said}"])


@pytest.mark.slow
def test_the_ini_file_names_the_baseline_in_its_own_folder(recorded, monkeypatch):
    recorded.makeini("[pytest]\nxai_baseline = b.json\nxai_fail_on_regression = true\n")
    (recorded.path / "sub").mkdir()
    monkeypatch.chdir(recorded.path / "sub")
    result = run(recorded, "../test_it.py")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["held against *b.json: 4 no regression shown"])
    run(recorded, "../test_it.py", "--xai-update-baseline").stdout.fnmatch_lines(
        ["4 claims recorded in *: 4 as before"]
    )


def test_two_claims_of_one_name_are_not_recorded(suite):
    suite.makepyfile(
        test_it="from subject import good\ndef test_it(xai):\n    for sign in (1, -1):\n"
        "        maps = lambda *given: sign * good(*given)\n        maps.__name__ = 'maps'\n"
        "        assert xai.explainer(maps).bounded('pixel_flipping', at_most=0.9)\n"
    )
    result = run(suite, *UPDATE)
    assert result.ret == 4
    result.stdout.fnmatch_lines(["--xai-baseline: 'b.json' could not be written (two claims: found one name for both*"])
    assert not (suite.path / "b.json").exists()


@pytest.mark.slow
def test_an_interrupted_session_leaves_the_file_as_it_was(recorded):
    before = (recorded.path / "b.json").read_text()
    explained_by(recorded, WORSE)
    recorded.makepyfile(test_it=f"{SUITE}def test_last():\n    pytest.exit('enough')\n")
    result = run(recorded, *UPDATE)
    assert "the session stopped before its end: 'b.json' is as it was" in result.stdout.str()
    assert (recorded.path / "b.json").read_text() == before


@pytest.mark.slow
def test_workers_and_one_process_record_and_compare_alike(recorded):
    pytest.importorskip("xdist")
    before = (recorded.path / "b.json").read_text()
    (recorded.path / "b.json").unlink()
    run(recorded, *UPDATE, "-n2").assert_outcomes(passed=3)
    assert (recorded.path / "b.json").read_text() == before
    explained_by(recorded, WORSE)
    texts = []
    for args in (("-n0",), ("-n2",), ("-p", "no:xdist")):
        run(recorded, *FAIL, "--xai-json=claims.json", *args)
        texts.append([{**claim["compared"], "test": claim["test"]} for claim in claims_of(recorded)])
    assert texts[0] == texts[1] == texts[2]
    assert {one["status"] for one in texts[0]} == {"kept", "regressed"}


def test_sessions_without_a_baseline_say_nothing_of_one(suite):
    suite.makepyfile(
        test_it="from subject import good\ndef test_it(xai):\n"
        "    assert xai.explainer(good).bounded('complexity', at_most=2.0)\n"
    )
    result = run(suite, "--xai-json=claims.json", "-v")
    assert "held against" not in result.stdout.str()
    assert [claim["compared"] for claim in claims_of(suite)] == [None]


def test_a_dry_run_counts_what_a_baseline_takes_and_leaves_its_file_as_it_was(suite):
    explained_by(suite, SAME)
    suite.makepyfile(test_it=SUITE)
    kept = "*64 inputs at least{} for the baseline, at most about*"
    result = run(suite, *UPDATE, "--xai-dry-run")
    result.stdout.fnmatch_lines([kept.format(", and these twice,"), *[kept.format("*")] * 3])
    result.stdout.no_fnmatch_line("*recorded in b.json*")
    assert not (suite.path / "b.json").exists()
    (suite.path / "b.json").write_text(
        before := '{"file": "recorded baseline of pytest-xaisanity", "schema_version": 1, "claims": []}'
    )
    result = run(suite, *FAIL, "--xai-dry-run")
    result.stdout.fnmatch_lines([kept.format("")] * 4)
    result.stdout.no_fnmatch_line("*these twice*")
    result = run(suite, *UPDATE, "--xai-dry-run")
    assert (suite.path / "b.json").read_text() == before
