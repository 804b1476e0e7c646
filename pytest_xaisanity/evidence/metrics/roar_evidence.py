"""What retrained models got right, and what a reader should know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from ...common.errors import XaiError
from ...statistics.evidence import Part, Remark, Row, number

__all__ = ["HardlyLearned", "LeakDominated", "Retrainings", "SameRuns"]

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
class HardlyLearned(Remark):
    """That a model trained on the inputs as they are is hardly better than chance."""

    intact: float
    chance: float

    @classmethod
    def of(cls, found: Retrainings) -> HardlyLearned | None:
        """Return the remark, or None where the model has learned something.

        Raises:
            XaiError: It is no better than chance, so that nothing is lost whatever is removed.
        """
        if found.intact <= found.chance:
            raise XaiError(
                "xai_train",
                found="a model that has learned nothing of the inputs as they are (test accuracy "
                f"{number(found.intact)}, where the most frequent class alone has {number(found.chance)})",
                expected="a test accuracy above chance: there is nothing else that could be lost with what is removed",
                fix="call xai_train by hand and look at its loss: more steps, another learning rate, targets that "
                "belong to the inputs; or test on classes of like size",
            )
        return cls(found.intact, found.chance) if found.intact <= found.chance + _LEAK else None

    def plain(self) -> dict[str, object]:
        """Return nothing: it is said beside the accuracies."""
        return {}

    def __str__(self) -> str:
        return (
            f"xai_train has hardly learned anything from the inputs as they are (test accuracy {number(self.intact)}, "
            f"chance {number(self.chance)}): little can be lost by removing anything"
        )


@dataclass(frozen=True)
class SameRuns(Remark):
    """That trainings on the same inputs give the same weights, whatever the seed.

    Attributes:
        runs: How many trainings for each fraction.
    """

    runs: int
    always: ClassVar[bool] = True

    @classmethod
    def of(cls, inputs: Sequence[Sequence[str]], weights: Sequence[Sequence[str]]) -> SameRuns | None:
        """Return the remark, or None where seeds matter, or where no two runs have the same inputs.

        Args:
            inputs: Digests of the altered training inputs, of each fraction and run.
            weights: Digests of the trained weights, likewise; empty where a model has none.
        """
        pairs = [[*zip(*cells, strict=True)] for cells in zip(inputs, weights, strict=True)]
        same = [(a[1], b[1]) for cells in pairs for a, b in combinations(cells, 2) if a[0] == b[0]]
        return cls(len(inputs[0])) if same and all(a == b != "" for a, b in same) else None

    def plain(self) -> dict[str, object]:
        """Return that it is so."""
        return {"same_whatever_the_seed": True}

    def __str__(self) -> str:
        return (
            f"xai_train gives the same weights in all {self.runs} runs: unless nothing is drawn in it, the interval "
            "knows nothing of the luck of training, and it should seed the initialization and the batches with its seed"
        )
