"""What retrained models got right, and what a reader should know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...statistics.evidence import Part, Remark, Row, number

__all__ = ["LeakDominated", "NothingLearned", "Retrainings"]

_LEAK = 0.05  # an accuracy that is no more than this above that of the mask alone is the mask's


@dataclass(frozen=True)
class Retrainings(Part):
    """The test accuracies of retrained models.

    Attributes:
        whose: Whose maps were followed: the name of an explainer or a baseline.
        metric: ``"roar"`` or ``"kar"``.
        fractions: The shares that were removed, or kept.
        accuracies: Of each fraction and run.
        leaks: Of a model that sees the mask alone, by fraction; None where all masks are the same.
        intact: Of a model trained on the inputs as they are.
        chance: The share of the most frequent class among the test inputs.
        unit: What was removed as one: ``"pixel"`` or ``"value"``.
        sizes: How many inputs the models were trained and tested on.
    """

    whose: str
    metric: str
    fractions: tuple[float, ...]
    accuracies: tuple[tuple[float, ...], ...]
    leaks: tuple[float | None, ...]
    intact: float
    chance: float
    unit: str
    sizes: Mapping[str, int]

    @property
    def means(self) -> tuple[float, ...]:
        """The mean accuracy over runs, by fraction."""
        return tuple(sum(runs) / len(runs) for runs in self.accuracies)

    @property
    def dominated(self) -> tuple[bool, ...]:
        """Whether each fraction is leak-dominated: the mask alone does about as well, and better than chance."""
        pairs = zip(self.means, self.leaks, strict=True)
        return tuple(leak is not None and mean - leak < _LEAK <= leak - self.chance for mean, leak in pairs)

    def plain(self) -> dict[str, object]:
        """Return all of it, under the name of whose it is."""
        return {
            f"retrained {self.whose}": {
                **{name: value for name, value in vars(self).items() if name not in ("whose", "sizes")},
                "sizes": dict(self.sizes),
                "leak_dominated": list(self.dominated),
            }
        }

    def rows(self) -> Iterator[Row]:
        """Yield the accuracies at each fraction, with that of the mask alone."""
        sizes = f"{self.sizes['training']:,} inputs, tested on {self.sizes['test']:,}"
        intact = f"test accuracy {number(self.intact)} on the inputs as they are, chance {number(self.chance)}"
        yield f"retrained {self.whose}", f"on {sizes}: {intact}"
        done = "kept" if self.metric == "kar" else "removed"
        for fraction, runs, leak, dominated in zip(
            self.fractions, self.accuracies, self.leaks, self.dominated, strict=True
        ):
            beside = "" if leak is None else f"; mask alone {number(leak)}{', leak-dominated' * dominated}"
            text = f"{fraction:.0%} {done}: {' '.join(number(one) for one in runs)}{beside}"
            yield f"retrained {self.whose}", text


@dataclass(frozen=True)
class LeakDominated(Remark):
    """At which fractions a model that sees the mask alone is about as good.

    Attributes:
        whose: Whose masks.
        cells: The accuracy and that of the mask alone, by fraction.
    """

    whose: str
    cells: Mapping[float, tuple[float, float]]
    always: ClassVar[bool] = True

    @classmethod
    def of(cls, found: Retrainings) -> LeakDominated | None:
        """Return the remark, or None where there is no such fraction."""
        cells = {
            fraction: (mean, leak)
            for fraction, mean, leak, dominated in zip(
                found.fractions, found.means, found.leaks, found.dominated, strict=True
            )
            if dominated and leak is not None
        }
        return cls(found.whose, cells) if cells else None

    def plain(self) -> dict[str, object]:
        """Return nothing: it is said beside the accuracies."""
        return {}

    def __str__(self) -> str:
        fraction, (mean, leak) = max(self.cells.items(), key=lambda item: item[1][1] - item[1][0])
        others = [f"{one:.0%}" for one in self.cells if one != fraction]
        also = f"; so at {', '.join(others)}" if others else ""
        return (
            f"leak-dominated: the mask of {self.whose} alone tells the class, with accuracy {number(leak)} at "
            f"{fraction:.0%}, where the models have {number(mean)}{also}"
        )


@dataclass(frozen=True)
class NothingLearned(Remark):
    """That a model trained on the inputs as they are is no better than chance."""

    intact: float
    chance: float

    @classmethod
    def of(cls, found: Retrainings) -> NothingLearned | None:
        """Return the remark, or None where the model has learned something."""
        return cls(found.intact, found.chance) if found.intact <= found.chance + _LEAK else None

    def plain(self) -> dict[str, object]:
        """Return nothing: it is said beside the accuracies."""
        return {}

    def __str__(self) -> str:
        return (
            f"xai_train has hardly learned anything from the inputs as they are (test accuracy {number(self.intact)}, "
            f"chance {number(self.chance)}): nothing can be lost by removing anything"
        )
