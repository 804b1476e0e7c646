"""What ``--xai-model``, ``--xai-inputs`` and ``--xai-explainer`` decide without a test file: fixtures and a test."""

from collections.abc import Callable, Iterable

import pytest

from ..common.errors import XaiError
from .cost import Costs
from .named import fail, named, targets_named
from .options import explainers, given, setting
from .pending import PendingVerdict


def _named_or_outer(request: pytest.FixtureRequest, option: str) -> object:
    """Return what the option names, which goes before the fixture of a suite; without one, that fixture."""
    if setting(request.config, option) is not None:
        return named(request.config, option)
    return request.getfixturevalue(f"xai_{option}")


@pytest.fixture
def xai_model(request: pytest.FixtureRequest) -> object:
    """Return the model of ``--xai-model``, or that of the suite."""
    return _named_or_outer(request, "model")


@pytest.fixture
def xai_inputs(request: pytest.FixtureRequest) -> object:
    """Return the inputs of ``--xai-inputs``, or those of the suite."""
    return _named_or_outer(request, "inputs")


@pytest.fixture
def xai_targets(request: pytest.FixtureRequest) -> object:
    """Return what is named, or the targets of the suite when the inputs are the suite's; otherwise predictions."""
    own = any(setting(request.config, option) is not None for option in ("inputs", "targets"))
    return targets_named(request) if own else request.getfixturevalue("xai_targets")


@pytest.fixture
def xai_task(request: pytest.FixtureRequest) -> object:
    """Return what ``--xai-task`` says, or the task of the suite when that is not given and the model is the suite's."""
    own = setting(request.config, "model") is not None or "task" in given(request.config)
    return setting(request.config, "task") if own else request.getfixturevalue("xai_task")


@pytest.fixture
def xai_axes(request: pytest.FixtureRequest) -> object:
    """Return what ``--xai-axes`` says, or the suite's axes when that is not given and the inputs are the suite's."""
    own = setting(request.config, "inputs") is not None or "axes" in given(request.config)
    return setting(request.config, "axes") if own else request.getfixturevalue("xai_axes")


@pytest.fixture
def xai_features(request: pytest.FixtureRequest) -> object:
    """Return the features of the suite when the inputs are the suite's."""
    return None if setting(request.config, "inputs") is not None else request.getfixturevalue("xai_features")


@pytest.fixture
def xai_explainer(request: pytest.FixtureRequest) -> object:
    """Return the explainer of ``--xai-explainer``, or the one of several that the test is parametrized with."""
    return named(request.config, "explainer", getattr(request, "param", None))


@pytest.fixture
def xai_cost(request: pytest.FixtureRequest, xai_verdict: PendingVerdict) -> None:
    """Have it said what the claims about an explainer cost, before the first is decided."""
    texts = explainers(request.config)
    params = getattr(request.node, "callspec", None)
    Costs.find(request.node, xai_verdict, texts[0] if params is None else params.params.get("xai_explainer", texts[0]))


def _decided(verdict: PendingVerdict) -> PendingVerdict:
    """Return a verdict once it is decided; what stands in its way is said without the lines of this file."""
    try:
        verdict.decide()
    except XaiError as error:
        fail(error)
    return verdict


def battery_test(claims: Iterable[pytest.MarkDecorator], *, written: bool) -> Callable[[PendingVerdict], None]:
    """Return a test of claims, which its name tells apart: those of a battery are skipped where they say nothing."""

    @pytest.mark.usefixtures("xai_cost")
    def test_battery(xai_verdict: PendingVerdict) -> None:
        """A claim of a battery holds for the explainer of ``--xai-explainer``."""
        lacks = xai_verdict.lacking()
        if lacks:
            pytest.skip(f"the subject lacks {lacks}")
        assert _decided(xai_verdict)

    @pytest.mark.usefixtures("xai_cost")
    def test_claim(xai_verdict: PendingVerdict) -> None:
        """A claim of ``--xai-claim`` holds for it."""
        assert _decided(xai_verdict)

    test = test_claim if written else test_battery
    for claim in reversed([*claims]):  # as they would stand above it, from top to bottom
        claim(test)
    return test
