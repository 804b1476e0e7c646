"""Explainers that draw random numbers: found out as they are run, and then each input has a generator of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..common.seeding import global_state, isolated, same_state
from ..subject.batches import MicroBatches
from .explainer import Explainer, Request
from .row_draws import RowDraws

__all__ = ["Draw", "Sampling", "in_batches"]

_ALIKE = 1e-3  # of the largest attribution: a map in company and one alone differ by rounding

Call = Callable[[Request], Tensor]
Work = Callable[[Request, int], Tensor]
Draw = tuple[int | str, ...]


def in_batches(
    explainer: Explainer, request: Request, work: Callable[[Request, int], Tensor], batches: MicroBatches
) -> Tensor:
    """Return ``work`` of the rows of a request, a few at a time; it is also given the place of the first.

    Raises:
        XaiError: Memory runs out for a single row.
    """
    lighter = " or ".join(f"{name}=" for name in explainer.lighter)
    return batches.run(
        len(request),
        lambda rows: work(request.part(rows), rows.start),
        where=f"explainer {explainer.name}",
        fix=f"set or lower {lighter}"
        if lighter
        else "let it hold less at once, give smaller inputs or --xai-device=cpu",
    )


def _shifted(work: Work, by: int) -> Work:
    return lambda rows, place: work(rows, place + by)


class Sampling:
    """Runs an explainer so that what an input gets never depends on the inputs beside it.

    One that draws no random numbers is run in micro-batches, and watched: if it draws for a company of another size
    after all, that is an error. In one that draws each input has a seed of its own. Such a one is run in micro-batches
    where each input gets the map that it gets alone (see :class:`~.row_draws.RowDraws`), and else one input at a time:
    LIME, KernelShap and Shapley sampling are, which explain one after another or draw one permutation for all. Which it
    is, is found out on the first two inputs, explained together.

    Args:
        explainer: What is run, for its name and for errors.
        seed: Seeds what is drawn.

    Attributes:
        draws: Whether the explainer draws; None as long as it has explained nothing.
        copies: How many copies of an input one that draws in company computes with at once; None where it does not.
    """

    def __init__(self, explainer: Explainer, seed: int) -> None:
        self.explainer, self.seed = explainer, seed
        self.draws: bool | None = None
        self.copies: int | None = None
        self._compared = False  # whether one that draws was run both ways
        self._tried = 0  # how many inputs it was tried on, together
        self._watched_sizes: set[int] = set()  # of companies for which it has drawn nothing

    def maps(self, request: Request, call: Call, draw: Callable[[int], Draw], batches: MicroBatches) -> Tensor:
        """Return the maps of all rows of a request.

        Args:
            request: What is asked.
            call: Returns the maps of rows that are explained together.
            draw: Tells apart what an explainer draws for a row that draws, beside the input's place.
            batches: How many rows are explained together at most.

        Raises:
            XaiError: The explainer draws only in company, or now and then, or it draws and takes no single input.
        """
        if self._tried < min(2, len(request)) and not self.draws:
            self._find_out(request, call, batches)
        if not self.draws:
            return in_batches(self.explainer, request, lambda rows, _: self._quiet(rows, call), batches)

        def alone(row: Request, place: int) -> Tensor:
            with isolated(*self._seeds(row, place, draw)[0]):
                return call(row)

        def together(rows: Request, place: int) -> Tensor:
            maps = self._drawn_together(rows, call, self._seeds(rows, place, draw)) if len(rows) > 1 else None
            return in_batches(self.explainer, rows, _shifted(alone, place), batches.of(1)) if maps is None else maps

        if not self._compared and len(request) > 1 and batches.size > 1:
            self._compare(request.part(slice(0, 2)), call, alone, draw, batches)
        size = 1 if self.copies is None else max(1, batches.size // self.copies)
        return in_batches(self.explainer, request, together, batches.of(size))

    def _seeds(self, rows: Request, place: int, draw: Callable[[int], Draw]) -> list[Draw]:
        """Return what the generators are seeded by for each of the rows from a place on."""
        own = (self.seed, "explain", self.explainer.name)
        return [(*own, *draw(place + further), index) for further, index in enumerate(rows.indices)]

    def _drawn_together(
        self, rows: Request, call: Call, seeds: list[Draw], draws: RowDraws | None = None
    ) -> Tensor | None:
        """Return the maps of rows explained together, or None where something is not drawn for each of them."""
        draws = RowDraws(seeds) if draws is None else draws
        with isolated(self.seed, "explain"):
            before = global_state()
            with draws.block():
                maps = call(rows)
            return maps if same_state(before, global_state()) else None

    def _compare(
        self, rows: Request, call: Call, alone: Work, draw: Callable[[int], Draw], batches: MicroBatches
    ) -> None:
        """Find out whether inputs that are explained together get the maps that they get alone."""
        self._compared = True
        expected = in_batches(self.explainer, rows, alone, batches.of(1))
        seeds = self._seeds(rows, 0, draw)
        draws = RowDraws(seeds)
        try:
            maps = self._drawn_together(rows, call, seeds, draws)
        except Exception as error:  # an explainer or a model that takes single inputs alone, or no room for two
            if isinstance(error, XaiError) and error.__cause__ is None:
                raise
            return
        scale = float(expected.abs().nan_to_num().max())
        if maps is not None and torch.allclose(maps, expected, rtol=0, atol=_ALIKE * scale, equal_nan=True):
            self.copies = draws.copies

    def _watched(self, request: Request, call: Call) -> tuple[Tensor, bool]:
        """Return the maps of rows that are explained together, and whether random numbers were drawn for them."""
        with isolated(self.seed, "explain"):
            before = global_state()
            maps = call(request)
            return maps, not same_state(before, global_state())

    def _quiet(self, request: Request, call: Call) -> Tensor:
        """Return the maps of rows, for which nothing may be drawn; each size of company is watched once."""
        if len(request) in self._watched_sizes:
            return call(request)
        maps, drew = self._watched(request, call)
        if drew:
            raise self._unsteady(len(request), self._tried)
        self._watched_sizes.add(len(request))
        return maps

    def _find_out(self, request: Request, call: Call, batches: MicroBatches) -> None:
        tried, drew = self._first_that_runs(request, call, batches)
        if drew and len(tried) > 1 and not self._draws_alone(request.part(slice(0, 1)), call, batches):
            if self._drew(tried, call, batches):  # once more: it may draw what it keeps when it is first called
                raise self._unsteady(len(tried), 1)
            drew = False
        self.draws, self._tried = drew, len(tried)  # last of all: what is an error now is one the next time too

    def _first_that_runs(self, request: Request, call: Call, batches: MicroBatches) -> tuple[Request, bool]:
        """Return the inputs that it was tried on, two of them if it takes two, and whether it drew for them."""
        for size in (2, 1):
            try:
                return request.part(slice(0, size)), self._drew(request.part(slice(0, size)), call, batches)
            except XaiError as error:
                if error.__cause__ is None:
                    raise
                # The explainer or the model raised: it may take batches of one size alone.
        first = request.part(slice(0, batches.size))
        return first, self._drew(first, call, batches)

    def _drew(self, request: Request, call: Call, batches: MicroBatches) -> bool:
        drew = False

        def work(rows: Request, _: int) -> Tensor:
            nonlocal drew
            maps, drawn = self._watched(rows, call)
            drew = drew or drawn
            return maps

        in_batches(self.explainer, request, work, batches.of(len(request)))
        return drew

    def _draws_alone(self, request: Request, call: Call, batches: MicroBatches) -> bool:
        try:
            return self._drew(request, call, batches)
        except XaiError as error:
            raise self.explainer.error(
                f"random numbers drawn, and an error for an input alone ({error.found})",
                "an explainer and a model that take a single input: one that draws is run one input at a time, so that "
                "what an input gets does not depend on those beside it",
                error.fix,
            ) from error

    def _unsteady(self, drawn: int, tried: int) -> XaiError:
        other = "none for one alone" if tried == 1 else f"none when it was tried on {tried}"
        return self.explainer.error(
            f"random numbers drawn for {drawn} inputs together, and {other}",
            "an explainer that draws for each input by itself or not at all, so that what an input gets does not "
            "depend on those beside it",
            "choose a method that needs no other inputs (FeatureAblation for FeaturePermutation), or draw for each "
            "input in a function of your own",
        )
