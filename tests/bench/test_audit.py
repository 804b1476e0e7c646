"""The audit: mutants put to the claims that pass, its table, its gate, its options, workers and progress bar."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest
import torch
from hypothesis import settings
from jsonschema import validate

from pytest_xaisanity import Bench
from pytest_xaisanity.adversaries import mutants
from pytest_xaisanity.bench.audit import _CATALOG, audit, begun, checked_mutants, depends_on_the_explainer
from pytest_xaisanity.claims import make as claims
from pytest_xaisanity.claims.written import read
from pytest_xaisanity.common import registry
from pytest_xaisanity.report.audited import Audited, Mutation
from pytest_xaisanity.report.mutation import Mutations
from pytest_xaisanity.report.schema import schema

PLAIN = "--assert=plain"  # rewriting the plugins' assertions takes each process longer than its tests
IMPORTS = "import pytest, torch\nfrom subject import bad, good, noise, inputs, model\n"
RANDOM = 'xai.explainer({}).beats("random", on="pixel_flipping")'
CHANGES = 'xai.explainer({}).changes_under("cascading_randomization", similarity="spearman")'
ORDER = 'xai.explainer({}).invariant_under("batch_order")'
KILLED_BY_RANDOM = {"flipped_sign", "flipped", "constant", "wrong_class"}
EASY = {
    name: mutants.MUTANTS.get(name, where="test") for name in ("flipped_sign", "rounded", "one_channel", "shuffled")
}


def asserting(*claims_made: str, name: str = "test_it", above: str = "") -> str:
    """Return a test of the suite that asserts these claims."""
    return f"{above}def {name}(xai):\n" + "".join(f"    assert {claim}\n" for claim in claims_made)


def write(suite, *bodies: str, **modules: str) -> None:
    suite.makepyfile(test_it=IMPORTS + "\n".join(bodies), **{name: IMPORTS + text for name, text in modules.items()})


def run(suite, *args: str, audited: bool = True):
    return suite.runpytest("-p", "no:randomly", "-p", "no:cacheprovider", *["--xai-audit"] * audited, *args)


def audit_of(suite, *args: str) -> dict:
    run(suite, "--xai-json=claims.json", *args)
    return json.loads((suite.path / "claims.json").read_text())["audit"]


def only(audited: dict) -> dict:
    (record,) = audited["explainers"]
    return record


def statuses(record: dict) -> dict[str, str]:
    return {name: mutation["status"] for name, mutation in record["mutations"].items()}


def few(suite, *names: str, extra: str = "") -> None:
    """Leave the audit these mutants alone, for tests that need no others."""
    kept = ", ".join(map(repr, names))
    conftest = suite.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "\nfrom pytest_xaisanity.adversaries import mutants\n"
        + f"mutants.MUTANTS._entries = {{name: f'.adversaries.mutants:{{name}}' for name in ({kept},)}}\n"
        + extra
    )


@pytest.fixture(autouse=True, scope="module")
def _short_searches():
    """What would have caught a survivor is searched for: the first few maps are enough where any is."""
    settings.register_profile("short searches", max_examples=5)
    before = getattr(settings, "get_current_profile_name", lambda: "default")()  # an older Hypothesis does not tell
    settings.load_profile("short searches")
    yield
    settings.load_profile(before)


@pytest.fixture(autouse=True)
def _all_mutants(monkeypatch):
    """The inner sessions run in this process, and may change which mutants there are."""
    monkeypatch.setattr(mutants.MUTANTS, "_entries", dict(mutants.MUTANTS._entries))


# ---------------------------------------------------------------------------------------------------------------------
# The table


@pytest.mark.slow
def test_the_table_has_survivors_first_and_the_claims_that_killed_the_others(suite):
    write(suite, asserting(CHANGES.format("good")))
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= audit of the claims: mutation score 0.* (* of 1? mutants killed) =*",
            "survived     * that this claim would catch:",
            '                 assert explainer.beats("random", on="pixel_flipping")',
            '                 @pytest.mark.xai_beats("random", on="pixel_flipping")',
            "             good: *flipped_sign*",
            "                good",
            "*  SURVIVED",
            "*  1",
            "*  [=-]",
            "",
            "  1 changes_under cascading_randomization(similarity=spearman)",
            "  = explains as the original does; - does not exist here: neither is counted",
        ]
    )
    rows = [line.split()[-1] for line in result.outlines if re.fullmatch(r"\w+ +(SURVIVED|\d|=|-)", line)]
    assert len(rows) == len(list(mutants.MUTANTS))
    order = [row.replace("-", "=") for row in rows]
    assert order == sorted(order, key=["SURVIVED", "1", "="].index)
    assert len(set(order)) == 3


@pytest.mark.slow
def test_a_suite_of_two_claims_kills_what_either_does(suite):
    write(suite, asserting(CHANGES.format("good"), RANDOM.format("good")))
    record = only(audit_of(suite))
    found = statuses(record)
    assert {name for name, status in found.items() if status == "inapplicable"} == {"low_rank", "edges"}
    assert found["one_channel"] == "equivalent"
    assert {found[name] for name in KILLED_BY_RANDOM} == {"killed"}
    assert found["input_noise"] == "killed"
    by = {name: record["mutations"][name]["killed_by"] for name in found}
    assert by["flipped_sign"] == ["beats-random-on-pixel_flipping"]
    assert by["stale"] == ["changes_under-cascading_randomization-similarity_spearman"]
    assert record["words"][by["stale"][0]] == "changes_under cascading_randomization(similarity=spearman)"


@pytest.mark.slow
def test_what_would_catch_a_survivor_does_catch_it(suite):
    few(suite, "flipped_sign", "shuffled", "wrong_class")
    write(suite, asserting(CHANGES.format("good")))
    record = only(audit_of(suite))
    caught = {name: one["caught_by"] for name, one in record["mutations"].items() if one["status"] == "survived"}
    assert 'beats("random", on="pixel_flipping")' in caught.values()
    write(suite, asserting(CHANGES.format("good"), RANDOM.format("good")))
    again = statuses(only(audit_of(suite)))
    for name, claim in caught.items():
        if claim == 'beats("random", on="pixel_flipping")':
            assert again[name] == "killed", name


@pytest.mark.slow
def test_a_survivor_that_nothing_catches_says_so(suite):
    few(suite, "flipped_sign", extra="@pytest.fixture\ndef xai_mutants():\n    return {'nothing': nothing}\n")
    with (suite.path / "conftest.py").open("a") as file:
        file.write("def nothing(explain, model, inputs, targets):\n    return 1.01 * explain(model, inputs, targets)\n")
    write(suite, asserting(RANDOM.format("good")))
    run(suite).stdout.fnmatch_lines(
        ["survived     1 mutant: no claim of this plugin catches it on these inputs", "             good: nothing"]
    )


def test_several_explainers_are_columns(suite):
    few(suite, "flipped_sign")
    body = "def copy(m, x, t):\n    return good(m, x, t)\n"
    write(suite, body, asserting(RANDOM.format("good"), RANDOM.format("copy"), ORDER.format("copy")))
    audited = audit_of(suite)
    assert [record["explainer"] for record in audited["explainers"]] == ["copy", "good"]
    assert audited["score"] == 1
    assert audited["counts"]["killed"] == 2


def test_the_marker_form_is_audited_as_the_fixture_form_is(suite):
    few(suite, "flipped_sign", "shuffled", "flipped")
    marks = (
        '@pytest.mark.xai_beats("random", on="pixel_flipping")\n@pytest.mark.xai_invariant_under("batch_order")\n'
        "@pytest.mark.xai_explainer(good)\ndef test_it(xai_verdict):\n    assert xai_verdict\n"
    )
    write(suite, marks)
    marked = audit_of(suite)
    write(suite, asserting(RANDOM.format("good"), ORDER.format("good")))
    assert audit_of(suite) == marked
    assert marked["score"] > 0.5


@pytest.mark.slow
def test_the_battery_is_audited_without_a_test_file(suite):
    (suite.path / "conftest.py").unlink()
    named = ["--xai-model=subject:model", "--xai-inputs=subject:inputs", "--xai-explainer=subject:good"]
    record = only(audit_of(suite, *named))
    assert len(record["claims"]) == 5  # nothing is above the one layer
    assert statuses(record)["untrained"] == "killed"


@pytest.mark.parametrize(
    ("claim", "depends"),
    [
        (claims.bounded("scale_preservation", at_most=0.9), False),
        (claims.bounded("pixel_flipping", at_least=0.1), True),
        (claims.beats("uninformative", on="pixel_flipping"), True),
        (claims.beats("mutants", on="pixel_flipping"), True),
        (claims.invariant_under("batch_order"), True),
    ],
    ids=str,
)
def test_a_claim_about_the_model_alone_is_not_audited(claim, depends):
    assert depends_on_the_explainer(claim) == depends


# ---------------------------------------------------------------------------------------------------------------------
# Which claims are audited


def test_claims_that_do_not_pass_are_not_audited(suite):
    few(suite, "flipped_sign")
    expected = asserting(RANDOM.format("bad"), name="test_expected", above="@pytest.mark.xfail\n")
    write(suite, asserting(RANDOM.format("bad")), expected)
    result = run(suite)
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "*= audit of the claims: no mutant was put to them =*",
            "no claim about an explainer passed, so that there was nothing to audit",
        ]
    )


GIVEN = """
from hypothesis import given, settings, strategies as st
@settings(max_examples=6, deadline=None, database=None, derandomize=True)
@given(draws=st.integers(5, 9))
def test_it(xai, draws):
    {}
"""


def test_a_claim_of_a_given_test_is_audited_once(suite):
    few(suite, "flipped_sign")
    claim = 'assert xai.explainer(good).beats("random", on="pixel_flipping", draws=draws)'
    write(suite, GIVEN.format(claim))
    (claim,) = only(audit_of(suite))["claims"]
    assert re.fullmatch(r"beats-random(-draws\d)?-on-pixel_flipping", claim)


def test_a_failing_given_test_is_reported_once_with_the_minimal_example_and_not_audited(suite):
    few(suite, "flipped_sign")
    claim = 'assert xai.explainer(good if draws < 7 else bad).beats("random", on="pixel_flipping", draws=draws)'
    write(suite, GIVEN.format(claim.replace("good if draws < 7 else bad", "good if draws < 7 else bad, name='one'")))
    result = run(suite, "--xai-json=claims.json")
    result.assert_outcomes(failed=1)
    report = json.loads((suite.path / "claims.json").read_text())
    assert [claim["claim"] for claim in report["claims"]] == ["one beats random(draws=7) on pixel_flipping"]
    assert str(result.stdout).count("one is no better than random on pixel_flipping: it beats") == 1
    assert not any("draws7" in claim for record in report["audit"]["explainers"] for claim in record["claims"])


def test_two_claims_with_equal_words_are_two(suite):
    """An object is called by its name, whatever its settings."""
    few(suite, "flipped_sign")
    objects = 'xai.explainer(good).beats("random", on=PixelFlipping(steps={}))'
    write(suite, "from pytest_xaisanity import PixelFlipping\n", asserting(objects.format(4), objects.format(5)))
    record = only(audit_of(suite, "--xai-audit-all"))
    ids = ["beats-random-on-pixel_flipping-steps4", "beats-random-on-pixel_flipping-steps5"]
    assert record["claims"] == sorted(record["mutations"]["flipped_sign"]["killed_by"]) == ids
    assert {*record["words"].values()} == {"beats random on pixel_flipping"}


def test_a_claim_that_is_written_in_two_ways_is_one(suite):
    few(suite, "flipped_sign")
    objects = 'xai.explainer(good).beats("random", on={})'
    ways = objects.format("PixelFlipping(steps=4)"), objects.format('"pixel_flipping", steps=4')
    write(suite, "from pytest_xaisanity import PixelFlipping\n", asserting(*ways))
    assert only(audit_of(suite))["claims"] == ["beats-random-on-pixel_flipping-steps4"]


def test_a_claim_to_beat_another_explainer_of_the_test_is_audited(suite):
    """When no test is running any more."""
    few(suite, "flipped_sign")
    against = 'xai.explainer(good).beats(xai.explainer(bad), on="pixel_flipping")'
    write(suite, asserting(against))
    record = only(audit_of(suite))
    assert list(record["words"].values()) == ["beats bad on pixel_flipping"]
    assert (statuses(record), record["dropped"]) == ({"flipped_sign": "killed"}, {})


def test_two_models_with_explainers_of_one_name_have_columns_of_their_own(suite):
    few(suite, "flipped_sign")
    other = (
        "@pytest.fixture(scope='module')\ndef xai_model():\n    other = model()\n"
        "    other.layer.weight.data *= 2\n    return other\n"
    )
    write(suite, asserting(RANDOM.format("good")), test_other=other + asserting(RANDOM.format("good")))
    assert len(audit_of(suite)["explainers"]) == 2
    run(suite).stdout.fnmatch_lines(
        ["* good  *good (2)", "flipped_sign  1 * 1", "*(2) is an explainer of the same name*"]
    )


def test_a_model_that_is_built_anew_for_each_test_is_audited_once(suite):
    few(suite, "flipped_sign")
    suite.makeconftest((suite.path / "conftest.py").read_text().replace('scope="session"', 'scope="function"'))
    write(
        suite,
        *(asserting(RANDOM.format("good"), name=f"test_{letter}") for letter in "abc"),
        asserting(ORDER.format("good")),
    )
    record = only(audit_of(suite))
    assert record["claims"] == ["beats-random-on-pixel_flipping", "invariant_under-batch_order"]


@pytest.mark.slow
def test_a_claim_that_the_model_no_longer_passes_is_dropped(suite):
    """The model was changed after its test."""
    few(suite, "flipped_sign")
    change = "def test_z(xai_model):\n    xai_model.layer.weight.data.zero_()\n    xai_model.layer.bias.data.zero_()\n"
    write(suite, "def fixed(m, x, t):\n    return x * torch.arange(8)\n", asserting(ORDER.format("fixed")), change)
    assert only(audit_of(suite))["claims"] == ["invariant_under-batch_order"]
    weights = "W = model().layer.weight.data.clone()\ndef fixed(m, x, t):\n    return x * W[t]\n"
    write(suite, weights, asserting(RANDOM.format("fixed")), change.replace("zero_()", "neg_()"))
    result = run(suite)
    result.stdout.fnmatch_lines(
        ["not audited  fixed beats random on pixel_flipping: it passed in its test, and no", "*longer does"]
    )


def test_what_a_fixture_took_away_is_reported(suite):
    """Fixtures are torn down before the audit."""
    few(suite, "flipped_sign")
    with (suite.path / "conftest.py").open("a") as file:
        file.write(
            "@pytest.fixture(scope='session')\ndef data():\n    kept = {'scale': 1}\n    yield kept\n    kept.clear()\n"
        )
    write(
        suite,
        asserting(RANDOM.format("lambda m, x, t: good(m, x, t) * data['scale'], name='late'")).replace(
            "xai)", "xai, data)"
        ),
    )
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["not audited  late beats random on pixel_flipping: after the tests it raised", "*XaiError: *KeyError*"]
    )
    assert "INTERNALERROR" not in str(result.stdout)


# ---------------------------------------------------------------------------------------------------------------------
# Mutants of the user


OWN = """
def xai_mutants():
    return {"negative": negative, "stateful": Stateful}

def negative(explain, model, inputs, targets):
    return -explain(model, inputs, targets)

class Stateful:
    def __init__(self):
        self.calls = 0
    def __call__(self, explain, model, inputs, targets):
        self.calls += 1
        return -explain(model, inputs, targets) * self.calls
"""


def test_a_suite_has_mutants_of_its_own(suite):
    few(suite, "rounded", extra=f"@pytest.fixture\n{OWN.strip()}\n")
    write(suite, asserting(RANDOM.format("good")))
    found = statuses(only(audit_of(suite)))
    assert found["negative"] == found["stateful"] == "killed"
    assert "rounded" in found


def test_modules_have_mutants_of_their_own(suite):
    few(suite, "flipped_sign")
    one = "@pytest.fixture\ndef xai_mutants():\n    return {{'{0}': lambda explain, *given: -explain(*given)}}\n"
    write(
        suite,
        one.format("first"),
        asserting(RANDOM.format("good")),
        test_b=one.format("second") + asserting(ORDER.format("good")),
    )
    assert set(statuses(only(audit_of(suite)))) == {"flipped_sign", "first", "second"}


def test_another_package_adds_mutants(suite, monkeypatch):
    points = [EntryPoint("foreign", "subject:bad_mutant", "pytest_xaisanity.mutant")]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints(points).select(group=group))
    monkeypatch.setattr(mutants, "MUTANTS", registry.Registry("mutant", {"rounded": ".adversaries.mutants:rounded"}))
    monkeypatch.setattr("pytest_xaisanity.bench.audit.MUTANTS", mutants.MUTANTS)
    with (suite.path / "subject.py").open("a") as file:
        file.write("\n    def bad_mutant(explain, *given):\n        return -explain(*given)\n".replace("\n    ", "\n"))
    write(suite, asserting(RANDOM.format("good")))
    assert statuses(only(audit_of(suite)))["foreign"] == "killed"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("[1]", "xai_mutants: found a list; expected a mapping from names to mutants*"),
        ("{'rounded': print}", "xai_mutants: found a second mutant called 'rounded'*give it another name*"),
        ("{'mine': 3}", "xai_mutants: found 'mine': 3; expected new names, and functions*"),
        ("{3: print}", "xai_mutants: found 3: *"),
    ],
)
def test_mutants_that_are_none_are_an_error_of_the_test(suite, given, error):
    few(suite, "rounded", extra=f"@pytest.fixture\ndef xai_mutants():\n    return {given}\n")
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E * pytest_xaisanity.XaiError: {error}"])


BROKEN = """
@pytest.fixture
def xai_mutants():
    return {"calls": broken, "built": Broken}

def broken(explain, model, inputs, targets):
    return explain(model, inputs, targets) / None

class Broken:
    def __init__(self, needed):
        pass
    def __call__(self, *given):
        pass
"""


def test_a_mutant_that_raises_is_broken_and_fails_the_session(suite):
    few(suite, "flipped_sign", extra=BROKEN)
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*mutation score 1.00 (1 of 1 mutants killed)*",
            "broken       good / calls: it raised TypeError: *",
            "broken       good / built: it raised TypeError: *",
            "calls * BROKEN",
        ]
    )


def test_a_mutant_that_does_not_exist_for_an_explainer_says_so(suite):
    own = (
        "from pytest_xaisanity.adversaries.mutants import Inapplicable\n@pytest.fixture\ndef xai_mutants():\n"
        "    return {'mine': mine}\ndef mine(*given):\n    raise Inapplicable('of mine')\n"
    )
    few(suite, "flipped_sign", extra=own)
    write(suite, asserting(RANDOM.format("good")))
    mine = only(audit_of(suite))["mutations"]["mine"]
    assert (mine["status"], mine["reason"]) == ("inapplicable", "of mine")


# ---------------------------------------------------------------------------------------------------------------------
# The gate


@pytest.mark.parametrize(("least", "code"), [("0", 0), ("1", 0), ("0.3", 0)])
def test_a_score_that_is_high_enough_passes(suite, least, code):
    few(suite, "flipped_sign")
    write(suite, asserting(RANDOM.format("good")))
    assert run(suite, f"--xai-audit-fail-under={least}").ret == code


@pytest.mark.parametrize("how", ["option", "ini"])
def test_a_score_that_is_too_low_fails_the_session(suite, how):
    few(suite, "flipped_sign", "absolute_value")
    write(suite, asserting(ORDER.format("good")))
    if how == "ini":
        suite.makeini("[pytest]\nxai_audit = true\nxai_audit_fail_under = 0.9\n")
    result = run(suite, *["--xai-audit-fail-under=0.9"] * (how == "option"), audited=how == "option")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["--xai-audit-fail-under: found a mutation score of 0, where at least 0.9 is asked for"]
    )


def test_without_a_passing_claim_there_is_no_score_to_pass_with(suite):
    write(suite, "def test_it():\n    pass\n")
    result = run(suite, "--xai-audit-fail-under=0.5")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--xai-audit-fail-under: found no mutation score, where at least 0.5 is asked for"])
    assert run(suite).ret == 0


def test_an_explainer_whose_mutants_all_are_equivalent(suite):
    few(suite, "one_channel")
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= audit of the claims: no mutant was put to them =*",
            "no mutants   good: all explain as it does, so that nothing tests its claims",
        ]
    )
    assert run(suite, "--xai-audit-fail-under=0.5").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--xai-audit-fail-under=1.5", "--xai-audit"], "*--xai-audit-fail-under: found 1.5; expected a share*"),
        (["--xai-audit-fail-under=0.5"], "*--xai-audit-fail-under: found 0.5 without --xai-audit*"),
        (["--xai-audit-fail-under=x", "--xai-audit"], "*--xai-audit-fail-under: invalid float value: 'x'*"),
    ],
)
def test_a_gate_that_cannot_be_ends_the_session(suite, options, error):
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite, *options, audited=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([error])


@pytest.mark.slow
def test_a_constant_metric_kills_every_mutant_or_none(suite):
    """A claim that no map can fail is seen through; one that none can pass is not audited."""
    suite.makepyfile(
        flat="""
        import torch
        from dataclasses import dataclass, replace
        from pytest_xaisanity import PixelFlipping
        @dataclass(frozen=True)
        class Flat(PixelFlipping):
            name = "flat"
            def score(self, *given, **others):
                scores = super().score(*given, **others)
                return replace(scores, values=torch.full_like(scores.values, 0.5))
    """
    )
    few(suite, "flipped_sign", "shuffled")
    flat = "from flat import Flat\n"
    write(suite, flat, asserting("xai.explainer(good).bounded(Flat(), at_least=0.2)"))
    assert set(statuses(only(audit_of(suite))).values()) == {"survived"}
    write(suite, flat, asserting('xai.explainer(good).beats("random", on=Flat())'))
    assert audit_of(suite)["explainers"] == []


@pytest.mark.slow
def test_inconclusive_kills_when_it_fails_a_test(suite):
    """Fresh noise is inconclusive under randomization."""
    few(suite, "fresh_noise")
    write(suite, asserting(CHANGES.format("good")))
    for policy, status in (("fail", "killed"), ("skip", "survived"), ("warn", "survived")):
        record = only(audit_of(suite, f"--xai-inconclusive={policy}"))
        assert statuses(record) == {"fresh_noise": status}
    assert record["mutations"]["fresh_noise"]["caught_by"] == 'beats("random", on="pixel_flipping")'


# ---------------------------------------------------------------------------------------------------------------------
# Options and sessions


def test_all_claims_may_be_put_to_every_mutant(suite):
    few(suite, "constant", "flipped_sign")
    write(suite, asserting(RANDOM.format("good"), CHANGES.format("good"), ORDER.format("good")))
    first, every = only(audit_of(suite)), only(audit_of(suite, "--xai-audit-all"))
    assert {len(one["killed_by"]) for one in first["mutations"].values()} == {1}
    assert len(every["mutations"]["constant"]["killed_by"]) == 3
    assert statuses(first) == statuses(every)


@pytest.mark.slow
def test_workers_find_what_one_process_does_and_have_one_gate(suite):
    few(suite, "constant", "flipped_sign", "rounded", "one_channel", "edges")
    write(
        suite,
        *(
            asserting(claim.format("good"), name=f"test_{place}")
            for place, claim in enumerate([RANDOM, CHANGES, ORDER])
        ),
    )
    alone = audit_of(suite, "--xai-audit-all")
    result = run(suite, "-n2", PLAIN, "--xai-audit-all", "--xai-audit-fail-under=0.9", "--xai-json=claims.json")
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*mutation score 0.67 (2 of 3 mutants killed)*",
            "survived     1 mutant: without -n, a claim that would have caught it is looked",
            "             good: rounded",
            "--xai-audit-fail-under: found a mutation score of 0.6667, where at least 0.9 is asked for",
        ]
    )
    spread = json.loads((suite.path / "claims.json").read_text())["audit"]
    assert (alone["score"], alone["counts"]) == (spread["score"], spread["counts"])
    one, other = only(alone), only(spread)
    assert (one["claims"], one["subject"], statuses(one)) == (other["claims"], other["subject"], statuses(other))
    killers = [{name: mutation["killed_by"] for name, mutation in r["mutations"].items()} for r in (one, other)]
    assert killers[0] == killers[1]


@pytest.mark.parametrize("how", ["-x", "interruption"])
def test_a_session_that_stops_early_is_not_audited(suite, how):
    few(suite, "flipped_sign")
    end = "    pytest.exit('enough')\n" if how == "interruption" else "    raise ValueError\n"
    write(suite, asserting(RANDOM.format("good")), "def test_z():\n" + end)
    result = run(suite, "-x")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["the session stopped before its end: nothing was audited"])
    result.stdout.no_fnmatch_line("*flipped_sign*")


CUTTING = """
import os, signal
import pytest

class Cut:
    def __init__(self):
        self.calls = 0

    def __call__(self, explain, model, inputs, targets):
        self.calls += 1
        if self.calls > 4:  # of which some find out whether it is equivalent
            {how}
        return explain(model, inputs, targets) + inputs

@pytest.fixture
def xai_mutants():
    return {{"cut": Cut, "negated": lambda explain, *args: -explain(*args)}}
"""


@pytest.mark.parametrize(
    "how",
    ["raise KeyboardInterrupt", pytest.param("os.kill(os.getpid(), signal.SIGTERM)", marks=pytest.mark.slow)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_audit_that_is_cut_keeps_what_it_has_judged(suite, how):
    """Also of the explainer that it was at; and the score is that of the mutants that were judged."""
    few(suite, "constant", "rounded", "one_channel", extra=CUTTING.format(how=how))
    again = 'xai.explainer(good, name="later").invariant_under("batch_order")'
    write(suite, asserting(RANDOM.format("good"), ORDER.format("good"), again))
    reports = ("--xai-json=claims.json", "--xai-report=claims.html", "--xai-audit-fail-under=0.5")
    result = suite.runpytest_subprocess("-p", "no:randomly", PLAIN, "--xai-audit", *reports)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    report = json.loads((suite.path / "claims.json").read_text())
    validate(report, schema())
    assert report["interrupted"]
    good, later = report["audit"]["explainers"]
    expected = {
        "constant": "killed",
        "rounded": "not judged",
        "one_channel": "equivalent",
        "cut": "not judged",
        "negated": "not judged",
    }
    assert (good["explainer"], statuses(good)) == ("good", expected)
    assert good["mutations"]["rounded"]["reason"] == "1 of 2 claims had not killed it when the audit was cut"
    assert {*statuses(later).values()} == {"not judged"}
    assert report["audit"]["score"] == 1
    assert report["audit"]["counts"]["not judged"] == 8
    result.stdout.fnmatch_lines(
        [
            "*mutation score 1.00 (1 of 1 mutants killed; 8 not judged)*",
            "the audit was interrupted: 8 mutants were not judged, and the score is that of*",
            "not judged   good: rounded, cut, negated",
            "not judged   later: constant, rounded, one_channel, cut, negated",
            "constant * 1 *[?]",
            "rounded *[?] *[?]",
            "*[?] was not judged before the audit was cut: not counted either",
            "--xai-audit-fail-under: found 8 mutants not judged*",
        ]
    )
    page = (suite.path / "claims.html").read_text()
    assert "8 not judged" in page
    assert "1 of 2 claims had not killed it when the audit was cut" in page


def test_of_two_workers_one_that_was_cut_leaves_a_survivor_unjudged():
    survived, cut, killed = Mutation("survived"), Mutation("not judged", reason="cut"), Mutation("killed", ["a"])
    for others, expected in ((survived, "not judged"), (killed, "killed"), (cut, "not judged")):
        records = [Audited("g", "s", ["a"], {"x": one}, words={"a": "a"}) for one in (others, cut)]
        for order in (records, records[::-1]):
            (record,) = Mutations(order).records
            assert record.mutations["x"].status == expected


def test_tests_that_are_only_listed_are_not_audited(suite):
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite, "--collect-only", "--xai-audit-fail-under=0.9")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*audit of the claims*")


def test_without_the_option_nothing_is_audited(suite):
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite, "--xai-json=claims.json", audited=False)
    result.stdout.no_fnmatch_line("*audit of the claims*")
    assert "audit" not in json.loads((suite.path / "claims.json").read_text())


def test_a_plugin_that_is_blocked_has_no_audit(pytester):
    pytester.makepyfile("def test_it():\n    pass\n")
    pytester.runpytest("-p", "no:xaisanity").assert_outcomes(passed=1)
    result = pytester.runpytest("-p", "no:xaisanity", "--xai-audit")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_json_report_has_the_audit(suite):
    few(suite, "flipped_sign", "one_channel", "edges", "absolute_value")
    write(suite, asserting(ORDER.format("good")))
    audited = audit_of(suite)
    assert audited["score"] == 0
    assert audited["counts"] == {
        "broken": 0,
        "killed": 0,
        "not judged": 0,
        "survived": 2,
        "equivalent": 1,
        "inapplicable": 1,
    }
    record = only(audited)
    assert record["explainer"] == "good"
    assert record["claims"] == ["invariant_under-batch_order"]
    assert record["words"] == {"invariant_under-batch_order": "invariant_under batch_order"}
    assert record["mutations"]["flipped_sign"] == {
        "status": "survived",
        "killed_by": [],
        "caught_by": 'beats("random", on="pixel_flipping")',
        "reason": "",
    }
    assert record["mutations"]["edges"]["reason"] == "its inputs are no images"


def test_the_model_and_the_generators_are_left_alone(suite):
    body = """
import random, numpy

pytestmark = pytest.mark.long
@pytest.fixture(scope="session", autouse=True)
def watched(xai_model):
    import conftest
    conftest.model = xai_model
"""
    write(suite, body, asserting(RANDOM.format("good"), CHANGES.format("good")))
    with (suite.path / "conftest.py").open("a") as file:
        file.write(
            "\nimport random, numpy, torch\n"
            "def taken():\n"
            "    return [str(random.getstate()), str(numpy.random.get_state()), torch.get_rng_state().tolist(),\n"
            "            [tensor.tolist() for tensor in model.state_dict().values()], model.training]\n"
            "@pytest.hookimpl(wrapper=True)\n"
            "def pytest_runtest_protocol(item):\n"
            "    result = yield\n    global before\n    before = taken()\n    return result\n"
            "def pytest_sessionfinish():\n    assert taken() == before\n    print('left alone')\n"
        )
    run(suite, "-s").stdout.fnmatch_lines(["*left alone*"])


def test_what_models_print_during_the_audit_is_not_shown(suite):
    few(suite, "flipped_sign")
    write(suite, "def loud(m, x, t):\n    print('LOUD')\n    return good(m, x, t)\n", asserting(RANDOM.format("loud")))
    run(suite).stdout.no_fnmatch_line("*LOUD*")


@pytest.mark.slow
def test_a_bar_is_shown_on_a_terminal_and_gone_at_the_end(suite):
    few(suite, "flipped_sign", "shuffled", "one_channel")
    write(suite, asserting(RANDOM.format("good"), CHANGES.format("good")))
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "--xai-audit", "-q", PLAIN]
    every = {**os.environ, "TQDM_MININTERVAL": "0"}  # on a fast machine the audit is over before a bar is drawn again
    ours, theirs = pty.openpty()
    seen = b""
    with subprocess.Popen(command, cwd=suite.path, stdout=theirs, stderr=theirs, env=every) as process:
        os.close(theirs)
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:  # the other end is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    text = seen.decode()
    assert re.search(r"xai audit: +\d+%.*\d/6", text)
    assert re.search(r"good / \w+", text)
    assert "claims about explanations" in text[text.rindex("xai audit:") :]
    assert re.search(r"\r +\r", text[text.rindex("xai audit:") :])  # wiped


@pytest.mark.slow
def test_no_bar_is_written_to_a_pipe(suite):
    write(suite, asserting(RANDOM.format("good")))
    result = run(suite)
    assert "xai audit:" not in str(result.stdout) + str(result.stderr)


# ---------------------------------------------------------------------------------------------------------------------
# The audit by itself


def linear(outputs: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, outputs)).eval()


def product(model, inputs, targets):
    weights = model[1].weight[[0] * len(inputs) if targets is None else targets]
    return inputs * weights.reshape(inputs.shape)


def test_every_live_mutant_is_put_to_every_claim():
    """And none that cannot be told from the original, which costs nothing; the bar counts all of them."""
    bench, steps = Bench(linear(), torch.randn(64, 1, 4, 4)), []
    asked = [claims.beats("random", on="pixel_flipping"), claims.invariant_under("batch_order")]
    explainer = bench.explainer(product).explainer
    audited = audit(bench, explainer, asked, mutants=EASY, every=True, suggest=False, advance=steps.append)
    found = {name: mutation.status for name, mutation in audited.mutations.items()}
    assert found == {"flipped_sign": "killed", "rounded": "survived", "one_channel": "equivalent", "shuffled": "killed"}
    assert len(steps) == 2 * len(EASY)


def test_a_survivor_says_when_the_search_for_what_catches_it_was_cut(monkeypatch):
    def cut(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_xaisanity.bench.audit._catching", cut)
    bench, asked = Bench(linear(), torch.randn(64, 1, 4, 4)), [claims.invariant_under("batch_order")]
    explainer = bench.explainer(product).explainer
    record = begun(explainer, bench.fingerprint, asked, EASY)
    with pytest.raises(KeyboardInterrupt):
        audit(bench, explainer, asked, mutants=EASY, into=record)
    assert {one.status for one in record.mutations.values()} == {"survived", "equivalent"}
    reasons = {one.reason for one in record.mutations.values() if one.status == "survived"}
    assert reasons == {"the audit was cut before a claim that would have caught it was found"}


@pytest.mark.slow
def test_the_audit_costs_about_its_mutants_times_the_suite():
    """Counted in passes of the model: what does not depend on the explainer is measured once.

    A mutant that is nearly as good takes more inputs to be told from random orders than the original.
    """
    passes = []
    model = linear()
    model.register_forward_hook(lambda module, given, result: passes.append(len(result)))
    bench = Bench(model, torch.randn(64, 1, 4, 4))
    explainer = bench.explainer(product)
    asked = [claims.beats("random", on="pixel_flipping"), claims.changes_under("cascading_randomization")]
    for claim in asked:
        explainer.decide(claim)
    suite, passes[:] = sum(passes), []
    audited = audit(bench, explainer.explainer, asked, suggest=False)
    live = [mutation for mutation in audited.mutations.values() if mutation.status in ("killed", "survived")]
    assert len(live) > 12
    assert sum(passes) <= 1.1 * len(live) * suite


@pytest.mark.slow
def test_an_audit_says_the_same_again():
    bench = Bench(linear(), torch.randn(64, 1, 4, 4))
    explainer, asked = bench.explainer(product).explainer, [claims.beats("random", on="pixel_flipping")]
    first, second = (audit(bench, explainer, asked, suggest=False).plain() for _ in range(2))
    assert first == second


def test_a_mutant_whose_maps_are_no_numbers_is_not_the_original():
    def broken(explain, model, inputs, targets):
        return explain(model, inputs, targets) * torch.nan

    bench = Bench(linear(), torch.randn(64, 1, 4, 4))
    explainer, asked = bench.explainer(product).explainer, [claims.beats("random", on="pixel_flipping")]
    assert audit(bench, explainer, asked, mutants={"nan": broken}).mutations["nan"].status == "killed"


@pytest.mark.slow
@pytest.mark.parametrize("inputs", ["tensor", "stream", "tuple"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_other_subjects_are_audited(inputs, outputs):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16, outputs)

        def forward(self, x, y=None):
            return self.layer(x if y is None else torch.cat([x, y], 1))

    torch.manual_seed(0)
    data = torch.randn(64, 16)
    given = {"tensor": data, "stream": list(data.split(10)), "tuple": (data[:, :10], data[:, 10:])}[inputs]
    model = Two().eval()

    def contributions(model, inputs, targets):
        weights = model.layer.weight[[0] * len(inputs[0]) if targets is None else targets].detach()
        if not isinstance(inputs, tuple):
            return inputs * model.layer.weight[[0] * len(inputs) if targets is None else targets].detach()
        return inputs[0] * weights[:, :10], inputs[1] * weights[:, 10:]

    bench = Bench(model, given)
    asked = [claims.beats("random", on="pixel_flipping", output="logit"), claims.invariant_under("batch_order")]
    audited = audit(bench, bench.explainer(contributions).explainer, asked, suggest=False)
    found = {name: mutation.status for name, mutation in audited.mutations.items()}
    assert "broken" not in found.values()
    assert (found["wrong_class"] == "inapplicable") == (outputs == 1)
    assert (found["input_noise"] == "inapplicable") == (inputs == "tuple")
    assert found["flipped_sign"] == found["constant"] == "killed"
    assert found["untrained"] in ("killed", "survived")
    assert audited.dropped == {}


def test_the_mutants_of_the_plugin_are_all_there():
    assert set(checked_mutants({})) == set(mutants.MUTANTS)
    assert len(checked_mutants({"mine": print})) == len(list(mutants.MUTANTS)) + 1


# ---------------------------------------------------------------------------------------------------------------------
# What a person reads


def record(explainer: str, found: dict[str, str], *, words: tuple[str, str] = ("first", "second")) -> Audited:
    """Return what was found about an explainer whose mutants have these statuses, or were killed by these claims."""
    claims = ["claim-1", "claim-2"]
    mutations = {
        name: Mutation("killed", [status]) if status in claims else Mutation(status) for name, status in found.items()
    }
    return Audited(explainer, "a", claims, mutations, words=dict(zip(claims, words, strict=True)))


def lines(mutations: Mutations, width: int = 100) -> list[str]:
    return [line for line, _ in mutations.lines(width=width)]


@pytest.mark.parametrize("width", [20, 40, 80, 120, 300])
def test_tables_fit_the_terminal(width):
    """At least one explainer stands in each, whose long name is broken into lines rather than cut."""
    names = [f"NoiseTunnel[IntegratedGradients](n_samples=8, number={place})" for place in range(7)]
    found = Mutations(record(name, {"edges": "survived", "absolute_value": "claim-2"}) for name in names)
    shown = lines(found, width)
    table = shown[shown.index("") :]
    assert max(map(len, table)) <= max(width, 16 + 26)
    assert sum(line.count("SURVIVED") for line in table) == 7
    assert len(re.findall(r"number=\d", " ".join(table))) == 7
    assert (sum(line.startswith("edges") for line in table) == 1) == (width == 300)


def test_rows_with_news_come_first_and_those_without_a_mutant_last():
    found = Mutations([record("a", {"x": "equivalent", "y": "claim-1", "z": "survived"})])
    rows = [line for line in lines(found) if line and line[0] in "xyz"]
    assert [row.split() for row in rows] == [["z", "SURVIVED"], ["y", "1"], ["x", "="]]


def test_survivors_are_grouped_by_the_claim_that_would_catch_them():
    """Which is code to paste, into a test and above one; those that nothing catches stand last."""
    first = record("a", {"x": "survived", "y": "survived", "z": "claim-1"})
    second = record("b", {"x": "survived", "y": "survived"})
    code = 'beats("mutants", on="pixel_flipping", mutants=("shuffled",))'
    for one in (first.mutations["y"], second.mutations["x"], second.mutations["y"]):
        one.caught_by = code
    assert lines(Mutations([first, second]))[:9] == [
        "survived     3 mutants that this claim would catch:",
        f"                 assert explainer.{code}",
        f"                 @pytest.mark.xai_{code}",
        "             a: y",
        "             b: x, y",
        "survived     1 mutant: no claim of this plugin catches it on these inputs",
        "             a: x",
        "",
        "   a         b",
    ]


def test_the_code_that_would_catch_survivors_is_that_of_claims():
    for written in _CATALOG:
        assert read(str(written), where="test") == written


def test_two_processes_that_killed_a_mutant_are_both_named():
    found = Mutations([record("a", {"x": "claim-1", "y": "survived"}), record("a", {"x": "claim-2", "y": "claim-2"})])
    assert found.score == 1
    assert [line.split() for line in lines(found) if line and line[0] in "xy"] == [["x", "1", "2"], ["y", "2"]]


def test_claims_that_were_written_alike_are_told_apart_by_their_ids():
    found = Mutations([record("a", {"x": "claim-1", "y": "claim-2"}, words=("same", "same"))])
    assert [line.split() for line in lines(found) if line and line[0] in "xy"] == [["x", "1"], ["y", "2"]]
    assert lines(found)[-2:] == ["  1 same (claim-1)", "  2 same (claim-2)"]


def test_what_travels_between_processes_is_the_same_at_the_end():
    audited = record("a", {"x": "claim-1", "y": "survived"})
    audited.dropped["claim-2"] = "why"
    assert Audited.of_plain(json.loads(json.dumps(audited.plain()))) == audited


def test_no_record_has_no_score():
    assert Mutations().score is None
    assert Mutations().headline() == "audit of the claims: no mutant was put to them"
