"""The findings in one table: what is left of each explanation, layer by layer, and what the claims decide.

Run ``python examples/adebayo2018/table.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "quickstart"))

from adebayo_methods import SHOWN, methods, train, training_data
from digits import one_thread

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.claims.changes_under import Readings
from pytest_xaisanity.evidence.randomized import Randomized

HOW_TO_READ = """\
Left: the share of the similarity above chance that is left, 1 for all of it, when layers are randomized from the
output down to the one named, and when that one is randomized alone. Right: similarity to the explanation of a network
trained with another seed, on the true labels and on permuted ones, and the share of the first that the second has
left. Verdicts: whether half or less is left, over all layers. "-": another seed leaves too little to compare with.
Guided GradCAM explains the class that each network predicts, as the authors' code does, all others the same class.
"""
SIMILARITIES = {"spearman": "signed Spearman", "abs_spearman": "absolute Spearman", "ssim": "SSIM"}
WEIGHTS = ("cascading_randomization", "independent_randomization")
LABELS = "label_randomization"


def main() -> None:
    """Train, measure and print."""
    images, labels, test_images, _ = data = training_data()
    with one_thread():
        model = train(images, labels, seed=0)
        bench = Bench(model, test_images[:SHOWN], train=train, training_data=data)
        print(HOW_TO_READ)
        print(f"{'':22}{'randomized from the output down to':44}{'randomized alone':44}trained with another".rstrip())
        for name, explainer in methods(bench).items():
            print(*rows(name, explainer), "", sep="\n", flush=True)


def rows(name: str, explainer: Any) -> Iterator[str]:
    """Yield a heading, a line for each similarity, and one for all of them."""
    target = "dynamic" if name == "Guided GradCAM" else "fixed"
    claims: dict[str, dict[str, Any]] = {each: {"seeds": 3, "target": target} for each in WEIGHTS} | {LABELS: {}}
    joint = {each: explainer.changes_under(each, early=False, **given) for each, given in claims.items()}
    layers = "".join(f"{layer:>7}" for layer in joint[WEIGHTS[0]].evidence.get_part(Randomized).layers)
    labels = "".join(f"{column:>7}" for column in ("seed", "labels", "left"))
    yield f"{name:22}{layers:44}{layers:44}{labels}"
    for similarity, words in SIMILARITIES.items():
        verdicts = {
            each: explainer.changes_under(each, similarity=similarity, early=False, **given)
            for each, given in claims.items()
        }
        cells = [_of_weights(verdicts[each], similarity) for each in WEIGHTS]
        cells.append(_of_labels(verdicts[LABELS], similarity))
        yield f"  {words:20}{''.join(map(_cell, cells, verdicts.values()))}".rstrip()
    ends = (f"{'':{7 * len(cell)}}  {verdict.outcome:14}" for cell, verdict in zip(cells, joint.values(), strict=True))
    yield f"  {'none named':20}{''.join(ends)}".rstrip()


def _of_weights(verdict: Verdict, similarity: str) -> list[float | None]:
    return [*verdict.evidence.get_part(Readings)[similarity].retention_by_position]


def _of_labels(verdict: Verdict, similarity: str) -> list[float | None]:
    found = verdict.evidence.get_part(Readings)[similarity]
    return [found.own, *found.after_by_position, found.retention]


def _cell(numbers: list[float | None], verdict: Verdict) -> str:
    shown = "".join(f"{'-' if number is None else format(number, 'z.2f'):>7}" for number in numbers)
    return f"{shown}  {verdict.outcome:14}"


if __name__ == "__main__":
    main()
