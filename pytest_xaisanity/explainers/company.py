"""Inputs that are explained each on its own, in company: their passes of the model are made together.

LIME, KernelShap and Shapley sampling explain one input after another, each from many small passes, and draw what they
need in between. So that it is they who say what is computed, each input's explanation runs in a thread of its own, one
thread at a time, with the random numbers that it has alone. A thread that calls the model waits until all the others
wait too or have ended; then a single pass is made of the rows of all of them, and each goes on with its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from threading import Semaphore, Thread, current_thread
from typing import Any

import torch
from torch import Tensor

from ..common.seeding import State, global_state, isolated, restore_state
from ..common.undoing import undone
from ..subject.batches import MicroBatches

__all__ = ["Apart", "Company", "Passes"]


class Apart(Exception):  # noqa: N818 - nothing went wrong
    """Passes of the model that cannot be made together, for the reason given."""


class _Dismissed(BaseException):
    """The explanation is not needed any more; no explainer's ``except Exception`` holds it up."""


class Company:
    """Explanations of several inputs, side by side.

    Args:
        seeds: What the global generators are seeded by for each input.
        batches: How many rows one pass has at most.
        room: How many rows an explainer should compute with at once for one input, where it lets us choose.

    Attributes:
        copies: The most rows that the model was called with for one input at once; 0 as long as it was not called.
    """

    def __init__(self, seeds: Sequence[Sequence[int | str]], batches: MicroBatches, room: int) -> None:
        self.batches, self.room = batches, room
        self.copies, self._rows = 0, batches.size
        self._states: list[State] = []
        for parts in seeds:
            with isolated(*parts):
                self._states.append(global_state())

    def results(self, model: Callable[..., object], works: Sequence[Callable[[Passes], object]]) -> list[object]:
        """Return what the work for each input returns, which is given the model to call.

        Raises:
            Apart: Their passes cannot be made together.
            Exception: What a work or the model has raised.
        """
        members = [_Member(work, state) for work, state in zip(works, self._states, strict=True)]
        with warnings.catch_warnings():  # works that change the filters take turns, and do not end in order
            with undone(partial(_dismiss, members)):
                self._advance(members, [None] * len(members))
                while waiting := [member for member in members if member.waits]:
                    self._advance(waiting, self._passed(model, [member.passes.arguments for member in waiting]))
            return [member.result for member in members]

    def _advance(self, members: Sequence[_Member], outputs: Sequence[Tensor | None]) -> None:
        """Let each go on to its next pass or its end, with its own random numbers."""
        before = global_state()
        try:
            for member, output in zip(members, outputs, strict=True):
                restore_state(member.state)
                member.advance(output)
                member.state = global_state()
        finally:
            restore_state(before)

    def _passed(self, model: Callable[..., object], calls: Sequence[tuple[Any, ...]]) -> list[Tensor]:
        """Return the outputs of several calls of the model, from one pass."""
        counts = [_rows(arguments) for arguments in calls]
        self.copies, total = max(self.copies, *counts), sum(counts)
        if 2 * self.copies > self._rows:
            raise Apart("an input by itself fills a pass")
        merged = [_merged(each, counts) for each in zip(*calls, strict=True)]

        def work(rows: slice) -> Tensor:
            given = (one[rows] if isinstance(one, Tensor) and one.ndim and len(one) == total else one for one in merged)
            outputs = model(*given)
            if not isinstance(outputs, Tensor) or not outputs.ndim or len(outputs) != rows.stop - rows.start:
                raise Apart("the model returns no row for each of its inputs")
            return outputs

        with torch.no_grad():
            return list(torch.split(self.batches.run(total, work), counts))


class Passes:
    """The model in one of the threads: what it is called with is gathered, and it returns its share of the outputs.

    Only what asks for no gradient can be gathered. Nothing else of the model can be reached.
    """

    def __init__(self, member: _Member) -> None:
        self._member = member
        self.arguments: tuple[Any, ...] = ()

    def __call__(self, *arguments: Any, **more: object) -> Tensor:
        """Return the model's outputs for its arguments."""
        tensors = [one for one in arguments if isinstance(one, Tensor)]
        if more or not tensors or current_thread() is not self._member.thread:
            raise Apart("the model is called with keywords, without a tensor, or from another thread")
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            raise Apart("the explainer asks for gradients")
        self.arguments = arguments
        return self._member.wait()

    def bound(self, context: Sequence[Tensor]) -> Callable[..., Tensor]:
        """Return the model as a callable from what is explained alone, with the context of one input, ``(1, ...)``."""

        def called(*explained: Any) -> Tensor:
            rows = _rows(explained)
            return self(*explained, *(one.expand(rows, *one.shape[1:]) for one in context))

        return called


class _Member:
    """One input's explanation, in a thread that only runs when it is told to go on."""

    def __init__(self, work: Callable[[Passes], object], state: State) -> None:
        self.state = state
        self.passes = Passes(self)
        self.result: object = None
        self.waits = False
        self.dismissed = False
        self._work, self._output = work, torch.empty(0)
        self._error: BaseException | None = None
        self._mine, self._theirs = Semaphore(0), Semaphore(0)
        self.thread = Thread(target=copy_context().run, args=(self._run, _where()), daemon=True)

    def advance(self, output: Tensor | None) -> None:
        """Let it go on with the output of its pass, if it waits for one, until it waits again or has ended."""
        if output is None:
            self.thread.start()
        else:
            self._output = output
            self._mine.release()
        self._theirs.acquire()
        if self._error is not None:
            raise self._error

    def wait(self) -> Tensor:
        """Return the output of the pass that it waits for."""
        if not self.dismissed:
            self.waits = True
            self._theirs.release()
            self._mine.acquire()
            self.waits = False
        if self.dismissed:
            raise _Dismissed
        return self._output

    def _run(self, place: Callable[[], None]) -> None:
        try:
            place()
            if not self.dismissed:
                self.result = self._work(self.passes)
        except BaseException as error:  # raised again where it is advanced, or of no interest to anyone
            self._error = error
        finally:
            self._theirs.release()


def _dismiss(members: Sequence[_Member]) -> None:
    """Let no thread be left behind; may be repeated after it was cut off."""
    for member in members:
        member.dismissed = True
    for member in members:
        if member.thread.ident is not None:
            member._mine.release()
            member.thread.join()


def _where() -> Callable[[], None]:
    """Return what lets another thread work on the accelerator and the stream of this one."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):  # type: ignore[no-untyped-call]
        return lambda: None
    return partial(torch.cuda.set_stream, torch.cuda.current_stream())


def _rows(arguments: Sequence[object]) -> int:
    first = next(one for one in arguments if isinstance(one, Tensor))
    return len(first) if first.ndim else 1


def _merged(values: Sequence[Any], counts: Sequence[int]) -> Any:
    """Return the rows of an argument of several calls, or what is the same in all of them."""
    first = values[0]
    if all(isinstance(one, Tensor) and one.ndim and len(one) == n for one, n in zip(values, counts, strict=True)):
        if len({(one.shape[1:], one.dtype) for one in values}) == 1:
            return torch.cat(list(values))
    elif all(one is first or (not isinstance(one, Tensor) and one == first) for one in values):
        return first
    raise Apart("the model is called with something else for each input")
