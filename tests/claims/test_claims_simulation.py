"""False alarms and power of every kind of claim, from scores to verdict, over all looks, by seeded simulation.

A false alarm is a claim that passes although what it states is not so. ``pytest -m slow`` runs every distribution,
those too whose rate comes so close to 1 - confidence that it takes many runs to tell them apart.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from laboratory import Plain, compared_of
from rates import rate_at_least, rate_at_most

from pytest_xaisanity.claims.base import Look
from pytest_xaisanity.claims.make import beats, bounded, changes_under, invariant_under
from pytest_xaisanity.claims.retention import REPRODUCES
from pytest_xaisanity.evidence.base import Scored
from pytest_xaisanity.statistics import question
from pytest_xaisanity.statistics.question import Level, looks
from pytest_xaisanity.subject.inputs import Stream, block_sizes

pytestmark = pytest.mark.long

CONFIDENCE = 0.95
RANDOMIZATION = "cascading_randomization"


@pytest.fixture(autouse=True)
def _without_intervals(monkeypatch):
    """Leave out what a verdict says beside its outcome: intervals, and how many inputs would settle it."""
    monkeypatch.setattr(question._Plan, "lower_bound", lambda _plan, _z: 0.0)
    monkeypatch.setattr(question.Question, "outlook", lambda *_, **__: question.Outlook(None, "near"))


SHARE, UNBOUNDED = Plain(), Plain(-math.inf, math.inf)


def found_in(scores, names):
    """Return what a measurement found, and what it says of itself: ``scores``, or ``after spearman`` and so on."""
    if "scores" not in scores:
        return compared_of(scores, names)
    groups = scores.get("groups")
    return Scored(scores["scores"], groups=None if groups is None else np.column_stack([groups, groups])), ()


def outcome(claim, *measured, names=(), targets=()):
    """Return the outcome of a claim that looks at the inputs as a bench does."""
    n = len(next(iter(measured[0].values())))
    for count in looks(n):
        found, parts = zip(*(found_in(scores, names) for scores in measured), strict=True)
        seen = tuple(one.head(count) for one in found)
        level = Level(CONFIDENCE, claim.early, claim.fail_share)
        keys = tuple((int(target),) for target in targets[:count])
        decided = claim.decide(Look("E", level, tuple(range(count)), count == n, seen, parts, 0, 1e-3, keys))
        if decided is not None:
            return decided.outcome
    raise AssertionError("the last look gave no verdict")


# -- distributions of scores ------------------------------------------------------------------------------------------


def rare(p, sign):
    """Return a distribution of mean 0 in [-1, 1]: near ``sign`` with probability ``p``, else small and opposite."""

    def draw(rng, n):
        large = rng.random(n) < p
        return sign * np.where(large, 0.95, -0.95 * p / (1 - p)) + rng.uniform(-0.02, 0.02, n)

    return draw


DISTRIBUTIONS = {  # of mean 0, within [-1, 1]
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "narrow": lambda rng, n: rng.normal(0, 0.1, n).clip(-1, 1),
    "fair coin": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "three values": lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.8, 0.1]),
    "rarely large": rare(0.05, 1),
    "rarely small": rare(0.05, -1),
    "skewed": lambda rng, n: 2 * (rng.beta(0.3, 0.9, n) - 0.25) / 1.5,
    "constant": lambda rng, n: np.zeros(n),
}


def placed(name, rng, n, *, at, low, high):
    """Return scores of mean ``at`` in [low, high], spread over as much of it as is symmetric around ``at``."""
    return at + DISTRIBUTIONS[name](rng, n) * min(at - low, high - at)


# -- maps, of which the chance similarities of pairs are made ---------------------------------------------------------

TYPES = {  # how far each map points along a direction that all share
    "alike": lambda rng, n: np.full(n, 0.6),
    "some unlike": lambda rng, n: np.where(rng.random(n) < 0.15, -0.9, 0.95),
    "two signs": lambda rng, n: rng.choice([-1.0, 1.0], n, p=[0.3, 0.7]),
}

EXPECTED = {"alike": 0.6, "some unlike": 0.85 * 0.95 - 0.15 * 0.9, "two signs": 0.4}


def chances(types, rng, n, dimensions=16):
    """Return the similarity of each input's map to that of its partner, and its expectation."""
    along = TYPES[types](rng, n)
    across = rng.standard_normal((n, dimensions))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    maps = np.column_stack([along, np.sqrt(1 - along**2)[:, None] * across])
    partner = np.arange(n) ^ 1
    if n % 2:
        partner[-1] = n - 2
    return (maps * maps[partner]).sum(1), EXPECTED[types] ** 2


def comparison(after, own, chance):
    """Return the scores of a comparison under one similarity."""
    return {"after spearman": after[:, None, None], "self spearman": own, "chance spearman": chance}


def retained(types, name, rng, n, *, retention=0.5, share=0.5):
    """Claim at most ``share`` of the similarity above chance, where ``retention`` is left on average."""
    chance, mean = chances(types, rng, n)
    level = mean + retention * (1 - mean)
    after = placed(name, rng, n, at=level, low=max(-1.0, level - 0.3), high=min(1.0, level + 0.3))
    claim = changes_under(RANDOMIZATION, similarity="spearman", retention=share)
    return claim, [comparison(after, np.ones(n), chance)]


def not_reproduced(name, rng, n):
    """Claim a change of maps whose similarity to themselves is above chance by no more than the margin."""
    own = placed(name, rng, n, at=REPRODUCES, low=-1, high=1)
    return changes_under(RANDOMIZATION, similarity="spearman"), [comparison(np.full(n, -1.0), own, np.zeros(n))]


def raw(name, rng, n, *, at=0.3):
    """Claim a mean of at most 0.3."""
    after = placed(name, rng, n, at=at, low=-1, high=1)
    claim = changes_under(RANDOMIZATION, similarity="spearman", at_most=0.3)
    return claim, [comparison(after, np.ones(n), np.zeros(n))]


def raw_pairs(name, rng, n):
    """Claim the same of inputs that are explained under one cell, two by two, and then score alike."""
    claim, [scores] = raw(name, rng, (n + 1) // 2)
    return claim, [{key: np.repeat(values, 2, axis=0)[:n] for key, values in scores.items()}]


def invariant(name, rng, n, *, at=0.5):
    """Claim a mean of at least 0.5."""
    after = placed(name, rng, n, at=at, low=-1, high=1)
    claim = invariant_under("batch_order", similarity="spearman", at_least=0.5)
    return claim, [comparison(after, np.ones(n), np.zeros(n))]


def against_random(rng, n, *, orders=5, levels=20, advantage=0.0):
    """Claim to beat random orders, whose scores tie and differ in scale from input to input."""
    center, spread = rng.uniform(0.3, 0.7, (n, 1)), rng.uniform(0.01, 0.2, (n, 1))
    scores = center + spread * rng.standard_normal((n, orders + 1))
    scores[:, :1] += advantage * spread
    scores = (np.round(scores * levels) / levels).clip(0, 1)
    return beats("random", on=SHARE, draws=orders), [{"scores": scores[:, :1]}, {"scores": scores[:, 1:]}]


def all_or_nothing(rng, n, *, share=0.5, groups=None, within=None, orders=5):
    """Claim to beat random orders, where each input beats all of its own or none."""
    won = rng.random(n) < share
    own = (won if groups is None else won[groups]).astype(float)[:, None]
    scored = {"scores": own} if groups is None else {"scores": own, "groups": groups}
    claim = beats("random", on=SHARE, draws=orders, within=within)
    return claim, [scored, {"scores": np.full((n, orders), 0.5)}]


def in_clusters(rng, n, *, share=0.5, size=8):
    """The same, where the inputs of a cluster share what becomes of them."""
    return all_or_nothing(rng, n, share=share, groups=rng.integers(max(1, n // size), size=n))


def exchangeable_half(rng, n, *, orders=5):
    """Claim to beat random orders, with half of the maps right and half of them upside down."""
    scores = rng.standard_normal((n, orders + 1))
    scores[:, :1] = np.where(rng.random((n, 1)) < 0.5, scores.max(1, keepdims=True), scores.min(1, keepdims=True))
    scores = 1 / (1 + np.exp(-scores))
    return beats("random", on=SHARE, draws=orders), [{"scores": scores[:, :1]}, {"scores": scores[:, 1:]}]


def against_another(name, rng, n, *, scale=SHARE, gain=0.0, spread=None):
    """Claim to beat another explainer that is as good, or worse by ``gain``."""
    difference = gain + (0.5 * DISTRIBUTIONS[name](rng, n) if spread is None else spread * rng.standard_normal(n))
    other = rng.uniform(0.4, 0.6, n)
    if scale is SHARE:
        difference = difference.clip(-1, 1)
        other = np.clip(other, np.maximum(0, -difference), np.minimum(1, 1 - difference))
    return beats(print, on=scale), [{"scores": (other + difference)[:, None]}, {"scores": other[:, None]}]


def mean_bounded(name, rng, n, *, at=0.3):
    """Claim a mean of at most 0.3, in [0, 1]."""
    return bounded(SHARE, at_most=0.3), [{"scores": placed(name, rng, n, at=at, low=0, high=1)[:, None]}]


def median_bounded(name, rng, n, *, gain=0.0):
    """Claim a median of at most 1, without a range: half of the inputs lie above it, by far or by little."""
    above = rng.random(n) < 0.5 - gain
    scores = 1 + np.where(above, 1, -1) * (np.abs(DISTRIBUTIONS[name](rng, n)) ** 9 * 1e6 + 1e-9)
    return bounded(UNBOUNDED, at_most=1.0), [{"scores": scores[:, None]}]


NULLS = {
    "changes_under, maps alike": lambda rng, n: retained("alike", "uniform", rng, n),
    "changes_under, maps alike, rarely large": lambda rng, n: retained("alike", "rarely large", rng, n),
    "changes_under, some unlike": lambda rng, n: retained("some unlike", "narrow", rng, n),
    "changes_under, two signs": lambda rng, n: retained("two signs", "constant", rng, n),
    "changes_under 20 %, two signs": lambda rng, n: retained("two signs", "narrow", rng, n, retention=0.2, share=0.2),
    **{
        f"changes_under, noise, {name}": lambda rng, n, name=name: not_reproduced(name, rng, n)
        for name in DISTRIBUTIONS
    },
    **{f"changes_under at_most, {name}": lambda rng, n, name=name: raw(name, rng, n) for name in DISTRIBUTIONS},
    **{
        f"changes_under at_most, pairs, {name}": lambda rng, n, name=name: raw_pairs(name, rng, n)
        for name in DISTRIBUTIONS
    },
    **{f"invariant_under, {name}": lambda rng, n, name=name: invariant(name, rng, n) for name in DISTRIBUTIONS},
    **{f"beats another, {name}": lambda rng, n, name=name: against_another(name, rng, n) for name in DISTRIBUTIONS},
    **{
        f"beats another, no bound, {name}": lambda rng, n, name=name: against_another(name, rng, n, scale=UNBOUNDED)
        for name in ("uniform", "three values", "narrow")
    },
    **{f"bounded mean, {name}": lambda rng, n, name=name: mean_bounded(name, rng, n) for name in DISTRIBUTIONS},
    "bounded median": lambda rng, n: median_bounded("uniform", rng, n),
}


def in_groups(make, size, rng, n):
    """Return a claim on inputs in groups of about this size, which share their scores, in a random order."""
    groups = rng.integers(max(1, n // size), size=n)
    claim, measured = make(rng, int(groups.max()) + 1)
    return claim, [{**{key: values[groups] for key, values in scores.items()}, "groups": groups} for scores in measured]


def fixed_maps(rng, n, *, size=8, retention=0.5):
    """Claim at most half left of maps of which each is shown on several inputs, neighbors compared anew."""
    count = max(2, n // size)
    groups = rng.integers(count, size=n)
    maps = rng.standard_normal((count, 16))
    maps /= np.linalg.norm(maps, axis=1, keepdims=True)
    partner = np.arange(n) ^ 1
    if n % 2:
        partner[-1] = n - 2
    chance = (maps[groups] * maps[groups[partner]]).sum(1)
    after = placed("three values", rng, count, at=retention, low=0.0, high=1.0)[groups]
    claim = changes_under(RANDOMIZATION, similarity="spearman", retention=0.5)
    return claim, [{**comparison(after, np.ones(n), chance), "groups": groups}]


def sorted_stream(rng, n, *, share=0.5):
    """Claim to beat random orders on a stream that is sorted by class, all of whose right classes come first."""
    won = np.arange(4 * n) < share * 4 * n
    stream = Stream([torch.zeros(4 * n, 1)], None, int(rng.integers(2**31)))
    visited = [index for indices, _, _ in stream.blocks(block_sizes(True)) for index in indices][:n]
    claim = beats("random", on=SHARE, draws=5)
    return claim, [{"scores": won[visited].astype(float)[:, None]}, {"scores": np.full((n, 5), 0.5)}]


NULLS["beats random"] = against_random
NULLS["beats random, all or nothing"] = all_or_nothing
NULLS["beats random, half upside down"] = exchangeable_half
NULLS["beats random, in clusters"] = in_clusters
NULLS["beats random, ten orders"] = lambda rng, n: against_random(rng, n, orders=10)
NULLS["beats random, a sorted stream"] = sorted_stream
NULLS["changes_under, fixed maps"] = fixed_maps
NULLS["changes_under, fixed maps of pairs"] = lambda rng, n: fixed_maps(rng, n, size=2)
GROUPED = {
    "changes_under at_most": lambda rng, n: raw("three values", rng, n),
    "invariant_under": lambda rng, n: invariant("three values", rng, n),
    "bounded mean": lambda rng, n: mean_bounded("three values", rng, n),
    "bounded median": lambda rng, n: median_bounded("uniform", rng, n),
    "beats another": lambda rng, n: against_another("three values", rng, n),
}
for _name, _make in GROUPED.items():
    for _size in (2, 8):
        NULLS[f"{_name} in groups of {_size}"] = partial(in_groups, _make, _size)
FEWEST = {"changes_under": 12, "changes_under at_most": 16, "invariant_under": 11, "bounded mean": 9}
QUICK = [  # those whose rate is far below 1 - confidence, which few runs show
    ("changes_under, noise, fair coin", 16),
    ("changes_under at_most, rarely small", 32),
    ("invariant_under, three values", None),
    ("beats another, skewed", 64),
    ("bounded mean, rarely large", None),
    ("beats random, in clusters", 32),
]


def passes(make, n):
    """Return a function from the number of a run to whether its claim passed: the same numbers in every test."""

    def passed(run):
        claim, scores = make(np.random.default_rng([run, n]), n)
        return outcome(claim, *scores, names=["spearman"]) == "passed"

    return passed


def fewest(kind):
    """Return how many inputs the claim needs to be decided at all, or 8."""
    return max(((len(start), n) for start, n in FEWEST.items() if kind.startswith(start)), default=(0, 8))[1]


@pytest.mark.parametrize(("kind", "n"), QUICK)
def test_what_is_not_so_seldom_passes(kind, n):
    """At the boundary of each claim, where false alarms are most frequent."""
    assert rate_at_most(passes(NULLS[kind], n or fewest(kind)), 1 - CONFIDENCE) <= 1 - CONFIDENCE


def sizes(place, kind):
    """Return the fewest inputs, an odd number and many; for each distribution of a rule one of the latter two.

    They take turns, so that each rule and each distribution meets both.
    """
    if any(word in kind for word in ("groups", "fixed", "sorted")):
        return [64]
    if kind.rpartition(", ")[2] in DISTRIBUTIONS:
        return [None, (17, 256)[(place + place // len(DISTRIBUTIONS)) % 2]]
    return [None, 17, 256]


SIZES = [(kind, n) for place, kind in enumerate(NULLS) for n in sizes(place, kind)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), SIZES)
def test_what_is_not_so_seldom_passes_whatever_the_distribution(kind, n):
    """The same for every distribution and for odd numbers of inputs."""
    assert rate_at_most(passes(NULLS[kind], n or fewest(kind)), 1 - CONFIDENCE) <= 1 - CONFIDENCE


POWER = {
    "beats another by 0.3": (lambda rng, n: against_another("", rng, n, gain=0.3, spread=0.2), 16),
    "beats another by 0.15": (lambda rng, n: against_another("", rng, n, gain=0.15, spread=0.2), 64),
    "beats random": (lambda rng, n: against_random(rng, n, advantage=1.2), 32),
    "changes_under, nothing left": (lambda rng, n: retained("alike", "narrow", rng, n, retention=0.0), 32),
    "changes_under, a fifth left": (lambda rng, n: retained("alike", "uniform", rng, n, retention=0.2), 64),
    "changes_under at_most": (lambda rng, n: raw("narrow", rng, n, at=0.0), 32),
    "invariant_under": (lambda rng, n: invariant("narrow", rng, n, at=0.8), 32),
    "bounded mean": (lambda rng, n: mean_bounded("narrow", rng, n, at=0.15), 32),
    "bounded median": (lambda rng, n: median_bounded("uniform", rng, n, gain=0.25), 64),
}


SLOW = {
    "beats another by 0.3": [pytest.mark.slow],  # has hardly more than the power that is asked for
    "changes_under, nothing left": [pytest.mark.slow],
    "changes_under, a fifth left": [pytest.mark.slow],
}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=SLOW.get(kind, [])) for kind in POWER])
def test_what_is_so_is_found(kind):
    """With power 0.9 or more."""
    make, n = POWER[kind]
    assert rate_at_least(passes(make, n), 0.9) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform", "rarely large"])
def test_what_is_so_seldom_fails(name):
    """A claim that holds with nothing to spare is not called false either."""

    def failed(run):
        claim, scores = retained("some unlike", name, np.random.default_rng([run, 64]), 64)
        return outcome(claim, *scores, names=["spearman"]) == "failed"

    assert rate_at_most(failed, 1 - CONFIDENCE) <= 1 - CONFIDENCE


def fails(make, n):
    """Return a function from the number of a run to whether its claim failed."""

    def failed(run):
        claim, scores = make(np.random.default_rng([run, n]), n)
        return outcome(claim, *scores, names=["spearman"]) == "failed"

    return failed


AT_THE_BOUND = [  # what holds with nothing to spare, of claims without a margin
    (kind, 64 if "groups" in kind or "fixed" in kind else 33)
    for kind in NULLS
    if kind.startswith(("changes_under", "invariant_under", "bounded")) and "noise" not in kind
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n"), AT_THE_BOUND)
def test_what_holds_with_nothing_to_spare_seldom_fails(kind, n):
    assert rate_at_most(fails(NULLS[kind], n), 1 - CONFIDENCE) <= 1 - CONFIDENCE


def between_two_bounds(rng, n):
    """Claim a mean that both bounds allow, at the very bounds."""
    return bounded(SHARE, at_most=0.3, at_least=0.3 - 1e-9), [
        {"scores": placed("uniform", rng, n, at=0.3, low=0, high=1)[:, None]}
    ]


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 64])
def test_a_claim_of_two_bounds_seldom_fails_wrongly(n):
    """It fails with either of them, so that each has half of the error."""
    assert rate_at_most(fails(between_two_bounds, n), 1 - CONFIDENCE) <= 1 - CONFIDENCE


FAILS = {  # at the end of the zone of indifference, where wrong fails are most frequent
    "all or nothing": lambda rng, n: all_or_nothing(rng, n, share=0.6),
    "in clusters": lambda rng, n: in_clusters(rng, n, share=0.6),
    "in pairs": lambda rng, n: in_clusters(rng, n, share=0.6, size=2),
    "ordinary": lambda rng, n: against_random(rng, n, advantage=0.36, levels=1000),
    "another": lambda rng, n: against_another("uniform", rng, n, gain=0.05),
    "a sorted stream": lambda rng, n: sorted_stream(rng, n, share=0.6),
}


@pytest.mark.parametrize(("kind", "n"), [("in clusters", 64)])
def test_what_is_no_small_advantage_seldom_fails(kind, n):
    """An advantage of the margin is not called too small to count."""
    assert rate_at_most(fails(FAILS[kind], n), 1 - CONFIDENCE) <= 1 - CONFIDENCE


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 16, 17, 64, 256])
@pytest.mark.parametrize("kind", FAILS)
def test_what_is_no_small_advantage_seldom_fails_whatever_the_distribution(kind, n):
    """The same for every distribution and for odd numbers of inputs."""
    assert rate_at_most(fails(FAILS[kind], n), 1 - CONFIDENCE) <= 1 - CONFIDENCE


def by_target(what, n, shares):
    """Return a function from the number of a run to whether a claim for each target has an outcome.

    Each target has a share of inputs that beat all random orders; the others beat none.
    """

    def happened(run):
        rng = np.random.default_rng([run, n])
        targets = rng.integers(len(shares), size=n)
        claim, scores = all_or_nothing(rng, n, share=np.asarray(shares)[targets], within="target")
        return outcome(claim, *scores, targets=targets) == what

    return happened


@pytest.mark.parametrize(
    ("what", "n", "shares"),
    [
        pytest.param("failed", 40, [0.6] * 4, marks=pytest.mark.slow),
        pytest.param("passed", 40, [0.4, 1.0, 1.0, 1.0], marks=pytest.mark.slow),
        pytest.param("failed", 200, [0.6] * 10, marks=pytest.mark.slow),
        pytest.param("passed", 200, [0.5] + [1.0] * 9, marks=pytest.mark.slow),
        pytest.param("passed", 1000, [0.5] * 2 + [0.9] * 8, marks=pytest.mark.slow),
        pytest.param("failed", 1000, [0.6] * 10, marks=pytest.mark.slow),
        pytest.param("failed", 60, [0.6] * 2, marks=pytest.mark.slow),
    ],
)
def test_claims_for_each_target_are_seldom_decided_wrongly(what, n, shares):
    """Where one target has no advantage, none passes; where all have that of the margin, none fails."""
    assert rate_at_most(by_target(what, n, shares), 1 - CONFIDENCE) <= 1 - CONFIDENCE


def of_parts(count, n):
    """Return a function from the number of a run to whether a claim of several parts failed.

    Each has a mean gain of the margin; their scores are independent, where a fail of any is most frequent.
    """

    def failed(run):
        rng = np.random.default_rng([run, n])
        for _ in range(count):
            claim, scores = against_another("uniform", rng, n, gain=0.05)
            if outcome(replace(claim, fail_share=1 / count), *scores) == "failed":
                return True
        return False

    return failed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "n"), [(2, 64), *[pytest.param(count, 64, marks=pytest.mark.slow) for count in (5, 12)]]
)
def test_claims_of_several_parts_seldom_fail_wrongly(count, n):
    assert rate_at_most(of_parts(count, n), 1 - CONFIDENCE) <= 1 - CONFIDENCE
