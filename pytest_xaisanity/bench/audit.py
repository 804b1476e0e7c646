"""The audit: which mutants of an explainer the claims that it passes let through."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from torch import Tensor, nn

from ..adversaries.mutants import MUTANTS, Inapplicable, Mutant, mutated
from ..claims.base import Claim
from ..claims.make import make
from ..claims.written import Written
from ..common.errors import XaiError
from ..explainers.attributions import Attributions
from ..explainers.explainer import Explainer
from ..maps.norms import norms
from ..model.layers import Layer
from ..model.reinit.randomizer import Randomizer
from ..report.audited import Audited, Mutation
from ..statistics.verdict import Verdict
from ..subject.block import Block
from ..subject.explained_layers import explained_layers
from .bench import Bench

__all__ = ["MutantSource", "audit", "begun", "checked_mutants", "depends_on_the_explainer"]

_SEEN = 16  # inputs on which a mutant must differ from the original, on the model as given or an untrained one
_EQUAL = 1e-5  # relative distance of two maps that counts as rounding
_NO_LONGER = "it passed in its test, and no longer does"
_NOT_BEGUN = "the audit was cut before a claim was put to it"
_NOT_LOOKED_FOR = "the audit was cut before a claim that would have caught it was found"

Killed = Callable[[Verdict], bool]
MutantSource = Mutant | type[Mutant]  # a class is built anew for each explainer


def depends_on_the_explainer(claim: Claim) -> bool:
    """Whether a claim is about an explainer rather than the model alone, and not about what was recorded of one."""
    return claim.about_explainer and not claim.against_record


def checked_mutants(own: object) -> dict[str, MutantSource]:
    """Return the mutants of this plugin, those that are installed, and ``own``, by name.

    Raises:
        XaiError: ``own`` is no mapping of new names to functions or classes.
    """
    known: dict[str, MutantSource] = {name: MUTANTS.get(name, where="mutant") for name in MUTANTS}
    if not isinstance(own, Mapping):
        raise XaiError(
            "xai_mutants",
            found=f"a {type(own).__name__}",
            expected="a mapping from names to mutants",
            fix='return {"name": function}',
        )
    for name, mutant in own.items():
        if name in known or not isinstance(name, str) or not callable(mutant):
            found = f"a second mutant called {name!r}" if name in known else f"{name!r}: {mutant!r}"
            raise XaiError(
                "xai_mutants",
                found=found,
                expected="new names, and functions (explain, model, inputs, targets) -> attributions",
                fix="give it another name" if name in known else "return a function for each name",
            )
    return {**known, **own}


def audit(
    bench: Bench,
    explainer: Explainer,
    claims: Sequence[Claim],
    *,
    mutants: Mapping[str, MutantSource] | None = None,
    killed: Killed = lambda verdict: not verdict.passed,
    every: bool = False,
    suggest: bool = True,
    advance: Callable[[str], object] = lambda name: None,
    into: Audited | None = None,
) -> Audited:
    """Replace an explainer by its mutants and decide the claims that it passes again.

    Args:
        bench: Decides the claims.
        explainer: The original.
        claims: The claims that it passes.
        mutants: Functions, or classes of them, by name; by default those of this plugin and of others.
        killed: Whether a verdict on a mutant kills it.
        every: Whether to decide all claims about each mutant, rather than until one kills it.
        suggest: Whether to look for a claim that would have caught a survivor.
        advance: Called with the mutant's name after each claim that was, or needed not be, decided about it.
        into: A record from :func:`begun`, filled step by step: what an audit that is cut has found stands in it.
    """
    sources = checked_mutants({}) if mutants is None else mutants
    audited = begun(explainer, bench.fingerprint, claims, sources) if into is None else into
    suspects = {name: mutated(explainer, name, _built(source)) for name, source in sources.items()}
    live = _classify(bench, explainer, suspects, audited.mutations)
    lasting = _lasting(bench, explainer, claims, audited)
    audited.subject = bench.fingerprint
    for claim in lasting:
        audited.claims.append(claim.claim_id)
        for name, mutation in audited.mutations.items():
            put = name in live and (every or mutation.status == "not judged")
            if put and _kills(bench, claim, live[name], killed):
                mutation.status, mutation.reason = "killed", ""
                mutation.killed_by.append(claim.claim_id)
            elif put and not mutation.killed_by:
                done = f"{len(audited.claims)} of {len(lasting)} claims"
                mutation.reason = f"{done} had not killed it when the audit was cut"
            advance(name)
    survivors = {name: live[name] for name in live if audited.mutations[name].status == "not judged"}
    for name in survivors:
        audited.mutations[name] = Mutation("survived", reason=_NOT_LOOKED_FOR if suggest and audited.claims else "")
    if suggest and audited.claims:
        for name, survivor in survivors.items():
            caught = _catching(bench, explainer, survivor, audited.claims, killed)
            audited.mutations[name] = Mutation("survived", caught_by=None if caught is None else str(caught))
    return audited


def begun(explainer: Explainer, subject: str, claims: Sequence[Claim], mutants: Iterable[str]) -> Audited:
    """Return the record of an audit that has judged no mutant yet.

    Args:
        explainer: The original.
        subject: The fingerprint of what it explains.
        claims: The claims that it passes.
        mutants: Their names.
    """
    mutations = {name: Mutation("not judged", reason=_NOT_BEGUN) for name in mutants}
    return Audited(explainer.name, subject, mutations=mutations, words={one.claim_id: str(one) for one in claims})


def _lasting(bench: Bench, explainer: Explainer, claims: Sequence[Claim], audited: Audited) -> list[Claim]:
    """Return the claims that still pass, first those that took few inputs and are likely to kill with few."""
    verdicts = [(bench.decide(claim, explainer), claim) for claim in claims]  # all known, unless the model has changed
    audited.dropped |= {claim.claim_id: _NO_LONGER for verdict, claim in verdicts if not verdict.passed}
    ranked = sorted(verdicts, key=lambda pair: (pair[0].n, str(pair[1]), pair[1].claim_id))
    return [claim for verdict, claim in ranked if verdict.passed]


def _built(source: MutantSource) -> Mutant:
    """Return a mutant; one that cannot be built raises when it is called."""
    if not isinstance(source, type):
        return source
    try:
        mutant: Mutant = source()
    except Exception as error:
        return _Unbuilt(error)
    return mutant


@dataclass(frozen=True)
class _Unbuilt:
    error: Exception

    def __call__(self, *args: object) -> NoReturn:
        raise self.error


def _kills(bench: Bench, claim: Claim, suspect: Explainer, killed: Killed) -> bool:
    try:
        return killed(bench.decide(claim, suspect))
    except XaiError:  # a test that asserts the claim fails of it
        return True


# ------------------------------------------------------------------------------------------------- equivalent mutants


def _classify(
    bench: Bench, explainer: Explainer, suspects: Mapping[str, Explainer], mutations: dict[str, Mutation]
) -> dict[str, Explainer]:
    """Return the mutants that can be told apart from the original; what the others are goes to ``mutations``."""

    def classified() -> dict[str, Explainer]:
        bench.subject.renew()
        block = next(bench.subject.blocks()).part(0, _SEEN)
        maps = partial(_maps, bench, block, _layers(bench, block))
        originals = list(maps(explainer))
        live = {}
        for name, suspect in suspects.items():
            with closing(maps(suspect)) as changed:
                dead = _dead(originals, changed)
            if dead is None:
                live[name] = suspect
            else:
                mutations[name] = dead
        return live

    return bench.subject.lend(classified)


def _dead(originals: list[Tensor], maps: Iterator[Tensor]) -> Mutation | None:
    """Return what became of a mutant that no claim is put to; None of a live one."""
    try:
        for original, one in zip(originals, maps, strict=True):
            known = original.nan_to_num()  # an untrained model may well have no finite explanation
            moved, norm = norms((known - one.nan_to_num()).flatten(1)), norms(known.flatten(1))
            if bool((moved > _EQUAL * norm).any()):
                return None
    except XaiError as error:
        cause = error.__cause__
        if isinstance(cause, Inapplicable):
            return Mutation("inapplicable", reason=str(cause))
        return None if cause is None else Mutation("broken", reason=f"{type(cause).__name__}: {cause}")
    return Mutation("equivalent", reason="it explains as the original does")


def _layers(bench: Bench, block: Block) -> tuple[Layer, ...]:
    """Return the layers that reach the explained output, or none where there is nothing to re-initialize."""
    subject = bench.subject
    if not isinstance(subject.model, nn.Module):
        return ()
    try:
        return tuple(explained_layers(subject, block))
    except XaiError:
        return ()


def _maps(bench: Bench, block: Block, layers: Sequence[Layer], explainer: Explainer) -> Generator[Tensor]:
    """Yield maps of two halves of a block, on the model as given and on an untrained one."""
    subject = bench.subject
    half = (len(block) + 1) // 2
    parts = [block.part(0, half), *([block.part(half, len(block))] if half < len(block) else [])]
    explained = Attributions(subject, explainer, bench.seed)
    yield from (explained(part) for part in parts)
    if not layers:
        return
    with Randomizer(subject.model, layers, "own", seed=1) as randomizer:
        for layer in layers:
            randomizer.randomize(layer)
        yield from (explained(part, state=("untrained",)) for part in parts)


# --------------------------------------------------------------------------------------------- what would catch them


_FLIPPED = {"on": "pixel_flipping"}
_CATALOG = (
    Written("beats", ("random",), _FLIPPED),
    Written("changes_under", ("cascading_randomization",), {"similarity": "spearman"}),
    Written("beats", ("mutants",), _FLIPPED),
    Written("invariant_under", ("batch_order",), {}),
    Written("beats", ("mutants",), {**_FLIPPED, "mutants": ("absolute_value",)}),
    Written("beats", ("mutants",), {**_FLIPPED, "mutants": ("shuffled",)}),
    Written("beats", ("edges",), _FLIPPED),
    Written("beats", ("uninformative",), _FLIPPED),
)
"""The claims that are tried on survivors, the cheapest first."""


def _catching(
    bench: Bench, explainer: Explainer, suspect: Explainer, known: Sequence[str], killed: Killed
) -> Written | None:
    for written in _CATALOG:
        claim = make(*written, where="audit")
        new = claim.claim_id not in known
        if new and _passes(bench, claim, explainer) and _kills(bench, claim, suspect, killed):
            return written
    return None


def _passes(bench: Bench, claim: Claim, explainer: Explainer) -> bool:
    try:
        return bench.decide(claim, explainer).passed
    except XaiError:
        return False
