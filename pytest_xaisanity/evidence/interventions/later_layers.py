"""Later layers: an explanation must depend on the layers above a cut (Sixt et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...common.errors import setting_error
from ...explainers.attributions import Attributions
from ...model.cut import Cut, find_cut
from ...model.reinit.distributions import Distribution, as_distribution
from ...model.reinit.randomizer import Randomizer
from ...model.tracing import Call, Watch
from ...statistics.evidence import Part
from ...subject.block import Block
from ...subject.explained_layers import explained_layers
from ..base import Cell, Intervention, Lab, ModelSweep
from ..randomized import SEEDS, Randomized, check_seeds

__all__ = ["LaterLayers"]

_error = partial(setting_error, "later_layers")


@dataclass(frozen=True)
class LaterLayers(Intervention):
    """Randomize all layers above a cut at once, while the activations up to the cut stay.

    What the model makes of these activations is then another thing altogether, and so must be the explanation. A rule
    that has converged on its way down to the cut explains the lower layers alone. Without a named similarity the maps
    are compared whatever their sign (``sign_flip_ssim`` for images, else ``abs_pearson``), which is all that such a
    rule keeps of the layers above, beside a scalar. The class explained is the one explained on the model as given.
    PatternAttribution's patterns, estimated on the model as given, stay as they are.

    Args:
        cut: Path of the module below which nothing changes, as in ``named_modules()``. By default the last module below
            the topmost weights whose output has places (an image's rows and columns), or else the last one below them.
        seeds: How many independent randomizations, 1 to 1,000; or ``"fresh"``: one for each pair of inputs.
        reinit: The distribution new weights are drawn from: a name or an object.

    Raises:
        XaiError: A setting is out of range, or does not fit the model.
    """

    cut: str | None = None
    seeds: int | Literal["fresh"] = SEEDS
    reinit: str | Distribution = "own"
    name: ClassVar[str] = "later_layers"
    randomizes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.cut is not None and not isinstance(self.cut, str):
            raise _error("cut", f"a {type(self.cut).__name__}", "the path of a module, as in named_modules()")
        object.__setattr__(self, "seeds", check_seeds(self.name, self.seeds))
        object.__setattr__(self, "reinit", as_distribution(self.reinit, where=f"{self.name} reinit"))

    def start(self, lab: Lab, block: Block) -> _Randomizing:
        """Find the cut and the layers above it, on a few inputs of the block."""
        probe = lab.subject.probe(block)
        model = lab.subject.model

        def run() -> Tensor:
            return lab.subject.outputs(probe)

        found = explained_layers(lab.subject, block)
        cut = find_cut(model, run, self.cut, where="later_layers cut", found=found)
        procedure = _Randomizing(self, lab.attributions, cut)
        procedure.check(run)
        return procedure


class _Randomizing(ModelSweep):
    def __init__(self, settings: LaterLayers, attributions: Attributions, cut: Cut) -> None:
        self.settings, self.attributions, self.cut = settings, attributions, cut
        self.fresh = settings.seeds == "fresh"
        self.shape = (1 if isinstance(settings.seeds, str) else settings.seeds, 1)

    def check(self, run: Callable[[], object]) -> None:
        """Raise when the activations at the cut change with the layers above it."""
        before = _output(self.cut.module, run)
        with self._randomizer() as randomizer:
            self._randomize(randomizer, 0)
            after = _output(self.cut.module, run)
        if not torch.equal(before, after):
            raise _error(
                "cut",
                f"activations of {self.cut.path!r} that changed when the layers above it were randomized",
                "a module that no randomized layer reaches",
            )

    def kept(self, block: Block, rows: Sequence[int], cell: Cell) -> bool:
        """Whether these maps are kept already."""
        return self.attributions.cached(self._state(cell[0]), block.rows(rows))

    def swept(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the maps that are wanted, seed by seed."""
        with self._randomizer() as randomizer:
            for cell, rows in wanted.items():
                self._randomize(randomizer, cell[0])
                yield cell, self.explained(block, rows, cell)

    def explained(self, block: Block, rows: Sequence[int], cell: Cell) -> Tensor:
        """Return the maps of some inputs, where the layers above the cut are randomized with a seed."""
        stage = f"the model with the layers above {self.cut.path} randomized (seed {cell[0]})"
        return self.attributions.of_some(block, rows, stage=stage, state=self._state(cell[0]))

    def describe(self) -> tuple[Part, ...]:
        """Return the cut, what was randomized above it, and what could not be."""
        names = tuple(layer.name for layer in self.cut.layers)
        settings, path = self.settings, self.cut.path
        return (Randomized.of(names, self.cut.found, reinit=settings.reinit, seeds=settings.seeds, cut=path),)

    def _randomizer(self) -> Randomizer:
        assert not isinstance(self.settings.reinit, str)
        return Randomizer(self.attributions.subject.model, self.cut.layers, self.settings.reinit)

    def _randomize(self, randomizer: Randomizer, seed: int) -> None:
        for layer in self.cut.layers:
            randomizer.randomize(layer, seed=self.attributions.seed * 1_000_003 + seed)

    def _state(self, seed: int) -> tuple[Hashable, ...]:
        return (self.settings.name, str(self.settings.reinit), seed, self.cut.path)


def _output(module: nn.Module, run: Callable[[], object]) -> Tensor:
    """Return a copy of what ``module`` returns in the pass that ``run`` does."""
    seen: list[Tensor | None] = []

    def note(call: Call, output: object) -> None:
        dense = output.to_padded_tensor(0.0) if isinstance(output, Tensor) and output.is_nested else output
        seen.append(dense.clone() if isinstance(dense, Tensor) else None)

    Watch(modules={"": module}, output=note).during(run)
    if seen[0] is None:
        raise _error("cut", "a module that returns no tensor", "a module that returns the activations")
    return seen[0]
