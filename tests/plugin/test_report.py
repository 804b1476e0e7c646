"""``--xai-report``: an HTML report of a session, however it is run and however it ends."""

from __future__ import annotations

import re

import pytest
from report.pages import Page

SUITE = """
    import os, signal, time
    import pytest
    from subject import bad, good, inputs

    def claimed(xai, source, name=None):
        return xai.explainer(source, name=name).beats("random", on="pixel_flipping")

    def test_good(xai):
        assert claimed(xai, good)

    @pytest.mark.parametrize("name", ["<b>&", "\\u202ex"])
    def test_bad(xai, name):
        assert claimed(xai, bad, name)

    def test_raises(xai):
        def broken(model, inputs, targets):
            raise ValueError("<script>\\ud800")
        assert claimed(xai, broken)
"""


def report_of(suite, name="report.html"):
    return Page((suite.path / name).read_text(encoding="utf-8"))


def test_claims_are_shown_with_their_inputs_and_maps(suite):
    """In the file that the ini file names; what decides one again asks for no report."""
    (suite.path / "pytest.ini").write_text("[pytest]\nxai_report = report.html\n")
    suite.makepyfile(test_it=SUITE)
    suite.runpytest("-p", "no:randomly", "--xai-seed=1").assert_outcomes(passed=1, failed=3)
    shown = report_of(suite)
    assert [one["data-outcome"] for one in shown.all("article")] == ["failed", "failed", "error", "passed"]
    assert shown.text.count("explanation") >= 3 * 6  # a map of each of six inputs
    assert "<b>& beats random" in shown.text
    assert r"\u202ex beats random" in shown.text
    assert r"<script>\ud800" in shown.text
    assert re.search(r"command line\s*(.*)", shown.text)[1].startswith("pytest -p no:randomly --xai-seed=1")
    assert "pytest test_it.py::test_good --xai-seed=1\n" in shown.text


def test_words_for_tokens_and_targets_are_those_of_the_suite(suite):
    suite.makepyfile(
        test_it="""
        import pytest, torch

        class Sentences(torch.nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.embedding, self.head = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 2)

            def forward(self, ids):
                return self.head(self.embedding(ids).mean(1))

        @pytest.fixture
        def xai_model():
            return Sentences().eval()

        @pytest.fixture
        def xai_inputs():
            return torch.randint(1, 5, (32, 6), generator=torch.Generator().manual_seed(0))

        @pytest.fixture
        def xai_embedding():
            return "embedding"

        @pytest.fixture
        def xai_tokenizer():
            return ["[PAD]", "<i>", "a\\nb", "good", "bad"]

        @pytest.fixture
        def xai_class_names():
            return {0: "<no>", 1: "yes & more"}

        def explain(model, inputs, targets):
            return inputs.float() - 2

        def test_words(xai):
            assert xai.explainer(explain).beats("random", on="pixel_flipping").outcome
        """
    )
    suite.runpytest("--xai-report=report.html", "-p", "no:randomly").assert_outcomes(passed=1)
    text = report_of(suite).text
    assert all(word in text for word in ("<i>", r"a\nb", "good", "target 0 (<no>)", "target 1 (yes & more)"))
    assert "strongest: bad +2" in text


@pytest.mark.parametrize(
    ("fixture", "given", "words"),
    [
        ("xai_class_names", "7", "xai_class_names: found an object of type int; expected a list or a mapping*"),
        ("xai_class_names", "lambda index: 1 / 0", "*xai_class_names: found ZeroDivisionError raised for *"),
    ],
)
def test_what_makes_no_words_is_an_error(suite, fixture, given, words):
    suite.makepyfile(test_it=SUITE + f"\n    @pytest.fixture\n    def {fixture}():\n        return {given}\n")
    result = suite.runpytest("--xai-report=report.html", "-p", "no:randomly", "-k", "good")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{words}*"])


def test_a_session_without_claims_has_a_report_that_says_so(suite):
    suite.makepyfile(test_it="def test_it():\n    pass\n")
    suite.runpytest("--xai-report=report.html").assert_outcomes(passed=1)
    assert "No claim was decided" in report_of(suite).text


@pytest.mark.parametrize(("file", "words"), [("no/report.html", "does not exist"), (".", "the folder")])
def test_a_path_that_cannot_be_written_is_said_at_the_start(suite, file, words):
    suite.makepyfile(test_it="def test_it():\n    pass\n")
    result = suite.runpytest(f"--xai-report={file}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--xai-report: found *{words}*"])


def test_reports_that_cannot_be_written_at_the_end_are_said_in_the_end(suite):
    """Each for itself: one that cannot be written costs no other."""
    (suite.path / "gone").mkdir()
    body = SUITE + "\n    def test_removes():\n        import shutil\n        shutil.rmtree('gone')\n"
    suite.makepyfile(test_it=body)
    args = ("--xai-report=gone/report.html", "--xai-json=claims.json", "-k", "good or removes")
    result = suite.runpytest("-p", "no:randomly", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--xai-report: 'gone/report.html' could not be written*the report is lost"])
    assert (suite.path / "claims.json").exists()


@pytest.mark.slow
def test_an_audit_stands_in_the_report(suite):
    suite.makepyfile(test_it=SUITE)
    suite.runpytest("--xai-report=report.html", "--xai-audit", "-p", "no:randomly", "-k", "good")
    shown = report_of(suite)
    assert "mutation score" in shown.text
    assert "beats random on pixel_flipping" in shown.text
    assert len(shown.all("article")) == 1
