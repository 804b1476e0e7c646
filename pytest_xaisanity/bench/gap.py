"""The gap: explainers ranked by weight randomization, against the same explainers ranked by what their maps are worth.

Binder et al. 2022 found the two rankings to contradict one another: noise is best at randomization, and maps that
share with the input what the model shares with it are worst. A ranking by randomization alone says nothing of which
explanation to trust.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, isnan

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..common.errors import XaiError
from ..evidence.base import Compared, Intervention, Measured, Measurement, Metric, Scored
from ..evidence.comparison import Comparison
from ..evidence.names import as_intervention, as_map_metric, as_similarity
from ..evidence.scoring import Scoring
from .bench import Bench, BoundExplainer

__all__ = ["Gap", "GapRow", "Tie", "gap"]

_WITHIN = 2.0  # standard errors of a difference that count as noise

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GapRow:
    """One explainer.

    Attributes:
        name: Its name.
        similarity: Mean raw similarity of its maps before and after the randomization, over layers, seeds and inputs,
            by the name of the similarity.
        score: Its mean score on the metric.
        undefined: How many of its inputs have a constant or non-finite map at some stage, by similarity; such maps are
            left out of the mean.
    """

    name: str
    similarity: Mapping[str, float]
    score: float
    undefined: Mapping[str, int]


@dataclass(frozen=True)
class Tie:
    """Explainers next to one another in a ranking, whose order among them is noise.

    Attributes:
        names: The explainers, best first.
        spread: The difference of their largest and smallest mean.
    """

    names: tuple[str, ...]
    spread: float


@dataclass(frozen=True, repr=False)
class Gap:
    """Rankings of explainers by randomization and by a metric, and how far they agree.

    Attributes:
        rows: One for each explainer, the best on the metric first.
        tau: Kendall's tau-b of the two rankings, by similarity: 1 where they agree, -1 where they are each other's
            reverse, NaN where all explainers are equal. Less alike after the randomization ranks higher.
        ties: Groups of explainers tied within noise, in the ranking by each similarity and, under its name, by the
            metric: each differs from the next by less than two standard errors of the paired difference.
        metric: Name of the metric.
        intervention: Name of the randomization.
        n: How many inputs.
        seeds: How many randomizations.
    """

    rows: tuple[GapRow, ...]
    tau: Mapping[str, float]
    ties: Mapping[str, tuple[Tie, ...]]
    metric: str
    intervention: str
    n: int
    seeds: int

    def __repr__(self) -> str:
        taus = ", ".join(f"{name} {_shown(tau)}" for name, tau in self.tau.items())
        return f"<gap of {len(self.rows)} explainers on {self.metric}: tau {taus}, n={self.n}>"

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return the report as a table, with a line for each ranking and each tie."""
        width = max(len("explainer"), *(len(row.name) for row in self.rows))
        head = f"{'explainer':<{width}}  {self.metric:>{len(self.metric)}}"
        lines = [
            f"{self.intervention} (less alike is better) against {self.metric}, {self.n} inputs, {self.seeds} seeds",
            "",
            head + "".join(f"  {name:>{max(8, len(name))}}" for name in self.tau),
        ]
        for row in self.rows:
            cells = (f"  {_shown(row.similarity[name]):>{max(8, len(name))}}" for name in self.tau)
            lines.append(f"{row.name:<{width}}  {_shown(row.score):>{len(self.metric)}}" + "".join(cells))
        taus = "".join(f"  {_shown(tau):>{max(8, len(name))}}" for name, tau in self.tau.items())
        lines += [f"{'Kendall tau':<{width}}  {'':>{len(self.metric)}}" + taus, ""]
        lines += [
            f"tied within noise by {ranking}: {', '.join(tie.names)} (spread {tie.spread:.2g})"
            for ranking, ties in self.ties.items()
            for tie in ties
        ]
        for name in self.tau:
            count = sum(row.undefined[name] for row in self.rows)
            if count:
                lines.append(f"left out of {name}: {count} inputs with constant or non-finite maps")
        return "\n".join(lines).rstrip()


def gap(
    bench: Bench,
    explainers: Iterable[BoundExplainer],
    similarities: object = ("spearman", "abs_spearman", "rms_ssim"),
    metric: str | Metric = "pixel_flipping",
    *,
    intervention: str | Intervention = "cascading_randomization",
) -> Gap:
    """Return the rankings of explainers by randomization and by a metric.

    Every input is measured. Maps and scores are shared with the claims of the same bench.

    Args:
        bench: The bench of all the explainers.
        explainers: Three or more, of different names, from ``bench.explainer(...)``.
        similarities: A similarity or several, as objects or by name; each gives a ranking.
            The result depends on it: compare several.
        metric: A name such as ``"pixel_flipping"``, or a metric object.
        intervention: A name such as ``"cascading_randomization"``, or an intervention object such as
            ``CascadingRandomization(seeds=3)``.

    Raises:
        XaiError: An explainer is not one of the bench; a name is unknown; all maps of an explainer are constant.

    >>> print(gap(bench, [bench.explainer(Saliency), bench.explainer(Deconvolution), noise]))  # doctest: +SKIP
    """
    chosen = _checked_explainers(bench, explainers)
    names = _checked_similarities(similarities)
    built = as_map_metric(metric, where="gap metric")
    made = as_intervention(intervention, verb="changes_under", where="gap intervention")
    wanted: list[Measurement[Measured]] = [Comparison(made, names), Scoring(built, control=True)]
    found = [bench.measure(wanted, one.explainer) for one in chosen]
    compared = [one for one, _ in found if isinstance(one, Compared)]
    scored = [one for _, one in found if isinstance(one, Scored)]
    after = {name: [_after(look, name, one.name) for look, one in zip(compared, chosen, strict=True)] for name in names}
    scores = [one.values.astype(float)[:, :1, None] for one in scored]
    rows = [_row(one.name, place, after, scores) for place, one in enumerate(chosen)]
    better = np.array([row.score for row in rows]) * (1 if built.higher_is_better else -1)
    alike = {name: as_similarity(name, where="gap similarities") for name in names}
    unlike = {name: -np.array([alike[name].unit(row.similarity[name]) for row in rows]) for name in names}
    labels = [row.name for row in rows]
    ties = {name: _ties(labels, unlike[name], after[name]) for name in names}
    ties[built.name] = _ties(labels, better, scores)
    return Gap(
        rows=tuple(rows[place] for place in np.argsort(-better, kind="stable")),
        tau={name: float(stats.kendalltau(unlike[name], better).statistic) for name in names},
        ties=ties,
        metric=built.name,
        intervention=made.name,
        n=len(scores[0]),
        seeds=after[names[0]][0].shape[1],
    )


def _row(name: str, place: int, after: Mapping[str, Sequence[Floats]], scores: Sequence[Floats]) -> GapRow:
    score = float(scores[place].mean())
    if not isfinite(score):
        raise XaiError(
            f"gap explainer {name}",
            found="scores that are NaN or infinite",
            expected="a finite score for each input",
            fix="look at the model's outputs on inputs with removed features",
        )
    return GapRow(
        name=name,
        similarity={key: float(np.nanmean(values[place])) for key, values in after.items()},
        score=score,
        undefined={key: int(np.isnan(values[place]).any((1, 2)).sum()) for key, values in after.items()},
    )


def _after(compared: Compared, similarity: str, name: str) -> Floats:
    """Return the similarities after the randomization, ``(n, seeds, layers)``."""
    seeds, layers = (compared.cells[0].max(0) + 1).tolist()
    after = compared.after[similarity].astype(float).reshape(-1, seeds, layers)
    if np.isnan(after).all():
        raise XaiError(
            f"gap explainer {name}",
            found=f"maps that {similarity} cannot compare: all constant or not finite",
            expected="maps that rank the features of the input",
            fix="leave this explainer out of the report",
        )
    return after


def _ties(names: Sequence[str], better: Floats, values: Sequence[Floats]) -> tuple[Tie, ...]:
    """Return the groups of neighbors in a ranking that differ by less than noise."""
    order = np.argsort(-better, kind="stable").tolist()
    groups = [[order[0]]]
    for former, latter in pairwise(order):
        if _tied(values[former] - values[latter]):
            groups[-1].append(latter)
        else:
            groups.append([latter])
    return tuple(
        Tie(tuple(names[place] for place in group), float(np.ptp(better[group]))) for group in groups if len(group) > 1
    )


def _tied(differences: Floats) -> bool:
    """Whether the mean of paired differences ``(n, seeds, layers)`` is within noise of inputs and of seeds.

    All inputs share the weights that a seed draws, so that either alone would make a difference look surer than it is.
    """
    by_input, by_seed = (_means(differences, axis) for axis in (0, 1))
    variance = sum(part.var(ddof=1) / len(part) for part in (by_input, by_seed) if len(part) > 1)
    return not np.isfinite(differences).any() or bool(abs(np.nanmean(differences)) <= _WITHIN * np.sqrt(variance))


def _means(values: Floats, axis: int) -> Floats:
    """Return the mean of what is known at each position of an axis, without the positions where nothing is."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    return np.array([row[~np.isnan(row)].mean() for row in rows if not np.isnan(row).all()])


def _checked_explainers(bench: Bench, explainers: Iterable[BoundExplainer]) -> list[BoundExplainer]:
    chosen = list(explainers)
    for one in chosen:
        if not isinstance(one, BoundExplainer) or one.bench is not bench:
            found = f"{one.name}, of another bench" if isinstance(one, BoundExplainer) else f"a {type(one).__name__}"
            raise XaiError(
                "gap explainers",
                found=found,
                expected="explainers of this bench",
                fix="make each with this bench's explainer(...)",
            )
    names = [one.name for one in chosen]
    if len(names) < 3 or len({*names}) < len(names):
        raise XaiError(
            "gap explainers",
            found=", ".join(names) or "none",
            expected="three or more explainers of different names, since two agree or disagree by chance",
            fix="add explainers, and name them apart with explainer(..., name=)",
        )
    return chosen


def _checked_similarities(similarities: object) -> tuple[str, ...]:
    given: Iterable[object] = (similarities,)
    if isinstance(similarities, Iterable) and not isinstance(similarities, str):
        given = similarities
    names = tuple(dict.fromkeys(as_similarity(one, where="gap similarities").name for one in given))
    if not names:
        raise XaiError("gap similarities", found="none", expected="one or more", fix="name those to rank by")
    return names


def _shown(value: float) -> str:
    return "nan" if isnan(value) else f"{value:z.2f}"
