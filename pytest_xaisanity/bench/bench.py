"""The bench: a subject, its explainers, and the evidence they share."""

from __future__ import annotations

import operator
import os
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from ..claims.base import Claim, Compound, Look, Measurement
from ..claims.make import beats, bounded, changes_under, checked_confidence, invariant_under
from ..common.errors import XaiError
from ..explainers.adapters import as_explainer
from ..explainers.attributions import Attributions, MapCache
from ..explainers.explainer import Explainer
from ..model.training import Retraining
from ..statistics.verdict import Verdict
from ..subject.layout import empty_maps
from ..subject.subject import Subject
from .runs import Run

__all__ = ["Bench", "BoundExplainer"]


class Bench:
    """Decides claims about explainers of one model: what the fixture ``xai`` is, usable outside pytest.

    Args:
        model: A ``torch.nn.Module`` or another callable from inputs to outputs.
        inputs: A tensor ``(N, ...)``, a tuple of tensors, or an iterable of batches (see
            :class:`~pytest_xaisanity.subject.subject.Subject`).
        targets: Class indices ``(N,)``; the model's own predictions by default.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        seed: Seeds everything that is drawn: same seed, same verdict.
        confidence: Of every claim that does not name its own, in (0.5, 1).
        batch_size: The most inputs in one pass; sized automatically by default, and halved when memory runs out.
        train: A function ``(inputs, targets, seed) -> model`` that trains a model like ``model``, for claims that need
            one (``"label_randomization"``).
        training_data: ``(inputs, targets)``, a tenth of which is held out of training to test on, or ``(inputs,
            targets, test_inputs, test_targets)``; or a function without arguments that returns it.
        cache_dir: A folder in which trained weights are kept for later sessions (see
            :class:`~pytest_xaisanity.training.Retraining`); None keeps none.
        progress: A stream for the progress bar of trainings; standard error by default, if it is a terminal.

    >>> bench = Bench(model, images)                                     # doctest: +SKIP
    >>> bench.explainer(Saliency).beats("random", on="pixel_flipping")   # doctest: +SKIP
    <passed: Saliency beats random on pixel_flipping: share of random orders beaten 0.91 in [0.8, 0.97], n=16>
    """

    def __init__(
        self,
        model: Any,
        inputs: Any,
        targets: Any = None,
        *,
        device: str = "auto",
        seed: int = 0,
        confidence: float = 0.95,
        batch_size: int | None = None,
        train: Any = None,
        training_data: Any = None,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: Any = None,
    ) -> None:
        self.seed = _checked_seed(seed)
        self._retraining = Retraining(train, training_data, seed=self.seed, cache_dir=cache_dir, progress=progress)
        self.subject = Subject(
            model, inputs, targets, device=device, batch_size=batch_size, seed=self.seed, retraining=self._retraining
        )
        self.confidence = checked_confidence(confidence, where="confidence")
        self._cache = None if self.subject.streamed else MapCache()
        self._explained: dict[Hashable, Attributions] = {}
        self._runs: dict[Hashable, Run] = {}
        self.fingerprint = ""  # of model, inputs and targets when a claim was last decided

    def explainer(self, source: Any, *, name: str | None = None, **kwargs: Any) -> BoundExplainer:
        """Return an explainer, whose methods are the four verbs.

        Args:
            source: A Captum class or instance, a zennit attributor or composite, a rule explainer, or a function
                ``(model, inputs, targets) -> attributions``.
            name: What verdicts and reports call it.
            kwargs: Settings of the Captum class, its ``attribute`` or the function.
        """
        if isinstance(source, BoundExplainer):
            raise XaiError(
                "xai.explainer",
                found=f"{source.name}, which is an explainer of a bench already",
                expected="a Captum class or instance, or a function",
                fix="use it as it is",
            )
        return BoundExplainer(self, as_explainer(source, self.subject.model, name=name, **kwargs))

    def decide(self, claim: Claim, explainer: Explainer) -> Verdict:
        """Return the verdict on a claim, measuring no more inputs than it takes."""
        if isinstance(claim, Compound):
            with self.subject.lent():
                self._renew()
                shape = tuple(empty_maps(next(self.subject.blocks()).inputs).shape[1:])
            resolve = claim.resolve
            return resolve(lambda one: self.decide(one, explainer), shape=shape, seed=self.seed, name=explainer.name)
        confidence = claim.confidence or self.confidence
        with self.subject.lent():
            self._renew()
            needed = claim.measurements()
            runs = [self._run(m, self._baseline(other) or explainer, claim.early) for m, other in needed]
            for count in range(1, 1 << 62):
                ended = [run.advance(count) for run in runs]
                final = all(ended)
                if not final and not claim.early:
                    continue
                verdict = claim.decide(self._look(runs, count, final), explainer.name, confidence)
                if verdict is not None:
                    return verdict
        raise AssertionError("a claim is decided at the last look")

    def _look(self, runs: list[Run], count: int, final: bool) -> Look:
        tolerance = 1e-3 if "float16" not in str(self.subject.dtype) else 5e-2
        return Look(
            indices=runs[0].indices(count),
            final=final,
            scores=tuple(run.scores(count) for run in runs),
            descriptions=tuple(run.describe() for run in runs),
            seed=self.seed,
            tolerance=tolerance,
        )

    def _renew(self) -> None:
        """Forget what was measured on another state of the model."""
        fingerprint = self.subject.renew()
        if fingerprint != self.fingerprint:
            self.fingerprint = fingerprint
            self._runs.clear()
            self._explained.clear()
            self._retraining.measured.clear()
            self._cache = None if self.subject.streamed else MapCache()

    def _baseline(self, other: Any) -> Explainer | None:
        """Return the explainer that is measured instead of the claim's own, if one is."""
        if not isinstance(other, BoundExplainer):
            return None if other is None else as_explainer(other, self.subject.model, where="beats baseline")
        if other.bench is not self:
            raise XaiError(
                "beats baseline",
                found=f"{other.name}, which explains the model of another bench",
                expected="an explainer of the same model and inputs",
                fix="make it with this bench's explainer(...)",
            )
        return other.explainer

    def _run(self, measurement: Measurement, explainer: Explainer, early: bool) -> Run:
        key = (early, explainer.key if measurement.explains else None, measurement.key)
        if key not in self._runs or self._runs[key].broken:
            if explainer.key not in self._explained:
                self._explained[explainer.key] = Attributions(self.subject, explainer, self.seed, self._cache)
                self._explained[explainer.key].remember(self.fingerprint)
            self._runs[key] = Run(self.subject, measurement, self._explained[explainer.key], early)
        return self._runs[key]


def _checked_seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError as error:
        raise XaiError("seed", found=repr(seed), expected="a whole number", fix="pass seed=0") from error


@dataclass(frozen=True)
class BoundExplainer:
    """An explainer on a bench. Its four methods make a claim and return the verdict on it."""

    bench: Bench
    explainer: Explainer

    @property
    def name(self) -> str:
        """What verdicts call it."""
        return self.explainer.name

    def changes_under(self, intervention: Any, **settings: Any) -> Verdict:
        """Decide that the attributions differ once the intervention is made.

        See :func:`pytest_xaisanity.changes_under` for the settings.
        """
        return self.decide(changes_under(intervention, **settings))

    def invariant_under(self, intervention: Any, **settings: Any) -> Verdict:
        """Decide that the attributions do not differ once the intervention is made.

        See :func:`pytest_xaisanity.invariant_under` for the settings.
        """
        return self.decide(invariant_under(intervention, **settings))

    def beats(self, baseline: Any, *, on: Any, **settings: Any) -> Verdict:
        """Decide that, per input, the explainer is better than the baseline on the metric ``on``.

        See :func:`pytest_xaisanity.beats` for the settings.
        """
        return self.decide(beats(baseline, on=on, **settings))

    def bounded(self, metric: Any, **settings: Any) -> Verdict:
        """Decide that the metric stays within ``at_most=`` or ``at_least=``.

        See :func:`pytest_xaisanity.bounded` for the settings.
        """
        return self.decide(bounded(metric, **settings))

    def decide(self, claim: Claim) -> Verdict:
        """Return the verdict on a claim object."""
        if not isinstance(claim, Claim):
            raise XaiError(
                "decide",
                found=f"a {type(claim).__name__}",
                expected="a claim",
                fix="make one with pytest_xaisanity.beats(...) or its sisters",
            )
        return self.bench.decide(claim, self.explainer)
