"""Making claims from names or objects: the four functions, and what they ask of their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from numbers import Real
from typing import Any, Literal

from ..common.errors import XaiError, unknown_name
from ..common.registry import Registry
from ..evidence.base import Intervention, Metric, OwnMetric
from ..evidence.baselines import BASELINES
from ..evidence.interventions import INTERVENTIONS
from ..evidence.metrics import METRICS
from ..maps.similarity import SIMILARITIES
from .base import Claim, label
from .beats import BeatsAcross, beating
from .bounded import Bounded
from .changes_under import ChangesUnder
from .invariant_under import InvariantUnder

Verb = Literal["changes_under", "invariant_under"]


def changes_under(
    intervention: Any,
    *,
    similarity: str | None = None,
    at_most: float | None = None,
    retention: float = 0.5,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> ChangesUnder:
    """Claim that the attributions differ once the intervention is made.

    Args:
        intervention: A name such as ``"cascading_randomization"``, or an intervention object.
        similarity: ``"spearman"``, ``"abs_spearman"``, ``"ssim"``, ``"sign_flip_ssim"``, ``"hog"``, ``"cosine"``,
            ``"pearson"``, ``"abs_pearson"`` or ``"mse"``. With none named, signed and absolute Spearman, and SSIM for
            images, must agree, unless the intervention says better.
        at_most: Decide on the raw similarity, which must be named: its mean is at most this (for ``"mse"``, a
            distance, at least this).
        retention: Share of the similarity above chance that may be left, in (0, 1):
            ``(s_after - s_chance) / (s_self - s_chance)``, averaged over layers and seeds. Decided on the means of
            ``(s_after - s_chance) - retention (s_self - s_chance)`` over pairs of inputs, whose explanations are each
            other's chance, clipped to [-1, 1].
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    where: Verb = "changes_under"
    words = _words(where, intervention, _given(locals(), "similarity", "at_most", "retention", *_ALL), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    _check_early(early, where)
    if at_most is not None and similarity is None:
        raise XaiError(
            f"{where} at_most",
            found="a bound on a raw similarity that is not named",
            expected="similarity= beside it",
            fix="name the similarity, or bound the calibrated share with retention=",
        )
    if at_most is not None and similarity is not None:
        _check_between(f"{where} at_most", at_most, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    _check_between(f"{where} retention", retention, 0.0, 1.0)
    if at_most is not None and retention != 0.5:
        raise XaiError(
            where,
            found=f"at_most={at_most:g} and retention={retention:g}",
            expected="one of the two",
            fix="bound the raw similarity with at_most=, or the calibrated share with retention=",
        )
    return ChangesUnder(
        intervention=built,
        similarity=similarity,
        at_most=at_most,
        retention=retention,
        confidence=_confidence(confidence, where),
        early=early,
        words=words,
    )


def invariant_under(
    intervention: Any,
    *,
    similarity: str | None = None,
    at_least: float | None = None,
    tolerance: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> InvariantUnder:
    """Claim that the attributions do not differ once the intervention is made.

    Args:
        intervention: A name such as ``"batch_order"``, or an intervention object.
        similarity: Decide on this similarity before and after, whose mean must be at least ``at_least`` (for
            ``"mse"``, a distance, at most). With none named, one changed input is a counterexample.
        at_least: The bound on the named similarity.
        tolerance: Without a similarity: how far a map may move, in the Euclidean norm and relative to its own norm;
            by default 1e-3, and 0.05 for models in half precision.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    where: Verb = "invariant_under"
    words = _words(where, intervention, _given(locals(), "similarity", "at_least", "tolerance", *_ALL), settings)
    built = _intervention(intervention, settings, where)
    _check_similarity(similarity, where)
    _check_early(early, where)
    if (similarity is None) != (at_least is None):
        raise XaiError(
            where,
            found=f"similarity={similarity!r} and at_least={at_least!r}",
            expected="both or neither",
            fix="name the similarity and its bound, or leave both out to look for counterexamples",
        )
    if similarity is not None:
        _check_between(f"{where} at_least", at_least, SIMILARITIES[similarity].low, SIMILARITIES[similarity].high)
    if tolerance is not None:
        _check_between(f"{where} tolerance", tolerance, 0.0, inf)
        if similarity is not None:
            raise XaiError(
                where,
                found=f"similarity={similarity!r} and tolerance={tolerance:g}",
                expected="one of the two",
                fix="bound the similarity with at_least=, or leave it out to look for counterexamples",
            )
    return InvariantUnder(
        intervention=built,
        similarity=similarity,
        at_least=at_least,
        tolerance=tolerance,
        confidence=_confidence(confidence, where),
        early=early,
        words=words,
    )


def beats(
    baseline: Any,
    *,
    on: Any,
    draws: int | None = None,
    max_examples: int | None = None,
    mutants: Sequence[str] | None = None,
    across: Literal["settings"] | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> Claim:
    """Claim that, per input, the explainer is better than the baseline on a metric.

    Args:
        baseline: ``"random"``; ``"edges"``; ``"uninformative"``, the best map that knows nothing of the model, which
            Hypothesis searches for on one half of the inputs (32 at most) and the claim is decided against on the
            others; ``"input_times_noise"``; ``"mutants"``, the explainer's own map made coarse, in several ways that
            each must be beaten; or any other explainer: a Captum class or instance, a function.
        on: The metric: a name such as ``"pixel_flipping"``, or a metric object.
        draws: For ``"random"``, the number of random orders of each input, 5 by default.
        max_examples: For ``"uninformative"``, how many maps to try; by default what the active Hypothesis profile says.
        mutants: For ``"mutants"``, which changes of the map: by default ``("low_rank", "rounded")``; others are
            ``"absolute_value"``, ``"flipped_sign"``, ``"flipped"``, ``"shifted"`` and ``"shuffled"``.
        across: ``"settings"``: the claim must hold for each of a dozen settings of the metric that Hypothesis draws,
            those given among ``settings`` excepted; one that fails is shrunk to the simplest.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    where = "beats"
    on_word = on if isinstance(on, str) else type(on).__name__
    given = _given(locals(), *_ALL)
    words = (
        *_words(where, baseline, _given(locals(), "draws", "max_examples", "mutants", "across"), {}),
        "on",
        *_words("", on, given, settings)[1:],
    )
    metric = _metric(on, settings, f"{where} on={on_word!r}", beats)
    _check_early(early, where)
    own = _given(locals(), "draws", "max_examples", "mutants")
    if own and not isinstance(baseline, str):
        raise XaiError(
            f"{where} {', '.join(own)}",
            found=f"a setting of a baseline beside {label(baseline)}",
            expected="draws only for 'random', max_examples for 'uninformative', mutants for 'mutants'",
            fix="leave it out",
        )
    built = BASELINES.build(baseline, own, where=where) if isinstance(baseline, str) else baseline
    common: dict[str, Any] = {"confidence": _confidence(confidence, where), "early": early, "words": words}
    if across is None:
        return beating(built, metric, **common)
    if across != "settings" or not isinstance(on, str):
        raise XaiError(
            f"{where} across",
            found=f"across={across!r} on {label(on)}",
            expected='"settings", and the metric by name',
            fix=f'write across="settings", on={metric.name!r}',
        )
    return BeatsAcross(baseline=built, metric=on, fixed=dict(settings), **common)


def bounded(
    metric: Any,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: Any,
) -> Bounded:
    """Claim that a metric stays within a bound: its mean, or the median of a metric without a range.

    Args:
        metric: A name such as ``"pixel_flipping"``, or a metric object.
        at_most: Upper bound.
        at_least: Lower bound; one of the two is needed.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    where = "bounded"
    words = _words(where, metric, _given(locals(), "at_most", "at_least", *_ALL), settings)
    built = _metric(metric, settings, where, bounded)
    _check_early(early, where)
    if at_most is None and at_least is None:
        raise XaiError(where, found="no bound", expected="at_most= or at_least=", fix="give one of the two")
    for word, bound in (("at_most", at_most), ("at_least", at_least)):
        if bound is not None:
            _check_between(f"{where} {word}", bound, built.low, built.high)
    if at_most is not None and at_least is not None and at_least > at_most:
        raise XaiError(
            where,
            found=f"at_most={at_most:g} and at_least={at_least:g}",
            expected="at_least below at_most",
            fix="swap them",
        )
    return Bounded(
        metric=built,
        at_most=at_most,
        at_least=at_least,
        confidence=_confidence(confidence, where),
        early=early,
        words=words,
    )


VERBS = {function.__name__: function for function in (changes_under, invariant_under, beats, bounded)}


def make(verb: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, where: str) -> Claim:
    """Return the claim of a verb called with ``args`` and ``kwargs``, as a marker holds them."""
    if verb not in VERBS:
        raise unknown_name(where, verb, VERBS, kind="verb")
    try:
        inspect.signature(VERBS[verb]).bind(*args, **kwargs)
    except TypeError as error:
        raise XaiError(
            where,
            found=f"arguments that do not fit ({error})",
            expected=f"{verb}{_signature(VERBS[verb])}",
            fix="see pytest --markers",
        ) from error
    claim: Claim = VERBS[verb](*args, **kwargs)
    return claim


def _signature(function: Any) -> str:
    parameters = inspect.signature(function).parameters.values()
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters if p.kind is not p.VAR_KEYWORD
    ]
    return f"({', '.join(shown)}, ...)"


def checked_confidence(confidence: Any, *, where: str) -> float:
    """Return ``confidence`` when it is a number in (0.5, 1); otherwise raise."""
    if not _is_number(confidence) or not 0.5 < confidence < 1:
        raise XaiError(where, found=repr(confidence), expected="a number between 0.5 and 1", fix="use 0.95 or 0.99")
    return float(confidence)


def _confidence(confidence: float | None, where: str) -> float | None:
    return None if confidence is None else checked_confidence(confidence, where=f"{where} confidence")


def _intervention(spec: Any, settings: Mapping[str, Any], verb: Verb) -> Any:
    built = _build(INTERVENTIONS, spec, settings, verb, VERBS[verb])
    if not isinstance(built, Intervention) or verb not in built.verbs:
        other = "invariant_under" if verb == "changes_under" else "changes_under"
        raise XaiError(
            verb,
            found=f"the intervention {label(built)!r}",
            expected="an intervention that this verb goes with",
            fix=f"claim {other}" if isinstance(built, Intervention) else "pass the name of an intervention",
        )
    return built


def _metric(spec: Any, settings: Mapping[str, Any], where: str, verb: Any) -> Any:
    built = _build(METRICS, spec, settings, where, verb)
    if verb is beats and isinstance(built, OwnMetric):
        raise XaiError(
            where,
            found=f"{label(built)!r}, which cannot score the maps of a baseline",
            expected="a metric of given maps",
            fix="claim bounded(...) of it, or name pixel_flipping",
        )
    if not isinstance(built, Metric):
        raise XaiError(where, found=f"{label(built)!r}", expected="a metric", fix=f"pass a name: {', '.join(METRICS)}")
    return built


def _build(registry: Registry, spec: Any, settings: Mapping[str, Any], where: str, verb: Any) -> Any:
    if isinstance(spec, type):
        raise XaiError(
            where,
            found=f"the class {spec.__name__}",
            expected=f"the name of a {registry.kind}, or an object",
            fix=f"write {spec.__name__}(...)",
        )
    own = [p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return registry.build(spec, settings, where=where, also=own)


_ALL = ("confidence", "early")  # what every verb takes


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    defaults = {"retention": 0.5, "early": True}
    return {name: values[name] for name in names if values[name] != defaults.get(name)}


def _words(verb: str, spec: Any, given: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ", ".join(f"{key}={label(value)}" for key, value in {**settings, **given}.items())
    return verb, f"{label(spec)}({shown})" if shown else label(spec)


def _check_similarity(similarity: Any, where: str) -> None:
    if similarity is not None and (not isinstance(similarity, str) or similarity not in SIMILARITIES):
        raise unknown_name(f"{where} similarity", similarity, SIMILARITIES, kind="similarity")


def _check_between(where: str, value: Any, low: float, high: float) -> None:
    if not _is_number(value) or not isfinite(value) or not low <= value <= high:
        limits = f"a number between {low:g} and {high:g}" if isfinite(low) or isfinite(high) else "a finite number"
        raise XaiError(where, found=repr(value), expected=limits, fix=f"change {where.split()[-1]}=")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _check_early(early: Any, where: str) -> None:
    if not isinstance(early, bool):
        raise XaiError(f"{where} early", found=repr(early), expected="True or False", fix="change early=")
