"""The marker form: one test item for each claim and explainer, and one clear error for each mistake."""

from __future__ import annotations

import inspect
import re

import pytest

from pytest_xaisanity.claims import make as claims

IMPORTS = "import pytest\nfrom captum.attr import InputXGradient, Saliency\nfrom subject import bad, good\n"
BEATS = '@pytest.mark.xai_beats("random", on="pixel_flipping")\n'
ORDER = '@pytest.mark.xai_invariant_under("batch_order")\n'
TEST = "def test_it(xai_verdict):\n    assert xai_verdict\n"


def write(suite, body: str, **modules: str) -> None:
    suite.makepyfile(**{name: IMPORTS + text for name, text in {"test_it": body, **modules}.items()})


def run(suite, *args: str):
    return suite.runpytest("-p", "no:randomly", *args)


def ids(suite, *args: str) -> list[str]:
    lines = run(suite, "--collect-only", "-q", *args).outlines
    return [re.search(r"\[(.*)\]", line)[1] for line in lines if "::" in line and "[" in line]


# ---------------------------------------------------------------------------------------------------------------------
# Items


def test_each_claim_about_each_explainer_is_a_test(suite):
    write(suite, f"{BEATS}{ORDER}@pytest.mark.xai_explainer(good)\n@pytest.mark.xai_explainer(bad)\n{TEST}")
    result = run(suite, "-v")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_it[[]good-beats-random-on-pixel_flipping[]] PASSED*",
            "test_it.py::test_it[[]good-invariant_under-batch_order[]] PASSED*",
            "test_it.py::test_it[[]bad-beats-random-on-pixel_flipping[]] FAILED*",
            "test_it.py::test_it[[]bad-invariant_under-batch_order[]] PASSED*",
        ]
    )


def test_a_failing_claim_shows_its_verdict_and_section(suite):
    write(suite, f"{BEATS}@pytest.mark.xai_explainer(bad)\n{TEST}")
    result = run(suite)
    result.stdout.fnmatch_lines(
        [
            ">       assert xai_verdict",
            "E       bad is no better than random on pixel_flipping: *",
            "E       reproduce     pytest 'test_it.py::test_it[[]bad-beats-random-on-pixel_flipping[]]' --xai-seed=0",
            "E       assert <failed: bad beats random on pixel_flipping: share of random orders beaten *, n=16>",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_xaisanity*plugin*")


@pytest.mark.parametrize("explainer", ["Saliency", "good", "InputXGradient", "lambda m, x, t: good(m, x, t)"])
def test_a_class_or_function_may_be_the_only_argument(suite, explainer):
    """Otherwise pytest would take it for what is marked, and the test would vanish."""
    write(suite, f"{ORDER}@pytest.mark.xai_explainer({explainer})\n@pytest.mark.filterwarnings('ignore')\n{TEST}")
    result = run(suite)
    assert result.parseoutcomes()["passed"] == 1


def test_captum_classes_keep_no_marks(suite):
    write(suite, f"{ORDER}@pytest.mark.xai_explainer(Saliency)\n{TEST}\nassert not hasattr(Saliency, 'pytestmark')\n")
    run(suite).assert_outcomes(passed=1)


def test_marks_may_stand_in_a_conftest_or_a_helper(suite):
    """Files that are imported before the session is configured."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\nfrom subject import good\nmine = pytest.mark.xai_explainer(good)\n")
    write(suite, f"from conftest import mine\n{ORDER}@mine\n{TEST}")
    run(suite).assert_outcomes(passed=1)


def test_marks_apply_from_functions_classes_and_modules(suite):
    body = f"""
pytestmark = [pytest.mark.xai_explainer(good), pytest.mark.xai_invariant_under("batch_order")]
{BEATS}class TestIt:
    @pytest.mark.xai_bounded("pixel_flipping", at_most=0.9)
    def test_method(self, xai_verdict):
        assert xai_verdict
    def test_other(self, xai_verdict):
        assert xai_verdict
    def test_no_claim(self):
        pass
{TEST}"""
    write(suite, body)
    run(suite).assert_outcomes(passed=3 + 2 + 1 + 1)


def test_a_module_may_be_marked_with_one_explainer(suite):
    write(suite, f"pytestmark = pytest.mark.xai_explainer(Saliency)\n{ORDER}{TEST}")
    run(suite).assert_outcomes(passed=1)


def test_the_order_is_that_of_reading(suite):
    """Module before class before function, and from top to bottom, whatever the verb."""
    body = f"""
pytestmark = pytest.mark.xai_bounded("pixel_flipping", at_most=0.9)
{ORDER}{BEATS}@pytest.mark.xai_explainer(good)
{TEST}"""
    write(suite, body)
    assert [re.search("bounded|invariant|beats", name)[0] for name in ids(suite)] == ["bounded", "invariant", "beats"]


def test_ids_tell_claims_with_other_settings_apart(suite):
    body = f"""
from pytest_xaisanity import PixelFlipping
@pytest.mark.xai_beats("random", on="pixel_flipping", steps=4)
@pytest.mark.xai_beats("random", on="pixel_flipping", steps=8)
@pytest.mark.xai_beats("random", on=PixelFlipping(steps=2), draws=9)
@pytest.mark.xai_explainer(good)
@pytest.mark.xai_explainer(good, name="named")
{TEST}"""
    write(suite, body)
    names = ids(suite)
    assert len(set(names)) == len(names) == 6
    assert names[0] == "good-beats-random-on-pixel_flipping-steps4"
    assert names[3].startswith("named-")
    run(suite).assert_outcomes(passed=6)


def test_equal_ids_are_numbered(suite):
    """A strict pytest refuses to."""
    suite.makeini("[pytest]\nstrict_parametrization_ids = true\n")
    write(suite, f"{BEATS}{BEATS}@pytest.mark.xai_explainer(good)\n{TEST}")
    assert ids(suite) == ["good-beats-random-on-pixel_flipping-1", "good-beats-random-on-pixel_flipping-2"]


def test_ids_are_plain_enough_for_a_shell_and_for_k(suite):
    """No brackets, no equal signs; pytest's ``-k`` minds no case."""
    write(suite, f"{BEATS}{ORDER}@pytest.mark.xai_explainer(Saliency, abs=False)\n{TEST}")
    assert ids(suite) == [
        "saliency-absfalse-beats-random-on-pixel_flipping",
        "saliency-absfalse-invariant_under-batch_order",
    ]
    assert ids(suite, "-k", "beats") == ids(suite)[:1]
    assert ids(suite, "-k", "Saliency and not pixel_flipping") == ids(suite)[1:]
    assert ids(suite, "-m", "xai_beats") == ids(suite)[:1]
    run(suite, f"test_it.py::test_it[{ids(suite)[1]}]").assert_outcomes(passed=1)


def test_ids_of_values_have_no_quotes(suite):
    explainers = '@pytest.mark.xai_explainer(DeepLift("ablation"))\n@pytest.mark.xai_explainer(GuidedBackprop())\n'
    write(suite, f"from pytest_xaisanity.explainers import DeepLift, GuidedBackprop\n{ORDER}{explainers}{TEST}")
    assert ids(suite) == [
        "deeplift-ablation-invariant_under-batch_order",
        "guidedbackprop-invariant_under-batch_order",
    ]


def test_lf_runs_the_failed_claim_alone(suite):
    write(suite, f"{BEATS}{ORDER}@pytest.mark.xai_explainer(good)\n@pytest.mark.xai_explainer(bad)\n{TEST}")
    run(suite).assert_outcomes(passed=3, failed=1)
    run(suite, "--lf").assert_outcomes(failed=1)


def test_without_an_explainer_the_fixture_is_taken(suite):
    fixture = "@pytest.fixture(params=[good, bad])\ndef xai_explainer(request):\n    return request.param\n"
    write(suite, f"{fixture}{BEATS}{TEST}")
    run(suite).assert_outcomes(passed=1, failed=1)


def test_without_any_explainer_the_error_says_what_to_write(suite):
    write(suite, f"{BEATS}{TEST}")
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["xai_explainer: found no fixture of this name in your tests*--xai-explainer=*"])


def test_a_parametrized_model_multiplies_the_claims(suite):
    fixture = "import subject\n@pytest.fixture(params=[1, 2])\ndef xai_model(request):\n    return subject.model()\n"
    write(suite, f"{fixture}{BEATS}{ORDER}@pytest.mark.xai_explainer(good)\n{TEST}")
    run(suite).assert_outcomes(passed=4)


def test_the_verdict_may_come_by_way_of_a_fixture(suite):
    fixture = "@pytest.fixture\ndef verdict(xai_verdict):\n    return xai_verdict\n"
    write(
        suite, f"{fixture}{BEATS}@pytest.mark.xai_explainer(good)\ndef test_it(verdict):\n    assert verdict.n == 16\n"
    )
    run(suite).assert_outcomes(passed=1)


def test_a_verdict_is_decided_once_and_in_the_call(suite):
    """So that its time and its errors are the test's own."""
    body = (
        "def test_it(xai_verdict):\n    assert 'not decided yet' in repr(xai_verdict)\n    assert xai_verdict.passed\n"
    )
    write(suite, f"{BEATS}@pytest.mark.xai_explainer(good)\n{body}    assert 0.5 < xai_verdict.estimate\n")
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*claims about explanations: 1 passed*"])


def test_an_expected_failure_is_marked_like_any_other(suite):
    write(suite, f"@pytest.mark.xfail(strict=True)\n{BEATS}@pytest.mark.xai_explainer(bad)\n{TEST}")
    run(suite).assert_outcomes(xfailed=1)


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("marks", "error"),
    [
        ('xai_beats("randm", on="pixel_flipping")', "*'randm'*use 'random', the nearest known name*"),
        ('xai_beats("random", on="pixel_fliping")', "*'pixel_fliping'*use 'pixel_flipping', the nearest known name*"),
        ('xai_beats("random")', "*found*missing*on*"),
        ('xai_beats(on="pixel_flipping")', "*found*missing*baseline*"),
        ('xai_beats("random", on="pixel_flipping", step=3)', "*'step'*use 'steps', the nearest known name*"),
        ('xai_changes_under("cascading_randomisation")', "*use 'cascading_randomization', the nearest known name*"),
        ('xai_changes_under("cascading_randomization", dept=1)', "*'dept'*use 'depth', the nearest known name*"),
        (
            'xai_changes_under("cascading_randomization", similarity="sim")',
            "* similarity of test_it: found 'sim'*use 'ssim'*",
        ),
        ("xai_changes_under()", "*found*missing*intervention*"),
        ('xai_changes_under("batch_order")', "*claim invariant_under*"),
        ('xai_bounded("pixel_flipping")', "*found no bound*at_most= or at_least=*"),
        ('xai_bounded("pixel_flipping", at_most=1, confidence=2)', "* confidence of test_it: found 2*"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line_at_collection(suite, marks, error):
    write(suite, f"@pytest.mark.{marks}\n@pytest.mark.xai_explainer(good)\n{TEST}")
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR collecting test_it.py*", f"marker xai_*{error}"])
    for noise in ("*Traceback*", "*During handling*", "*pytest_xaisanity*.py*"):
        result.stdout.no_fnmatch_line(noise)


def test_a_claim_that_no_verdict_is_asked_for_is_an_error(suite):
    write(suite, f"{BEATS}def test_it():\n    pass\n")
    run(suite).stdout.fnmatch_lines(
        ["marker xai_beats of test_it: found a test that does not ask for the verdict*(xai_verdict)*"]
    )


def test_an_explainer_that_no_verdict_is_asked_for_is_an_error(suite):
    write(suite, "@pytest.mark.xai_explainer(good)\ndef test_it(xai):\n    pass\n")
    run(suite).stdout.fnmatch_lines(
        ["marker xai_explainer of test_it: found a test that does not ask for the verdict*"]
    )


def test_a_verdict_without_a_claim_is_an_error(suite):
    write(suite, f"@pytest.mark.xai_explainer(good)\n{TEST}")
    run(suite).stdout.fnmatch_lines(["xai_verdict of test_it: found a test without a claim*xai_changes_under*"])


@pytest.mark.parametrize("above", ["", BEATS, f"{ORDER}{BEATS}"])
def test_a_marker_without_its_arguments_is_an_error(suite, above):
    """It would swallow the test."""
    write(suite, f"{above}@pytest.mark.xai_explainer\n{TEST}")
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*marker xai_explainer: found no arguments above test_it*"])


def test_two_explainers_in_one_marker_are_an_error(suite):
    write(suite, f"{BEATS}@pytest.mark.xai_explainer(good, bad)\n{TEST}")
    run(suite).stdout.fnmatch_lines(["marker xai_explainer of test_it: found 2 explainers*repeat the marker*"])


def test_a_misspelled_keyword_of_an_explainer_names_the_nearest(suite):
    write(suite, f"{BEATS}@pytest.mark.xai_explainer(Saliency, ab=False)\n{TEST}")
    run(suite).stdout.fnmatch_lines(["*'ab'*use 'abs', the nearest known name*"])


def test_a_misspelled_marker_is_an_error_of_pytest_when_it_is_strict(suite):
    write(suite, f"@pytest.mark.xai_beat('random', on='pixel_flipping')\n{TEST}")
    run(suite, "--strict-markers").stdout.fnmatch_lines(["*'xai_beat' not found in `markers`*"])


# ---------------------------------------------------------------------------------------------------------------------
# Documentation


def test_markers_read_as_documentation(suite):
    run(suite, "--markers").stdout.fnmatch_lines(
        [
            "@pytest.mark.xai_changes_under(intervention, [*], similarity=None, *): claim that the attributions *",
            "@pytest.mark.xai_invariant_under(intervention, [*], *): claim that the attributions do not differ *",
            "@pytest.mark.xai_beats(baseline, [*], on, draws=None, *): claim that, per input, *",
            "@pytest.mark.xai_bounded(metric, [*], at_most=None, at_least=None, *): claim that a metric *",
            "@pytest.mark.xai_explainer(source, [*], name=None, [*][*]settings): an explainer *",
        ]
    )


@pytest.mark.parametrize("verb", claims.VERBS)
def test_a_marker_shows_the_signature_of_its_verb(suite, verb):
    """Names and defaults, and nothing else: what a person may write."""
    (line,) = [line for line in run(suite, "--markers").outlines if line.startswith(f"@pytest.mark.xai_{verb}(")]
    shown = line.removeprefix(f"@pytest.mark.xai_{verb}").partition("): ")[0] + ")"
    namespace = {}
    exec(f"def shown{shown}: pass", namespace)
    written, meant = (inspect.signature(function) for function in (namespace["shown"], getattr(claims, verb)))
    assert [(p.name, p.kind, p.default) for p in written.parameters.values()] == [
        (p.name, p.kind, p.default) for p in meant.parameters.values()
    ]


def test_fixtures_read_as_documentation(pytester):
    text = str(pytester.runpytest("--fixtures").stdout)
    names = ("xai", "xai_verdict", "xai_model", "xai_inputs", "xai_targets", "xai_task", "xai_explainer", "xai_device")
    for name in names:
        assert re.search(rf"(?m)^{name}( \[session scope\])? -- .*\n    \w.*\.", text), name
    assert "no docstring available" not in text.partition("pytest_xaisanity")[2].partition("fixtures defined from")[0]


def test_a_verdict_that_is_not_looked_at_is_an_error(suite):
    """Nothing would be measured, and the test would pass."""
    suite.makepyfile(
        """
        import pytest
        from subject import good

        @pytest.mark.xai_beats("random", on="pixel_flipping")
        @pytest.mark.xai_explainer(good)
        def test_forgotten(xai_verdict):
            pass

        @pytest.mark.xai_beats("random", on="pixel_flipping")
        @pytest.mark.xai_explainer(good)
        def test_that_fails_before(xai_verdict):
            raise KeyError
        """
    )
    result = suite.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*xai_verdict: found a test that passed without looking at its verdict*"])


def test_a_claim_on_a_unittest_method_is_an_error(suite):
    suite.makepyfile(
        """
        import pytest, unittest

        class TestOld(unittest.TestCase):
            @pytest.mark.xai_beats("random", on="pixel_flipping")
            def test_it(self):
                pass
        """
    )
    result = suite.runpytest_inprocess("-p", "no:randomly")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["marker xai_beats of test_it: found a test that does not ask for the verdict*"])


@pytest.mark.parametrize(
    ("marker", "where"),
    [
        ("xai_bounded('pixel_flipping', at_most=[1])", "marker xai_bounded at_most of test_it"),
        (
            "xai_beats('random', on='pixel_flipping', draws=10**30)",
            "marker xai_beats baseline 'random' draws of test_it",
        ),
        (
            "xai_changes_under('cascading_randomization', seeds=0)",
            "marker xai_changes_under cascading_randomization seeds",
        ),
        ("xai_explainer(print, name=[1, 2])", "marker xai_explainer of test_it name"),
    ],
)
def test_a_setting_that_cannot_be_is_said_of_its_marker(suite, marker, where):
    suite.makepyfile(
        f"""
        import pytest
        from subject import good

        @pytest.mark.xai_bounded("pixel_flipping", at_most=0.9)
        @pytest.mark.xai_explainer(good)
        @pytest.mark.{marker}
        def test_it(xai_verdict):
            assert xai_verdict
        """
    )
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"{where.replace('[', '[[]')}*: found *To fix it: change *"])
