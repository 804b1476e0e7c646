"""Weight randomization: cascading from the output, one layer at a time, or from the input (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import ClassVar, Literal

from torch import Tensor

from ...common.checks import check_choice, check_whole
from ...common.errors import XaiError, setting_error
from ...explainers.attributions import Attributions
from ...model.layers import Layer, Layers
from ...model.reinit.distributions import Distribution, as_distribution
from ...model.reinit.randomizer import Kept, Randomizer
from ...statistics.evidence import Part
from ...subject.block import Block
from ...subject.explained_layers import explained_layers
from ..base import Cell, Intervention, Lab, ModelSweep
from ..randomized import SEEDS, Randomized, check_seeds
from ..smoothed import NOISE, Smoothed, check_noise, smoothed

__all__ = ["BottomUpRandomization", "CascadingRandomization", "IndependentRandomization", "Randomizing"]

_KEPT_BYTES = 32 * 2**20  # of weights, those of all seeds; more than that is drawn again for each block


@dataclass(frozen=True)
class _WeightRandomization(Intervention):
    """Settings that every weight randomization has.

    Args:
        depth: How many layers, counted from where the order begins; all by default.
        seeds: How many independent randomizations, 1 to 1,000; or ``"fresh"``: one for each pair of inputs, so that a
            verdict is about re-initializations at large rather than about those drawn.
        target: ``"fixed"``: the class explained on the model as given stays; ``"dynamic"``: the prediction of each
            randomized model is explained.
        reinit: The distribution new weights are drawn from: ``"own"`` (each layer's ``reset_parameters``),
            ``"truncated_normal"``, ``"permutation"``, or an object.
        samples: How many noisy copies of each input a map is the mean over, before and after (sMPRT, Hedström et al.
            2024); 1 explains the input itself. The copies are the same for every model, so that only the model changes.
            Where cells are sampled, two copies are as well: one is explained before, the other one before and after.
            What is left is then the share of what the two have in common on the model as given; it estimates that of
            maps smoothed over all noise, whatever ``samples``. A raw similarity (``at_most=``) is one of whole maps.
        noise: Standard deviation of the noise, as a share of the range of the input; with two or more ``samples``.
        embedding: Whether what embeds tokens is randomized with the other layers; where it is not, explanations of what
            it makes of them start from the same vectors before and after.

    Layers are ordered by execution. Normalization layers go with the layer that feeds them. The model is randomized in
    place, so that everything bound to it follows, and restored bit for bit.
    """

    depth: int | None = None
    seeds: int | Literal["fresh"] = SEEDS
    target: Literal["fixed", "dynamic"] = "fixed"
    reinit: str | Distribution = "own"
    samples: int = 1
    noise: float = NOISE
    embedding: bool = True
    randomizes: ClassVar[bool] = True
    cumulative: ClassVar[bool] = True
    from_output: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.depth is not None:
            object.__setattr__(self, "depth", check_whole(self.name, "depth", self.depth))
        object.__setattr__(self, "seeds", check_seeds(self.name, self.seeds))
        object.__setattr__(self, "samples", check_whole(self.name, "samples", self.samples, most=10_000))
        check_choice(self.name, "target", self.target, ("fixed", "dynamic"))
        if not isinstance(self.embedding, bool):
            raise setting_error(self.name, "embedding", repr(self.embedding), "True or False")
        object.__setattr__(self, "noise", check_noise(self.samples, self.noise, where=self.name))
        object.__setattr__(self, "reinit", as_distribution(self.reinit, where=f"{self.name} reinit"))

    @property
    def copies(self) -> int:
        """The noisy copies."""
        return self.samples

    def start(self, lab: Lab, block: Block) -> Randomizing:
        """Trace the layers on a few inputs of the block."""
        if not self.embedding and lab.subject.presentation.embedding is None:
            raise setting_error(
                self.name, "embedding", "False for a model without an embedding", "token inputs, with one"
            )
        layers = explained_layers(lab.subject, block, embedding=self.embedding)
        smooth = smoothed(lab.attributions, block, self.samples, self.noise, where=self.name)
        return Randomizing(self, lab.attributions, layers, smooth)


class CascadingRandomization(_WeightRandomization):
    """Randomize the top layer, then the top two, and so on down to ``depth`` layers."""

    name = "cascading_randomization"


class IndependentRandomization(_WeightRandomization):
    """Randomize one layer at a time, with all others as trained."""

    name = "independent_randomization"
    cumulative = False


class BottomUpRandomization(_WeightRandomization):
    """Randomize the layer next to the input, then the lowest two, and so on up to ``depth`` layers."""

    name = "bottom_up_randomization"
    from_output = False


class Randomizing(ModelSweep):
    """A weight randomization of one subject: yields the maps of each randomized model."""

    def __init__(
        self,
        settings: _WeightRandomization,
        attributions: Attributions,
        layers: Layers,
        smooth: Smoothed | None = None,
    ) -> None:
        self.settings, self.found, self.smooth = settings, layers, smooth
        self.attributions = self._after = attributions if smooth is None else smooth
        ordered = layers.top_down() if settings.from_output else layers.bottom_up()
        if settings.depth is not None and settings.depth > len(ordered):
            raise setting_error(
                settings.name, "depth", str(settings.depth), f"at most the model's {len(ordered)} layers"
            )
        self.layers: tuple[Layer, ...] = tuple(ordered)[: settings.depth]
        self.fresh = settings.seeds == "fresh"
        self.shape = (1 if isinstance(settings.seeds, str) else settings.seeds, len(self.layers))
        size = sum(p.numel() * p.element_size() for p in attributions.subject.model.parameters())
        self._kept: Kept | None = None if self.fresh or self.shape[0] * size > _KEPT_BYTES else {}

    def sample_copies(self) -> None:
        """Explain one noisy copy before, and another one before and after."""
        if self.smooth is not None:
            self.attributions, self._after = self.smooth.copy(0), self.smooth.copy(1)
            self.ceiling = "another noisy copy"

    def again(self, block: Block) -> Iterable[Tensor]:
        """Return the maps of a second run, of the other noisy copies where two are sampled."""
        return [self._after(block, run=1)]

    def kept(self, block: Block, rows: Sequence[int], cell: Cell) -> bool:
        """Whether these maps are kept already; with other targets none are."""
        return self.settings.target == "fixed" and self._after.cached(self._state(*cell), block.rows(rows))

    def swept(self, block: Block, wanted: Mapping[Cell, Sequence[int]]) -> Generator[tuple[Cell, Tensor]]:
        """Yield the maps that are wanted: seed by seed, each in one sweep over the layers."""
        distribution, cumulative = self.settings.reinit, self.settings.cumulative
        assert not isinstance(distribution, str)
        with Randomizer(self.attributions.subject.model, self.layers, distribution, kept=self._kept) as randomizer:
            for seed, cells in groupby(wanted, key=itemgetter(0)):
                positions = [position for _, position in cells]
                if positions[0] < len(self.layers) - 1:  # otherwise all are re-initialized before any is explained
                    randomizer.restore()
                for position in range(positions[-1] + 1) if cumulative else positions:
                    if not cumulative:
                        randomizer.restore()
                    randomizer.randomize(self.layers[position], seed=self._seed(seed))
                    if position in positions:
                        yield (seed, position), self.explained(block, wanted[seed, position], (seed, position))

    def explained(self, block: Block, rows: Sequence[int], cell: Cell) -> Tensor:
        """Return the maps of some inputs, where the layers up to a position are randomized with a seed."""
        targets = None
        if self.settings.target == "dynamic" and block.targets is not None:
            targets = self._predicted(block, rows)
        doing = "from there on" if self.settings.cumulative else "alone"
        stage = f"the model with layer {self.layers[cell[1]].name} randomized {doing} (seed {cell[0]})"
        return self._after.of_some(block, rows, stage=stage, state=self._state(*cell), targets=targets)

    def _predicted(self, block: Block, rows: Sequence[int]) -> Tensor:
        """Return targets of the block: of these inputs, the classes that the model now predicts."""
        assert block.targets is not None
        subject, targets = self.attributions.subject, block.targets.clone()
        try:
            targets[list(rows)] = subject.outputs(block.rows(rows).arguments).argmax(1)
        except (RuntimeError, ValueError, XaiError):  # a model may take batches of one size alone
            targets = subject.outputs(block.arguments).argmax(1)
        return targets

    def _seed(self, seed: int) -> int:
        return self.attributions.seed * 1_000_003 + seed

    def _state(self, seed: int, position: int) -> tuple[Hashable, ...]:
        settings = self.settings
        return (settings.name, str(settings.reinit), settings.embedding, seed, self.layers[position].name)

    def describe(self) -> tuple[Part, ...]:
        """Return what was randomized, in order, and what could not be."""
        settings, names = self.settings, tuple(layer.name for layer in self.layers)
        done = Randomized.of(names, self.found, reinit=settings.reinit, seeds=settings.seeds, target=settings.target)
        return (replace(done, samples=settings.samples, noise=settings.noise),)

    def rest(self) -> None:
        """Let go of the weights that were drawn."""
        if self._kept is not None:
            self._kept.clear()
