"""Options and ini keys: which goes before which, and one line for each value that cannot be."""

from __future__ import annotations

import json
import textwrap

import pytest

SHOW = """
    def test_it(xai, xai_seed, xai_device):
        print(f"seed={xai.bench.seed!r} {xai_seed!r} device={xai_device!r} confidence={xai.bench.confidence!r}")
"""
UNTOLD = """
    from subject import noise
    def test_it(xai):
        assert xai.explainer(noise).changes_under("cascading_randomization", seeds=1)
"""
INI = {
    "pytest.ini": "[pytest]\nxai_seed = {seed}\nxai_device = {device}\nxai_confidence = {confidence}\n",
    "tox.ini": "[pytest]\nxai_seed = {seed}\nxai_device = {device}\nxai_confidence = {confidence}\n",
    "pyproject.toml": "[tool.pytest.ini_options]\nxai_seed = {seed}\nxai_device = '{device}'\n"
    "xai_confidence = {confidence}\n",
}
NATIVE = "[tool.pytest]\nxai_seed = {seed}\nxai_device = '{device}'\nxai_confidence = {confidence}\n"


def run(suite, *args: str):
    return suite.runpytest("-p", "no:randomly", *args)


def write_settings(suite, file: str, text: str, **settings) -> None:
    (suite.path / file).write_text(text.format(**{"seed": 3, "device": "cpu", "confidence": 0.9, **settings}))


@pytest.mark.parametrize("file", INI)
def test_ini_files_hold_settings(suite, file):
    suite.makepyfile(SHOW)
    write_settings(suite, file, INI[file])
    run(suite, "-s").stdout.fnmatch_lines(["*seed=3 3 device='cpu' confidence=0.9*"])


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="native TOML came with pytest 9")
def test_native_toml_holds_settings_in_their_own_types(suite):
    suite.makepyfile(SHOW)
    write_settings(suite, "pyproject.toml", NATIVE)
    run(suite, "-s").stdout.fnmatch_lines(["*seed=3 3 device='cpu' confidence=0.9*"])


def test_the_command_line_goes_before_the_ini_file(suite):
    suite.makepyfile(SHOW)
    write_settings(suite, "pytest.ini", INI["pytest.ini"])
    result = run(suite, "-s", "--xai-seed=0", "--xai-device=auto", "--xai-confidence=0.95")
    result.stdout.fnmatch_lines(["*seed=0 0 device='auto' confidence=0.95*"])


TASK = """
    from subject import good
    def test_it(xai, xai_task):
        verdict = xai.explainer(good).beats("random", on="pixel_flipping")
        print(f"task={xai_task!r}, {verdict.evidence['task']}: {verdict.evidence['outputs']}")
"""


@pytest.mark.parametrize(
    ("ini", "option", "words"),
    [
        ("", [], "task='auto', classification: logits of the classes*xai_task=auto*"),
        ("xai_task = regression", [], "task='regression', regression: values (xai_task=regression)"),
        ("xai_task = regression", ["--xai-task=multilabel"], "task='multilabel', multilabel: logits of each label*"),
    ],
)
def test_the_task_is_a_setting(suite, ini, option, words):
    suite.makepyfile(TASK)
    suite.makeini(f"[pytest]\n{ini}\n")
    run(suite, "-s", *option).stdout.fnmatch_lines([f"*{words}"])


def test_the_task_is_a_fixture_at_any_scope(suite):
    """A parametrized one runs the test once for each, as the others of the subject do."""
    fixture = '@pytest.fixture(scope="module", params=["regression", "multilabel"])\ndef xai_task(request):\n'
    suite.makepyfile(
        test_it=f"import pytest\nfrom subject import good\n{fixture}    return request.param\n"
        "def test_it(xai):\n"
        '    verdict = xai.explainer(good).beats("random", on="pixel_flipping")\n'
        '    assert verdict.evidence["task"] == xai.bench.subject.task\n'
    )
    result = run(suite, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it[[]regression[]] PASSED*", "*test_it[[]multilabel[]] PASSED*"])


def test_a_task_that_is_none_is_one_line(suite):
    suite.makepyfile(TASK)
    assert run(suite, "--xai-task=ranking").ret == pytest.ExitCode.USAGE_ERROR
    suite.makeini("[pytest]\nxai_task = ranking\n")
    run(suite).stderr.fnmatch_lines(["*ini key xai_task: found 'ranking'; expected one of auto, classification, *"])
    suite.makeini("[pytest]\n")
    suite.makepyfile(
        test_other="import pytest\nfrom subject import good\n@pytest.fixture\ndef xai_task():\n    return 'rank'\n"
        "def test_other(xai):\n    xai.explainer(good).beats('random', on='pixel_flipping')\n"
    )
    run(suite, "test_other.py").stdout.fnmatch_lines(
        ["*xai_task: found 'rank'; expected one of auto, classification, *"]
    )


AXES = """
    import pytest, torch
    from captum.attr import InputXGradient
    @pytest.fixture
    def xai_model():
        return lambda x: (x**3).sum((1, 2))
    @pytest.fixture
    def xai_inputs():
        return torch.randn(16, 9, 4)
    def test_it(xai):
        verdict = xai.explainer(InputXGradient).beats("random", on="pixel_flipping")
        print(f"regions={verdict.evidence['regions']}")
"""


@pytest.mark.parametrize(
    ("ini", "option", "fixture", "regions"),
    [
        ("", [], "", 4),
        ("xai_axes = channels_last", [], "", 9),
        ("xai_axes = channels_last", ["--xai-axes=NCT"], "", 4),
        ("", ["--xai-axes=NCT"], '\n@pytest.fixture\ndef xai_axes():\n    return "NTF"\n', 9),
    ],
)
def test_the_axes_are_a_setting_and_a_fixture(suite, ini, option, fixture, regions):
    suite.makepyfile(textwrap.dedent(AXES) + fixture)
    suite.makeini(f"[pytest]\n{ini}\n")
    run(suite, "-s", *option).stdout.fnmatch_lines([f"*regions={regions}"])


def test_without_either_the_defaults_hold(suite):
    suite.makepyfile(SHOW)
    run(suite, "-s").stdout.fnmatch_lines(["*seed=0 0 device='auto' confidence=0.95*"])


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--xai-confidence=1", "ERROR: --xai-confidence: found 1; expected a number between 0.5 and 1*"),
        ("--xai-confidence=0.5", "ERROR: --xai-confidence: found 0.5; *"),
        ("--xai-confidence=high", "*--xai-confidence: invalid float value: 'high'*"),
        ("--xai-seed=x", "*--xai-seed: invalid int value: 'x'*"),
        ("--xai-inconclusive=ignore", "*--xai-inconclusive: invalid choice: 'ignore'*"),
        ("--xai-device=gpu", "ERROR: --xai-device: found 'gpu'; expected auto, cpu, *"),
        ("--xai-json=nowhere/claims.json", "ERROR: --xai-json: *folder that does not exist*make the folder first*"),
        ("--xai-json=.", "ERROR: --xai-json: found the folder '.'; expected a file*"),
        ("--xai-model=models", "ERROR: --xai-model: found 'models'; expected module:name*"),
        ("--xai-explainer=captum.attr.Saliency", "ERROR: --xai-explainer: *write captum:Saliency, the nearest known*"),
        ("--xai-explainer=nothing", "ERROR: --xai-explainer: *put a colon between*"),
        ("--xai-inputs=:x", "ERROR: --xai-inputs: found ':x'*"),
    ],
)
def test_an_option_that_cannot_be_ends_the_session_with_one_line(suite, option, error):
    suite.makepyfile(SHOW)
    result = run(suite, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([error])
    assert "Traceback" not in str(result.stderr)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("xai_seed = x", "*ini key xai_seed: *'x'*expected a value of type int*correct it in pytest.ini*"),
        ("xai_confidence = high", "*ini key xai_confidence: *'high'*expected a value of type float*"),
        ("xai_confidence = 2", "*--xai-confidence: found 2; *"),
        ("xai_inconclusive = ignore", "*ini key xai_inconclusive: found 'ignore'; expected one of fail, skip, warn*"),
        ("xai_device = gpu", "*--xai-device: found 'gpu'*"),
        ("xai_model = models", "*--xai-model: found 'models'; expected module:name*"),
    ],
)
def test_an_ini_value_that_cannot_be_ends_the_session_with_one_line(suite, line, error):
    suite.makepyfile(SHOW)
    suite.makeini(f"[pytest]\n{line}\n")
    (suite.path / "tox.ini").rename(suite.path / "pytest.ini")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {error}"])
    assert "Traceback" not in str(result.stderr)


def test_the_seed_decides_what_is_drawn(suite):
    suite.makepyfile(UNTOLD)
    evidence = []
    for seed in (1, 1, 2):
        run(suite, f"--xai-seed={seed}", "--xai-json=claims.json")
        evidence.append(json.loads((suite.path / "claims.json").read_text())["claims"][0]["evidence"])
    assert evidence[0] == evidence[1]
    assert evidence[0]["scores"] != evidence[2]["scores"]


def test_inconclusive_fails_by_default(suite):
    suite.makepyfile(UNTOLD)
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*claims about explanations: 1 inconclusive*"])


@pytest.mark.parametrize("where", ["option", "ini"])
def test_inconclusive_may_skip(suite, where):
    suite.makepyfile(UNTOLD)
    if where == "ini":
        suite.makeini("[pytest]\nxai_inconclusive = skip\n")
    result = run(suite, "-rs", *(["--xai-inconclusive=skip"] if where == "option" else []))
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "inconclusive  noise changes_under *",
            "SKIPPED [[]1[]] test_inconclusive_may_skip.py:3: inconclusive: noise changes_under *",
        ]
    )


def test_inconclusive_may_warn(suite):
    suite.makepyfile(UNTOLD)
    result = run(suite, "--xai-inconclusive=warn")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*test_inconclusive_may_warn.py:2: XaiWarning: inconclusive: noise changes_under *",
            "inconclusive  noise changes_under * (tolerated)",
        ]
    )


def test_a_tolerated_verdict_of_a_marker_warns_too(suite):
    suite.makepyfile("""
        import pytest
        from subject import noise
        @pytest.mark.xai_changes_under("cascading_randomization", seeds=1)
        @pytest.mark.xai_explainer(noise)
        def test_it(xai_verdict):
            assert xai_verdict
            assert xai_verdict.inconclusive
    """)
    run(suite, "--xai-inconclusive=warn").assert_outcomes(passed=1, warnings=1)


def test_help_reads_as_documentation(pytester):
    text = " ".join(str(pytester.runpytest("--help").stdout).split())
    assert "explanations of models: --xai-model=SPEC the model, when no fixture xai_model is written:" in text
    assert "--xai-inconclusive={fail,skip,warn} what an inconclusive verdict does (default: fail)" in text
    assert "xai_seed (int): --xai-seed: seed of everything that is drawn: same seed, same verdict (default: 0)" in text


def test_the_header_shows_what_decides_only_when_a_claim_is_collected(suite):
    suite.makepyfile(SHOW)
    line = "xaisanity: 1 test with claims about explanations (seed 4, device auto, confidence 0.95)"
    run(suite, "--xai-seed=4").stdout.fnmatch_lines([line])
    suite.makepyfile("def test_it():\n    pass\n")
    run(suite, "--xai-seed=4").stdout.no_fnmatch_line("xaisanity: *")
