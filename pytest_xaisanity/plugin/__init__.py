"""pytest's side of the plugin: options, fixtures, markers, collection, summaries.

This module and what it imports at the top load no torch, NumPy or Hypothesis: a session without a claim does not pay
for the plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

from ..common.errors import XaiError
from . import marked, markers
from .audit import AUDIT, Auditor
from .baseline import BASELINE, Baseline, check_baseline
from .cost import Costs
from .dry_run import DryRun
from .failures import say_first, tell
from .fixture import Xai
from .github import GitHub
from .listing import listing
from .looks import LOOKS, Looks
from .named import fail, find_given, named, refuse, say_beside, targets_named
from .options import LIST, add_ini_keys, add_options, check_settings, setting, usual_explainers
from .pending import PendingVerdict
from .records import VERDICTS
from .running import RUNNING, Running, fixtures_of
from .taken import Taken, check_not_added, remember
from .terminal import VERDICTS_OF_SESSION, Verdicts
from .zero_code import add_battery
from .zero_code import remember as remember_folder

_PASSED = pytest.StashKey[bool]()  # whether the call of a test passed
_OVERLOOKED = pytest.StashKey[bool]()  # whether it did without a look at its verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini keys."""
    add_options(parser)
    add_ini_keys(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Offer the markers to conftest files."""
    markers.install(early_config)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Say what there is, when asked to, instead of running tests."""
    if not config.getoption(LIST):
        return None
    sys.stdout.writelines(f"{line}\n" for line in listing())
    return 0


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and check settings before anything runs."""
    markers.register(config, Xai.explainer)
    markers.install(config)
    config.stash[RUNNING] = Running()
    config.stash[LOOKS] = Looks()
    try:
        check_settings(config)
        check_baseline(config)
        config.stash[BASELINE] = Baseline(config)
    except XaiError as error:
        raise pytest.UsageError(str(error)) from None
    config.pluginmanager.register(Taken(), "xaisanity-taken")
    config.stash[VERDICTS_OF_SESSION] = Verdicts(config)
    config.pluginmanager.register(config.stash[VERDICTS_OF_SESSION], "xaisanity-verdicts")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Costs(config), "xaisanity-costs")
        config.pluginmanager.register(GitHub(config), "xaisanity-github")
    if DryRun.is_on(config):
        config.pluginmanager.register(DryRun(), "xaisanity-dry-run")
    elif setting(config, "audit"):
        config.stash[AUDIT] = Auditor(config)
        config.pluginmanager.register(config.stash[AUDIT], "xaisanity-audit")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Know the folder of the session."""
    remember_folder(collector)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, object, object]:
    """Let tests that make claims depend on the fixtures of the subject."""
    marked.check_marked(name, obj)
    marked.ask_for_parametrized(collector, obj)
    collected = yield
    collected = marked.with_params(collector, name, obj, collected)
    return marked.with_subject(collector, name, obj, collected)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that ask for a verdict, before fixtures are parametrized."""
    marked.generate(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave a test the claim that is its own."""
    marked.narrow(item)
    remember(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the claims of a battery, or those that are written, when they are asked for; a wrong SPEC is said once."""
    asked = add_battery(session, config, items)
    try:
        if not hasattr(config, "workerinput") and (asked or any("xai" in fixtures_of(item) for item in items)):
            find_given(config)
    except XaiError as error:
        refuse(error)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say once what stands for nothing where workers collect, who could not say it together."""
    config = session.config
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        try:
            find_given(config)
        except XaiError as error:
            refuse(error)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Return one line with the settings that decide a verdict, only when a claim was collected."""
    count = sum("xai" in fixtures_of(item) for item in items)
    if not count:
        return None
    shown = ", ".join(f"{name} {setting(config, name)}" for name in ("seed", "device", "confidence"))
    usual = usual_explainers(config)
    line = f"xaisanity: {count} test{'s' if count > 1 else ''} with claims about explanations ({shown})"
    return f"{line}\nxaisanity: {usual}" if usual else line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let the session-scoped ``xai`` know which test is running; keep the verdicts of one that is interrupted."""
    try:
        with item.config.stash[RUNNING].test(item):
            return (yield)
    except BaseException:
        item.config.stash[VERDICTS_OF_SESSION].interrupted(item)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Let the fixtures of a test make claims; a test that is run once more begins anew."""
    VERDICTS.begin(item)
    item.config.stash[LOOKS].drop(item)
    item.stash[_PASSED] = item.stash[_OVERLOOKED] = False
    try:
        check_not_added(item)
    except XaiError as error:
        fail(error)
    with item.config.stash[RUNNING].setup(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Know the scope of a fixture that makes a claim, and say when it goes before an option."""
    with request.config.stash[RUNNING].fixture(fixturedef.scope):
        value = yield
    say_beside(request.config, fixturedef)
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the verdicts of a test on its report."""
    told = tell(call, VERDICTS.decided(item))
    report = yield
    say_first(report, told)
    item.config.stash[BASELINE].judge(item, report)
    VERDICTS.attach(item, call, report, told)
    Costs.attach(item, report)
    DryRun.attach(item, call, report)
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    if report.when == "teardown" and item.stash[_OVERLOOKED]:
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)  # a test that looks at nothing may expect nothing either
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """End a test that passed without a look at its verdicts in an error."""
    looks = item.config.stash[LOOKS]
    result = yield
    if not item.stash.get(_PASSED, False):
        looks.drop(item)
    try:
        looks.check(item, last=nextitem is None)
    except XaiError as error:
        item.stash[_OVERLOOKED] = True
        fail(error)
    return result


@pytest.fixture(scope="session")
def xai(pytestconfig: pytest.Config) -> Xai:
    """Claims about the explainers of ``xai_model`` on ``xai_inputs``."""
    return Xai(pytestconfig)


@pytest.fixture
def xai_verdict(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, xai: Xai
) -> Generator[PendingVerdict, None, None]:
    """The verdict on one claim of the test's markers about one explainer; decided when the test asserts it."""
    __tracebackhide__ = True
    verdict = marked.pending(request, xai)
    yield verdict
    if not verdict.is_looked_at() and request.node.stash.get(_PASSED, False):
        pytestconfig.stash[LOOKS].drop(request.node)
        error = XaiError(
            "xai_verdict",
            found="a test that passed without looking at its verdict, so that it would pass whatever was found",
            expected="assert xai_verdict",
            fix="assert it, or take the claim's marker away",
        )
        request.node.stash[_OVERLOOKED] = True
        fail(error)


@pytest.fixture(scope="session")
def xai_model(pytestconfig: pytest.Config) -> object:
    """Override it to return the model under test; by default that of ``--xai-model``."""
    return named(pytestconfig, "model")


@pytest.fixture(scope="session")
def xai_inputs(pytestconfig: pytest.Config) -> object:
    """Override it to return a tensor, a tuple or a mapping of tensors, or an iterable of batches.

    By default those of ``--xai-inputs``.
    """
    return named(pytestconfig, "inputs")


@pytest.fixture(scope="session")
def xai_targets(request: pytest.FixtureRequest) -> object:
    """Override it to return class indices (N,), multi-hot labels (N, k) or continuations.

    By default those of ``--xai-targets``, the classes of a folder of images, or predictions.
    """
    return targets_named(request)


@pytest.fixture(scope="session")
def xai_task(pytestconfig: pytest.Config) -> str:
    """Override it to return what the model's outputs are; by default ``--xai-task``.

    That is classification, multilabel (each label by itself), regression (the output as it is), next_token (of a causal
    language model), or auto.
    """
    return str(setting(pytestconfig, "task"))


@pytest.fixture(scope="session")
def xai_explain() -> object:
    """Override it to return names or positions of the inputs that are explained; the others are context.

    By default the floating-point ones but for masks, or the token ids.
    """
    return None


@pytest.fixture(scope="session")
def xai_output() -> object:
    """Override it to say where the scores are in what the model returns: a field, a position, or a function of it.

    By default the tensor, ``logits``, or the first of a tuple.
    """
    return None


@pytest.fixture(scope="session")
def xai_embedding() -> object:
    """Override it to return the module that embeds token ids, or its name; found in models of Hugging Face's."""
    return None


@pytest.fixture(scope="session")
def xai_mask() -> object:
    """Override it to say which tokens count: the name of an input, a function of the inputs, or a tensor (N, T).

    By default all but padding and special tokens.
    """
    return None


@pytest.fixture(scope="session")
def xai_axes(pytestconfig: pytest.Config) -> object:
    """Override it to return which axes of the inputs are places and which channels; by default ``--xai-axes``.

    That is "channels_last", or letters such as "NTF", "NHWC" or "NHW", or a tuple with one of these for each input;
    without it, inputs of three axes or more are read as (N, C, *places).
    """
    return setting(pytestconfig, "axes")


@pytest.fixture(scope="session")
def xai_features() -> object:
    """Override it to return the names of the columns of a table; by default those of a data frame.

    They stand in the evidence, and groups of features may name them.
    """
    return None


@pytest.fixture(scope="session")
def xai_tokenizer() -> object:
    """Override it to return what makes words of token ids for the HTML report, which shows the ids otherwise.

    That is a tokenizer, a function of an id, or a list or a mapping of words by id.
    """
    return None


@pytest.fixture(scope="session")
def xai_class_names() -> object:
    """Override it to return the names of the outputs for the HTML report: a list, a mapping or a function."""
    return None


@pytest.fixture(scope="session")
def xai_explainer(request: pytest.FixtureRequest) -> object:
    """Override it to return the explainer of tests whose markers name none; by default ``--xai-explainer``."""
    return named(request.config, "explainer", getattr(request, "param", None))


@pytest.fixture(scope="session")
def xai_mutants() -> object:
    """Override it to return mutants of your own for ``--xai-audit``, by name.

    Each is a function ``(explain, model, inputs, targets) -> attributions`` that is given the original's
    ``explain(model, inputs, targets)``.
    """
    return {}


@pytest.fixture(scope="session")
def xai_train(pytestconfig: pytest.Config) -> object:
    """Override it to return a function (inputs, targets, seed) -> trained model; by default ``--xai-train``."""
    return named(pytestconfig, "train")


@pytest.fixture(scope="session")
def xai_training_data(pytestconfig: pytest.Config) -> object:
    """Override it to return what ``xai_train`` trains on; by default ``--xai-training-data``.

    That is (inputs, targets), a tenth of which is held out to test on, or (inputs, targets, test_inputs, test_targets).
    """
    return named(pytestconfig, "training_data")


@pytest.fixture(scope="session")
def xai_device(pytestconfig: pytest.Config) -> str:
    """The device claims are measured on, as given: auto, cpu, cuda, cuda:<number> or mps."""
    return str(setting(pytestconfig, "device"))


@pytest.fixture(scope="session")
def xai_seed(pytestconfig: pytest.Config) -> int:
    """The seed of everything that is drawn."""
    return int(setting(pytestconfig, "seed"))
