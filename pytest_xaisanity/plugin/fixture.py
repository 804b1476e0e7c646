"""The fixture ``xai``: benches over whatever fixtures the running test has, and the record of their verdicts."""

from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from ..errors import XaiError, XaiWarning
from .options import setting
from .records import VERDICTS

if TYPE_CHECKING:
    from ..bench import Bench
    from ..claims import Claim
    from ..verdict import Verdict

__all__ = ["CURRENT_ITEM", "SUBJECT_FIXTURES", "Xai", "XaiExplainer", "load"]

CURRENT_ITEM = pytest.StashKey[pytest.Item | None]()
SUBJECT_FIXTURES = ("xai_model", "xai_inputs", "xai_targets")
_BENCHES = 4


def load(spec: str, option: str, *, call: bool) -> Any:
    """Return what ``module:name`` stands for; a function is called when ``call`` is true."""
    module_name, _, attribute = spec.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise XaiError(
            f"--xai-{option}",
            found=f"{spec!r} ({type(error).__name__}: {error})",
            expected="module:name of something that can be imported from here",
            fix="check the name, and that the module's folder is on the path (pytest's pythonpath setting)",
        ) from error
    return value() if call and _is_function(value) else value


def _is_function(value: Any) -> bool:
    import inspect

    return inspect.isfunction(value) or inspect.isclass(value)


class Xai:
    """Claims about the explainers of the running test's model.

    ``xai.explainer(source, name=None, **settings)`` returns an explainer whose methods are the four verbs. The model,
    inputs and targets are those of the fixtures ``xai_model``, ``xai_inputs`` and ``xai_targets``, at any scope.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._benches: OrderedDict[tuple[int, ...], Bench] = OrderedDict()

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
        from ..bench import Bench

        item = self._config.stash.get(CURRENT_ITEM, None)
        request = getattr(item, "funcargs", {}).get("request")
        if item is None or request is None:
            raise XaiError(
                "xai",
                found="a claim made outside of a test that asks for xai",
                expected="a claim in the body of a test or of a function-scoped fixture",
                fix="make the claim in the test, or use pytest_xaisanity.Bench outside of one",
            )
        model, inputs, targets = (request.getfixturevalue(name) for name in SUBJECT_FIXTURES)
        key = (id(model), id(inputs), id(targets))
        if key not in self._benches:
            self._benches[key] = Bench(
                model,
                inputs,
                targets,
                device=setting(self._config, "device"),
                seed=setting(self._config, "seed"),
                confidence=setting(self._config, "confidence"),
            )
            # A bench keeps its model and inputs alive, so their identities stay theirs; old ones are let go.
            while len(self._benches) > _BENCHES:
                self._benches.popitem(last=False)
        self._benches.move_to_end(key)
        return self._benches[key]

    def decide(self, claim: Claim, source: Any, name: str | None, settings: dict[str, Any]) -> Verdict:
        """Decide a claim, record the verdict with the running test, and apply the policy for inconclusive ones."""
        __tracebackhide__ = True
        try:
            explainer = self.bench.explainer(source, name=name, **settings)
            verdict = explainer.decide(claim)
        except XaiError as error:
            _raise(error)
        item = self._config.stash[CURRENT_ITEM]
        assert item is not None
        policy = setting(self._config, "inconclusive")
        if verdict.inconclusive and policy == "warn":
            verdict = dataclasses.replace(verdict, tolerated=True)
            warnings.warn(f"inconclusive: {verdict.claim}: {verdict.reason}", XaiWarning, stacklevel=4)
        VERDICTS.add(item, verdict, explainer.name, claim.words[0])
        if verdict.inconclusive and policy == "skip":
            pytest.skip(f"inconclusive: {verdict.claim}: {verdict.reason}")
        return verdict


def _raise(error: XaiError) -> NoReturn:
    """Raise ``error`` at the user's line: the frames in between say nothing to a reader; the cause is kept."""
    __tracebackhide__ = True
    raise error.with_traceback(None)


@dataclasses.dataclass(frozen=True)
class XaiExplainer:
    """An explainer of the running test's model. Its methods make a claim and return the verdict on it."""

    xai: Xai
    source: Any
    given_name: str | None
    settings: dict[str, Any]

    def __repr__(self) -> str:
        return f"<explainer {self.given_name or getattr(self.source, '__name__', type(self.source).__name__)}>"

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
        return self._decide("beats", (baseline,), {"on": on, **settings})

    def bounded(self, metric: Any, **settings: Any) -> Verdict:
        """Decide that the metric stays within ``at_most=`` or ``at_least=``."""
        __tracebackhide__ = True
        return self._decide("bounded", (metric,), settings)

    def decide(self, claim: Claim) -> Verdict:
        """Decide a claim object."""
        __tracebackhide__ = True
        return self.xai.decide(claim, self.source, self.given_name, self.settings)

    def _decide(self, verb: str, args: tuple[Any, ...], settings: dict[str, Any]) -> Verdict:
        __tracebackhide__ = True
        from ..claims import make

        try:
            claim = make(verb, args, settings, where=verb)
        except XaiError as error:
            _raise(error)
        return self.decide(claim)
