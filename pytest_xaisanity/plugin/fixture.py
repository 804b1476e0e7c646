"""The fixture ``xai``: benches over whatever fixtures the running test has, and the record of their verdicts."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

import pytest

from ..common.errors import XaiError, XaiWarning, raise_here
from .audit import AUDIT
from .baseline import BASELINE
from .dry_run import DryRun
from .failures import hide_frames
from .figures import figures_of
from .interrupts import end_on_sigterm
from .looks import LOOKS
from .named import of_option
from .options import REPORTS, flag, given, setting
from .records import VERDICTS
from .running import RUNNING, Running, begins_again
from .stream import Terminal
from .workers import divided_threads
from .zero_code import BATTERY

if TYPE_CHECKING:
    from ..bench.bench import Bench, BoundExplainer
    from ..claims.base import Claim
    from ..report.records import Plain
    from ..statistics.verdict import Verdict

__all__ = ["SUBJECT_FIXTURES", "Xai"]

SUBJECT_FIXTURES = (
    *("xai_model", "xai_inputs", "xai_targets", "xai_task", "xai_axes", "xai_features"),
    *("xai_explain", "xai_output", "xai_embedding", "xai_mask"),
)
RETRAINING_FIXTURES = ("xai_train", "xai_training_data")
_BENCHES = 4


class Xai:
    """Claims about the explainers of the running test's model.

    ``xai.explainer(source, name=None, **settings)`` returns an explainer whose methods are the four verbs. The model,
    inputs, targets and so on are those of the fixtures ``xai_model``, ``xai_inputs``, ``xai_targets``, ``xai_task``,
    ``xai_axes``, ``xai_features``, ``xai_explain``, ``xai_output``, ``xai_embedding`` and ``xai_mask``, at any scope.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        end_on_sigterm(config)
        self._benches: OrderedDict[tuple[int, ...], tuple[Bench, tuple[object, ...]]] = OrderedDict()
        self._made: WeakSet[Bench] = WeakSet()

    def __repr__(self) -> str:
        return "<xai>"

    def explainer(self, source: object, *, name: str | None = None, **settings: object) -> BoundExplainer:
        """Return an explainer, of the model of whatever test makes a claim about it.

        Args:
            source: A Captum class or instance, a zennit attributor or composite, a rule explainer, or a function
                ``(model, inputs, targets) -> attributions``.
            name: What verdicts and reports call it.
            settings: Those of the Captum class, its ``attribute``, or the function.
        """
        from ..bench.bench import BoundExplainer

        return BoundExplainer(self, source, name, settings)

    @property
    def bench(self) -> Bench:
        """The bench of the running test."""
        __tracebackhide__ = True
        return self._bench(retrains=False)

    def has(self, bench: Bench) -> bool:
        """Whether the bench is that of a test."""
        return bench in self._made

    def _bench(self, *, retrains: bool) -> Bench:
        """Return the bench of the running test: one that can train models has the fixtures for it too."""
        __tracebackhide__ = True
        request = self._running.request
        subject = tuple(request.getfixturevalue(name) for name in SUBJECT_FIXTURES)
        training = tuple(request.getfixturevalue(name) for name in RETRAINING_FIXTURES) if retrains else ()
        key = tuple(id(part) for part in (*subject, *training))
        if key not in self._benches:
            # What the fixtures returned is kept alive, so that its identity stays its own; old benches are let go.
            self._benches[key] = self._new_bench(subject, training), (*subject, *training)
            while len(self._benches) > _BENCHES:
                self._benches.popitem(last=False)
        self._benches.move_to_end(key)
        bench = self._benches[key][0]
        if begins_again(self._running.item):
            bench.forget()
        return bench

    def _new_bench(self, subject: tuple[object, ...], training: tuple[object, ...]) -> Bench:
        from ..bench.bench import Bench

        __tracebackhide__ = True
        given, named = subject[:3], (name.removeprefix("xai_") for name in SUBJECT_FIXTURES[3:])
        settings = {name: setting(self._config, name) for name in ("device", "seed", "confidence")}
        settings |= {**dict(zip(named, subject[3:], strict=True)), "progress": Terminal(self._config)}
        if training:
            cache: pytest.Cache | None = getattr(self._config, "cache", None)
            folder = None if cache is None else cache.mkdir("xaisanity")
            train, data = training
            settings |= {"train": train, "training_data": data, "cache_dir": folder}
            settings["jobs"] = setting(self._config, "jobs")
        bench = Bench(*given, **settings)
        bench.pictures = setting(self._config, "report") is not None
        self._made.add(bench)
        return bench

    @property
    def _running(self) -> Running:
        return self._config.stash[RUNNING]

    def decide(self, claim: Claim, explainer: BoundExplainer) -> Verdict:
        """Decide a claim, record the verdict with the running test, and apply the policy for inconclusive ones."""
        __tracebackhide__ = True
        item = self._running.item
        try:
            bench = self._bench(retrains=claim.retrains)
            baseline = self._config.stash[BASELINE]
            bench.past = baseline.past(item)
            if DryRun.is_on(self._config):
                return DryRun.decide(item, bench, claim, explainer, baseline.asks(item, claim, explainer))
            with divided_threads():
                verdict = baseline.settled(claim, bench.decide(claim, explainer.on(bench)))
                kept = baseline.kept(item, bench, claim, explainer)
                if AUDIT in self._config.stash:
                    auditor = self._config.stash[AUDIT]
                    auditor.decided(item, bench, explainer, claim, verdict, self._running.request)
        except (Exception, pytest.fail.Exception) as raised:
            error = of_option(self._config, raised) if isinstance(raised, XaiError) else raised
            if not DryRun.is_on(self._config):
                VERDICTS.add_error(item, error, claim, explainer, _command(item, claim))
            hide_frames(error)
            if isinstance(error, XaiError):
                raise_here(error)
            raise
        return self._decided(item, verdict, claim, explainer, bench.fingerprint, kept)

    def _decided(
        self,
        item: pytest.Item,
        verdict: Verdict,
        claim: Claim,
        explainer: BoundExplainer,
        subject: str,
        kept: Mapping[str, Plain],
    ) -> Verdict:
        __tracebackhide__ = True
        policy = setting(self._config, "inconclusive")
        if verdict.inconclusive and policy == "warn":
            verdict = dataclasses.replace(verdict, tolerated=True)
        wanted = setting(self._config, "report") is not None
        figures = figures_of(verdict, self._running.request) if wanted else None
        VERDICTS.add(item, verdict, claim, explainer, _command(item, claim), figures, subject, kept)
        if verdict.tolerated:
            # Where the test is, because the frames from here to its line differ between the two forms.
            file, line, _ = item.reportinfo()
            text = f"inconclusive: {verdict.claim}: {verdict.reason}"
            warnings.warn_explicit(text, XaiWarning, str(file), (line or 0) + 1)
        if verdict.inconclusive and policy == "skip":
            pytest.skip(f"inconclusive: {verdict.claim}: {verdict.reason}")
        return self._config.stash[LOOKS].watch(item, verdict, scope=self._running.scope)


def _command(item: pytest.Item, claim: Claim) -> str:
    """Return the command that decides the claims of a test again."""
    options = {"seed": setting(item.config, "seed"), **given(item.config)}
    for about_the_suite in (*REPORTS, "dry_run", "audit", "audit_all", "audit_fail_under", "jobs", "update_baseline"):
        options.pop(about_the_suite, None)
    module, _, name = item.nodeid.partition("::")
    in_battery = module == BATTERY  # in no file of the user's, so that a node id would name nothing
    which = f"-k {shlex.quote(name)}" if in_battery else shlex.quote(item.nodeid)
    values = [(key, one) for key, value in options.items() for one in (value if isinstance(value, list) else [value])]
    written = (flag(key) if value is True else f"{flag(key)}={value}" for key, value in values)
    return " ".join(["pytest", which, *map(shlex.quote, written)])
