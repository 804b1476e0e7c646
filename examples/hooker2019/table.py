"""Print accuracy by method and share removed: ``python examples/hooker2019/table.py [JOBS] [FOLDER]``.

Five minutes on one core, and none once FOLDER has the cells. Each cell is the mean test accuracy of three networks
that are trained on images of which a method's highest pixels are replaced by the mean, and, in parentheses, that of one
that sees the mask alone. A star marks what is leak-dominated: less than 0.05 better than the mask.
"""

from __future__ import annotations

import sys

from hooker_digits import METHODS, load_digits, one_thread, train, trained

from pytest_xaisanity import ROAR, Bench
from pytest_xaisanity.evidence.metrics.roar_evidence import Retrainings

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


def row(found: Retrainings, name: str) -> str:
    """Return a line of the table."""
    cells = [
        f"{mean:.2f} ({leak:.2f}){'*' if dominated else ' '}"
        for mean, leak, dominated in zip(found.means, found.leaks, found.dominated, strict=True)
        if leak is not None
    ]
    return " | ".join([f"{name:10}", *cells])


def print_table(bench: Bench) -> None:
    """Print a row for each method, after those of the random control and of edges."""
    print(" | ".join([f"{'':10}", *(f"{fraction:<12.0%}" for fraction in FRACTIONS)]))
    metric = ROAR(fractions=FRACTIONS)
    for control in ("random", "edges"):
        explainer = bench.explainer(METHODS["GRAD"][0], **METHODS["GRAD"][1])
        parts = explainer.beats(control, on=metric).evidence.parts
        print(row([part for part in parts if isinstance(part, Retrainings)][1], control), flush=True)
    for name, (source, settings) in METHODS.items():
        verdict = bench.explainer(source, name=name, **settings).beats("random", on=metric)
        line = row(verdict.evidence.get_part(Retrainings), name)
        print(f"{line} | {verdict.outcome} against random ({verdict.estimate:+.2f})", flush=True)


if __name__ == "__main__":
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else None
    digits = load_digits()
    folder = sys.argv[2] if len(sys.argv) > 2 else None
    kept = {"cache_dir": folder, "jobs": jobs}
    with one_thread():
        model, data = trained(digits), tuple(digits)
        print_table(Bench(model, digits.test_images, train=train, training_data=data, device="cpu", **kept))
