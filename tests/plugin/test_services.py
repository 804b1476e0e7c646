"""What services that run tests get of a session: the JSON by its schema, JUnit's properties, annotations, Markdown."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator
from report.machines import seen

from pytest_xaisanity.adversaries.mutants import MUTANTS
from pytest_xaisanity.report.schema import schema

SUITE = """\
import pytest
from subject import bad, good, noise
def broken(model, inputs, targets):
    return 1 / 0
def test_a(xai):
    assert xai.explainer(good).beats("random", on="pixel_flipping")
    verdict = xai.explainer(bad).beats("random", on="pixel_flipping")
    assert (
        verdict
    )
def test_b(xai):
    assert xai.explainer(broken).beats("random", on="pixel_flipping")
@pytest.mark.xfail(strict=True)
def test_c(xai):
    assert xai.explainer(bad).beats("random", on="pixel_flipping")
@pytest.mark.xai_beats("random", on="pixel_flipping")
@pytest.mark.xai_explainer(bad, name="<b>|`x`")
def test_d(xai_verdict):
    assert xai_verdict
def test_e(xai):
    assert not xai.explainer(bad).beats("random", on="pixel_flipping")
"""
LINES = ["::error file=sub/test_it.py,line=8,", "::error file=sub/test_it.py,line=12,"]
LINES += ["::error file=sub/test_it.py,line=19,"]
PASSES = "def test_a(xai):\n    assert xai.explainer(good).beats('random', on='pixel_flipping')\n"


@pytest.fixture
def on_github(suite, monkeypatch):
    """Return the suite as a job of GitHub's runs it, in a folder of the checkout; a step before has said something."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.path.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "step.md"))
    (suite.path / "step.md").write_text("before")
    return suite


def run(suite, *args: str):
    options = ("--xai-json=claims.json", "--xai-markdown=claims.md", "--junitxml=junit.xml", "--rootdir=.")
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *options, *args)


def report_of(suite) -> dict:
    """Return the JSON, which must be as its schema says."""
    report = json.loads((suite.path / "claims.json").read_text())
    Draft202012Validator(schema()).validate(report)
    return report


def told(suite, result) -> tuple[list[str], str, str, str]:
    """Return annotations, the summary of the step, Markdown and JSON."""
    lines = [line for line in result.outlines if line.startswith("::")]
    texts = [(suite.path / name).read_text(encoding="utf-8") for name in ("step.md", "claims.md", "claims.json")]
    (suite.path / "step.md").write_text("before")
    return lines, *texts


def test_a_session_is_told_to_all_services(on_github):
    """Claims that passed, failed, raised, were expected or wanted to fail; the same without xdist."""
    on_github.makepyfile(test_it=SUITE)
    lines, step, text, _ = first = told(on_github, run(on_github))
    claims = report_of(on_github)["claims"]
    assert [claim["outcome"] for claim in claims] == ["passed", "failed", "error", "failed", "failed", "failed"]
    assert [claim["line"] for claim in claims] == [6, 8, 12, 15, 19, 21]
    assert {claim["file"] for claim in claims} == {"test_it.py"}
    folder = on_github.path.name
    assert [line.partition("title")[0].replace(f"{folder}/", "sub/") for line in lines] == LINES
    assert step == f"before\n{text}"
    assert seen(text).cells[:4] == ["verdict", "claim", "found", "test"]
    assert [cell for cell in seen(text).cells if cell.startswith("<b>")] == ["<b>|`x` beats random on pixel_flipping"]
    assert told(on_github, run(on_github, "-p", "no:xdist")) == first


@pytest.mark.slow
def test_one_process_and_several_tell_the_same(on_github):
    pytest.importorskip("xdist")
    on_github.makepyfile(test_it=SUITE)
    reports = [told(on_github, run(on_github, *args)) for args in ((), ("-n0",), ("-n2", "--assert=plain"))]
    assert reports[0] == reports[1] == reports[2]


def test_interrupted_and_audited_sessions_are_as_the_schema_says(suite, monkeypatch):
    monkeypatch.setattr(MUTANTS, "_entries", dict(MUTANTS._entries))  # which the session below takes away
    suite.makepyfile(test_it=f"import pytest\nfrom subject import good\n{PASSES}    pytest.exit('enough')\n")
    run(suite)
    assert [claim["test_outcome"] for claim in report_of(suite)["claims"]] == ["interrupted"]
    assert "> The session stopped before its end." in (suite.path / "claims.md").read_text()
    conftest = suite.path / "conftest.py"
    few = "\nfrom pytest_xaisanity.adversaries import mutants\nmutants.MUTANTS._entries = {}\n@pytest.fixture\n"
    few += "def xai_mutants():\n    return {'negative': lambda explain, *given: -explain(*given)}\n"
    conftest.write_text(conftest.read_text() + few)
    suite.makepyfile(test_it=f"from subject import good\n{PASSES}")
    run(suite, "--xai-audit")
    ((mutation,),) = [audited["mutations"].values() for audited in report_of(suite)["audit"]["explainers"]]
    assert mutation["status"] == "killed"
    assert (
        "> audit of the claims: mutation score 1.00 (1 of 1 mutants killed)" in (suite.path / "claims.md").read_text()
    )


def test_a_session_without_claims_says_nothing(on_github):
    """Its JSON is as the schema says, also where no test could be collected."""
    on_github.makepyfile(test_it="raise RuntimeError\n")
    lines, step, text, _ = told(on_github, run(on_github))
    assert (lines, step) == ([], "before")
    assert text.startswith("## Claims about explanations: none\n")
    assert report_of(on_github)["claims"] == []


def test_nothing_is_told_to_github_elsewhere(on_github, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS")
    on_github.makepyfile(test_it=f"from subject import bad as good\n{PASSES}")
    lines, step, *_ = told(on_github, run(on_github))
    assert (lines, step) == ([], "before")


AGAIN = """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    for report in runtestprotocol(item, nextitem=nextitem, log=False)[:2]:
        report.outcome = "rerun" if report.failed else report.outcome
        item.ihook.pytest_runtest_logreport(report=report)
"""


def test_junit_has_each_verdict_by_name_once_under_reruns(suite):
    """Those of the last run, in groups that a claim begins; numbers as JSON has them."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(conftest.read_text() + AGAIN)
    body = "def first_bad(model, inputs, targets):\n    return (good if KEPT else bad)(model, inputs, targets)\n"
    body += "def test_a(xai, record_property):\n    record_property('xai_own', 'kept')\n"
    body += "    verdict = xai.explainer(first_bad).beats('random', on='pixel_flipping')\n    KEPT.append(1)\n"
    body += "    assert verdict\n    xai.explainer(good).beats('random', on='pixel_flipping').passed\n"
    suite.makepyfile(test_it=f"from subject import bad, good\nKEPT = []\n{body}")
    run(suite, "-o", "junit_family=xunit1")
    properties = ElementTree.parse(suite.path / "junit.xml").findall(".//testcase/properties/property")
    pairs = [(one.get("name"), one.get("value")) for one in properties]
    claims = report_of(suite)["claims"]
    names = ("claim", "verdict", "estimate", "interval", "n", "reason")
    values = [(one["claim"], "passed", one["estimate"], one["interval"], one["n"], one["reason"]) for one in claims]
    texts = [[value if isinstance(value, str) else json.dumps(value) for value in row] for row in values]
    assert len(claims) == 2
    assert ("xai_own", "kept") in pairs
    assert [pair for pair in pairs if pair[0] != "xai_own"] == [
        (f"xai_{name}", text) for row in texts for name, text in zip(names, row, strict=True)
    ]


def test_markdown_that_cannot_be_written_is_said(suite):
    """At the start where it can be known, and at the end without harm to the rest."""
    suite.makepyfile(test_it=f"from subject import good\nimport os\n{PASSES}    os.mkdir('claims.md')\n")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*--xai-markdown: 'claims.md' could not be written*"])
    assert len(report_of(suite)["claims"]) == 1
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--xai-markdown: found the folder 'claims.md'*"])


def test_a_step_summary_that_cannot_be_written_costs_nobody_a_session(on_github, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(on_github.path / "no" / "step.md"))
    on_github.makepyfile(test_it=f"from subject import good\n{PASSES}")
    result = run(on_github)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY: *could not be written*"])
