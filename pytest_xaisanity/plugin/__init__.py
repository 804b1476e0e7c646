"""pytest's side of the plugin: options, fixtures, markers, collection, summaries.

This module and what it imports at the top load no torch, NumPy or Hypothesis: a session without a claim does not pay
for the plugin.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ..errors import XaiError
from ..report.collected import Collected
from . import marks
from .fixture import CURRENT_ITEM, Xai, load
from .options import add_options, setting
from .records import RECORDS, VERDICTS

_COLLECTED = pytest.StashKey[Collected]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and ini keys."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and check settings before anything runs."""
    for line in marks.MARKERS:
        config.addinivalue_line("markers", line)
    config.stash[_COLLECTED] = Collected()
    try:
        _check_settings(config)
    except XaiError as error:
        raise pytest.UsageError(str(error)) from None


def _check_settings(config: pytest.Config) -> None:
    confidence = setting(config, "confidence")
    if not 0.5 < confidence < 1:
        raise XaiError("--xai-confidence", found=str(confidence), expected="a number between 0.5 and 1", fix="use 0.95")
    setting(config, "seed")
    setting(config, "inconclusive")
    file = setting(config, "json")
    if file is not None and not Path(file).absolute().parent.is_dir():
        raise XaiError(
            "--xai-json", found=f"{file!r} in a folder that does not exist", expected="a file in an existing folder",
            fix="make the folder first",
        )  # fmt: skip
    given = [name for name in ("model", "inputs") if setting(config, name) is not None]
    if setting(config, "explainer") is not None and not given and config.getoption("--xai-explainer") is not None:
        raise XaiError(
            "--xai-explainer", found="an explainer without a model", expected="--xai-model and --xai-inputs beside it",
            fix="name them as module:name",
        )  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that ask for a verdict, before fixtures are parametrized."""
    marks.generate(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the standard battery when model, inputs and explainer are named on the command line."""
    if all(config.getoption(f"--xai-{name}") is not None for name in ("model", "inputs", "explainer")):
        battery = Path(__file__).with_name("battery.py")
        module: pytest.Module = pytest.Module.from_parent(session, path=battery, nodeid="xai")  # type: ignore[no-untyped-call, unused-ignore]
        items.extend(session.genitems(module))


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Return one line with the settings that decide a verdict, only when a claim was collected."""
    count = sum(bool({"xai", "xai_verdict"} & set(getattr(item, "fixturenames", ()))) for item in items)
    if not count:
        return None
    shown = ", ".join(f"{name} {setting(config, name)}" for name in ("seed", "device", "confidence"))
    return f"xaisanity: {count} test{'s' if count > 1 else ''} with claims about explanations ({shown})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let the session-scoped ``xai`` know which test is running."""
    item.config.stash[CURRENT_ITEM] = item
    try:
        return (yield)
    finally:
        item.config.stash[CURRENT_ITEM] = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the verdicts of a test on its report."""
    report = yield
    if report.when == "call":
        VERDICTS.attach(item, report)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect verdicts where the summary is written."""
    # pytest keeps no config on a report, and the collector must be that of the session whose report it is.
    for collected in _sinks:
        collected.add(vars(report).get(RECORDS, []))


_sinks: list[Collected] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin to collect."""
    _sinks.append(session.config.stash[_COLLECTED])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the summary of claims."""
    collected = config.stash[_COLLECTED]
    if collected.records:
        terminalreporter.section(collected.headline())
        for line, markup in collected.lines():
            terminalreporter.write_line(line, **markup)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the JSON report, in the process that has all verdicts."""
    collected = session.config.stash[_COLLECTED]
    if collected in _sinks:
        _sinks.remove(collected)
    file = setting(session.config, "json")
    if file is not None and not hasattr(session.config, "workerinput"):
        from ..report.json import write

        write(Path(file), collected.records, settings={n: setting(session.config, n) for n in _REPORTED})


_REPORTED = ("seed", "device", "confidence", "inconclusive")


@pytest.fixture(scope="session")
def xai(pytestconfig: pytest.Config) -> Xai:
    """Claims about the explainers of ``xai_model`` on ``xai_inputs``."""
    return Xai(pytestconfig)


@pytest.fixture
def xai_verdict(request: pytest.FixtureRequest, xai: Xai) -> marks.PendingVerdict:
    """The verdict on one claim of the test's markers about one explainer; decided when the test asserts it."""
    case = request.param
    if case.source is None:
        import dataclasses

        case = dataclasses.replace(case, source=request.getfixturevalue("xai_explainer"))
    return marks.PendingVerdict(xai, case)


@pytest.fixture(scope="session")
def xai_model(pytestconfig: pytest.Config) -> Any:
    """Override it to return the model under test; by default that of ``--xai-model``."""
    return _named(pytestconfig, "model", "a torch.nn.Module in evaluation mode")


@pytest.fixture(scope="session")
def xai_inputs(pytestconfig: pytest.Config) -> Any:
    """Override it to return a tensor, a tuple of tensors or an iterable of batches; by default ``--xai-inputs``."""
    return _named(pytestconfig, "inputs", "a tensor of inputs (N, ...)")


@pytest.fixture(scope="session")
def xai_targets() -> Any:
    """Override it to return class indices (N,); by default the model's own predictions are explained."""
    return None


@pytest.fixture(scope="session")
def xai_explainer(pytestconfig: pytest.Config) -> Any:
    """Override it to return the explainer of tests whose markers name none; by default ``--xai-explainer``."""
    return _named(pytestconfig, "explainer", "a Captum class or a function (model, inputs, targets)", call=False)


@pytest.fixture(scope="session")
def xai_device(pytestconfig: pytest.Config) -> str:
    """The device claims are measured on, as given: auto, cpu, cuda, cuda:<number> or mps."""
    return str(setting(pytestconfig, "device"))


@pytest.fixture(scope="session")
def xai_seed(pytestconfig: pytest.Config) -> int:
    """The seed of everything that is drawn."""
    return int(setting(pytestconfig, "seed"))


def _named(config: pytest.Config, option: str, what: str, *, call: bool = True) -> Any:
    __tracebackhide__ = True
    spec = setting(config, option)
    if spec is None:
        raise XaiError(
            f"xai_{option}", found="no fixture of this name in your tests", expected=f"a fixture that returns {what}",
            fix=f"write @pytest.fixture def xai_{option}() in conftest.py, or give --xai-{option}=module:name",
        )  # fmt: skip
    return load(spec, option, call=call)
