"""The one place where names of similarities, interventions, metrics and baselines become objects.

A name and the object that it stands for are interchangeable wherever a verb or a report takes either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..common.checks import is_number
from ..common.errors import XaiError, shown, unknown_name
from ..common.registry import Registry
from ..maps.similarity import SIMILARITIES, Similarity
from .base import Baseline, Intervention, MapMetric, Metric, OwnMetric, RetrainedMetric, Verb
from .baselines import BASELINES
from .baselines.recorded import Recorded
from .foreign import asked
from .interventions import INTERVENTIONS
from .metrics import METRICS, METRICS_OF_OTHERS
from .scoring import AnyMapMetric

__all__ = ["as_baseline", "as_compared_metric", "as_intervention", "as_map_metric", "as_metric", "as_similarity"]

Settings = Mapping[str, object]

_NONE: Settings = {}


def as_similarity(spec: object, *, where: str) -> Similarity:
    """Return the similarity that ``spec`` is or names; ``where`` is the argument that held it, for the error."""
    name = spec.name if isinstance(spec, Similarity) else spec
    if not isinstance(name, str) or name not in SIMILARITIES:
        raise unknown_name(where, name, SIMILARITIES, kind="similarity")
    found: object = SIMILARITIES.get(name, where=where)
    if not isinstance(found, Similarity) or found.name != name or spec not in (name, found):
        raise XaiError(
            where,
            found=f"{_told(found if spec == name else spec)} under the name {name!r}",
            expected="a similarity that is registered under its name",
            fix="register it under a name of its own, as an entry point of the group pytest_xaisanity.similarity",
        )
    _check_range(found, found.low, found.high, where)
    if found.identical not in (found.low, found.high):
        raise _wrong(found, "identical", found.identical, "low or high, the score of identical maps", where)
    return found


def as_intervention(
    spec: object, settings: Settings = _NONE, *, verb: Verb, where: str, also: Iterable[str] = ()
) -> Intervention:
    """Return the intervention that ``spec`` is, or names with ``settings``.

    Args:
        spec: A name, or an object.
        settings: Those of the named intervention.
        verb: What is claimed of it.
        where: The verb or argument that held it, for the error.
        also: Keywords that the verb takes beside the settings, for the error.

    Raises:
        XaiError: It is no intervention, or goes with the other verb; a setting is unknown, or cannot be.
    """
    built = _built(INTERVENTIONS, spec, settings, where, also)
    if not isinstance(built, Intervention):
        raise _none(INTERVENTIONS, built, where)
    with asked(where):
        _check_named(built, built.name, built.key, where)
        if not isinstance(built.verbs, tuple) or not {*built.verbs} <= {"changes_under", "invariant_under"}:
            raise _wrong(built, "verbs", built.verbs, "a tuple of the verbs that it goes with", where)
    if verb not in built.verbs:
        raise XaiError(
            where,
            found=f"the intervention {built.name!r}",
            expected=f"an intervention under which maps ought {'' if verb == 'changes_under' else 'not '}to change",
            fix="claim invariant_under of it" if verb == "changes_under" else "claim changes_under of it",
        )
    return built


def as_metric(spec: object, settings: Settings = _NONE, *, where: str, also: Iterable[str] = ()) -> Metric:
    """Return the metric that ``spec`` is, or names with ``settings``: see :func:`as_intervention`."""
    built = _of_others(spec, settings, where) or _built(METRICS, spec, settings, where, also)
    if not isinstance(built, Metric):
        raise _none(METRICS, built, where)
    with asked(where):
        _check_named(built, built.name, built.key, where)
        _check_range(built, built.low, built.high, where)
        if not isinstance(built.higher_is_better, bool):
            raise _wrong(built, "higher_is_better", built.higher_is_better, "True or False", where)
    return built


def as_map_metric(spec: object, settings: Settings = _NONE, *, where: str, also: Iterable[str] = ()) -> AnyMapMetric:
    """Return the metric of given maps that ``spec`` is, or names with ``settings``: see :func:`as_intervention`."""
    built = as_metric(spec, settings, where=where, also=also)
    if not isinstance(built, MapMetric):
        raise XaiError(
            where,
            found=f"the metric {built.name!r}, which measures more than given maps",
            expected="a metric of given maps, such as those of a baseline",
            fix="claim bounded(...) of it, compare it with another explainer's, or name pixel_flipping",
        )
    return built


def as_compared_metric(
    spec: object, settings: Settings = _NONE, *, baseline: object, where: str, also: Iterable[str] = ()
) -> AnyMapMetric | OwnMetric:
    """Return the metric that ``spec`` is, or names with ``settings``, on which a baseline is to be beaten.

    One that measures more than given maps goes with another explainer as the baseline, of which it can measure as much,
    or with the explainer's own recorded scores.
    """
    built = as_metric(spec, settings, where=where, also=also)
    if isinstance(built, RetrainedMetric):
        return built
    if isinstance(built, OwnMetric) and (isinstance(baseline, Recorded) or not isinstance(baseline, Baseline)):
        with asked(where):
            if built.measurement().about == "explainer":
                return built
    return as_map_metric(built, where=where)


def as_baseline(spec: object, settings: Settings = _NONE, *, where: str) -> object:
    """Return the baseline that ``spec`` names with ``settings``; an object, which may be any explainer, is itself.

    Raises:
        XaiError: It can be neither a baseline nor an explainer; a setting is unknown, or cannot be.
    """
    if isinstance(spec, str):
        return _built(BASELINES, spec, settings, where, ())
    if settings:
        raise XaiError(
            f"{where} {', '.join(settings)}",
            found=f"a setting of a named baseline beside {_told(spec)}",
            expected="draws only for 'random', max_examples for 'uninformative', mutants for 'mutants', beta, r, lse "
            "for 'smoothed'",
            fix="leave it out, or give it where the object is made",
        )
    if isinstance(spec, type) and issubclass(spec, Baseline):
        raise _class(BASELINES, spec, where)
    plain = type(spec).__module__ == "builtins" and not callable(spec)
    if plain or isinstance(spec, (Metric, Intervention, Similarity)):
        fix = f"choose among {', '.join(BASELINES)}, or pass an explainer"
        raise XaiError(where, found=_told(spec), expected="a baseline or an explainer", fix=fix)
    if isinstance(spec, Baseline):
        with asked(where):
            _check_named(spec, spec.name, spec, where)
            if not is_number(spec.margin) or not 0 <= spec.margin < 1:
                raise _wrong(spec, "margin", spec.margin, "a share of the range, at least 0 and below 1", where)
    return spec


def _check_named(built: object, name: object, key: object, where: str) -> None:
    """Raise when an object of others has no name, or no key under which what is measured can be kept."""
    if not isinstance(name, str) or not name.strip():
        raise _wrong(built, "name", name, "a name in words", where)
    try:
        hash(key)
    except TypeError:
        raise XaiError(
            where,
            found=f"{_told(built)}, which cannot be hashed",
            expected="an object that is equal to others of the same settings, and hashed alike",
            fix="make its class a frozen dataclass whose settings can be hashed: @dataclass(frozen=True)",
        ) from None


def _check_range(built: object, low: object, high: object, where: str) -> None:
    """Raise when two ends are no range of scores."""
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high):
        ends = f"{shown(low)} to {shown(high)}"
        raise XaiError(
            where,
            found=f"{_told(built)} with scores from {ends}",
            expected="numbers, low below high; infinite ones where there is no bound",
            fix=f"set low and high of {type(built).__name__} to the least and the greatest possible score",
        )


def _wrong(built: object, attribute: str, value: object, expected: str, where: str) -> XaiError:
    """Return the error for an attribute of an object of others that cannot be."""
    return XaiError(
        where,
        found=f"{_told(built)} whose {attribute} is {shown(value)}",
        expected=expected,
        fix=f"set {attribute} in {type(built).__name__}",
    )


def _of_others(spec: object, settings: Settings, where: str) -> Metric | None:
    """Return the metric that an object of another library's is made into; None for what is none of these."""
    if isinstance(spec, (str, type, Metric)):
        return None
    for name in METRICS_OF_OTHERS:
        adapter = METRICS_OF_OTHERS.get(name, where=where)
        if adapter.accepts(spec):
            made: Metric = adapter.adapted(spec, settings.items(), where=where)
            return made
    return None


def _built(registry: Registry, spec: object, settings: Settings, where: str, also: Iterable[str]) -> object:
    if isinstance(spec, type):
        raise _class(registry, spec, where)
    built: object = registry.build(spec, settings, where=where, also=also)
    return built


def _class(registry: Registry, spec: type, where: str) -> XaiError:
    return XaiError(
        where,
        found=f"the class {spec.__name__}",
        expected=f"the name of {_a(registry.kind)}, or an object",
        fix=f"write {spec.__name__}(...)",
    )


def _none(registry: Registry, built: object, where: str) -> XaiError:
    return XaiError(
        where,
        found=_told(built),
        expected=f"{_a(registry.kind)}, or its name",
        fix=f"choose among {', '.join(registry)}",
    )


def _told(spec: object) -> str:
    """Return what a thing of the wrong kind is called in an error."""
    if spec is None or isinstance(spec, (bool, int, float, str)):
        return repr(spec)
    return f"the class {spec.__name__}" if isinstance(spec, type) else f"an object of type {type(spec).__name__}"


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
