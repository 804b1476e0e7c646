"""The fixture ``xai``: benches over whatever fixtures the running test has, and the record of their verdicts."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import shlex
import sys
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..common.errors import XaiError, XaiWarning
from .audit import AUDIT
from .options import flag, given, setting
from .records import VERDICTS
from .stream import Terminal
from .zero_code import BATTERY

if TYPE_CHECKING:
    from ..bench.bench import Bench, BoundExplainer
    from ..claims.base import Claim
    from ..statistics.verdict import Verdict

__all__ = ["CURRENT_ITEM", "SUBJECT_FIXTURES", "Xai", "XaiExplainer", "fail", "named"]

CURRENT_ITEM = pytest.StashKey[pytest.Item | None]()
SUBJECT_FIXTURES = ("xai_model", "xai_inputs", "xai_targets")
RETRAINING_FIXTURES = ("xai_train", "xai_training_data")
_BENCHES = 4
_NAMED = pytest.StashKey[dict[str, Any]]()
_RETURNS = {
    "model": "a torch.nn.Module in evaluation mode",
    "inputs": "a tensor of inputs (N, ...)",
    "explainer": "a Captum class or a function (model, inputs, targets) -> attributions",
    "train": "a function (inputs, targets, seed) -> model",
    "training_data": "(inputs, targets) or (inputs, targets, test_inputs, test_targets)",
}


def named(config: pytest.Config, option: str) -> Any:
    """Return the value of the fixture ``xai_<option>``: what the option of that name stands for, the same every time.

    A mistake ends the fixture with one line, without the frames of this plugin.
    """
    __tracebackhide__ = True
    values = config.stash.setdefault(_NAMED, {})
    if option not in values:
        spec = setting(config, option)
        try:
            value = _imported(config, spec, option)
            called = option not in ("explainer", "train") and (inspect.isfunction(value) or inspect.isclass(value))
            if called:
                _check_takes_nothing(value, spec, option)
        except XaiError as error:
            fail(error)
        values[option] = value() if called else value
    return values[option]


def _imported(config: pytest.Config, spec: str | None, option: str) -> Any:
    if spec is None:
        raise XaiError(
            f"xai_{option}",
            found="no fixture of this name in your tests",
            expected=f"a fixture that returns {_RETURNS[option]}",
            fix=f"write a fixture xai_{option} in conftest.py, or give {flag(option)}=module:name",
        )
    folder = str(config.invocation_params.dir)
    if folder not in sys.path:
        sys.path.append(folder)  # as for `python -m`, but behind everything that is installed
    module, _, attribute = spec.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise XaiError(
            flag(option),
            found=f"{spec!r} ({type(error).__name__}: {error})",
            expected="module:name of something that can be imported from here",
            fix="check the name, and that the module's folder is on the path (pytest's pythonpath setting)",
        ) from error
    return value


def _check_takes_nothing(function: Any, spec: str, option: str) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise XaiError(
            flag(option),
            found=f"{spec!r}, which cannot be called without arguments ({error})",
            expected=f"{_RETURNS[option]}, or a function without arguments that returns it",
            fix="name a function that calls it with its arguments",
        ) from error


def fail(error: XaiError) -> NoReturn:
    """End a fixture, or the collection of a test, with one line: there is no line of the user's to point at."""
    raise pytest.fail.Exception(str(error), pytrace=False) from None


class Xai:
    """Claims about the explainers of the running test's model.

    ``xai.explainer(source, name=None, **settings)`` returns an explainer whose methods are the four verbs. The model,
    inputs and targets are those of the fixtures ``xai_model``, ``xai_inputs`` and ``xai_targets``, at any scope.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._benches: OrderedDict[tuple[int, ...], tuple[Bench, tuple[Any, ...]]] = OrderedDict()

    def __repr__(self) -> str:
        return "<xai>"

    def explainer(self, source: Any, *, name: str | None = None, **settings: Any) -> XaiExplainer:
        """Return an explainer.

        Args:
            source: A Captum attribution class or instance, or a function ``(model, inputs, targets) -> attributions``.
            name: What verdicts and reports call it.
            settings: Those of the Captum class, its ``attribute``, or the function.
        """
        return XaiExplainer(self, source, name, settings)

    @property
    def bench(self) -> Bench:
        """The bench of the running test."""
        __tracebackhide__ = True
        return self._bench(retrains=False)

    def _bench(self, *, retrains: bool) -> Bench:
        """Return the bench of the running test: one that can train models has the fixtures for it too."""
        from ..bench.bench import Bench

        __tracebackhide__ = True
        subject = tuple(self._request.getfixturevalue(name) for name in SUBJECT_FIXTURES)
        training = tuple(self._request.getfixturevalue(name) for name in RETRAINING_FIXTURES) if retrains else ()
        key = tuple(id(part) for part in (*subject, *training))
        if key not in self._benches:
            settings = {name: setting(self._config, name) for name in ("device", "seed", "confidence")}
            bench = Bench(*subject, **settings | (self._retraining(*training) if training else {}))
            # What the fixtures returned is kept alive, so that its identity stays its own; old benches are let go.
            self._benches[key] = bench, (*subject, *training)
            while len(self._benches) > _BENCHES:
                self._benches.popitem(last=False)
        self._benches.move_to_end(key)
        return self._benches[key][0]

    @property
    def _request(self) -> pytest.FixtureRequest:
        """That of the running test."""
        __tracebackhide__ = True
        item = self._config.stash.get(CURRENT_ITEM, None)
        request: pytest.FixtureRequest | None = getattr(item, "funcargs", {}).get("request")
        if request is None:
            raise XaiError(
                "xai",
                found="a claim made outside of a test that asks for xai",
                expected="a test, or a fixture of it, with the argument xai",
                fix="name xai among the arguments, or use pytest_xaisanity.Bench outside of a test",
            )
        return request

    def _retraining(self, train: Any, data: Any) -> dict[str, Any]:
        cache: pytest.Cache | None = getattr(self._config, "cache", None)
        folder = None if cache is None else cache.mkdir("xaisanity")
        return {"train": train, "training_data": data, "cache_dir": folder, "progress": Terminal(self._config)}

    def decide(self, claim: Claim, source: Any, name: str | None, settings: dict[str, Any]) -> Verdict:
        """Decide a claim, record the verdict with the running test, and apply the policy for inconclusive ones."""
        __tracebackhide__ = True
        try:
            explainer = self._bench(retrains=claim.retrains).explainer(source, name=name, **settings)
            verdict = explainer.decide(claim)
        except XaiError as error:
            _raise(error)
        item = self._config.stash[CURRENT_ITEM]
        assert item is not None
        self._audit(item, explainer, claim, verdict)
        policy = setting(self._config, "inconclusive")
        if verdict.inconclusive and policy == "warn":
            verdict = dataclasses.replace(verdict, tolerated=True)
        VERDICTS.add(item, verdict, claim, explainer=explainer.name, command=_command(item))
        if verdict.tolerated:
            # Where the test is, because the frames from here to its line differ between the two forms.
            file, line, _ = item.reportinfo()
            text = f"inconclusive: {verdict.claim}: {verdict.reason}"
            warnings.warn_explicit(text, XaiWarning, str(file), (line or 0) + 1)
        if verdict.inconclusive and policy == "skip":
            pytest.skip(f"inconclusive: {verdict.claim}: {verdict.reason}")
        return verdict

    def _audit(self, item: pytest.Item, explainer: BoundExplainer, claim: Claim, verdict: Verdict) -> None:
        """Hand a verdict to the audit, where one is asked for."""
        __tracebackhide__ = True
        auditor = self._config.stash.get(AUDIT, None)
        if auditor is not None:
            try:
                auditor.decided(item, explainer.bench, explainer.explainer, claim, verdict, self._request)
            except XaiError as error:
                _raise(error)


def _command(item: pytest.Item) -> str:
    """Return the command that decides the claims of a test again."""
    options = {"seed": setting(item.config, "seed"), **given(item.config)}
    for about_the_suite in ("json", "audit", "audit_all", "audit_fail_under"):
        options.pop(about_the_suite, None)
    module, _, name = item.nodeid.partition("::")
    if module == BATTERY:
        which = f"-k '{name.partition('[')[0]} and {name.partition('[')[2].partition('-')[0]}'"
    else:
        which = shlex.quote(item.nodeid)
    return " ".join(["pytest", which, *(shlex.quote(f"{flag(key)}={value}") for key, value in options.items())])


def _raise(error: XaiError) -> NoReturn:
    """Raise ``error`` at the user's line: the frames in between say nothing to a reader; the cause is kept."""
    __tracebackhide__ = True
    raise error.with_traceback(None)


class XaiExplainer:
    """An explainer of the running test's model. Its methods make a claim and return the verdict on it."""

    def __init__(self, xai: Xai, source: Any, name: str | None, settings: dict[str, Any]) -> None:
        self._xai, self._source, self._name, self._settings = xai, source, name, settings

    def __repr__(self) -> str:
        return f"<explainer {self._name or getattr(self._source, '__name__', type(self._source).__name__)}>"

    def changes_under(self, intervention: Any, **settings: Any) -> Verdict:
        """Decide that the attributions differ once the intervention is made."""
        __tracebackhide__ = True
        return self._decide("changes_under", (intervention,), settings)

    def invariant_under(self, intervention: Any, **settings: Any) -> Verdict:
        """Decide that the attributions do not differ once the intervention is made."""
        __tracebackhide__ = True
        return self._decide("invariant_under", (intervention,), settings)

    def beats(self, baseline: Any, *, on: Any, **settings: Any) -> Verdict:
        """Decide that, per input, the explainer is better than the baseline on the metric ``on``."""
        __tracebackhide__ = True
        if isinstance(baseline, XaiExplainer):
            baseline = self._xai.bench.explainer(baseline._source, name=baseline._name, **baseline._settings)
        return self._decide("beats", (baseline,), {"on": on, **settings})

    def bounded(self, metric: Any, **settings: Any) -> Verdict:
        """Decide that the metric stays within ``at_most=`` or ``at_least=``."""
        __tracebackhide__ = True
        return self._decide("bounded", (metric,), settings)

    def decide(self, claim: Claim) -> Verdict:
        """Decide a claim object."""
        __tracebackhide__ = True
        return self._xai.decide(claim, self._source, self._name, self._settings)

    def _decide(self, verb: str, args: tuple[Any, ...], settings: dict[str, Any]) -> Verdict:
        __tracebackhide__ = True
        from ..claims.make import make

        try:
            claim = make(verb, args, settings, where=verb)
        except XaiError as error:
            _raise(error)
        return self.decide(claim)
