"""The bench: a subject, its explainers, and the evidence they share."""

from __future__ import annotations

import inspect
import itertools
import operator
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, SupportsIndex, TextIO
from weakref import WeakKeyDictionary

import torch

from ..claims.base import Claim, Compound, Look, Need, require_inputs
from ..claims.checks import checked_confidence
from ..claims.identity import label
from ..claims.make import beats, bounded, changes_under, invariant_under, made
from ..claims.quality import Quality
from ..common.errors import XaiError, raise_here
from ..common.seeding import seed_of
from ..evidence.base import Lab, Measured, Measurement
from ..evidence.baselines.recorded import RecordedScores
from ..explainers.adapters import as_explainer
from ..explainers.attributions import Attributions, MapCache
from ..explainers.explainer import Explainer
from ..model.training import Retraining
from ..statistics.evidence import Sample
from ..statistics.question import Level
from ..statistics.regression import Standing, noise_of
from ..statistics.verdict import Verdict
from ..subject.arrangement import Explained
from ..subject.layout import Layout
from ..subject.outputs import Output
from ..subject.subject import Subject
from ..subject.tokens import Mask
from .battery import STANDARD, Decided, battery, lacking
from .pictures import with_pictures
from .plan import Plan, Speed, planned
from .progress import Progress
from .recorded import (
    MEASURED,
    Kept,
    Past,
    Recording,
    fingerprints,
    name_of,
    none_recorded,
    recording_of,
    refusal,
    standing,
)
from .runs import Run

__all__ = ["Bench", "BoundExplainer", "Decider"]


class Bench:
    """Decides claims about explainers of one model: what the fixture ``xai`` is, usable outside pytest.

    Args:
        model: A ``torch.nn.Module`` or another callable from inputs to outputs.
        inputs: A tensor ``(N, ...)``, a tuple of tensors, a mapping of the names of the model's arguments to tensors,
            or an iterable of batches, which is read to its end and visited in a random order (see
            :class:`~pytest_xaisanity.subject.subject.Subject`).
        targets: Class indices ``(N,)``, or multi-hot labels ``(N, labels)`` of 0 and 1, of which the highest that is
            present is explained; the model's highest output by default.
        task: What the outputs are, to metrics that look at probabilities: ``"classification"``, ``"multilabel"`` (the
            sigmoid of each label by itself), ``"regression"`` (the output as it is), or ``"auto"``, which judges by
            the outputs and says in the evidence what it took them for.
        explain: Names or positions of the inputs that are explained; the others are context, which the model needs and
            nobody explains. By default the floating-point ones but for masks, or the token ids.
        output: Where the scores are in what the model returns: the name of a field, a position, or a function of it; by
            default the tensor, ``logits``, or the first of a tuple.
        embedding: Of tokens: the module whose output is explained, or its name; found in models of Hugging Face's.
        mask: Of tokens: which of them count, as the name of an input, a function of the inputs, or a tensor ``(N, T)``;
            by default all but padding and special tokens.
        axes: Which axes of the inputs are places and which channels, where they are not ``(N, C, *places)`` or ``(N,
            F)``: ``"channels_last"``, ``"NTF"``, ``"NHW"``, or a tuple with one for each input (see
            :func:`~pytest_xaisanity.subject.layout.checked_axes`). Without it, a shape that looks like another
            reading is a warning.
        features: The names of the columns of a table ``(N, F)``; by default those of a data frame. They stand in the
            evidence, and groups of features may name them.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        seed: Seeds everything that is drawn: same seed, same verdict.
        confidence: Of every claim that does not name its own, in (0.5, 1).
        batch_size: The most inputs in one pass; sized automatically by default, and halved when memory runs out.
        train: A function ``(inputs, targets, seed) -> model`` that trains a model like ``model``, for claims that need
            one (``"label_randomization"``, ``"roar"``).
        training_data: ``(inputs, targets)``, a tenth of which is held out of training to test on, or ``(inputs,
            targets, test_inputs, test_targets)``; or a function without arguments that returns it.
        cache_dir: A folder in which trained weights, and what retrained models predict, are kept for later sessions
            (see :class:`~pytest_xaisanity.model.training.Retraining`); None keeps none.
        jobs: How many processes retrain models (``"roar"``, ``"kar"``, ``"label_randomization"``) and explain what the
            first two train them on: 1, which is this one, or more, or -1 for one a core; by default as joblib is
            configured, or this one (see :class:`~pytest_xaisanity.common.jobs.Jobs`). The result is the same.
        progress: A stream for a progress bar, of trainings and of claims that take more than five seconds; standard
            error by default, if it is a terminal.
        baseline: A file, or several, of what was recorded of claims, each accepted: see :meth:`record`,
            :meth:`compare` and ``beats("recorded")``.

    >>> bench = Bench(model, images)                                     # doctest: +SKIP
    >>> bench.explainer(Saliency).beats("random", on="pixel_flipping")   # doctest: +SKIP
    <passed: Saliency beats random on pixel_flipping: share of random orders beaten 0.91 in [0.8, 0.97], n=16>
    """

    pictures = False  # whether verdicts come with pictures of a few inputs and their maps, for a report

    def __init__(
        self,
        model: object,
        inputs: object,
        targets: object = None,
        *,
        task: str = "auto",
        explain: Explained = None,
        output: Output = None,
        embedding: object = None,
        mask: Mask = None,
        axes: object = None,
        features: object = None,
        device: str = "auto",
        seed: int = 0,
        confidence: float = 0.95,
        batch_size: int | None = None,
        train: object = None,
        training_data: object = None,
        cache_dir: str | os.PathLike[str] | None = None,
        jobs: int | None = None,
        progress: TextIO | None = None,
        baseline: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        self.seed, self._progress = _checked_seed(seed), progress
        self._retraining = Retraining(
            train, training_data, seed=self.seed, cache_dir=cache_dir, progress=progress, jobs=jobs
        )
        read = partial(Subject, task=task, axes=axes, features=features, explain=explain, output=output)
        self.subject = read(
            model, inputs, targets, embedding=embedding, mask=mask, device=device, batch_size=batch_size, seed=self.seed
        )
        self.confidence = checked_confidence(confidence, where="confidence")
        self._cache = None if self.subject.streamed else MapCache()
        self._attributions: dict[Hashable, Attributions] = {}
        self._runs: dict[Hashable, Run] = {}
        self._drawing = self.seed  # what the measurements under way are drawn with
        self.past = Past.of(baseline)
        self.fingerprint = ""  # of model, inputs and targets when a claim was last decided

    def explainer(self, source: object, *, name: str | None = None, **settings: object) -> BoundExplainer:
        """Return an explainer, whose methods are the four verbs.

        Args:
            source: A Captum class or instance, a zennit attributor or composite, a rule explainer, or a function
                ``(model, inputs, targets) -> attributions``.
            name: What verdicts and reports call it.
            settings: Those of the Captum class, its ``attribute`` or the function; and ``multiplier="with"|"without"``,
                whether attributions are multiplied by the inputs, where they can be had both ways.

        Raises:
            XaiError: It is no explainer, or none of this model; a setting is unknown, or cannot be.
        """
        bound = BoundExplainer(_Here(self), source, name, settings)
        bound.on(self)  # where something is wrong with it, say so at once
        return bound

    def decide(self, claim: Claim, explainer: Explainer | BoundExplainer) -> Verdict:
        """Return the verdict on a claim, measuring no more inputs than it takes.

        What was measured when this raises is forgotten: it may come from a model that something changed.
        """
        return self._settled(claim, self._own(explainer))

    def _settled(self, claim: Claim, explainer: Explainer, reach: int | None = None) -> Verdict:
        """Return the verdict, early or after so many inputs, or all."""
        try:
            if isinstance(claim, Compound):
                return self._resolve(claim, explainer, reach)
            verdict = self.subject.lend(lambda: self._decide(claim, explainer, reach))
            if self.subject.touched:  # other explainers shall not be judged by what was measured meanwhile
                self.forget()
            return verdict
        except BaseException:
            self.forget()
            raise

    def battery(self, explainer: object, name: str = STANDARD) -> Decided:
        """Return the verdicts on the claims of a battery, by the id of each, and what the subject lacks for others.

        Args:
            explainer: One of this bench, or what :meth:`explainer` takes.
            name: ``"quick"``, which takes a minute; ``"standard"``; or ``"thorough"``.

        Raises:
            XaiError: There is no such battery; or as :meth:`explainer` and :meth:`decide`.
        """
        entries = battery(name, where="battery name")
        bound = explainer if isinstance(explainer, BoundExplainer) else self.explainer(explainer)
        verdicts: dict[str, Verdict] = {}
        skipped: dict[str, str] = {}
        for claim in (entry.claim for entry in entries):
            if lacks := self.lacking(claim):
                skipped[claim.claim_id] = lacks
            else:
                verdicts[claim.claim_id] = bound.decide(claim)
        return Decided(verdicts, skipped)

    def lacking(self, claim: Claim) -> str:
        """Return in words what the subject lacks for a claim of a battery; nothing where it can be put to it."""
        try:
            return self.subject.lend(lambda: self._lacking(claim))
        except BaseException:
            self.forget()
            raise

    def _lacking(self, claim: Claim) -> str:
        self._renew()
        block = next(self.subject.blocks())
        parts = claim.planned(block.layout.places)
        least = [n for n in (part.fewest(self._level(part)) for part in parts) if n is not None]
        return lacking(claim, self.subject, block, max(least, default=0))

    def plan(self, claim: Claim, explainer: Explainer | BoundExplainer, *, baseline: Kept | None = None) -> list[Plan]:
        """Return what a claim costs at most, from its settings and one timed pass; nothing is decided.

        Args:
            claim: The claim; one that others make up has a plan for each of them.
            explainer: What it is about.
            baseline: Whether it is ``"recorded"`` as well, as by :meth:`record`, or ``"compared"``.

        Raises:
            XaiError: The inputs are too few to decide it; the model, the inputs or the explainer cannot be used.
        """
        return self.plans([claim], explainer, baseline=baseline)

    def plans(
        self, claims: Sequence[Claim], explainer: Explainer | BoundExplainer, *, baseline: Kept | None = None
    ) -> list[Plan]:
        """Return what each of several claims costs at most, by itself; see :meth:`plan`. The pass is timed once."""
        explainer = self._own(explainer)
        speeds: dict[Hashable, Speed] = {}

        def planned_all() -> list[Plan]:
            return [one for claim in claims for one in self._plan(claim, explainer, speeds, baseline)]

        try:
            return self.subject.lend(planned_all)
        except BaseException:
            self.forget()
            raise

    def _plan(
        self, claim: Claim, explainer: Explainer, speeds: dict[Hashable, Speed], baseline: Kept | None
    ) -> list[Plan]:
        self._renew()
        block = next(self.subject.blocks(early=True))
        if claim.against_record and baseline != "recorded":
            self._recorded(claim, explainer)  # raises where there is nothing to compare with
        plans: list[Plan] = []
        for part in claim.planned(block.layout.places):
            self._check_enough(part, explainer)
            needs = [
                (one.measurement, self._lab(self._rival(one.rival) or explainer))
                for one in (*part.needs(), *part.may_need())
            ]
            count = self._count(part, explainer)
            found = planned(needs, block, speeds)
            kept = 0 if baseline is None else MEASURED if count is None else min(count, MEASURED)
            plans.append(
                Plan(
                    f"{explainer.name} {part}",
                    count,
                    *found,
                    spread=self._retraining.jobs.over,
                    kept=kept,
                    again=kept if baseline == "recorded" and self._varies(claim, explainer) else 0,
                )
            )
        return plans

    def _varies(self, claim: Claim, explainer: Explainer) -> bool:
        """Whether scores differ from run to run, as far as is known of an explainer that has been tried out."""
        return bool(self._lab(explainer).attributions.sampling.draws) or not claim.shares_draws

    def _check_enough(self, claim: Claim, explainer: Explainer) -> None:
        """Raise before anything is measured where the inputs are too few for any scores to decide the claim."""
        count, level = self._count(claim, explainer), self._level(claim)
        least = None if count is None else claim.fewest(level)
        if count is not None and least is not None and count < least:
            require_inputs(count, claim.fewest(level, to_pass=True) or least, f"{explainer.name} {claim}")

    def _count(self, claim: Claim, explainer: Explainer) -> int | None:
        """Return how many inputs a claim may measure; None for a stream."""
        at_once = [need.measurement for need in claim.needs() if need.measurement.at_once]
        return at_once[0].lab(self._lab(explainer)).subject.count if at_once else self.subject.count

    def _level(self, claim: Claim) -> Level:
        confidence = claim.confidence or self.confidence
        if claim.pass_share < 1:
            confidence = 1 - claim.pass_share * (1 - confidence)
        at_once = any(need.measurement.at_once for need in claim.needs())
        return Level(confidence, claim.early and not at_once, claim.fail_share)

    def measure(self, measurements: Sequence[Measurement[Measured]], explainer: Explainer) -> list[Measured]:
        """Return what measurements find of an explainer, on every input."""
        try:
            return self.subject.lend(lambda: self._measure(measurements, explainer))
        except BaseException:
            self.forget()
            raise

    def _measure(self, measurements: Sequence[Measurement[Measured]], explainer: Explainer) -> list[Measured]:
        self._renew()
        runs = [self._run(measurement, explainer, early=False) for measurement in measurements]
        count = 1
        while not _all_advanced(runs, count):
            count += 1
        return [run.found(count) for run in _resting(runs)]

    def _resolve(self, claim: Compound, explainer: Explainer, reach: int | None) -> Verdict:
        layout = self.subject.lend(self._layout)
        decide = partial(self._settled, explainer=explainer, reach=reach)
        verdict = claim.resolve(decide, places=layout.places, seed=self.seed, name=explainer.name)
        called = self._lab(explainer).attributions.called  # with the reduction, which is known once it was called
        return replace(verdict, claim=f"{called} {claim}")

    def _layout(self) -> Layout:
        self._renew()
        return next(self.subject.blocks()).layout

    def _decide(self, claim: Claim, explainer: Explainer, reach: int | None) -> Verdict:
        self._renew()
        level = self._level(claim)
        self._check_enough(claim, explainer)
        needs = claim.needs()
        runs, further = (
            [self._run_of(one, claim, explainer, level.early) for one in some] for some in (needs, claim.may_need())
        )
        with Progress(self._progress, f"{explainer.name} {claim}", self._count(claim, explainer)) as progress:
            for count in itertools.count(1):
                final = _all_advanced(runs, count)
                n = len(runs[0].indices(count))
                progress.reach(n)
                final = final or (reach is not None and n >= reach)
                if not final and (reach is not None or not level.early):
                    continue
                look = self._look(runs, count, final, self._lab(explainer).attributions.called, level)
                verdict = claim.decide(replace(look, further=tuple(partial(_measured, run, count) for run in further)))
                if verdict is not None:
                    if self.pictures and reach is None:
                        verdict = self._with_pictures(verdict, runs, needs)
                    _resting([*runs, *further])
                    return verdict
        raise AssertionError("a claim is decided at the last look")

    def _with_pictures(self, verdict: Verdict, runs: Sequence[Run], needs: Sequence[Need]) -> Verdict:
        """Return the verdict with pictures; where they cannot be made, what was measured is forgotten."""
        pairs = zip(needs, runs, strict=True)
        rivals = ["" if need.rival is None else run.lab.attributions.explainer.name for need, run in pairs]
        verdict, made = with_pictures(verdict, runs, rivals)
        if not made:
            self.forget()
        return verdict

    def _look(self, runs: Sequence[Run], count: int, final: bool, name: str, level: Level) -> Look:
        half = self.subject.dtype in (torch.float16, torch.bfloat16)
        return Look(
            explainer=name,
            level=level,
            indices=runs[0].indices(count),
            targets=runs[0].targets(count),
            final=final,
            measured=tuple(run.found(count) for run in runs),
            parts=tuple(run.parts(count) for run in runs),
            seed=self.seed,
            tolerance=5e-2 if half else 1e-2,
            drawn_from=self.subject.drawn_from,
        )

    def _renew(self) -> None:
        """Forget what was measured on another state of the model."""
        fingerprint = self.subject.renew()
        if fingerprint != self.fingerprint:
            self.fingerprint = fingerprint
            self.forget()

    def forget(self) -> None:
        """Forget all that was measured, so that the next claims measure it again."""
        self.subject.forget()
        self._runs.clear()
        self._attributions.clear()
        self._retraining.measured.clear()
        self._cache = None if self.subject.streamed else MapCache()

    # -------------------------------------------------------------------------------------------- recorded baselines

    def record(self, claim: Claim, explainer: Explainer | BoundExplainer) -> Recording:
        """Write the evidence of a claim to the baseline file, in place of what was recorded of it; return what is.

        Raises:
            XaiError: There is no baseline file; or see :meth:`decide`.
            OSError: It cannot be written.
        """
        past = self.past
        if past is None or past.file is None:
            raise none_recorded(None, "", "")
        self.past = replace(past, updating=True)
        try:
            found = self.recording(claim, explainer, noise=True)
        finally:
            self.past = past
        made = self._own(explainer)
        name = name_of(past.test, made.name, claim.claim_id)
        self.past = replace(past, recordings=past.recordings.updated({name: found}))
        self.past.recordings.write(past.file)
        return found

    def compare(self, claim: Claim, explainer: Explainer | BoundExplainer) -> Standing:
        """Return whether a claim is shown to be worse than what was recorded of it.

        The same inputs are compared in pairs; see :mod:`~pytest_xaisanity.statistics.regression`.

        Raises:
            XaiError: There is no baseline file; or see :meth:`decide`.
        """
        if self.past is None:
            raise none_recorded(None, "", "")
        made = self._own(explainer)
        accepted = self.past.accepted(made.name, claim.claim_id)
        if not accepted:
            return standing((), self.recording(claim, made), 0.0, same_seed=False)
        found, known = self._measured(claim, made, noise=False)
        places = {fingerprint: index for index, fingerprint in reversed(known.items())}
        confidence = claim.confidence or self.confidence
        return standing(accepted, found, confidence, same_seed=claim.shares_draws, places=places)

    def recording(self, claim: Claim, explainer: Explainer | BoundExplainer, *, noise: bool = False) -> Recording:
        """Return what would be recorded of a claim: scores of 256 inputs, or all, however early it is decided.

        Args:
            claim: The claim.
            explainer: What it is about.
            noise: Whether to measure twice, so that it is known by how much scores differ from run to run.
        """
        return self._measured(claim, self._own(explainer), noise=noise)[0]

    def _measured(self, claim: Claim, made: Explainer, *, noise: bool) -> tuple[Recording, dict[int, str]]:
        """Return what would be recorded of a claim, and the fingerprint of each input by its place."""
        verdict, measured = self._settled(claim, made), self._settled(claim, made, MEASURED)
        draws = bool(self._lab(made).attributions.sampling.draws)
        differs = self._noise(claim, made, measured) if noise and self._varies(claim, made) else 0.0
        indices = measured.evidence.get_part(Sample).indices if measured.evidence.get_part(Quality).scores else ()
        early = self._level(claim).early
        known = self.subject.lend(lambda: fingerprints(self.subject, indices, early=early))
        found = recording_of(verdict, measured, self.subject, known, noise=differs, draws=draws, seed=self.seed)
        beside = {"training_data": self._retraining.data_fingerprint} if claim.retrains else {}
        return replace(found, settings={**found.settings, **beside}), known

    def _noise(self, claim: Claim, explainer: Explainer, measured: Verdict) -> float:
        """Return by how much scores differ from those of the same inputs when all is drawn again."""
        self._drawing = seed_of(self.seed, "drawn again")
        try:
            again = self._settled(claim, explainer, MEASURED)
        finally:
            self._runs = {key: run for key, run in self._runs.items() if run.lab.seed == self.seed}
            self._attributions = {key: one for key, one in self._attributions.items() if one.seed == self.seed}
            self._drawing = self.seed
        first, second = (_scores_by_input(one) for one in (measured, again))
        common = [index for index in first if index in second]  # a search may have left out others
        return noise_of([first[index] for index in common], [second[index] for index in common])

    def _recorded(self, claim: Claim, explainer: Explainer) -> tuple[Mapping[str, float], ...]:
        """Return the scores that are recorded of a claim and can be compared."""
        accepted = () if self.past is None else self.past.accepted(explainer.name, claim.claim_id)
        if not accepted:
            raise none_recorded(self.past, explainer.name, str(claim))
        whys = [refusal(one, self._now_like(one), same_seed=claim.shares_draws) for one in accepted]
        if all(whys):
            raise XaiError(
                "beats baseline 'recorded'",
                found=f"a record of {explainer.name} {claim} with {whys[0]}",
                expected="one of the same inputs, targets and settings; the model may be another",
                fix="measure as it was recorded, or record it again: --xai-update-baseline, or Bench(baseline=).record",
            )
        return tuple(one.scores for one, why in zip(accepted, whys, strict=True) if not why)

    def _now_like(self, then: Recording) -> Recording:
        """Return a recording with what is known of the subject before anything is measured."""
        subject = self.subject
        if not subject.is_read:
            next(subject.blocks())
        data, targets = subject.inputs_fingerprint, subject.targets_fingerprint
        return replace(then, settings=subject.read_as, data=data, targets=targets, seed=self.seed)

    def _own(self, explainer: Explainer | BoundExplainer) -> Explainer:
        """Return an explainer that was bound to a bench as one of this bench."""
        return explainer.on(self) if isinstance(explainer, BoundExplainer) else explainer

    def _rival(self, other: object) -> Explainer | None:
        """Return the explainer that is measured instead of the claim's own, if one is."""
        if not isinstance(other, BoundExplainer):
            return None if other is None else as_explainer(other, self.subject.model, where="beats baseline")
        if not other.decider.has(self):
            raise XaiError(
                "beats baseline",
                found=f"{other!r}, which explains the model of another bench",
                expected="an explainer of the same model and inputs",
                fix="make it with this bench's explainer(...)",
            )
        return other.on(self)

    def _run_of(self, need: Need, claim: Claim, explainer: Explainer, early: bool) -> Run:
        """Return what measures a need; of a record it is looked up, or measured now where it is recorded anew."""
        measurement = need.measurement
        if not isinstance(measurement, RecordedScores):
            return self._run(measurement, self._rival(need.rival) or explainer, early)
        if self.past is not None and self.past.updating:
            return self._run(measurement.own, explainer, early)
        lab = self._lab(explainer)
        return Run(replace(lab, recorded=self._recorded(claim, explainer)), measurement, early)

    def _run(self, measurement: Measurement[Measured], explainer: Explainer, early: bool) -> Run:
        about = explainer.key if measurement.about == "explainer" else None
        key = (self._drawing, early, about, measurement.key)
        if key not in self._runs:
            self._runs[key] = Run(measurement.lab(self._lab(explainer)), measurement, early)
        return self._runs[key]

    def _lab(self, explainer: Explainer) -> Lab:
        key = (self._drawing, explainer.key)
        if key not in self._attributions:
            attributions = Attributions(self.subject, explainer, self._drawing, self._cache)
            attributions.remember(self.fingerprint)
            self._attributions[key] = attributions
        return Lab(self.subject, self._attributions[key], self._drawing, self._retraining)


def _scores_by_input(verdict: Verdict) -> dict[int, float]:
    """Return the scores that tell whether an explainer has got worse, by the place of the input."""
    scores = verdict.evidence.get_part(Quality).scores
    indices = verdict.evidence.get_part(Sample).indices if scores else ()
    return {index: score for index, score in zip(indices, scores, strict=True) if score is not None}


def _all_advanced(runs: Sequence[Run], count: int) -> bool:
    """Measure ``count`` blocks in each run; return whether these are all."""
    ended = [run.advance(count) for run in runs]
    return all(ended)


def _measured(run: Run, count: int) -> Measured:
    """Measure ``count`` blocks in a run, and return what was found."""
    run.advance(count)
    return run.found(count)


def _resting(runs: Sequence[Run]) -> Sequence[Run]:
    """Let runs that are not needed now keep no more than what they found."""
    for run in runs:
        run.rest()
    return runs


def _checked_seed(seed: SupportsIndex) -> int:
    try:
        return operator.index(seed)
    except TypeError as error:
        raise XaiError("seed", found=repr(seed), expected="a whole number", fix="pass seed=0") from error


class Decider(Protocol):
    """What the claims about an explainer are put to: a bench, or the fixture ``xai``, which has one for each test."""

    @property
    def bench(self) -> Bench:
        """The bench at this moment."""

    def has(self, bench: Bench) -> bool:
        """Whether this is the bench, or one of the benches, that explainers made here belong to."""

    def decide(self, claim: Claim, explainer: BoundExplainer) -> Verdict:
        """Return the verdict on a claim about an explainer."""


@dataclass(frozen=True)
class _Here:
    """Puts claims to one bench."""

    bench: Bench

    def has(self, bench: Bench) -> bool:
        return bench is self.bench

    def decide(self, claim: Claim, explainer: BoundExplainer) -> Verdict:
        return self.bench.decide(claim, explainer.on(self.bench))


P = ParamSpec("P")


def _verb(make: Callable[P, Claim]) -> Callable[Concatenate[BoundExplainer, P], Verdict]:
    """Return the method that decides the claim which one of the four verbs makes, with its signature and docstring."""

    @wraps(make)
    def method(self: BoundExplainer, /, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        __tracebackhide__ = True
        try:
            claim = made(make.__name__, make, *args, **kwargs)
        except XaiError as error:
            raise_here(error)
        return self.decide(claim)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(make)
    parameters = [own, *signature.parameters.values()]
    vars(method)["__signature__"] = signature.replace(parameters=parameters, return_annotation="Verdict")
    method.__qualname__ = f"BoundExplainer.{make.__name__}"
    return method


@dataclass(frozen=True, eq=False, repr=False)
class BoundExplainer:
    """An explainer of a bench, or of the model of the running test.

    Its methods are the four verbs: each makes a claim and returns the verdict on it.

    Attributes:
        decider: What its claims are put to.
        source: What the user gave.
        called: The name that the user gave it, or None.
        settings: Those of ``source``.
    """

    decider: Decider = field(compare=False)
    source: object
    called: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    _made: WeakKeyDictionary[Bench, Explainer] = field(default_factory=WeakKeyDictionary, init=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.source, BoundExplainer):
            raise XaiError(
                "xai.explainer",
                found=f"{self.source!r}, which is an explainer of a bench already",
                expected="a Captum class or instance, or a function",
                fix="use it as it is",
            )

    def __repr__(self) -> str:
        return f"<explainer {self.kind}>"

    @property
    def kind(self) -> str:
        """What it is, whatever its settings."""
        return self.called or label(self.source)

    @property
    def bench(self) -> Bench:
        """The bench whose model it explains."""
        return self.decider.bench

    @property
    def explainer(self) -> Explainer:
        """What is run on the subject."""
        return self.on(self.bench)

    @property
    def name(self) -> str:
        """What verdicts call it."""
        known = next(iter(self._made.values()), None)  # it has the same name on each bench
        return (known or self.explainer).name

    def on(self, bench: Bench) -> Explainer:
        """Return what is run on the subject of a bench; the same each time.

        Raises:
            XaiError: It is no explainer, or none of the bench's model; a setting is unknown, or cannot be.
        """
        if bench not in self._made:
            self._made[bench] = as_explainer(self.source, bench.subject.model, name=self.called, **self.settings)
        return self._made[bench]

    changes_under = _verb(changes_under)
    invariant_under = _verb(invariant_under)
    beats = _verb(beats)
    bounded = _verb(bounded)

    def decide(self, claim: Claim) -> Verdict:
        """Return the verdict on a claim object."""
        __tracebackhide__ = True
        if not isinstance(claim, Claim):
            raise XaiError(
                "decide",
                found=f"a {type(claim).__name__}",
                expected="a claim",
                fix="make one with pytest_xaisanity.beats(...) or its sisters",
            )
        return self.decider.decide(claim, self)
