"""Explainers that draw random numbers: found out as they are run, and then each input has a generator of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..common.errors import XaiError
from ..common.seeding import global_state, isolated, same_state
from ..subject.batches import MicroBatches, out_of_memory
from .company import Company
from .copies import Copies, rows_together
from .explainer import Explainer, Request
from .row_draws import RowDraws, Shared

__all__ = ["Draw", "Sampling", "in_batches"]

_ALIKE = 1e-3  # of the largest attribution: a map in company and one alone differ by rounding

Call = Callable[[Request], Tensor]
Draw = tuple[int | str, ...]
Way = Literal["by row", "in company"]


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


def _alike(maps: Tensor | None, expected: Tensor) -> bool:
    scale = float(expected.abs().nan_to_num().max())
    return maps is not None and torch.allclose(maps, expected, rtol=0, atol=_ALIKE * scale, equal_nan=True)


def _by_itself(rows: Request) -> bool:
    """Whether what the model returns for an input depends on that alone, as far as these rows tell."""
    arguments = (*rows.inputs, *rows.context)
    try:
        with torch.no_grad():
            together = rows.model(*arguments)
            alone = [rows.model(*(one[row : row + 1] for one in arguments)) for row in range(len(rows))]
        return len(together) == len(rows) and _alike(together, torch.cat(alone))
    except Exception:  # which is told where the model is explained
        return False


def _shifted(draw: Callable[[int], Draw], by: int) -> Callable[[int], Draw]:
    return lambda place: draw(place + by)


class Sampling:
    """Runs an explainer so that what an input gets never depends on the inputs beside it.

    One that draws no random numbers is run in micro-batches, and watched: if it draws for a company of another size
    after all, that is an error. Where it has the model compute with many copies of an input at once, as Integrated
    Gradients have with all steps of a path, fewer inputs are explained together, as many as a pass has room for.
    In one that draws each input has a seed of its own, and such a one is run in micro-batches in the first way in which
    each input gets the map that it gets alone, and else one input at a time:

    - by row, where an input's draws are rows of those for all (see :class:`~.row_draws.RowDraws`), as those of
      NoiseTunnel and GradientShap are;
    - in company, where only the passes of the model are made together (see :class:`~.company.Company`), as those of
      LIME, KernelShap and Shapley sampling can be, which explain one input after another or draw one permutation for
      all. Where an input by itself has rows for more than half of a pass, company gains nothing.

    An explainer that lets us choose how many rows of an input it computes with at once is told to fill a pass, if what
    the model returns for a row does not depend on the others.

    Which it is, is found out on the first two inputs, explained together.

    Args:
        explainer: What is run, for its name and for errors.
        seed: Seeds what is drawn.

    Attributes:
        draws: Whether the explainer draws; None as long as it has explained nothing.
        way: How one that draws is run together; None where it is run one input at a time, or has not been yet.
        copies: How many copies of an input one that is run together computes with at once; None where it is not.
    """

    def __init__(self, explainer: Explainer, seed: int) -> None:
        self.explainer, self.seed = explainer, seed
        self.draws: bool | None = None
        self.way: Way | None = None
        self.copies: int | None = None
        self._compared = False  # whether one that draws was run both ways
        self._room = 1  # rows of a single input in a pass, where we choose
        self._tried = 0  # how many inputs it was tried on, together
        self._watched_sizes: set[int] = set()  # of companies for which it has drawn nothing
        self._copies, self._values = 1, 1  # of an input in one pass, and values of each, of one that draws nothing

    def maps(
        self, request: Request, call: Call, draw: Callable[[int], Draw], batches: MicroBatches, room: int
    ) -> Tensor:
        """Return the maps of all rows of a request.

        Args:
            request: What is asked.
            call: Returns the maps of rows that are explained together.
            draw: Tells apart what an explainer draws for a row that draws, beside the input's place.
            batches: How many rows are explained together at most.
            room: How many rows of a single input there may be in a pass.

        Raises:
            XaiError: The explainer draws only in company, or now and then, or it draws and takes no single input.
        """
        if self._tried < min(2, len(request)) and not self.draws:
            self._find_out(request, call, batches)
        if not self.draws:
            return in_batches(self.explainer, request, lambda rows, _: self._quiet(rows, call), self._smaller(batches))
        self._room = min(room, self._room)
        parts: list[Tensor] = []
        if not self._compared and len(request) > 1 and batches.size > 1:
            parts.append(self._compare(request.part(slice(0, 2)), call, draw, room))
            request, draw = request.part(slice(2, None)), _shifted(draw, 2)

        def together(rows: Request, place: int) -> Tensor:
            maps = self._drawn_together(rows, call, self._seeds(rows, place, draw), room)
            return self._each_alone(rows, call, _shifted(draw, place)) if maps is None else maps

        if len(request):
            parts.append(in_batches(self.explainer, request, together, batches.of(self._most(batches, room))))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _most(self, batches: MicroBatches, room: int) -> int:
        """Return how many inputs are explained together at most."""
        if self.copies is None:
            return 1
        return max(1, batches.size // self.copies if self.way == "by row" else min(batches.size, room // self.copies))

    def _smaller(self, batches: MicroBatches) -> MicroBatches:
        """Return micro-batches in which there is room for the copies of each input."""
        most = max(1, rows_together(batches.size, self._values) // self._copies)
        return batches if most >= batches.size else batches.of(most)

    def _each_alone(self, rows: Request, call: Call, draw: Callable[[int], Draw]) -> Tensor:
        """Return the maps of rows that are explained one at a time; with less room once memory runs out."""

        def alone(row: Request, place: int) -> Tensor:
            while True:
                try:
                    with isolated(*self._seeds(row, place, draw)[0]):
                        return call(replace(row, room=self._room))
                except (RuntimeError, MemoryError) as error:
                    if self._room == 1 or not out_of_memory(error):
                        raise
                self._room //= 2

        return in_batches(self.explainer, rows, alone, MicroBatches(1, rows.inputs[0].device))

    def _seeds(self, rows: Request, place: int, draw: Callable[[int], Draw]) -> list[Draw]:
        """Return what the generators are seeded by for each of the rows from a place on."""
        own = (self.seed, "explain", self.explainer.name)
        return [(*own, *draw(place + further), index) for further, index in enumerate(rows.indices)]

    def _drawn_together(self, rows: Request, call: Call, seeds: list[Draw], room: int) -> Tensor | None:
        """Return the maps of rows explained together, or None where they are to be explained alone."""
        if self.way is None or len(rows) == 1:
            return None
        return (self._by_row if self.way == "by row" else self._in_company)(rows, call, seeds, room)[0]

    def _by_row(self, rows: Request, call: Call, seeds: list[Draw], room: int) -> tuple[Tensor | None, int]:
        """Return the maps, None where something is not drawn by row, and how many copies of an input there were."""
        draws = RowDraws(seeds)
        maps, moved = self._watched(rows, call, draws)
        return (None if moved else maps), draws.copies

    def _in_company(self, rows: Request, call: Call, seeds: list[Draw], room: int) -> tuple[Tensor | None, int]:
        """Return the maps, None where passes cannot be made together, and how many copies of an input one pass had."""
        company = Company(seeds, MicroBatches(room, rows.inputs[0].device), self._room)
        try:
            maps, moved = self._watched(replace(rows, company=company), call)
        except Exception:  # raised again for an input alone, where it is more than that these cannot be together
            return None, 0
        return (None if moved or not company.copies else maps), company.copies

    def _compare(self, rows: Request, call: Call, draw: Callable[[int], Draw], room: int) -> Tensor:
        """Find out in which way inputs explained together get the maps that they get alone, if in any; return these."""
        self._compared, seeds = True, self._seeds(rows, 0, draw)
        try:
            maps, copies = self._by_row(rows, call, seeds, room)
        except Exception as error:  # an explainer or a model that takes single inputs alone, or no room for two
            if isinstance(error, XaiError) and error.__cause__ is None:
                raise
            maps, copies = None, 0
        fills = maps is None and _by_itself(rows)
        self._room = room if fills else 1
        expected = self._each_alone(rows, call, draw)
        if _alike(maps, expected):
            self.way, self.copies = "by row", copies
        elif fills:
            maps, copies = self._in_company(rows, call, seeds, room)
            if _alike(maps, expected):
                self.way, self.copies = "in company", copies
        return expected

    def _watched(self, request: Request, call: Call, draws: RowDraws | None = None) -> tuple[Tensor | None, bool]:
        """Return the maps of rows that are explained together, and whether random numbers were drawn for them.

        Those that are drawn by row are not counted, and there are no maps where something is drawn for all.
        """
        with isolated(self.seed, "explain"):
            before = global_state()
            try:
                with nullcontext() if draws is None else draws.block():
                    maps = call(request)
            except Shared:
                return None, True
            return maps, not same_state(before, global_state())

    def _quiet(self, request: Request, call: Call) -> Tensor:
        """Return the maps of rows, for which nothing may be drawn; each size of company is watched once."""
        if len(request) in self._watched_sizes:
            return call(request)
        maps, drew = self._watched(request, call)
        if drew or maps is None:
            raise self._unsteady(len(request), self._tried)
        self._watched_sizes.add(len(request))
        return maps

    def _find_out(self, request: Request, call: Call, batches: MicroBatches) -> None:
        def drew(rows: Request) -> bool:
            return self._drew(rows, call, batches)

        tried, drawn = self._first_that_runs(request, drew, batches)
        if drawn and len(tried) > 1 and not self._draws_alone(request.part(slice(0, 1)), drew):
            if drew(tried):  # once more: it may draw what it keeps when it is first called
                raise self._unsteady(len(tried), 1)
            drawn = False
        self.draws, self._tried = drawn, len(tried)  # last of all: what is an error now is one the next time too

    def _first_that_runs(
        self, request: Request, drew: Callable[[Request], bool], batches: MicroBatches
    ) -> tuple[Request, bool]:
        """Return the inputs that it was tried on, two of them if it takes two, and whether it drew for them."""
        for size in (2, 1):
            try:
                return request.part(slice(0, size)), drew(request.part(slice(0, size)))
            except XaiError as error:
                if error.__cause__ is None:
                    raise
                # The explainer or the model raised: it may take batches of one size alone.
        first = request.part(slice(0, batches.size))
        return first, drew(first)

    def _drew(self, request: Request, call: Call, batches: MicroBatches) -> bool:
        """Return whether the global generators move when rows are explained together."""
        drawn: list[bool] = []

        def work(rows: Request, _: int) -> Tensor:
            copies = Copies()
            with copies.block():
                maps, moved = self._watched(rows, call)
            drawn.append(moved)
            self._copies, self._values = copies.of_each(len(rows)), copies.values
            return rows.inputs[0][:, :0] if maps is None else maps

        in_batches(self.explainer, request, work, batches.of(len(request)))
        return any(drawn)

    def _draws_alone(self, request: Request, drew: Callable[[Request], bool]) -> bool:
        try:
            return drew(request)
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
