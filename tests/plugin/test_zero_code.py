"""Claims without a test file: ``--xai-model``, ``--xai-inputs`` and ``--xai-explainer``."""

from __future__ import annotations

import json
import shlex

import pytest

RANDOM = "test_battery[beats-random-on-pixel_flipping-reading_either]"
CLAIMS = [
    "xai::test_battery[changes_under-cascading_randomization]",
    "xai::test_battery[changes_under-later_layers]",
    "xai::test_battery[changes_under-other_target]",
    f"xai::{RANDOM}",
    "xai::test_battery[beats-other_input-on-pixel_flipping]",
    "xai::test_battery[beats-other_local-on-pixel_flipping]",
    "xai::test_battery[invariant_under-batch_order]",
]
BATTERY = [f"{claim.replace('[', '[[]').removesuffix(']')}[]]*" for claim in CLAIMS]


@pytest.fixture
def bare(pytester, suite):
    """Return a folder with a module that is no test, and nothing else."""
    (suite.path / "conftest.py").unlink()
    with (suite.path / "subject.py").open("a") as file:
        file.write("\ninstance, data = model(), inputs()\n\ndef smooth(m, x, t):\n    return good(m, x, t)\n")
        file.write("\ndef needs(argument):\n    return model()\n")
    return suite


def options(model: str = "subject:model", inputs: str = "subject:inputs", explainer: str = "subject:good"):
    return [f"--xai-model={model}", f"--xai-inputs={inputs}", f"--xai-explainer={explainer}"]


def run(suite, *args: str):
    return suite.runpytest("-p", "no:randomly", *args)


def test_the_battery_is_decided_in_a_folder_without_tests(bare):
    """In which the modules need not be installed."""
    result = run(bare, "-v", *options())
    result.stdout.fnmatch_lines(["xaisanity: 7 tests with claims*", *BATTERY, "*claims about explanations:*"])
    result.assert_outcomes(passed=5, skipped=2)


def test_the_battery_comes_beside_other_tests(bare):
    bare.makepyfile(test_other="def test_other():\n    pass\n")
    result = run(bare, "-v", *options())
    result.stdout.fnmatch_lines(["test_other.py::test_other PASSED*", *BATTERY])


@pytest.mark.slow
def test_maps_of_images_are_asked_whether_their_detail_matters(bare):
    """Those of a few features have none, and the thorough battery does not ask."""
    with (bare.path / "subject.py").open("a") as file:
        file.write("""
class Images(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))

def images():
    return torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))

def coarse(m, x, t):
    return (x * m.layer.weight[t].reshape(x.shape)).relu().amax(3, keepdim=True).expand(x.shape)
""")
    mutants = ["--xai-battery=thorough", "-k", "mutants"]
    result = run(bare, *mutants, "-rs", *options())
    result.assert_outcomes(skipped=1, deselected=12)
    result.stdout.fnmatch_lines(["*the subject lacks images: its inputs are not of shape (N, C, H, W)"])
    images = options("subject:Images", "subject:images", "captum.attr:InputXGradient")
    run(bare, *mutants, *images).assert_outcomes(passed=1, deselected=12)
    images = options("subject:Images", "subject:images", "subject:coarse")
    run(bare, *mutants, *images).assert_outcomes(failed=1, deselected=12)


@pytest.mark.parametrize(("name", "count"), [("quick", 3), ("standard", 7), ("thorough", 13)])
def test_the_battery_is_a_setting(bare, name, count):
    for given in ([f"--xai-battery={name}"], []):
        result = run(bare, "--collect-only", "-q", *given, *options())
        assert len([line for line in result.outlines if line.startswith("xai::test_battery[")]) == count
        bare.makeini(f"[pytest]\nxai_battery = {name}\n")


WRITTEN = ['beats("random", on="pixel_flipping")', "bounded('pixel_flipping', at_least=0.3)"]


def test_claims_that_are_written_replace_the_battery(bare):
    claims = [f"--xai-claim={claim}" for claim in WRITTEN]
    result = run(bare, "-v", "--xai-battery=thorough", "--xai-json=claims.json", *claims, *options())
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "xai::test_claim[[]beats-random-on-pixel_flipping[]] PASSED*",
            "xai::test_claim[[]bounded-pixel_flipping-at_least0.3[]] FAILED*",
        ]
    )
    failed = json.loads((bare.path / "claims.json").read_text())["claims"][1]
    run(bare, *shlex.split(failed["reproduce"])[1:]).assert_outcomes(failed=1, deselected=1)


def test_claims_may_be_written_in_the_ini_file(bare):
    lines = "".join(f"\n    {claim}" for claim in WRITTEN)
    bare.makeini(f"[pytest]\nxai_claim ={lines}\n")
    run(bare, *options()).assert_outcomes(passed=1, failed=1)
    run(bare, f"--xai-claim={WRITTEN[0]}", *options()).assert_outcomes(passed=1)


def test_a_claim_that_is_written_twice_is_decided_once_or_told_apart(bare):
    result = run(bare, "-v", *[f"--xai-claim={WRITTEN[0]}"] * 2, *options())
    result.assert_outcomes(passed=2)


def test_a_written_claim_about_what_the_subject_lacks_is_an_error(bare):
    """It was asked for; a battery would skip it."""
    run(bare, "--xai-claim=changes_under('later_layers')", *options()).assert_outcomes(failed=1)


def test_m_selects_a_claim_by_its_verb(bare):
    result = run(bare, "-m", "xai_beats", "--collect-only", "-q", *options())
    assert [line for line in result.outlines if "::" in line] == [line for line in CLAIMS if "beats" in line]


def test_a_session_leaves_no_claim_to_the_next(bare):
    run(bare, "--xai-battery=quick", *options())
    result = run(bare, "--xai-battery=quick", "--collect-only", "-q", *options())
    assert len([line for line in result.outlines if "::" in line]) == 3


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            "--xai-battery=standrd",
            "--xai-battery: found 'standrd'; expected one of quick, *use 'standard', the nearest*",
        ),
        ("--xai-claim=beets('random')", "--xai-claim: found 'beets'; *use 'beats', the nearest known name.*"),
        (
            "--xai-claim=beats('randm', on='pixel_flipping')",
            "--xai-claim beats: found 'randm'; *use 'random', the nearest known name.*",
        ),
        ("--xai-claim=beats('random')", "--xai-claim beats: found arguments that do not fit (missing*'on'*"),
        (
            "--xai-claim=changes_under('other_target', sedes=3)",
            "--xai-claim changes_under 'other_target': found 'sedes'; *use 'seeds'*",
        ),
        ("--xai-claim=open('file')", "--xai-claim: found 'open'; expected one of *"),
    ],
)
def test_a_battery_or_claim_that_cannot_be_is_a_usage_error(bare, given, error):
    result = run(bare, given, *options())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {error}"])


USUAL = ["saliency-absfalse", "inputxgradient", "integratedgradients-n_steps16"]


@pytest.mark.parametrize("given", ["--xai-battery=quick", f"--xai-claim={WRITTEN[0]}"])
def test_claims_about_no_explainer_are_about_three(suite, given):
    """With a word about them; the model and inputs may be those of the suite."""
    result = run(suite, "--collect-only", "-q", given)
    tests = [line for line in result.outlines if line.startswith("xai::")]
    assert len(tests) == 3 * (3 if "quick" in given else 1)
    assert [name for name in USUAL if any(f"[{name}-" in test for test in tests)] == USUAL
    result = run(suite, "--collect-only", given)
    result.stdout.fnmatch_lines(
        ["xaisanity: no --xai-explainer is given, so that claims are about captum:Saliency(abs=False) (*"]
    )


def test_a_model_and_inputs_alone_are_enough(bare):
    """Unless tests make claims about them; the ini file alone starts nothing."""
    result = run(bare, "--collect-only", "-q", *options()[:2])
    assert len([line for line in result.outlines if line.startswith("xai::")]) == 21


@pytest.mark.slow
def test_what_the_claims_cost_is_said_before_the_first_and_once_for_each_explainer(bare):
    given = [f"--xai-explainer=subject:{name}" for name in ("good", "bad")]
    result = run(bare, "-k", "batch_order or later", *options()[:2], *given)
    result.stdout.fnmatch_lines(
        [
            f"xaisanity: 5 claims about {name}: * explanations and * for each of 64 inputs*at most about *"
            for name in ("good", "bad")
        ]
    )
    assert sum("claims about good" in line for line in result.outlines) == 1
    quiet = run(bare, "-q", "-k", "batch_order", *options())
    assert not any(line.startswith("xaisanity: 5") for line in quiet.outlines)


def test_without_the_options_nothing_is_added(bare):
    assert run(bare).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("model", "inputs", "explainer"),
    [
        ("subject:model", "subject:inputs", "captum.attr:InputXGradient"),
        ("subject:Linear", "subject:inputs", "subject:smooth"),
        ("subject:instance", "subject:data", "captum.attr:Saliency"),
        ("subject:instance.layer", "subject:data", "captum.attr:Saliency"),
    ],
)
def test_classes_functions_and_objects_can_be_named(bare, model, inputs, explainer):
    run(bare, "-k", "invariant_under", *options(model, inputs, explainer)).assert_outcomes(passed=1, deselected=6)


@pytest.mark.parametrize("verb", ["changes_under", "beats", "invariant_under"])
def test_k_selects_a_claim_by_its_verb(bare, verb):
    result = run(bare, "-k", verb, "--collect-only", "-q", *options())
    assert [line for line in result.outlines if "::" in line] == [line for line in CLAIMS if verb in line]


@pytest.mark.slow
def test_lf_decides_the_failed_claims_alone(bare):
    first = run(bare, *options(explainer="subject:bad")).parseoutcomes()
    second = run(bare, "--lf", *options(explainer="subject:bad")).parseoutcomes()
    assert second == {"failed": first["failed"], "deselected": first["passed"] + first["skipped"]}


@pytest.mark.slow
def test_the_way_to_reproduce_a_claim_works(bare):
    """The battery is in no file of the user's, so a node id alone would name nothing."""
    run(bare, "--xai-json=claims.json", *options(explainer="subject:bad"))
    claims = json.loads((bare.path / "claims.json").read_text())["claims"]
    failed = next(claim for claim in claims if "beats random" in claim["claim"])
    assert failed["reproduce"] == (
        f"pytest -k '{RANDOM}' --xai-seed=0 --xai-model=subject:model --xai-inputs=subject:inputs "
        "--xai-explainer=subject:bad"
    )
    run(bare, *shlex.split(failed["reproduce"])[1:]).assert_outcomes(failed=1, deselected=6)


def test_what_is_named_goes_before_the_fixtures_of_a_suite(bare):
    """A gate decides on the model it names, whatever a conftest says."""
    bare.makeconftest("""
        import pytest, subject
        @pytest.fixture(scope="session")
        def xai_model():
            raise AssertionError("another model")
        @pytest.fixture
        def xai_targets():
            return [0]
    """)
    run(bare, "-k", "beats", *options()).assert_outcomes(passed=2, skipped=1, deselected=4)


@pytest.mark.slow
def test_the_task_is_that_of_the_option_or_of_the_suite_whose_model_it_is(bare):
    bare.makeconftest("""
        import pytest, subject
        xai_model = pytest.fixture(scope="session")(subject.model)
        xai_inputs = pytest.fixture(scope="session")(subject.inputs)
        @pytest.fixture
        def xai_task():
            return "regression"
    """)
    (explainer,) = options()[2:]
    for given, task in (
        ([explainer], "regression"),
        ([explainer, "--xai-task=multilabel"], "multilabel"),
        (options(), "classification"),
        ([*options(), "--xai-task=multilabel"], "multilabel"),
    ):
        run(bare, "-k", "beats", "--xai-json=claims.json", *given)
        claims = json.loads((bare.path / "claims.json").read_text())["claims"]
        assert {claim["evidence"]["task"] for claim in claims if claim["verb"] == "beats"} == {task}


def test_ini_keys_name_the_model_and_inputs_but_start_nothing(bare):
    bare.makeini("[pytest]\nxai_model = subject:model\nxai_inputs = subject:inputs\nxai_explainer = subject:bad\n")
    assert run(bare).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    run(bare, "-k", "beats", "--xai-explainer=subject:good").assert_outcomes(passed=2, skipped=1, deselected=4)


def test_options_serve_tests_that_write_no_fixtures(bare):
    bare.makepyfile(
        test_it='import subject\ndef test_it(xai):\n    assert xai.explainer(subject.good).beats("random", '
        'on="pixel_flipping")\n'
    )
    run(bare, *options()[:2]).assert_outcomes(passed=1)


MARKED = """
    import pytest
    @pytest.mark.xai_beats("random", on="pixel_flipping")
    def test_it(xai_verdict):
        assert xai_verdict
"""


def test_an_explainer_alone_serves_the_markers_that_name_none(suite):
    """Then there is no battery, since the model is that of a fixture."""
    suite.makepyfile(test_it=MARKED)
    run(suite, "--xai-explainer=subject:good").assert_outcomes(passed=1)
    run(suite, "--xai-explainer=subject:bad").assert_outcomes(failed=1)


def test_the_fixture_xai_explainer_goes_before_the_option_in_tests(suite):
    fixture = "\n    from subject import good\n    @pytest.fixture\n    def xai_explainer():\n        return good\n"
    suite.makepyfile(test_it=MARKED + fixture)
    run(suite, "--xai-explainer=subject:bad").assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["function", "session"])
def test_an_explainer_that_no_test_takes_is_put_to_the_battery_on_the_fixtures_of_the_suite(suite, scope):
    conftest = (suite.path / "conftest.py").read_text()
    (suite.path / "conftest.py").write_text(conftest.replace('"session"', f'"{scope}"'))
    run(suite, "--xai-explainer=subject:good", "-k", "beats-random").assert_outcomes(passed=1, deselected=6)
    run(suite, "--xai-explainer=subject:bad", "-k", "beats-random").assert_outcomes(failed=1, deselected=6)


def test_the_battery_has_the_fixtures_of_the_folder_that_holds_all_tests(suite):
    """Of one below the root too, where suites keep their tests."""
    for folder in ("suite/one", "suite/two"):
        (suite.path / folder).mkdir(parents=True)
        (suite.path / folder / f"test_{folder[-3:]}.py").write_text("def test():\n    pass\n")
    for file in ("conftest.py", "subject.py"):
        (suite.path / file).rename(suite.path / "suite" / file)
    run(suite, "--xai-explainer=subject:good", "-k", "beats-random").assert_outcomes(passed=1, deselected=8)


@pytest.mark.parametrize(("left_out", "missing"), [(0, "model"), (1, "inputs")])
def test_an_explainer_without_a_model_or_inputs_is_an_error(bare, left_out, missing):
    result = run(bare, *(option for place, option in enumerate(options()) if place != left_out))
    result.assert_outcomes(errors=7)
    result.stdout.fnmatch_lines([f"xai_{missing}: found no fixture of this name*or give --xai-{missing}=module:name*"])


def test_what_is_named_is_loaded_once(bare):
    with (bare.path / "subject.py").open("a") as file:
        file.write("\ndef counted():\n    print('loaded once')\n    return model()\n")
    assert str(run(bare, "-s", *options(model="subject:counted")).stdout).count("loaded once") == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"model": "nowhere:model"}, "--xai-model: *ModuleNotFoundError: No module named 'nowhere'*on the path*"),
        ({"model": "sbject:model"}, "--xai-model: *No module named 'sbject'*the nearest here is 'subject'*"),
        ({"model": "subject:modle"}, "--xai-model: *AttributeError: *modle*use 'model'*"),
        ({"explainer": "captum.attr:Salency"}, "--xai-explainer: *Salency*use 'Saliency'*"),
        ({"explainer": "captum:Salency"}, "--xai-explainer: *Salency*use 'Saliency'*"),
        ({"explainer": "rules:LPR"}, "--xai-explainer: *LPR*use 'LRP'*"),
        ({"model": "subject:needs"}, "--xai-model: *cannot be called without arguments*missing*'argument'*"),
        ({"model": "subject:needs(1, 2)"}, "--xai-model: *cannot be called with these arguments*too many*"),
        ({"inputs": "subject:data(1)"}, "--xai-inputs: *data is a Tensor, which cannot be called*leave the paren*"),
        ({"inputs": "subject:needs"}, "--xai-inputs: *cannot be called without arguments*"),
        ({"inputs": "subjet.py:inputs"}, "--xai-inputs: *no file *subjet.py*name 'subject.py'*"),
    ],
)
def test_a_wrong_name_is_one_line_and_said_once(bare, wrong, error):
    result = run(bare, *options(**wrong))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {error}"])
    assert str(result.stderr).count("ERROR") == 1
    assert "Traceback" not in str(result.stderr) + str(result.stdout)


def test_an_error_in_the_named_function_is_shown_as_it_is(bare):
    with (bare.path / "subject.py").open("a") as file:
        file.write("\ndef broken():\n    return 1 / 0\n")
    result = run(bare, *options(model="subject:broken"))
    result.stdout.fnmatch_lines(["    return 1 / 0", "ZeroDivisionError*"])
    result.stdout.no_fnmatch_line("*importlib*")


def test_a_model_that_is_none_says_so(bare):
    result = run(bare, "-k", "beats", *options(model="subject:torch"))
    result.stdout.fnmatch_lines(["--xai-model=subject:torch: found an object of type module*"])


@pytest.mark.slow
def test_several_explainers_are_put_to_each_claim(bare):
    several = [f"--xai-explainer=subject:{name}" for name in ("good", "bad", "good")]
    result = run(bare, "-k", "random", "-v", *options()[:2], *several)
    result.assert_outcomes(passed=3, failed=1, deselected=10)
    result.stdout.fnmatch_lines(["*test_battery[[]good-changes_under-*", "*test_battery[[]bad-beats-random-* FAILED*"])


def test_several_explainers_serve_the_markers_that_name_none(suite):
    suite.makepyfile(test_it=MARKED)
    several = ["--xai-explainer=subject:good", "--xai-explainer=subject:bad"]
    result = run(suite, "-v", *several)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_it[[]good-beats-random-on-pixel_flipping[]] PASSED*"])
    fixture = "\n    from subject import good\n    @pytest.fixture\n    def xai_explainer():\n        return good\n"
    suite.makepyfile(test_it=MARKED + fixture)
    result = run(suite, *several)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["--xai-explainer: found 2 of them, and a fixture xai_explainer in test_it.py*"])


@pytest.mark.slow
def test_a_wrong_name_is_said_once_by_workers_too_and_the_cost_once_for_each_explainer(bare):
    result = run(bare, "-n2", *options(model="subject:modle"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --xai-model: *use 'model'*"])
    result = run(bare, "-n2", "--xai-battery=quick", *options())
    result.assert_outcomes(passed=3)
    assert sum("claims about good: " in line for line in result.outlines) == 1


BROKEN = """
def model():
    return build({})

def build(config):
    return config["width"]

def nothing():
    pass

def grumbling(model, inputs, targets):
    return inputs * nothing
"""


@pytest.mark.parametrize(
    ("what", "line", "frames"),
    [
        (
            {"model": "mishaps:model"},
            "--xai-model: found 'mishaps:model', which raised KeyError: 'width'; expected a torch.nn.Module*",
            [
                "mishaps.py:2: in model",
                "    return build({})",
                "mishaps.py:5: in build",
                "*width*",
                "KeyError: 'width'",
            ],
        ),
        ({"model": "mishaps:nothing"}, "--xai-model: found 'mishaps:nothing', which gives None; expected a torch*", []),
        (
            {"inputs": "mishaps:nothing"},
            "--xai-inputs: found 'mishaps:nothing', which gives None; expected a tensor*",
            [],
        ),
        (
            {"explainer": "mishaps:grumbling"},
            "explainer grumbling: found TypeError raised by the explainer on the model as given*",
            ["mishaps.py:11: in grumbling", "    return inputs * nothing", "TypeError: unsupported operand*"],
        ),
    ],
    ids=["a model that raises", "no model", "no inputs", "an explainer that raises"],
)
def test_what_goes_wrong_behind_a_spec_is_one_sentence_with_the_lines_of_the_users(bare, what, line, frames):
    bare.makepyfile(mishaps=BROKEN)
    specs = {"model": "subject:model", "inputs": "subject:inputs", "explainer": "subject:good", **what}
    given = [f"--xai-{option}={spec}" for option, spec in specs.items()]
    result = run(bare, "--xai-claim=beats(random, on=pixel_flipping)", *given)
    result.stdout.fnmatch_lines([line, *frames])
    result.stdout.no_fnmatch_line("*pytest_xaisanity*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_inputs_of_the_wrong_kind_are_said_of_their_option(bare):
    bare.makepyfile(mishaps="words = ['a', 'b']\n")
    given = ["--xai-model=subject:model", "--xai-inputs=mishaps:words", "--xai-explainer=subject:good"]
    result = run(bare, "--xai-claim=beats(random, on=pixel_flipping)", *given)
    result.stdout.fnmatch_lines(["--xai-inputs=mishaps:words: found a batch of type str; expected batches that*"])


def test_a_module_that_raises_when_it_is_imported_shows_where(bare):
    bare.makepyfile(mishaps="def f():\n    raise RuntimeError('no GPU')\n\nf()\n")
    result = run(bare, "--xai-model=mishaps:f", "--xai-inputs=subject:inputs", "--xai-explainer=subject:good")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: --xai-model: found 'mishaps:f' (RuntimeError: no GPU)*python -c 'import mishaps'.",
            "",
            "mishaps.py:4*",
        ]
    )
    result.stderr.fnmatch_lines(["mishaps.py:2: in f", "    raise RuntimeError('no GPU')", "RuntimeError: no GPU"])


def test_a_model_that_fails_is_made_once(bare):
    bare.makepyfile(mishaps="made = []\ndef model():\n    made.append(1)\n    raise ValueError(f'{len(made)} made')\n")
    given = ["--xai-model=mishaps:model", "--xai-inputs=subject:inputs", "--xai-explainer=subject:good"]
    result = run(bare, "--xai-battery=quick", *given)
    result.assert_outcomes(errors=3)
    result.stdout.no_fnmatch_line("*2 made*")


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("beats(random, on=pixel_flipping, step=8)", "--xai-claim beats on='pixel_flipping': found 'step'; *'steps'*"),
        ("beats(random)", '*\'on\')*write it as in beats("random", on="pixel_flipping"); pytest --markers says*'),
        ("beats(random, on=road); bounded(road, at_least=0)", "*To fix it: give --xai-claim once for each claim."),
        ("beats(random, on=road), bounded(road, at_least=0)", "*To fix it: give --xai-claim once for each claim."),
        ("xai.beats(random, on=road)", "*To fix it: begin with the verb, as a method is called: beats(...)."),
        ("beats(random, on=road(steps=8))", '*write settings beside the name, as in on="pixel_flipping", steps=8*'),
    ],
)
def test_a_claim_that_is_written_wrongly_says_how(bare, claim, said):
    result = run(bare, f"--xai-claim={claim}", *options())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}" if said[0] == "-" else said])
