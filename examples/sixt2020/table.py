"""Print a table of all methods: ``python examples/sixt2020/table.py`` (two minutes on one core).

CSC: the median |cos| of random relevance at the lowest layer, sent down from the logits. Class and later layers: what
is left of a map, above chance and whatever its sign, when another class is explained, and when the layers above the
last pooling are re-initialized. Cascading: what is left when the layers are re-initialized one after the other from the
top, at each depth. After each figure stands the verdict on the claim, and last the claims that are shown to be false. A
figure is of as many of the inputs as it took to decide the claim.
"""

from __future__ import annotations

import conftest  # noqa: F401 - finds the modules of the quickstart
from digits import load_digits, one_thread
from sixt_methods import CLAIMS, METHODS, explainer
from sixt_networks import POOLING, DeepCNN, trained_deep_cnn

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.claims.changes_under import Readings

INPUTS = 256
CASCADED = 32  # inputs that each depth of the cascade is measured on
SIMILARITY = "sign_flip_ssim"


def cascade(verdict: Verdict) -> str:
    """Return what is left at each depth, from the top layer down: 0 at chance, 1 where the map is the same."""
    return " ".join(f"{left:z5.2f}" for left in verdict.evidence.get_part(Readings)[SIMILARITY].retention_by_position)


def row(name: str, verdicts: dict[str, Verdict], curve: str) -> str:
    """Return a line of the table."""
    cells = [f"{verdict.estimate:z5.2f} {verdict.outcome:12}" for verdict in verdicts.values()]
    flagged = ", ".join(claim for claim, verdict in verdicts.items() if verdict.failed) or "-"
    return " | ".join([f"{name:21}", *cells, curve, flagged])


def print_table(title: str, model: DeepCNN, names: list[str]) -> None:
    """Print the rows of some methods on one network."""
    bench, few = (Bench(model, DIGITS.test_images[:count], device="cpu") for count in (INPUTS, CASCADED))
    depths = sum(name.startswith(("conv", "fc")) for name, _ in model.named_children())
    print(f"\n{title}")
    head = [f"{'':21}", *(f"{claim:18}" for claim in ("CSC", *list(CLAIMS)[1:])), f"{'cascading':{6 * depths - 1}}"]
    print(" | ".join([*head, "flagged by"]))
    for name in names:
        verdicts = {claim: decide(explainer(bench, name, DIGITS)) for claim, decide in CLAIMS.items()}
        randomized = explainer(few, name, DIGITS).changes_under(
            "cascading_randomization", similarity=SIMILARITY, seeds=1, early=False
        )
        print(row(name, verdicts, cascade(randomized)), flush=True)


if __name__ == "__main__":
    DIGITS = load_digits()
    with one_thread():
        print_table("Eight convolutions, three poolings", trained_deep_cnn(DIGITS), list(METHODS))
        several = ["Gradient", "LRP z", "LRP z+", "Guided Backprop", "Deconvolution"]
        print_table("A pooling after each of four convolutions", trained_deep_cnn(DIGITS, blocks=POOLING), several)
