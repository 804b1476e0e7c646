"""The four verbs: making claims from names or objects.

Here is the one signature of each verb: the methods of explainers and the markers take theirs from it. The markers are
described in every session, so that at the top nothing is imported that a session without a claim should not load.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from ..common.checks import check_choice, check_number
from ..common.errors import XaiError, shown, unknown_name
from .checks import checked_confidence, checked_early

if TYPE_CHECKING:
    from ..evidence.base import Intervention, Metric
    from ..maps.similarity import Similarity
    from .base import Claim
    from .bounded import Bounded
    from .changes_under import ChangesUnder
    from .invariant_under import InvariantUnder

__all__ = ["VERBS", "beats", "bounded", "changes_under", "invariant_under", "made", "make", "signature_of"]

P = ParamSpec("P")
C = TypeVar("C", bound="Claim")


def changes_under(
    intervention: str | Intervention,
    *,
    similarity: str | Similarity | Sequence[str | Similarity] | None = None,
    at_most: float | None = None,
    retention: float = 0.5,
    cells: Literal["sample", "all"] | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: object,
) -> ChangesUnder:
    """Claim that the attributions differ once the intervention is made.

    Args:
        intervention: A name such as ``"cascading_randomization"``, or an intervention object.
        similarity: ``"sign_flip_spearman"``, ``"spearman"``, ``"abs_spearman"``, ``"ssim"`` (of maps brought to
            [0, 1]), ``"rms_ssim"``, ``"sign_flip_ssim"``, ``"hog"``, ``"cosine"``, ``"pearson"``, ``"abs_pearson"`` or
            ``"mse"``; of several, all must agree. With none named, ``sign_flip_spearman`` decides, unless the
            intervention says better: a map that is only turned over has not changed. Signed and absolute ranks, and
            SSIM for images, are then measured beside it, and the verdict says where they would have decided otherwise.
        at_most: Decide on the raw similarity, which must be named: its mean is at most this (for ``"mse"``, a
            distance, at least this).
        retention: Share of the similarity above chance that may be left, in [0, 1]:
            ``(s_after - s_chance) / (s_self - s_chance)``, averaged over all cells, each a seed and a position in the
            order of the layers, and over those of the upper third, the first third of the positions. Both must hold.
            Decided on the means of ``(s_after - s_chance) - retention (s_self - s_chance)`` over pairs of inputs, whose
            explanations are each other's chance, clipped to [-1, 1]. Where no similarity is named and the upper third
            keeps a share ``g`` of the network's own gradient above ``0.3 retention``, the claim is of the cells below
            it, and of the upper third that at most ``1 - (1 - retention) (1 - g) / (1 - 0.3 retention)`` is left; it
            fails there with more than ``1 - (1 - g) / 5``, or with more than 0.75 of signed ranks.
        cells: ``"sample"``: each pair of inputs is explained under one cell drawn for it, and one of the upper third,
            so that the cost does not depend on the depth and the seeds; ``"all"``: each input under all. By default
            the latter with ``early=False`` alone.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    from ..evidence.names import as_intervention
    from .changes_under import ChangesUnder

    given, also = _given(changes_under, locals()), _keywords(changes_under)
    built = as_intervention(intervention, settings, verb="changes_under", where="changes_under", also=also)
    named = _similarities(similarity)
    at_most, retention = _raw_or_calibrated(named, similarity, at_most, retention)
    if cells is not None:
        check_choice("changes_under", "cells", cells, ("sample", "all"))
    return ChangesUnder(
        intervention=built,
        similarity=tuple(dict.fromkeys(one.name for one in named)),
        at_most=at_most,
        retention=retention,
        cells=cells,
        confidence=_confidence(confidence, "changes_under"),
        early=checked_early(early, "changes_under"),
        words=("changes_under", _words(intervention, {**settings, **given})),
    )


def invariant_under(
    intervention: str | Intervention,
    *,
    similarity: str | Similarity | None = None,
    at_least: float | None = None,
    tolerance: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: object,
) -> InvariantUnder:
    """Claim that the attributions do not differ once the intervention is made.

    Args:
        intervention: A name such as ``"batch_order"``, or an intervention object.
        similarity: Decide on this similarity before and after, whose mean must be at least ``at_least`` (for
            ``"mse"``, a distance, at most). With none named, one changed input is a counterexample.
        at_least: The bound on the named similarity.
        tolerance: Without a similarity: how far a map may move, in the Euclidean norm and relative to its own norm,
            from 0 to 1; by default 0.01, for gradients of deep networks move by some thousandths where rounding
            takes a unit across its kink, and 0.05 for models in half precision.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the intervention.
    """
    from ..evidence.names import as_intervention, as_similarity
    from .invariant_under import InvariantUnder

    given, also = _given(invariant_under, locals()), _keywords(invariant_under)
    built = as_intervention(intervention, settings, verb="invariant_under", where="invariant_under", also=also)
    named = None if similarity is None else as_similarity(similarity, where="invariant_under similarity")
    if (named is None) != (at_least is None):
        raise XaiError(
            "invariant_under",
            found=f"similarity={shown(similarity)} and at_least={shown(at_least)}",
            expected="both or neither",
            fix="name the similarity and its bound, or leave both out to look for counterexamples",
        )
    if named is not None:
        at_least = check_number("invariant_under at_least", at_least, named.low, named.high)
    if tolerance is not None:
        tolerance = check_number("invariant_under tolerance", tolerance, 0.0, 1.0)
        if named is not None:
            fix = "bound the similarity with at_least=, or leave it out to look for counterexamples"
            raise _both("invariant_under", f"similarity={named.name!r} and tolerance={tolerance:g}", fix)
    return InvariantUnder(
        intervention=built,
        similarity=None if named is None else named.name,
        at_least=at_least,
        tolerance=tolerance,
        confidence=_confidence(confidence, "invariant_under"),
        early=checked_early(early, "invariant_under"),
        words=("invariant_under", _words(intervention, {**settings, **given})),
    )


def beats(
    baseline: object,
    *,
    on: str | Metric,
    draws: int | None = None,
    max_examples: int | None = None,
    mutants: Sequence[str] | None = None,
    beta: float | Sequence[float] | None = None,
    r: float | Sequence[float] | None = None,
    lse: Literal["sum", "mean"] | None = None,
    across: Literal["settings"] | None = None,
    within: Literal["target"] | None = None,
    margin: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: object,
) -> Claim:
    """Claim that, per input, the explainer is better than the baseline on a metric.

    Args:
        baseline: ``"random"``; ``"edges"``; ``"other_input"``, the explainer's own map of another input of the same
            target, which no explainer beats that gives one map to more than a third of the pairs of these;
            ``"other_local"``, of maps that are multiplied by the input, that input's local attributions times this;
            ``"misplaced"``, its own map turned over, in each of several ways;
            ``"class_mean"``, its mean map over others of that target; ``"uninformative"``, the best map that
            knows nothing of what the model makes of an input: blobs, mean images, mean maps and what Hypothesis finds
            on one half of the inputs (32 at most), which the claim is decided against on the others;
            ``"input_times_noise"``; ``"mutants"``, the explainer's own map made coarse, in several ways that each must
            be beaten; ``"smoothed"``, its own map of the network with softplus for ReLUs and log-sum-exp for
            max-pooling; ``"recorded"``, its own scores in the baseline file, which only what has improved beats; or
            any other explainer: a Captum class or instance, a function.
        on: The metric: a name such as ``"pixel_flipping"``, or a metric object. One that measures more than given
            maps, such as ``"max_sensitivity"``, goes with another explainer alone.
        draws: For ``"random"``, the number of random orders of each input, 3 by default.
        max_examples: For ``"uninformative"``, how many maps to try; by default what the active Hypothesis profile says.
        mutants: For ``"mutants"``, which changes of the map: by default ``("low_rank", "rounded")``; others are
            ``"absolute_value"``, ``"flipped_sign"``, ``"flipped"``, ``"shifted"`` and ``"shuffled"``.
        beta: For ``"smoothed"``, of softplus, 10 by default; of several values each must be beaten.
        r: For ``"smoothed"``, of log-sum-exp, likewise.
        lse: For ``"smoothed"``, ``"sum"`` by default, or ``"mean"``.
        across: ``"settings"``: the claim must hold for each of a dozen settings of the metric that Hypothesis draws,
            those given among ``settings`` excepted; one that fails is shrunk to the simplest.
        within: ``"target"``: the claim must hold for the inputs of each target by themselves, so that being right for
            some classes does not do. Every input is measured; targets with too few inputs are named.
        margin: A smaller advantage counts as none: the claim fails once the advantage is shown to be below. A share
            above one half, by default 0.1, where shares decide (``"random"``, metrics without bounds); otherwise a mean
            gain on the metric, by default 0.05 for scores in [-1, 1], and 0.01 against own maps of other inputs.
        confidence: One minus the accepted rate of wrong passes; by default the bench's.
        early: Stop as soon as the claim is decided; False measures every input.
        settings: Those of the metric.
    """
    from ..evidence.names import as_baseline, as_compared_metric
    from .beats_several import BeatsAcross, beating
    from .identity import label

    given = _given(beats, locals())
    own: dict[str, object] = {name: given[name] for name in _OF_BASELINES if name in given}
    built, where = as_baseline(baseline, own, where="beats"), f"beats on={label(on)!r}"
    metric = as_compared_metric(on, settings, baseline=built, where=where, also=_keywords(beats))
    margin = _checked_advantage(built, metric, within, margin)
    level, early = _confidence(confidence, "beats"), checked_early(early, "beats")
    words = _against(baseline, on, given, settings)
    if across is None:
        return beating(built, metric, within=within, margin=margin, confidence=level, early=early, words=words)
    return BeatsAcross(
        baseline=built,
        metric=_named_for(across, on, metric, built),
        fixed=settings,
        within=within,
        margin=margin,
        confidence=level,
        early=early,
        words=words,
    )


_OF_BASELINES = ("draws", "max_examples", "mutants", "beta", "r", "lse")  # what beats takes for a named baseline


def _named_for(across: object, on: object, metric: Metric, baseline: object) -> str:
    """Return the name of the metric whose settings ``across`` draws."""
    from ..evidence.base import RetrainedMetric
    from ..evidence.baselines.recorded import Recorded
    from .identity import label

    if isinstance(baseline, Recorded):
        raise XaiError(
            "beats across",
            found="the baseline 'recorded', of which one setting was recorded",
            expected="a baseline that can be scored in each of several settings",
            fix="leave across= out",
        )
    if isinstance(metric, RetrainedMetric):
        raise XaiError(
            "beats across",
            found=f"{metric.name}, which would train models for each of several settings",
            expected="a metric of given maps",
            fix="leave across= out",
        )
    if not _same(across, "settings") or not isinstance(on, str):
        raise XaiError(
            "beats across",
            found=f"across={shown(across)} on {label(on)}",
            expected='"settings", and the metric by name',
            fix=f'write across="settings", on={metric.name!r}',
        )
    return on


def _against(
    baseline: object, metric: object, given: Mapping[str, object], settings: Mapping[str, object]
) -> tuple[str, ...]:
    """Return a claim of ``beats`` as it was written."""
    judging = {name: given[name] for name in ("confidence", "early") if name in given}
    others = {name: value for name, value in given.items() if name not in judging}
    return ("beats", _words(baseline, others), "on", _words(metric, {**settings, **judging}))


def _checked_advantage(baseline: object, metric: Metric, within: object, margin: object) -> float | None:
    """Return ``margin`` of ``beats``; raise when it or ``within`` cannot be."""
    from ..evidence.base import Baseline

    if within is not None and not _same(within, "target"):
        raise XaiError(
            "beats within",
            found=shown(within),
            expected='"target" or nothing',
            fix='write within="target", or leave it out',
        )
    if margin is None:
        return None
    shares = isinstance(baseline, Baseline) and baseline.random
    width = metric.high - metric.low
    most = 0.5 if shares or width == inf else 1.0 if width <= 2 else width
    return check_number("beats margin", margin, 0.0, most)


def bounded(
    metric: str | Metric,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    **settings: object,
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
    from ..evidence.names import as_metric
    from .bounded import Bounded

    given = _given(bounded, locals())
    built = as_metric(metric, settings, where="bounded", also=_keywords(bounded))
    if at_most is None and at_least is None:
        raise XaiError("bounded", found="no bound", expected="at_most= or at_least=", fix="give one of the two")
    if at_most is not None:
        at_most = check_number("bounded at_most", at_most, built.low, built.high)
    if at_least is not None:
        at_least = check_number("bounded at_least", at_least, built.low, built.high)
    if at_most is not None and at_least is not None and at_least > at_most:
        raise XaiError(
            "bounded",
            found=f"at_most={at_most:g} and at_least={at_least:g}",
            expected="at_least below at_most",
            fix="swap them",
        )
    return Bounded(
        metric=built,
        at_most=at_most,
        at_least=at_least,
        confidence=_confidence(confidence, "bounded"),
        early=checked_early(early, "bounded"),
        words=("bounded", _words(metric, {**settings, **given})),
    )


VERBS: Mapping[str, Callable[..., Claim]] = {
    "changes_under": changes_under,
    "invariant_under": invariant_under,
    "beats": beats,
    "bounded": bounded,
}


EXAMPLES: Mapping[str, str] = {
    "changes_under": 'changes_under("cascading_randomization")',
    "invariant_under": 'invariant_under("batch_order")',
    "beats": 'beats("random", on="pixel_flipping")',
    "bounded": 'bounded("complexity", at_most=3.0)',
}


def make(verb: str, args: Sequence[object], kwargs: Mapping[str, object], *, where: str) -> Claim:
    """Return the claim of a verb called with ``args`` and ``kwargs``, as a marker holds them.

    Raises:
        XaiError: There is no such verb; or see :func:`made`.
    """
    if verb not in VERBS:
        raise unknown_name(where, verb, VERBS, kind="verb")
    return made(where, VERBS[verb], *args, **kwargs)


def made(where: str, verb: Callable[P, C], /, *args: P.args, **kwargs: P.kwargs) -> C:
    """Return the claim that one of the four verbs makes of these arguments.

    Raises:
        XaiError: They do not fit its signature, or are no claim; ``where`` is the method or marker that held them.
    """
    try:
        inspect.signature(verb).bind(*args, **kwargs)
    except TypeError as error:
        twice = bool(args) and "baseline" in kwargs  # of a metric that has one too
        raise XaiError(
            where,
            found=f"arguments that do not fit ({error})",
            expected=f"{verb.__name__}{signature_of(verb)}",
            fix="give the metric's own baseline where it is made: on=Completeness(baseline=0.5), from "
            "pytest_xaisanity.evidence.metrics.completeness"
            if twice
            else f"write it as in {EXAMPLES[verb.__name__]}; pytest --markers says what else it takes",
        ) from None
    return verb(*args, **kwargs)


def signature_of(function: Callable[..., object]) -> str:
    """Return a function's signature as a person reads it, without types."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _keywords(verb: Callable[..., Claim]) -> list[str]:
    """Return what a verb takes by name, beside the settings of its object."""
    return [p.name for p in inspect.signature(verb).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _given(verb: Callable[..., Claim], values: Mapping[str, object]) -> dict[str, object]:
    """Return the keywords, of those that a verb does not need, that have another value than by default."""
    parameters = inspect.signature(verb).parameters
    optional = [name for name in _keywords(verb) if parameters[name].default is not inspect.Parameter.empty]
    return {name: values[name] for name in optional if not _same(values[name], parameters[name].default)}


def _same(value: object, default: object) -> bool:
    """Whether a value is the default; one of another type is not, and is not asked: it may be an array."""
    return value is default or (type(value) is type(default) and value == default)


def _both(where: str, found: str, fix: str) -> XaiError:
    """Return the error for two settings that exclude one another."""
    return XaiError(where, found=found, expected="one of the two", fix=fix)


def _similarities(given: object) -> list[Similarity]:
    """Return the similarities that ``changes_under`` names."""
    from ..evidence.names import as_similarity

    several = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    if given is not None and not several:
        raise XaiError(
            "changes_under similarity",
            found=shown(given),
            expected="one similarity or several",
            fix="name one, or leave similarity= out: sign_flip_spearman decides then",
        )
    return [as_similarity(one, where="changes_under similarity") for one in several]


def _raw_or_calibrated(
    named: Sequence[Similarity], given: object, at_most: float | None, retention: float
) -> tuple[float | None, float]:
    """Return ``at_most``, which needs one similarity, and ``retention`` of ``changes_under``."""
    retention = check_number("changes_under retention", retention, 0.0, 1.0)
    if at_most is None:
        return None, retention
    if len(named) != 1:
        raise XaiError(
            "changes_under at_most",
            found=f"a bound on a raw similarity beside similarity={shown(given)}",
            expected="one similarity",
            fix="name one similarity, or bound the calibrated share with retention=",
        )
    at_most = check_number("changes_under at_most", at_most, named[0].low, named[0].high)
    if retention != 0.5:
        fix = "bound the raw similarity with at_most=, or the calibrated share with retention="
        raise _both("changes_under", f"at_most={at_most:g} and retention={retention:g}", fix)
    return at_most, retention


def _confidence(confidence: float | None, verb: str) -> float | None:
    return None if confidence is None else checked_confidence(confidence, where=f"{verb} confidence")


def _words(spec: object, settings: Mapping[str, object]) -> str:
    """Return an object of a claim with its settings, as they were written."""
    from .identity import label

    shown = ", ".join(f"{key}={label(value)}" for key, value in settings.items())
    return f"{label(spec)}({shown})" if shown else label(spec)
