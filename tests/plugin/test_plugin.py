"""The fixture form and what a person sees of it: failures, sections, summaries, JSON, JUnit."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from pytest_xaisanity import XaiError
from pytest_xaisanity.plugin.running import Running

CLAIM = 'xai.explainer({}).beats("random", on="pixel_flipping")'
GOOD, BAD = CLAIM.format("good"), CLAIM.format("bad")
UNTOLD = 'xai.explainer(noise).changes_under("cascading_randomization", seeds=1)'
IMPORTS = "import pytest\nfrom subject import bad, good, noise, inputs, model\n"


def write(suite, **modules: str) -> None:
    suite.makepyfile(**{name: IMPORTS + body for name, body in modules.items()})


def run(suite, *args: str):
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *args)


def claims_of(suite, *args: str) -> list[dict]:
    run(suite, "--xai-json=claims.json", *args)
    return json.loads((suite.path / "claims.json").read_text())["claims"]


# ---------------------------------------------------------------------------------------------------------------------
# Where the subject comes from


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_the_subject_may_have_any_scope(suite, scope):
    suite.makeconftest(f"""
        import pytest, subject
        @pytest.fixture(scope="{scope}")
        def xai_model():
            return subject.model()
        @pytest.fixture(scope="{scope}")
        def xai_inputs(xai_model):
            return subject.inputs()
    """)
    write(suite, test_it=f"def test_a(xai):\n    assert {GOOD}\n\ndef test_b(xai):\n    assert {GOOD}\n")
    run(suite).assert_outcomes(passed=2)


def test_the_nearest_fixture_of_the_subject_counts(suite):
    """A module and a class may explain another model than the rest of the suite."""
    flipped = """
        @pytest.fixture
        def xai_targets{self}:
            return 2 - model()(inputs()).argmax(1)
    """
    module = flipped.replace("{self}", "()").replace("\n        ", "\n")
    write(
        suite,
        test_outer=f"def test_it(xai):\n    assert xai.bench.subject._source.targets is None\n    assert {GOOD}\n",
        test_module=f"{module}\ndef test_it(xai):\n    assert xai.bench.subject._source.targets is not None\n",
        test_class="class TestIt:\n"
        + flipped.replace("{self}", "(self)").replace("\n        ", "\n    ")
        + "\n    def test_it(self, xai):\n        assert xai.bench.subject._source.targets is not None\n",
    )
    run(suite).assert_outcomes(passed=3)


@pytest.mark.slow
def test_a_parametrized_model_runs_the_test_once_for_each(suite):
    """Although the test itself only asks for xai, or for a fixture that does."""
    suite.makeconftest("""
        import pytest, subject
        @pytest.fixture(params=["a", "b"])
        def xai_model(request):
            return subject.model()
        @pytest.fixture(params=[1, 2, 3], scope="module")
        def xai_inputs(request):
            return subject.inputs() * request.param
        @pytest.fixture
        def explainer(xai):
            return xai.explainer(subject.good)
    """)
    indirect = 'def test_indirect(explainer):\n    assert explainer.beats("random", on="pixel_flipping")\n'
    method = f"class TestIt:\n    def test_method(self, xai):\n        assert {GOOD}\n"
    static = f"    @staticmethod\n    def test_static(xai):\n        assert {GOOD}\n"
    write(suite, test_it=f"def test_direct(xai):\n    assert {GOOD}\n{indirect}{method}{static}")
    result = run(suite, "-v")
    result.assert_outcomes(passed=24)
    for test in ("test_direct", "test_indirect", "test_method", "test_static"):
        result.stdout.fnmatch_lines([f"*::{test}[[]*3*b*[]]* PASSED*"])


def test_a_parametrized_test_makes_claims(suite):
    write(
        suite,
        test_it='@pytest.mark.parametrize("draws", [5, 9])\ndef test_it(xai, draws):\n'
        '    assert xai.explainer(good).beats("random", on="pixel_flipping", draws=draws)\n',
    )
    run(suite).assert_outcomes(passed=2)


def test_tests_inherited_by_several_classes_make_claims(suite):
    base = f"class Base:\n    def test_it(self, xai):\n        assert {GOOD}\n"
    write(suite, test_it=f"{base}class TestA(Base):\n    pass\nclass TestB(Base):\n    pass\n")
    run(suite).assert_outcomes(passed=2)


def test_a_subject_is_never_mistaken_for_an_earlier_one(suite):
    """Although Python gives an object the identity of one that is gone."""
    fixture = "@pytest.fixture(params=range(9))\ndef xai_targets(request):\n    return [request.param % 3] * 64\n"
    body = "def test_it(xai, xai_targets):\n    assert xai.bench.subject._source.targets.tolist() == xai_targets\n"
    write(suite, test_it=fixture + body)
    run(suite).assert_outcomes(passed=9)


def test_a_lambda_may_make_a_claim(suite):
    write(suite, test_it=f"def check(verdict):\n    assert verdict\ntest_it = lambda xai: check({GOOD})\n")
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_a_fixture_may_make_a_claim(suite, scope):
    """In its setup as in its teardown, whatever its scope; the verdict belongs to the test that is running."""
    write(
        suite,
        test_it=f"@pytest.fixture(scope='{scope}')\ndef checked(xai):\n    assert {GOOD}\n    yield 1\n    {BAD}\n"
        "def test_it(checked):\n    pass\n",
    )
    first, second = claims_of(suite)
    assert first["test"] == second["test"] == "test_it.py::test_it"
    assert [first["outcome"], second["outcome"]] == ["passed", "failed"]


def test_a_claim_that_fails_in_a_fixture_is_shown_and_recorded(suite):
    write(suite, test_it=f"@pytest.fixture\ndef checked(xai):\n    assert {BAD}\ndef test_it(checked):\n    pass\n")
    result = run(suite, "--xai-json=claims.json")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E  *bad is no better than random on pixel_flipping: *"])
    (claim,) = json.loads((suite.path / "claims.json").read_text())["claims"]
    assert claim["outcome"] == claim["test_outcome"] == "failed"


def test_a_claim_without_a_subject_says_which_fixture_to_write(pytester):
    pytester.makepyfile(f"def test_it(xai):\n    good = None\n    assert {GOOD}\n")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["xai_model: found no fixture of this name*write a fixture xai_model in conftest.py, or give --xai-model=*"]
    )
    result.stdout.no_fnmatch_line("*plugin*fixture.py*")


def test_xai_may_come_from_getfixturevalue(suite):
    write(suite, test_it=f"def test_it(request):\n    xai = request.getfixturevalue('xai')\n    assert {GOOD}\n")
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "way",
    [
        "@pytest.fixture(autouse=True)\ndef _asked(request):\n    globals()['xai'] = request.getfixturevalue('xai')\n",
        "@pytest.fixture(scope='session', autouse=True)\ndef _asked(xai):\n    globals()['xai'] = xai\n",
        "def test_before(request):\n    global xai\n    xai = request.getfixturevalue('xai')\n",
    ],
    ids=["each test", "once", "another test"],
)
def test_a_test_that_does_not_name_xai_makes_claims_about_its_own_subject(suite, way):
    """However it came by it."""
    other = "@pytest.fixture(scope='module')\ndef xai_model():\n    return model()\n"
    asked = f"def test_it(xai_model):\n    assert {GOOD}\n    assert xai.bench.subject.model is xai_model\n"
    write(suite, test_a=way + asked, test_b=other + way + asked)
    result = run(suite)
    assert set(result.parseoutcomes()) == {"passed"}
    result.stdout.fnmatch_lines(["*claims about explanations: 2 passed*"])


def test_a_claim_outside_of_a_test_says_so(suite):
    conftest = suite.path / "conftest.py"
    conftest.write_text(
        f"{conftest.read_text()}\ndef pytest_sessionfinish():\n    try:\n        kept.invariant_under('batch_order')\n"
        "    except Exception as error:\n        print(type(error).__name__, error)\n"
    )
    write(suite, test_it="import conftest\ndef test_it(xai):\n    conftest.kept = xai.explainer(good)\n")
    run(suite, "-s").stdout.fnmatch_lines(
        ["*XaiError xai: found a claim made outside of a test; expected a test, or a fixture that a test uses.*"]
    )


# ---------------------------------------------------------------------------------------------------------------------
# The explainer


def test_an_explainer_may_be_made_before_the_model_is_known(suite):
    """It explains the model of whatever test makes a claim about it."""
    suite.makeconftest("""
        import pytest, subject
        @pytest.fixture
        def xai_model():
            return subject.model()
        @pytest.fixture
        def xai_inputs():
            return subject.inputs()
        @pytest.fixture(scope="session")
        def explainer(xai):
            return xai.explainer(subject.good, name="early")
    """)
    body = """
def test_a(explainer, xai_model):
    assert explainer.beats("random", on="pixel_flipping")
    assert explainer.bench.subject.model is xai_model
    assert repr(explainer) == "<explainer early>"
"""
    write(suite, test_it=body + body.replace("test_a", "test_b"))
    run(suite).assert_outcomes(passed=2)


OTHERS = {
    "the fixture's and the fixture's": ("xai.explainer(good)", "xai.explainer(bad)"),
    "the fixture's and the bench's": ("xai.explainer(good)", "xai.bench.explainer(bad)"),
    "the bench's and the fixture's": ("xai.bench.explainer(good)", "xai.explainer(bad)"),
    "a claim object": ("xai.explainer(good)", None),
}


@pytest.mark.parametrize("which", OTHERS)
def test_an_explainer_beats_another(suite, which):
    one, other = OTHERS[which]
    verdict = f"{one}.beats({other}, on='pixel_flipping')"
    if other is None:
        verdict = f"{one}.decide(beats(xai.explainer(bad), on='pixel_flipping'))"
    body = (
        "from pytest_xaisanity import beats\ndef test_it(xai):\n"
        f"    verdict = {verdict}\n    assert verdict\n"
        "    assert verdict.claim == 'good beats bad on pixel_flipping'\n"
    )
    write(suite, test_it=body)
    run(suite).assert_outcomes(passed=1)


def test_an_explainer_of_another_bench_is_refused(suite):
    body = (
        "from pytest_xaisanity import Bench, XaiError\ndef test_it(xai):\n    other = Bench(model(), inputs())\n"
        "    for one, two in [(xai, other), (other, xai)]:\n"
        "        with pytest.raises(XaiError, match='of another bench'):\n"
        "            one.explainer(good).beats(two.explainer(bad), on='pixel_flipping')\n"
    )
    write(suite, test_it=body)
    run(suite).assert_outcomes(passed=1)


def test_explainers_of_tests_are_ranked_against_one_another(suite):
    """As those of a bench are."""
    body = (
        "from pytest_xaisanity import gap\ndef third(m, x, t):\n    return 2 * x\n"
        "def test_it(xai):\n    explainers = [xai.explainer(one) for one in (good, bad, third)]\n"
        "    found = gap(xai.bench, explainers, similarities=['spearman'])\n"
        "    assert [row.name for row in found.rows][0] == 'good'\n"
    )
    write(suite, test_it=body)
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("claim", "error"),
    [
        ('beats("random")', "beats: found arguments that do not fit (missing a required *argument: 'on')*"),
        ('beats(None, on="pixel_flipping")', "beats: found None; expected a baseline or an explainer*"),
        ('bounded("pixel_flipping", 0.3)', "bounded: found arguments that do not fit (too many positional*"),
        ('changes_under("cascading_randomization", similarity="sim")', "*changes_under similarity: found 'sim'*"),
        ("decide(3)", "decide: found a int; expected a claim*"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line_at_that_of_the_user(suite, claim, error):
    write(suite, test_it=f"def test_it(xai):\n    assert xai.explainer(good).{claim}\n")
    result = run(suite)
    result.stdout.fnmatch_lines([f">       assert xai.explainer(good).{claim}".replace("[", "[[]"), f"E * {error}"])
    for noise in ("*Traceback*", "*During handling*", "*pytest_xaisanity*.py*", "*The above exception*"):
        result.stdout.no_fnmatch_line(noise)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of tests


def test_unittest_methods_make_claims_by_an_autouse_fixture(suite):
    body = f"""
import unittest
class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _xai(self, xai):
        self.xai = xai
    def test_good(self):
        xai = self.xai
        self.assertTrue({GOOD})
    def test_bad(self):
        xai = self.xai
        self.assertTrue({BAD})
"""
    write(suite, test_it=body)
    result = run(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*explanation claim: failed*", "*1 passed, 1 failed*"])


GIVEN = """
from hypothesis import given, settings, strategies as st
@settings(max_examples=5, deadline=None, database=None)
@given(draws=st.integers(5, 9))
def test_it(xai, draws):
    assert xai.explainer({}).beats("random", on="pixel_flipping", draws=draws)
"""


@pytest.mark.parametrize("order", [("-p", "no:randomly"), ("-p", "randomly")])
def test_a_given_test_makes_claims_and_records_each_once(suite, order):
    """Also with a subject whose fixtures belong to the function, and with the random seeds reset."""
    suite.makeconftest("""
        import pytest, subject
        @pytest.fixture
        def xai_model():
            return subject.model()
        @pytest.fixture
        def xai_inputs():
            return subject.inputs()
    """)
    write(suite, test_it=GIVEN.format("good"))
    result = suite.runpytest(*order, "--xai-json=claims.json")
    result.assert_outcomes(passed=1)
    assert len(json.loads((suite.path / "claims.json").read_text())["claims"]) == 1


def test_a_failing_given_test_shows_the_minimal_example(suite):
    write(suite, test_it=GIVEN.format("bad"))
    (claim,) = claims_of(suite)
    assert claim["claim"] == "bad beats random(draws=5) on pixel_flipping"


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="the subtests fixture came with pytest 9")
def test_subtests_count_each_claim_once(suite):
    write(
        suite,
        test_it=f"def test_it(xai, subtests):\n    assert {GOOD}\n    with subtests.test('a'):\n        assert {GOOD}\n"
        f"    with subtests.test('b'):\n        assert {BAD}\n    assert {GOOD}\n",
    )
    result = run(suite, "--xai-json=claims.json")
    result.stdout.fnmatch_lines(["*claims about explanations: 3 passed, 1 failed*"])
    claims = json.loads((suite.path / "claims.json").read_text())["claims"]
    assert [claim["outcome"] for claim in claims] == ["passed", "passed", "failed", "passed"]
    assert len(re.findall("(?m)^E +bad is no better than random", str(result.stdout))) == 1


def test_expected_failures_are_marked_as_expected(suite):
    write(
        suite,
        test_it=f"@pytest.mark.xfail(strict=True)\ndef test_bad(xai):\n    assert {BAD}\n"
        f"@pytest.mark.xfail(strict=True)\ndef test_good(xai):\n    assert {GOOD}\n",
    )
    result = run(suite)
    result.assert_outcomes(xfailed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*claims*: 1 passed, 1 failed (1 expected)*", "passed  *good: beats*", "as expected   bad: beats *"]
    )


def test_a_skipped_test_makes_no_claim(suite):
    write(suite, test_it=f"@pytest.mark.skip\ndef test_it(xai):\n    assert {BAD}\n")
    result = run(suite)
    result.assert_outcomes(skipped=1)
    result.stdout.no_fnmatch_line("*claims about explanations:*")


def test_a_test_may_expect_the_error(suite):
    write(
        suite,
        test_it="from pytest_xaisanity import XaiError\ndef test_it(xai):\n"
        "    with pytest.raises(XaiError, match=\"'batch_order', the nearest known name\"):\n"
        "        xai.explainer(good).invariant_under('batch_ordr')\n",
    )
    run(suite).assert_outcomes(passed=1)


def test_a_test_that_runs_again_counts_once(suite):
    suite.makeconftest(
        (suite.path / "conftest.py").read_text()
        + "\nfrom _pytest.runner import runtestprotocol\n"
        + "def pytest_runtest_protocol(item, nextitem):\n"
        + "    runtestprotocol(item, nextitem=nextitem)\n"
    )
    write(suite, test_it=f"def test_it(xai):\n    assert {GOOD}\n")
    assert len(claims_of(suite)) == 1


def test_a_claim_is_made_in_a_coroutine(suite):
    """Which another plugin runs in the test's place."""
    conftest = suite.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + """
import asyncio
@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    given = {name: pyfuncitem.funcargs[name] for name in ("xai",)}
    asyncio.run(pyfuncitem.obj(**given))
    return True
"""
    )
    write(suite, test_it=f"async def test_it(xai):\n    assert {GOOD}\n")
    assert len(claims_of(suite)) == 1


def test_a_claim_is_made_in_a_thread_of_the_test(suite):
    body = (
        "from concurrent.futures import ThreadPoolExecutor\ndef test_it(xai):\n    with ThreadPoolExecutor() as pool:\n"
        f"        assert pool.submit(lambda: {GOOD}).result()\n"
    )
    write(suite, test_it=body)
    (claim,) = claims_of(suite)
    assert claim["test"] == "test_it.py::test_it"


def test_a_doctest_makes_claims(suite):
    text = f"""
    >>> xai = getfixture("xai")
    >>> from subject import good
    >>> {GOOD}.passed
    True
    """
    suite.maketxtfile(test_words=text)
    run(suite).assert_outcomes(passed=1)
    run(suite).stdout.fnmatch_lines(["*claims about explanations: 1 passed*"])


def test_tests_have_no_fixture_that_they_did_not_ask_for(suite):
    write(suite, test_it="def test_it():\n    pass\n")
    result = run(suite, "--setup-show")
    result.stdout.fnmatch_lines(["        test_it.py::test_it*."])
    result.stdout.no_fnmatch_line("*fixtures used*")


def test_each_thread_has_its_own_running_test():
    """Under a plugin that runs several tests at once."""
    running = Running()
    started, done = threading.Event(), threading.Event()

    def other():
        with running.test("other"):
            started.set()
            done.wait()

    with ThreadPoolExecutor() as pool, running.test("one"):
        assert pool.submit(lambda: running.item).result() == "one"  # in a thread of the only test
        pool.submit(other)
        started.wait()
        assert running.item == "one"
        with pytest.raises(XaiError, match="in a thread of its own, while 2 tests run"):
            pool.submit(lambda: running.item).result()
        done.set()


# ---------------------------------------------------------------------------------------------------------------------
# What a person sees


def test_a_failing_assert_shows_the_verdict_and_under_v_its_whole_story(suite):
    write(suite, test_it=f"def test_it(xai):\n    assert {BAD}\n")
    result = run(suite, "-v")
    result.stdout.fnmatch_lines(
        [
            "E * assert <failed: bad beats random on pixel_flipping: share of random orders beaten * in [[]*], n=16>",
            "*- explanation claim: failed -*",
            "claim        bad beats random on pixel_flipping",
            "verdict      failed: no better than random on pixel_flipping: * in *%*, shown to be under 60%",
            "measured     share of random orders beaten 0.* in [[]0.*, 0.*], n=16",
            "decided by   *; each bound holds with confidence 0.95",
            "means        explainer -0.*, random *",
            "worst inputs * (0), *: share of random orders beaten",
            "reproduce    pytest test_it.py::test_it --xai-seed=0",
            "try          the ranking carries no more than the baseline*",
            "*= claims about explanations: 1 failed =*",
            "failed        bad beats random on pixel_flipping",
            "              share *% of random orders beaten (*), n=16",
            "              test_it.py::test_it",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_xaisanity*plugin*")


def test_an_inconclusive_verdict_says_what_to_do(suite):
    write(suite, test_it=f"def test_it(xai):\n    assert {UNTOLD}\n")
    run(suite, "-v").stdout.fnmatch_lines(
        [
            "*- explanation claim: inconclusive -*",
            "verdict      inconclusive: *reproduce*",
            "spearman     one input twice *, unrelated inputs *, before and after *",
            "control      *",
            "randomized   layer; seeds 1, weights from *, target fixed",
            "policy       neither shown nor refuted; --xai-inconclusive=skip or warn lets such claims through",
        ]
    )


@pytest.mark.parametrize(("bound", "worst"), [("at_least=0.9", min), ("at_most=-0.9", max)])
def test_the_worst_inputs_are_those_that_speak_against_the_claim(suite, bound, worst):
    write(suite, test_it=f'def test_it(xai):\n    assert xai.explainer(good).bounded("pixel_flipping", {bound})\n')
    (claim,) = claims_of(suite)
    shown = re.search(r"worst inputs (\d+) \((\S+)\)", str(run(suite, "-v").stdout))
    scores = dict(zip(claim["evidence"]["indices"], claim["evidence"]["scores"]["explainer"], strict=True))
    assert scores[int(shown[1])] == worst(scores.values())


def test_an_error_is_shown_at_the_line_of_the_user(suite):
    """Without the plugin's own frames, with the cause where the user's code raised."""
    write(
        suite,
        test_it="def broken(model, inputs, targets):\n    return 1 / 0\n"
        'def test_it(xai):\n    assert xai.explainer(broken).invariant_under("batch_order")\n',
    )
    result = run(suite)
    result.stdout.fnmatch_lines(
        [
            "*return 1 / 0*",
            "*ZeroDivisionError*",
            ">*xai.explainer(broken).invariant_under*",
            "E * pytest_xaisanity.XaiError: *ZeroDivisionError*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_xaisanity*bench.py*")


def test_a_failed_verdict_that_nobody_asserts_is_pointed_out(suite):
    """But asked for something else of."""
    write(suite, test_it=f"def test_it(xai):\n    assert {BAD}.n == 16\n")
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["failed   * (the test passed)"])


def many(suite, count: int) -> None:
    write(
        suite,
        test_it=f"@pytest.mark.parametrize('k', range({count}))\ndef test_it(xai, k):\n    assert {GOOD}\n"
        f"def test_bad(xai):\n    assert {BAD}\n",
    )


def test_a_long_summary_folds_what_is_no_news(suite):
    many(suite, 30)
    result = run(suite)
    result.stdout.fnmatch_lines(
        ["failed        bad *", "passed        good: beats random on pixel_flipping (30 times)"], consecutive=False
    )
    assert len(re.findall("(?m)^passed ", str(result.stdout))) == 1


@pytest.mark.slow
def test_verbose_summaries_list_all_and_quiet_ones_only_news(suite):
    many(suite, 30)
    assert len(re.findall("(?m)^passed ", str(run(suite, "-v").stdout))) == 30
    quiet = str(run(suite, "-q").stdout)
    assert not re.search("(?m)^passed ", quiet)
    assert re.search("(?m)^failed ", quiet)
    assert "claims about explanations" not in str(run(suite, "--no-summary").stdout).partition("100%")[2]


def test_outcomes_have_colors(suite):
    write(suite, test_it=f"def test_a(xai):\n    assert {GOOD}\ndef test_b(xai):\n    assert {BAD}\n")
    output = str(run(suite, "--color=yes").stdout)
    assert "\x1b[32mpassed        good" in output
    assert "\x1b[31mfailed        bad" in output


RANDOMIZED = 'xai.explainer(good).changes_under("cascading_randomization", similarity="spearman", seeds=1)'


def test_randomization_alone_is_warned_about_once(suite):
    write(suite, test_it=f"def test_a(xai):\n    assert {RANDOMIZED}\ndef test_b(xai):\n    assert {RANDOMIZED}\n")
    assert str(run(suite).stdout).count("warning: only randomization speaks for good") == 1


def test_randomization_beside_another_claim_is_not_warned_about(suite):
    write(suite, test_it=f"def test_a(xai):\n    assert {RANDOMIZED}\ndef test_b(xai):\n    assert {GOOD}\n")
    run(suite).stdout.no_fnmatch_line("*only randomization*")


# ---------------------------------------------------------------------------------------------------------------------
# What a machine reads


def test_junit_keeps_each_verdict_as_a_property_of_its_test(suite):
    write(suite, test_it=f"def test_it(xai):\n    assert {GOOD}\n    assert {BAD}\n")
    run(suite, "--junitxml=junit.xml")
    properties = ElementTree.parse(suite.path / "junit.xml").findall(".//testcase/properties/property")
    names = ["xai_claim", "xai_verdict", "xai_estimate", "xai_interval", "xai_n", "xai_reason"]
    assert [p.get("name") for p in properties] == 2 * names
    values = [p.get("value") for p in properties]
    assert values[:2] == ["good beats random on pixel_flipping", "passed"]
    assert values[6:8] == ["bad beats random on pixel_flipping", "failed"]


def test_json_holds_every_verdict_with_its_evidence(suite):
    write(suite, test_it=f"def test_a(xai):\n    assert {GOOD}\n    assert {BAD}\ndef test_b(xai):\n    {UNTOLD}\n")
    run(suite, "--xai-json=claims.json", "--xai-seed=3")
    report = json.loads((suite.path / "claims.json").read_text())
    assert report["settings"] == {"seed": 3, "device": "auto", "confidence": 0.95, "inconclusive": "fail"}
    assert set(report["versions"]) >= {"python", "pytest-xaisanity", "torch", "captum"}
    good, bad, untold = report["claims"]
    assert [c["outcome"] for c in report["claims"]] == ["passed", "failed", "inconclusive"]
    assert [c["test_outcome"] for c in report["claims"]] == ["failed", "failed", "passed"]
    assert len(good["evidence"]["scores"]["explainer"]) == good["n"] == len(good["evidence"]["indices"])
    assert good["evidence"]["curves"]["explainer"]
    assert bad["reproduce"] == "pytest test_it.py::test_a --xai-seed=3"
    assert untold["evidence"]["layers"] == ["layer"]
    assert untold["evidence"]["controls"]


@pytest.mark.slow
def test_json_is_the_same_in_any_order_of_the_tests(suite):
    body = (
        f"def test_a(xai):\n    assert {GOOD}\ndef test_b(xai):\n    {UNTOLD}\n"
        'def test_c(xai):\n    xai.explainer(good).beats("random", on="pixel_flipping", early=False)\n'
        'def test_d(xai):\n    xai.explainer(noise).beats("random", on="pixel_flipping")\n'
    )
    write(suite, test_it=body)
    run(suite, "--xai-json=forwards.json")
    order = [f"test_it.py::test_{letter}" for letter in "dcba"]
    run(suite, "--xai-json=backwards.json", *order)
    assert (suite.path / "forwards.json").read_bytes() == (suite.path / "backwards.json").read_bytes()


def test_json_survives_a_metric_that_describes_itself_with_numpy_scalars_and_no_numbers(suite):
    """A metric of a third party may put anything into the evidence."""
    suite.makepyfile(
        third="""
        import numpy as np
        from pytest_xaisanity.evidence.metrics.pixel_flipping import PixelFlipping
        from pytest_xaisanity.statistics.evidence import Part

        class Oddities(Part):
            def plain(self):
                odd = {"scalar": np.float32(0.5), "flag": np.bool_(True), "none": np.nan, 7: {"array": np.arange(2)}}
                return {"odd": odd}

        class Odd(PixelFlipping):
            name = "odd"

            def describe(self, prepared):
                return (*super().describe(prepared), Oddities())
        """
    )
    write(
        suite, test_it="from third import Odd\ndef test_it(xai):\n    xai.explainer(good).bounded(Odd(), at_most=0.9)\n"
    )
    (claim,) = claims_of(suite)
    assert claim["evidence"]["odd"] == {"scalar": 0.5, "flag": True, "none": None, "7": {"array": [0, 1]}}


def test_json_is_not_written_while_tests_are_only_listed(suite):
    write(suite, test_it=f"def test_it(xai):\n    assert {GOOD}\n")
    run(suite, "--xai-json=claims.json", "--collect-only")
    assert not (suite.path / "claims.json").exists()


def test_json_that_cannot_be_written_fails_the_session(suite):
    write(suite, test_it=f"def test_it(xai):\n    assert {GOOD}\n    import os\n    os.mkdir('claims.json')\n")
    result = run(suite, "--xai-json=claims.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        ["*claims about explanations: 1 passed*", "*--xai-json: 'claims.json' could not be written*"]
    )
