"""Recorded baselines: what is recorded of a claim, and how a claim stands to what was recorded of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from pathlib import Path
from typing import Literal

import numpy as np

from ..claims.quality import Quality
from ..common.errors import XaiError
from ..report.provenance import versions
from ..report.recordings import Name, Recording, Recordings, command_for
from ..report.records import plain_value
from ..statistics.evidence import Sample
from ..statistics.question import Level
from ..statistics.regression import FEWEST_PAIRS, Scale, Standing, of_intervals, of_pairs, of_samples, rounded
from ..statistics.verdict import Verdict
from ..subject.subject import Subject

__all__ = ["MEASURED", "Kept", "Past", "Recording", "fingerprints", "name_of", "recording_of", "refusal", "standing"]

_WORST = 5  # inputs that are named
MEASURED = 256  # inputs of a claim that are recorded and compared, where there are as many, however early it is decided
_NO_MODEL = "not known"

Kept = Literal["recorded", "compared"]
"""What becomes of a claim beside a recorded baseline."""


@dataclass(frozen=True)
class Past:
    """What was recorded of claims, and which test makes them now.

    Attributes:
        recordings: What was recorded.
        updating: Whether it is recorded anew, so that nothing is compared with it.
        test: The node id of the test; empty outside pytest.
        file: The file that is written.
        where: What names that file, for errors.
    """

    recordings: Recordings = field(default_factory=Recordings)
    updating: bool = False
    test: str = ""
    file: Path | None = None
    where: str = "--xai-baseline"

    @classmethod
    def of(cls, files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None) -> Past | None:
        """Return what files hold that are given outside pytest; the first, which is written, need not exist yet."""
        if files is None:
            return None
        paths = [Path(one) for one in ([files] if isinstance(files, (str, os.PathLike)) else files)]
        found = Recordings()
        for path in paths:
            if path is not paths[0] or path.exists():
                found = found.joined(Recordings.read(path, "Bench(baseline=)"))
        return cls(found, file=paths[0] if paths else None, where="Bench(baseline=)")

    def accepted(self, explainer: str, claim_id: str) -> tuple[Recording, ...]:
        """Return what is accepted of a claim."""
        return self.recordings.get(name_of(self.test, explainer, claim_id), ())


def name_of(test: str, explainer: str, claim_id: str) -> Name:
    """Return what a claim is recorded under."""
    return Name(*(str(plain_value(part)) for part in (test, explainer, claim_id)))


def fingerprints(subject: Subject, indices: Sequence[int], *, early: bool) -> dict[int, str]:
    """Return the fingerprints of inputs by their place, which are read once more. To be called while the model is lent.

    Args:
        subject: The subject.
        indices: The inputs, among those that are visited first.
        early: Whether they were visited in the small blocks of early looks.
    """
    missing, found = set(indices), dict[int, str]()
    for block in subject.blocks(early=early) if missing or not subject.is_read else ():
        found.update((index, one) for index, one in zip(block.indices, block.fingerprints, strict=True))
        missing -= found.keys()
        if not missing:
            break
    return found


def recording_of(
    verdict: Verdict,
    measured: Verdict,
    subject: Subject,
    known: Mapping[int, str],
    *,
    noise: float,
    draws: bool,
    seed: int,
) -> Recording:
    """Return what is recorded of a claim.

    Args:
        verdict: What was decided.
        measured: The same claim after as many inputs as are recorded, whose evidence is.
        subject: What is explained.
        known: Fingerprints of inputs by their place.
        noise: By how much a score differs from run to run.
        draws: Whether the explainer draws random numbers.
        seed: What everything was drawn with.
    """
    quality = measured.evidence.get_part(Quality)
    low, high = verdict.interval
    return Recording(
        words=verdict.claim,
        outcome=verdict.outcome,
        estimate=_number(verdict.estimate),
        interval=(_number(low), _number(high)),
        confidence=verdict.confidence,
        n=verdict.n,
        quantity=verdict.quantity,
        scored=str(plain_value(quality.of)),
        better="higher" if quality.scale.higher_is_better else "lower",
        range=(_number(quality.scale.low), _number(quality.scale.high)),
        noise=_number(noise) or 0.0,
        draws=draws,
        seed=seed,
        settings=plain_value(subject.read_as),
        data=subject.inputs_fingerprint,
        targets=subject.targets_fingerprint,
        model=subject.model_fingerprint or _NO_MODEL,
        device=subject.device.type,
        versions=versions(),
        scores=dict(_scores(measured, quality, known)),
    )


def _scores(measured: Verdict, quality: Quality, known: Mapping[int, str]) -> Iterator[tuple[str, float]]:
    """Yield the score of each input by its fingerprint; of (nearly) equal ones that of the first."""
    indices = measured.evidence.get_part(Sample).indices if quality.scores else ()
    seen: set[int] = set()
    for place, (index, score) in enumerate(zip(indices, quality.scores, strict=True)):
        twin = place if quality.twins is None else quality.twins[place]
        if score is not None and twin not in seen:
            seen.add(twin)
            yield known[index], float(rounded([score])[0])


def _number(value: float) -> float | None:
    """Return a number as it is recorded; None where there is none."""
    return float(rounded([value])[0]) if abs(value) < inf else None


# --------------------------------------------------------------------------------------------------------- comparison


def standing(
    then: Sequence[Recording],
    now: Recording,
    confidence: float,
    *,
    same_seed: bool,
    places: Mapping[str, int] | None = None,
) -> Standing:
    """Return how a claim stands to what is accepted of it: it need be no worse than one.

    Args:
        then: What is accepted.
        now: What would be recorded now.
        confidence: One minus the accepted rate of regressions that are shown and are none.
        same_seed: Whether another seed is another measurement.
        places: Where inputs stand in what the user gave, by their fingerprints; where it is known, the worst are named.
    """
    found = [_standing(one, now, confidence, places or {}, same_seed=same_seed) for one in then]
    for status in ("kept", "regressed", "refused"):
        alike = [one for one in found if one.status == status]
        if alike:
            of = f" (of {len(found)} accepted recordings)" if len(found) > 1 else ""
            return replace(alike[0], reason=alike[0].reason + of)
    return Standing("missing", "nothing is recorded of this claim, explainer and test")


def _standing(
    then: Recording, now: Recording, confidence: float, places: Mapping[str, int], *, same_seed: bool
) -> Standing:
    reason = refusal(then, now, same_seed=same_seed)
    if reason:
        return Standing("refused", reason)
    if not (then.scores and now.scores):
        return _of_estimates(then, now)
    low, high = now.range
    scale = Scale(-inf if low is None else low, inf if high is None else high, now.better == "higher")
    level = Level(confidence, early=False)
    common = sorted(then.scores.keys() & now.scores.keys())
    some = min(len(then.scores), len(now.scores))
    if len(common) >= FEWEST_PAIRS or 2 * len(common) >= some:
        noise = then.noise if then.draws or now.draws or then.seed != now.seed else 0.0
        before, after = (np.array([one.scores[key] for key in common]) for one in (then, now))
        found = of_pairs(before, after, scale, level, noise=noise)
        left = len(now.scores) - len(common)
        others = f"; {left} other inputs were not measured then, or their target was another" if left else ""
        found = replace(found, reason=found.reason + others)
        lost = sorted(zip(-scale.loss(before, after), common, strict=True))[: min(found.worse, _WORST)]
        return _naming(found, [key for _, key in lost if key in places], then, now, places)
    if not common and not (now.data and then.data == now.data):
        return Standing("refused", "the inputs are others: none of those measured was measured then")
    if not scale.bounded:
        few = f"only {len(common)} inputs were measured both times, and scores without a range need pairs"
        return Standing("refused", f"{few}: measure more, or with the same seed")
    return of_samples([*then.scores.values()], [*now.scores.values()], scale, level)


def _naming(
    found: Standing, worst: Sequence[str], then: Recording, now: Recording, places: Mapping[str, int]
) -> Standing:
    """Return how a claim stands, with the inputs that got worst."""
    if not (worst and found.regressed):
        return found
    told = ", ".join(f"{places[key]} ({then.scores[key]:.3g} then, {now.scores[key]:.3g} now)" for key in worst)
    reason = f"{found.reason}; the worst are inputs {told}"
    return replace(found, worst=tuple(places[key] for key in worst), reason=reason)


def _of_estimates(then: Recording, now: Recording) -> Standing:
    if then.quantity != now.quantity:
        return Standing("refused", f"the estimate was of the {then.quantity}, and is now of the {now.quantity}")
    before, after = ([nan if end is None else end for end in one.interval] for one in (then, now))
    confidence = min(then.confidence, now.confidence)
    return of_intervals(
        (before[0], before[1]), (after[0], after[1]), higher_is_better=now.better == "higher", confidence=confidence
    )


def refusal(then: Recording, now: Recording, *, same_seed: bool) -> str:
    """Return why two recordings of a claim cannot be compared; nothing where they can, whatever the model is.

    Args:
        then: What is accepted.
        now: What would be recorded now.
        same_seed: Whether another seed is another measurement.
    """
    known = {key: (then.settings.get(key, ""), now.settings.get(key, "")) for key in (*then.settings, *now.settings)}
    facts = {
        "scores": (then.scored, now.scored),
        "direction": (then.better, now.better),
        **known,
        "data": (then.data, now.data),
        "targets": (then.targets, now.targets),
        **({"seed": (str(then.seed), str(now.seed))} if same_seed else {}),
    }
    for name, (before, after) in facts.items():
        if before != after and not (name == "data" and not (before and after)):
            why = ", and weights are drawn for all inputs alike" if name == "seed" else ""
            return f"other {name}: {before!r} was recorded, and now it is {after!r}{why}"
    return ""


def none_recorded(past: Past | None, explainer: str, claim: str) -> XaiError:
    """Return the error for a claim against a record where there is none."""
    where = "beats baseline 'recorded'"
    if past is None:
        return XaiError(
            where,
            found="no recorded baseline",
            expected="the file that one was written to",
            fix=f"record one with {command_for('FILE')} and name it with --xai-baseline=FILE, or outside pytest with "
            "Bench(baseline=FILE) and its record(...)",
        )
    return XaiError(
        where,
        found=f"no record of {explainer} {claim}" + (f" in {past.test}" if past.test else ""),
        expected="one of this claim, explainer and test",
        fix=f"record it with {command_for(past.file or 'FILE')}"
        if past.test
        else "record it with Bench(baseline=FILE).record(claim, explainer)",
    )
