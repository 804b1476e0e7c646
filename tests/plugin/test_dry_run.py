"""``--xai-dry-run``: what a session would cost, and nothing is decided."""

from __future__ import annotations

import json

import pytest

SUITE = """
    import pytest
    from subject import bad, good

    def test_fixture(xai):
        one = xai.explainer(good)
        assert one.changes_under("cascading_randomization")
        assert one.beats("random", on="pixel_flipping")

    def test_that_wants_a_failure(xai):
        assert xai.explainer(bad).beats("random", on="pixel_flipping").failed

    @pytest.mark.xai_beats("random", on="pixel_flipping")
    @pytest.mark.xai_explainer(good, name="marked")
    def test_marker(xai_verdict):
        assert xai_verdict

    def test_without_a_claim():
        pass
"""


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param((), id="one process"),
        pytest.param(("-p", "xdist", "-n2"), id="two workers", marks=pytest.mark.slow),
    ],
)
def test_each_claim_has_a_line_and_none_is_decided(suite, workers):
    suite.makepyfile(test_it=SUITE)
    result = suite.runpytest(*workers, "--xai-dry-run", "--xai-json=out.json")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*plan of 4 claims, of which none was decided*",
            "good changes_under cascading_randomization: 3 explanations and 1 pass for each of 64 inputs and 28*",
            "good beats random on pixel_flipping: 1 explanation and 58 passes for each of 64 inputs and *once*",
            "marked beats random *",
            "bad beats random *",
            "all: at most about *",
        ]
    )
    assert "claims about explanations:" not in result.stdout.str()
    assert not json.loads((suite.path / "out.json").read_text())["claims"]


def test_mistakes_after_a_first_claim_and_assertions_of_fixtures_are_told_apart(suite):
    suite.makepyfile(
        test_it="""
        import pytest
        from subject import good

        @pytest.fixture
        def refused(xai):
            assert not xai.explainer(good).beats("random", on="pixel_flipping")

        def test_mistake(xai):
            one = xai.explainer(good)
            assert one.beats("random", on="pixel_flipping")
            assert one.beats("random", on="pixel_flipping", dept=3)

        def test_fixture(refused):
            pass
        """
    )
    result = suite.runpytest("--xai-dry-run", "-p", "no:randomly")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*plan of 2 claims*"])


def test_what_cannot_be_decided_is_an_error_all_the_same(suite):
    suite.makepyfile(test_it="def test_it(xai):\n    assert xai.explainer(3).beats('random', on='pixel_flipping')\n")
    suite.runpytest("--xai-dry-run").assert_outcomes(failed=1)


def test_the_battery_is_planned_without_a_test_file(suite):
    result = suite.runpytest("--xai-dry-run", "--xai-explainer=subject:good")
    result.stdout.fnmatch_lines(["*plan of * claims, of which none was decided*", "good *"])
