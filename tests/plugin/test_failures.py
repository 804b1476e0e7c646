"""What a person reads of a claim that did not pass: in the terminal, in JUnit, in an editor, in a notebook."""

from __future__ import annotations

import re
from textwrap import dedent
from xml.etree import ElementTree

import pytest

from pytest_xaisanity.report.text import columns

HEAD = """
import pytest
from subject import bad, good, noise
BEATS = pytest.mark.xai_beats("random", on="pixel_flipping")
def broken(model, inputs, targets):
    raise ValueError("no kernel image")
def magnitude(model, inputs, targets):
    return inputs.abs()
"""
FIXTURE = """
def test_it(xai):
    assert xai.explainer(bad).beats("random", on="pixel_flipping")
"""
MARKED = """
@BEATS
@pytest.mark.xai_explainer(bad)
def test_it(xai_verdict):
    assert xai_verdict
"""


def run(suite, body: str, *args: str):
    suite.makepyfile(test_it=HEAD + body)
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *args)


def told(result) -> str:
    """Return what stands behind the E of a failure."""
    lines = [line[8:] for line in result.outlines if line.startswith("E  ")]
    return "\n".join(lines)


def below(result) -> list[str]:
    """Return the lines from the failures on."""
    first = next(place for place, line in enumerate(result.outlines) if "= FAILURES =" in line)
    return result.outlines[first:]


TEXTS = {
    'assert xai.explainer(bad).beats("random", on="pixel_flipping")': """\
        bad is no better than random on pixel_flipping: it beats a random order
        in 19% of comparisons, shown to be under 60%
        share         19% of random orders beaten (5% to 47%), n=16
        compared with explainer -0.111, random -0.0302 (mean pixel_flipping;
                      higher is better)
        worst inputs  1, 7, 11, 16, 20 (share of random orders beaten: 0)
        reproduce     pytest test_it.py::test_it --xai-seed=0
        try           the ranking carries no more than the baseline: check
                      targets, baselines and sign, and compare another imputer=
        assert <failed: bad beats random on pixel_flipping: \
share of random orders beaten 0.188 in [0.0452, 0.471], n=16>
    """,
    'assert xai.explainer(noise).changes_under("cascading_randomization", seeds=2)': """\
        It is open whether noise changes under cascading_randomization(seeds=2):
        the explainer does not seem to reproduce itself, so that a change cannot
        be told from its own noise
        measured      sign_flip_spearman 0.31 between two runs on one input,
                      0.33 between unrelated inputs
        to settle it  two runs that agree: seed the explainer, or let it average
                      more samples
        reproduce     pytest test_it.py::test_it --xai-seed=0
        policy        --xai-inconclusive=skip or warn lets it through
        assert <inconclusive: noise changes_under cascading_randomization(seeds=2): \
sign_flip_spearman to itself above chance -0.0298 in [-0.229, 0.17], n=64>
    """,
    'assert xai.explainer(magnitude).changes_under("cascading_randomization")': """\
        magnitude does not change enough under cascading_randomization: more
        than 50% of the similarity above chance is left (sign_flip_spearman)
        kept          100% of the similarity above chance (83% to 104%), n=64
        compared with fresh noise -20%, input × noise 11%
        worst inputs  21, 50, 57, 58, 1 (kept too much: 0.95 to 0.93)
        reproduce     pytest test_it.py::test_it --xai-seed=0
        try           use a method that depends on what was changed in the model
                      (gradients), or look for a multiplication by the input
        assert <failed: magnitude changes_under cascading_randomization: \
retention (sign_flip_spearman) 1 in [0.831, 1.04], n=64>
    """,
}


@pytest.mark.parametrize("asserted", TEXTS)
def test_a_failure_is_told_in_a_sentence_and_at_most_eight_lines(suite, asserted):
    """Within 80 columns, but for the verdict itself, which pytest shows of any object that is asserted."""
    result = run(suite, f"def test_it(xai):\n    {asserted}\n")
    assert told(result) == dedent(TEXTS[asserted]).rstrip()
    assert max(len(line) for line in below(result) if "assert <" not in line and asserted not in line) <= 80


@pytest.mark.parametrize("body", [FIXTURE, MARKED])
@pytest.mark.parametrize("style", ["long", "short", "line", "native"])
def test_the_sentence_is_what_summaries_and_junit_show(suite, monkeypatch, body, style):
    """In both forms, whatever the style of traces; whole and on one line, though the lines of a trace are wrapped."""
    monkeypatch.setenv("COLUMNS", "300")
    result = run(suite, body, "--tb", style, "-rf", "--junitxml=junit.xml")
    sentence = (
        "bad is no better than random on pixel_flipping: it beats a random order in 19% of comparisons, shown to be"
    )
    result.stdout.fnmatch_lines([f"FAILED test_it.py::test_it* - {sentence} under 60%"])
    if style == "line":
        result.stdout.fnmatch_lines([f"*test_it.py:*: {sentence} under 60%"])
    (failure,) = ElementTree.parse(suite.path / "junit.xml").iter("failure")
    assert failure.get("message").startswith(sentence)
    assert "reproduce     pytest" in failure.get("message")
    assert "worst inputs  1, 7" in failure.text or style == "line"


def test_tables_are_told_under_v_alone(suite):
    assert "explanation claim" not in str(run(suite, FIXTURE).stdout)
    verbose = run(suite, FIXTURE, "-v")
    verbose.stdout.fnmatch_lines(
        ["*- explanation claim: failed -*", "decided by *", "outputs  *", "worst inputs 1 (0), *"]
    )
    assert told(verbose).startswith("bad is no better")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "verdict = {}\n    assert verdict.passed",
            ["bad is no better*", "assert False", "*where False = <failed: bad *"],
        ),
        ("assert {}, 'look at the maps'", ["bad is no better*", "look at the maps", "assert <failed: bad *"]),
        ("for _ in [1]:\n        with open(__file__):\n            assert {} and True", ["bad is no better*"]),
        ("unittest.TestCase().assertTrue({})", ["bad is no better*", "* is not true*"]),
    ],
)
def test_an_assertion_in_other_words_tells_the_same_before_its_own(suite, body, words):
    claim = 'xai.explainer(bad).beats("random", on="pixel_flipping")'
    result = run(suite, f"import unittest\ndef test_it(xai):\n    {body.format(claim)}\n")
    result.stdout.fnmatch_lines([f"E * {word}" for word in words])


def test_without_rewritten_assertions_the_last_verdict_is_told(suite):
    """In a file that pytest does not rewrite, as those of other packages, an assertion says nothing by itself."""
    suite.makepyfile(helper="def check(verdict):\n    assert verdict\n")
    body = FIXTURE.replace("assert ", "helper.check(").rstrip() + ")\n"
    result = run(suite, "import helper\n" + body, "-rf")
    result.stdout.fnmatch_lines(["E * bad is no better than random*", "FAILED *::test_it - bad is no better than*"])


def test_an_assertion_about_something_else_is_left_as_it_is(suite):
    """And the verdict that did not pass, which the test may have wanted, is told below it."""
    body = (
        'def test_it(xai):\n    assert not xai.explainer(bad).beats("random", on="pixel_flipping")\n    assert 1 == 2\n'
    )
    result = run(suite, body)
    assert told(result) == "assert 1 == 2"
    result.stdout.fnmatch_lines(["*- explanation claim: failed -*", "bad is no better than random*", "reproduce *"])


def test_several_verdicts_in_one_assertion_are_told_one_after_the_other(suite):
    body = """
def test_it(xai):
    one, two = (xai.explainer(bad).beats(other, on="pixel_flipping") for other in ("random", "edges"))
    assert one or two
"""
    text = told(run(suite, body.replace('"edges"', "good")))
    assert text.index("bad is no better than random") < text.index("bad is no better than good")
    assert text.count("reproduce") == 2


@pytest.mark.parametrize("body", [FIXTURE, MARKED])
def test_an_explainer_that_raises_is_shown_without_frames_of_the_plugin(suite, body):
    """Its own frame and the test's are; ``--full-trace`` shows all."""
    body = body.replace("(bad)", "(broken)")
    result = run(suite, body)
    frames = re.findall(r"(?m)^(\S+\.py):\d+: ", str(result.stdout))
    assert frames == ["test_it.py", "test_it.py"]
    result.stdout.fnmatch_lines([">  *raise ValueError*", "E  *XaiError: explainer broken: found ValueError*"])
    assert "explanation claim" not in str(result.stdout)
    assert "attributions.py" in str(run(suite, body, "--full-trace").stdout)


@pytest.mark.slow
def test_failures_are_told_across_processes(suite):
    pytest.importorskip("xdist")
    result = run(suite, FIXTURE, "-n1", "-rf")
    assert told(result) == dedent(next(iter(TEXTS.values()))).rstrip()
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_it - bad is no better than random *"])


def test_printing_a_report_is_no_look_at_the_verdict(suite):
    body = 'def test_it(xai):\n    print(xai.explainer(bad).beats("random", on="pixel_flipping").report())\n'
    result = run(suite, body, "-s")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*failed: bad is no better than random on pixel_flipping: *", "worst inputs  *"])


HOSTILE = {
    "script": "<script>alert('x')</script>",
    "quotes": 'it\'s "it" {x} %s $HOME',
    "newlines": "a\nb\r\n\tc\x1b[31m\x00",
    "long": "x" * 10_000,
    "right to left": "\u202eevil \u05d0\u05d1\u05d2",
    "emoji": "\U0001f469\u200d\U0001f52c\U0001f680" * 40,
    "combining": "e" + "\u0301" * 300,
    "half a pair": "\ud800",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_shown_as_text(suite, monkeypatch, name):
    """On lines of 80 columns, in a JUnit file that parses."""
    monkeypatch.setenv("COLUMNS", "80")
    body = f"def test_it(xai):\n    one = xai.explainer(bad, name={name!a})\n"
    body += '    verdict = one.beats("random", on="pixel_flipping")\n    assert verdict\n'
    result = run(suite, body, "--junitxml=junit.xml", "-rf")
    result.assert_outcomes(failed=1)
    ElementTree.parse(suite.path / "junit.xml")
    others = ("xai.explainer(", "assert <", "generated xml file")
    shown = [line for line in below(result) if not any(one in line for one in others)]
    assert not [line for line in shown if columns(line) > 80]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", "".join(below(result)))
    assert told(result).count("reproduce     pytest test_it.py::test_it --xai-seed=0") == 1


def test_a_job_of_ci_shows_the_whole_sentence_in_one_line(suite, monkeypatch):
    """Where pytest cuts no line of its summary."""
    monkeypatch.setenv("CI", "true")
    result = run(suite, FIXTURE.replace("(bad)", f"(bad, name={'x' * 10_000!r})"), "-rf")
    [line] = [line for line in result.outlines if line.startswith("FAILED ")]
    assert re.fullmatch(r"FAILED \S+ - x+…?\.*x+ is no better than random .*, shown to be under 60%", line)
    assert columns(line) < 250


@pytest.mark.slow
def test_an_ascii_terminal_writes_out_what_it_cannot_show(suite, monkeypatch):
    """Line by line, in the sections and in the summary too."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("COLUMNS", "80")
    body = (
        'def test_it(xai):\n    assert xai.explainer(magnitude, name="\\u6f22 \\xd7").changes_under("other_target")\n'
    )
    suite.makepyfile(test_it=HEAD + body)
    result = suite.runpytest_subprocess("-p", "no:randomly", "-v", "--assert=plain")
    result.stdout.fnmatch_lines(
        [
            r"E  *\u6f22*does not change enough under other_target*",
            r"claim        \u6f22 x changes_under other_target",
            "control      input x noise: *",
            r"failed        \u6f22 x changes_under other_target",
        ]
    )
