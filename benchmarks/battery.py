"""What the standard claims say of twelve sound explainers and of nearly forty broken ones.

Run it as ``python benchmarks/battery.py [broken|sound] [--networks NAME …] [--only NAME …]``; it needs the ``examples``
extra.
It prints a row for each explainer, with a mark for each claim: ``+`` passed, ``x`` failed, ``?`` open, ``!`` an error;
and how many fail a claim, or have an open one. With ``--first`` an explainer is let go at the first claim it fails,
and the claims that were not asked any more are left blank. With ``--each-target`` random orders are asked for within
each target too, as the thorough battery does.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from broken import broken
from networks import SUBJECTS, subject
from sound import sound

from pytest_xaisanity import Bench, Verdict
from pytest_xaisanity.bench.battery import battery
from pytest_xaisanity.claims.base import Claim

MARKS = {"passed": "+", "failed": "x", "inconclusive": "?"}


COLUMNS = {  # the cheapest first
    "order": "invariant_under-batch_order",
    "random": "beats-random-on-pixel_flipping-reading_either",
    "misplaced": "beats-misplaced-on-pixel_flipping-reading_either",
    "other input": "beats-other_input-on-pixel_flipping",
    "other local": "beats-other_local-on-pixel_flipping",
    "target": "changes_under-other_target",
    "later": "changes_under-later_layers",
    "cascade": "changes_under-cascading_randomization",
    "each target": "beats-random-on-pixel_flipping-reading_either-within_target",
}
OF_THOROUGH = ("misplaced", "each target")


def standard() -> dict[str, Claim]:
    """Return the claims of the standard battery, by the columns that stand for them; any that has none comes last."""
    claims = {entry.claim.claim_id: entry.claim for entry in battery("standard", where="battery")}
    known = {column: claims.pop(name) for column, name in COLUMNS.items() if name in claims}
    return {**known, **claims}


def further() -> dict[str, Claim]:
    """Return the claims of the thorough battery that find what the standard one lets pass."""
    claims = {entry.claim.claim_id: entry.claim for entry in battery("thorough", where="battery")}
    return {column: claims[COLUMNS[column]] for column in OF_THOROUGH}


class Row(NamedTuple):
    """What the claims say of an explainer: a verdict, or an error, for each."""

    network: str
    name: str
    verdicts: dict[str, Verdict | Exception]

    @property
    def failed(self) -> list[str]:
        """The claims that failed, or that raised an error, which no test survives either."""
        return [claim for claim, one in self.verdicts.items() if isinstance(one, Exception) or one.failed]

    @property
    def opened(self) -> list[str]:
        """The claims that are open."""
        return [claim for claim, one in self.verdicts.items() if isinstance(one, Verdict) and one.inconclusive]

    def __str__(self) -> str:
        found = {
            claim: "!" if isinstance(one, Exception) else MARKS[one.outcome] for claim, one in self.verdicts.items()
        }
        marks = [found.get(claim, " ") for claim in (*standard(), *further())]
        return f"| {self.network} | {self.name} | " + " | ".join(marks) + " |"


def sources(kind: str, network: str) -> dict[str, tuple[object, dict[str, object]]]:
    """Return the sources and settings of the explainers of a kind: ``"sound"`` or ``"broken"``."""
    if kind == "sound":
        return sound(subject(network))
    return {name: (source, {}) for name, source in broken(subject(network)).items()}


def decided(
    kind: str, network: str, only: tuple[str, ...] = (), *, n: int = 256, first: bool = False, thorough: bool = False
) -> Iterator[Row]:
    """Yield what the claims say of each explainer of a kind, with ``n`` inputs, or those up to the first that fails."""
    of = subject(network)
    bench = Bench(of.model, of.images.explained[:n], device="cpu")
    for name, (source, settings) in sources(kind, network).items():
        if only and name not in only:
            continue
        explainer = bench.explainer(source, name=name.replace(" ", "_"), **settings)
        row = Row(network, name, {})
        for claim, made in {**standard(), **(further() if thorough else {})}.items():
            try:
                row.verdicts[claim] = explainer.decide(made)
            except Exception as error:  # a claim that cannot be made is a row of the table too
                row.verdicts[claim] = error
            if first and row.failed:
                break
        yield row


def show(kind: str, rows: Iterable[Row], *, words: bool) -> None:
    """Print each row as it is decided, with the verdicts that matter if ``words``, and what they come to."""
    claims = (*standard(), *further())
    print("| network | explainer | " + " | ".join(claims) + " |\n" + "|---" * (len(claims) + 2) + "|")
    seen = []
    for row in rows:
        seen.append(row)
        print(row, flush=True)
        notable = row.failed + row.opened if kind == "sound" else ([] if row.failed else list(row.verdicts))
        for claim in notable if words else ():
            print(f"    {claim}: {row.verdicts[claim]}", flush=True)
    rejected, opened = sum(bool(row.failed) for row in seen), sum(bool(row.opened) for row in seen)
    shares = ", ".join(f"{claim} {sum(claim in row.failed for row in seen)}" for claim in claims)
    print(
        f"{kind}: {rejected} of {len(seen)} fail a claim, {opened} have an open one; fails by claim: {shares}",
        flush=True,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["broken", "sound"])
    parser.add_argument("--networks", nargs="*", help="digits8, mnist or faces")
    parser.add_argument("--only", nargs="*", default=(), help="names of explainers")
    parser.add_argument("--first", action="store_true", help="stop at the first claim that fails")
    parser.add_argument("--thorough", action="store_true", help="ask misplaced and within each target too")
    parser.add_argument("--words", action="store_true", help="print the verdicts that matter, too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for kind in given.kinds:
        networks = given.networks or (SUBJECTS if kind == "sound" else SUBJECTS[:2])
        settings = {"first": given.first, "thorough": given.thorough}
        rows = (row for network in networks for row in decided(kind, network, tuple(given.only), **settings))
        show(kind, rows, words=given.words)


if __name__ == "__main__":
    main()
