"""Claims that several of ``beats`` make up: against each of several baselines, and across settings of the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

from ..adversaries.search import counterexample
from ..adversaries.strategies import settings_of
from ..common.seeding import seed_of
from ..evidence.base import Baseline, OwnMetric, RetrainedMetric
from ..evidence.baselines.uninformative import GivenMap, Uninformative
from ..evidence.foreign import checked_parts_of
from ..evidence.names import as_map_metric
from ..evidence.scoring import AnyMapMetric
from ..maps.uninformative import UninformativeMap
from ..report.figures import Figure, Table
from ..statistics.evidence import Evidence, Part, number
from ..statistics.verdict import Outcome, Verdict
from .base import Claim, Compound
from .beats import ADVICE, Beats, BeatsFound, check_retrained
from .identity import label

__all__ = ["BeatsAcross", "BeatsEach", "BeatsEither", "Resolutions", "Resolved", "beating"]

SETTINGS_TRIED = 12  # settings that a claim across settings draws


class Resolved(NamedTuple):
    """What became of one of the claims that make up another."""

    outcome: Outcome
    estimate: float


@dataclass(frozen=True)
class Resolutions(Part):
    """What became of the claims that make up another.

    Attributes:
        name: What tells them apart: ``"mutants"``, ``"settings"``.
        found: By that.
    """

    name: str
    found: Mapping[str, Resolved]

    def plain(self) -> dict[str, object]:
        """Return outcomes, and estimates where they are of one quantity."""
        if self.name == "settings":
            return {self.name: {key: one.outcome for key, one in self.found.items()}}
        return {self.name: {key: one._asdict() for key, one in self.found.items()}}

    def figures(self, beside: Evidence) -> Iterator[Figure]:
        """Yield each with its outcome."""
        rows = tuple((key, one.outcome, number(one.estimate)) for key, one in self.found.items())
        yield Table(f"What it was decided on: {self.name}", (self.name, "outcome", "estimate"), rows)


@dataclass(frozen=True, kw_only=True)
class _BeatsSeveral(Compound):
    """A claim about one baseline that several :class:`Beats` make up."""

    baseline: Baseline
    metric: AnyMapMetric | RetrainedMetric
    within: Literal["target"] | None = None
    margin: float | None = None
    verb: ClassVar[str] = "beats"
    advice: ClassVar[str] = ADVICE


@dataclass(frozen=True, kw_only=True)
class BeatsEach(_BeatsSeveral):
    """A :class:`Beats` that must hold for each of several baselines: the parts of one.

    A pass needs that of every part, each at full confidence; a fail of any is taken at an error split over the parts.
    """

    def planned(self, places: tuple[int, ...]) -> Sequence[Claim]:
        """Return a claim against each part."""
        parts = checked_parts_of(self.baseline, places)
        return [
            Beats(
                baseline=part,
                metric=self.metric,
                within=self.within,
                margin=self.margin,
                confidence=self.confidence,
                early=self.early,
                fail_share=self.fail_share / len(parts),
                pass_share=self.pass_share,
                words=("beats", part.name, "on", self.metric.name),
            )
            for part in parts
        ]

    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict that is furthest from a pass; after a failed one no other is sought."""
        verdicts: dict[str, Verdict] = {}
        for part, claim in zip(checked_parts_of(self.baseline, places), self.planned(places), strict=True):
            verdicts[part.name] = decide(claim)
            if self.early and verdicts[part.name].failed:
                break
        verdict = min(verdicts.values(), key=_standing)
        closest = f", the closest of {', '.join(verdicts)}" if verdict.passed else ""
        found = Resolutions(self.baseline.name, dict(_resolved(verdicts)))
        evidence = Evidence(*verdict.evidence.parts, found)
        sentence = verdict.sentence + closest
        return replace(
            verdict, claim=f"{name} {self}", reason=verdict.reason + closest, evidence=evidence, sentence=sentence
        )


@dataclass(frozen=True, kw_only=True)
class BeatsEither(_BeatsSeveral):
    """A :class:`Beats` that must hold in one of several readings of the explainer's maps.

    A pass of any is taken at an error that is split over the readings; a fail needs that of each.
    """

    @property
    def _read(self) -> Sequence[AnyMapMetric]:
        assert not isinstance(self.metric, RetrainedMetric)  # which has one reading
        return self.metric.read_either_way().alternatives()

    def planned(self, places: tuple[int, ...]) -> Sequence[Claim]:
        """Return a claim in each reading, or those that make it up."""
        return [part for claim in self._claims for part in claim.planned(places)]

    @property
    def _claims(self) -> Sequence[Claim]:
        """A claim in each reading."""
        return [
            beating(
                self.baseline,
                read,
                within=self.within,
                margin=self.margin,
                confidence=self.confidence,
                early=self.early,
                fail_share=self.fail_share,
                pass_share=self.pass_share / len(self._read),
                words=self.words,
            )
            for read in self._read
        ]

    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict that is closest to a pass; after a passed one no other is sought."""
        verdicts: dict[str, Verdict] = {}
        for read, claim in zip(self._read, self._claims, strict=True):
            verdicts[read.reading_name] = decide(claim)
            if verdicts[read.reading_name].passed:
                break
        reading = max(verdicts, key=lambda one: _standing(verdicts[one]))
        verdict = verdicts[reading]
        said = f"{verdict.reason}; maps are read as {reading}"
        others = "" if verdict.passed else ", as others do no better" if len(verdicts) > 1 else ""
        line = ("maps read as", f"{reading}{others}")
        found = Resolutions("readings", dict(_resolved(verdicts)))
        evidence = Evidence(*verdict.evidence.parts, found)
        lines = (*verdict.lines, line)
        return replace(verdict, claim=f"{name} {self}", reason=said + others, evidence=evidence, lines=lines)


def _resolved(verdicts: Mapping[str, Verdict]) -> Iterator[tuple[str, Resolved]]:
    for key, verdict in verdicts.items():
        yield key, Resolved(verdict.outcome, verdict.estimate)


def _standing(verdict: Verdict) -> tuple[int, float]:
    return {"failed": 0, "inconclusive": 1, "passed": 2}[verdict.outcome], verdict.estimate


def beating(
    baseline: object,
    metric: AnyMapMetric | OwnMetric,
    *,
    within: Literal["target"] | None = None,
    margin: float | None = None,
    confidence: float | None = None,
    early: bool = True,
    fail_share: float = 1.0,
    pass_share: float = 1.0,
    words: tuple[str, ...] = (),
) -> Beats | BeatsEach | BeatsEither:
    """Return the claim to beat the baseline, each of those that make it up, or it in one of several readings."""
    if isinstance(baseline, UninformativeMap):
        baseline = GivenMap(baseline)
    common = _Common(within, margin, confidence, early, fail_share, pass_share, words)._asdict()
    if isinstance(metric, RetrainedMetric):
        check_retrained(baseline, metric, within)
    elif isinstance(metric, OwnMetric):
        return Beats(baseline=baseline, metric=metric, **common)
    elif isinstance(baseline, Baseline):
        read = metric.read_either_way() if baseline.of_others else metric
        if len(read.alternatives()) > 1:
            return BeatsEither(baseline=baseline, metric=metric, **common)
        baseline = baseline.of_same_values() if metric.multiplies else baseline
    if isinstance(baseline, Baseline) and baseline.several:
        return BeatsEach(baseline=baseline, metric=metric, **common)
    if isinstance(baseline, Uninformative) and not isinstance(metric, RetrainedMetric):
        return BeatsFound(baseline=baseline, metric=metric, **common)
    return Beats(baseline=baseline, metric=metric, **common)


class _Common(NamedTuple):
    """What claims against every kind of baseline take."""

    within: Literal["target"] | None
    margin: float | None
    confidence: float | None
    early: bool
    fail_share: float
    pass_share: float
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BeatsAcross(Compound):
    """A :class:`Beats` that must hold for every drawn setting of the metric. See ``across=`` of ``beats``.

    A pass needs that of every setting, each at full confidence; a fail of any is taken at an error split over as many
    as are drawn. Those tried beside them only make a failing one simpler.
    """

    baseline: object
    metric: str
    within: Literal["target"] | None = None
    margin: float | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)
    max_examples: int = SETTINGS_TRIED
    verb: ClassVar[str] = "beats"
    form: ClassVar[str] = "across_settings"
    advice: ClassVar[str] = ADVICE

    def planned(self, places: tuple[int, ...]) -> Sequence[Claim]:
        """Return the claim in the default setting, as often as settings are drawn."""
        return [self._in(as_map_metric(self.metric, self.fixed, where="beats on"))] * self.max_examples

    def _in(self, metric: AnyMapMetric) -> Claim:
        return beating(
            self.baseline,
            metric,
            within=self.within,
            margin=self.margin,
            confidence=self.confidence,
            early=self.early,
            fail_share=self.fail_share / self.max_examples,
            words=("beats", label(self.baseline), "on", metric.name),
        )

    def resolve(self, decide: Callable[[Claim], Verdict], *, places: tuple[int, ...], seed: int, name: str) -> Verdict:
        """Return the verdict on the simplest setting under which the claim fails, or else the least certain one."""
        verdicts: dict[AnyMapMetric, Verdict] = {}

        def fails(metric: AnyMapMetric) -> bool:
            verdicts[metric] = decide(self._in(metric))
            return verdicts[metric].failed

        strategy = settings_of(self.metric, shape=places, **self.fixed)
        search_seed = seed_of(seed, "settings", name)
        found = counterexample(strategy, fails, max_examples=self.max_examples, search_seed=search_seed)
        return self._conclude(verdicts, found, name)

    def _conclude(self, verdicts: Mapping[AnyMapMetric, Verdict], found: AnyMapMetric | None, name: str) -> Verdict:
        worst = found or min(verdicts, key=lambda metric: _standing(verdicts[metric]))
        verdict = verdicts[worst]
        if verdict.passed:
            reason = f"{verdict.reason} in each of {len(verdicts)} settings; least clearly with {worst!r}"
            sentence = f"{verdict.sentence} in each of {len(verdicts)} settings"
        else:
            reason = f"{verdict.reason}, with {worst!r}: the simplest of the settings tried that does not pass"
            sentence = f"{verdict.sentence}, in the simplest setting that does not pass"
        lines = (*verdict.lines, ("setting", repr(worst)))
        settings = Resolutions("settings", dict(_resolved({repr(key): one for key, one in verdicts.items()})))
        evidence = Evidence(*verdict.evidence.parts, settings)
        return replace(
            verdict, claim=f"{name} {self}", reason=reason, evidence=evidence, sentence=sentence, lines=lines
        )
