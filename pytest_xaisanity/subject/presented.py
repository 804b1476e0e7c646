"""A model as explainers and measurements call it: with what is explained first, and scores as its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..model.inventory import PRESENTED
from ..model.tracing import Call, Watch
from .arrangement import Arrangement
from .block import Inputs
from .decoder import Decoder, Prompts
from .outputs import Output, scores_of
from .tokens import Vocabulary

__all__ = ["Expanded", "Presentation", "Presented"]

Called = Callable[[tuple[Any, ...], Mapping[str, object]], object]


class _Put(Protocol):
    """Returns what stands in place of the output of an embedding, ``(b, T, D)``, or ``(T, b, D)`` if ``swapped``."""

    def __call__(self, output: Tensor, *, swapped: bool) -> Tensor: ...


class Presented(nn.Module):
    """A model that is called in another way, and otherwise is what it was: its layers are found under their names.

    Called with keywords of the caller's own, such as ``output_attentions=True``, it passes these on and returns all
    that the model returns.

    Args:
        model: The user's model.
        called: Called with the positional arguments and the keywords of a call.
    """

    def __init__(self, model: Callable[..., object], called: Called) -> None:
        super().__init__()
        if isinstance(model, nn.Module):
            self.add_module(PRESENTED, model)
            self.training = model.training
        self._called = called

    def forward(self, *arguments: Any, **more: object) -> object:
        """Return the scores."""
        return self._called(arguments, more)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            model = vars(self).get("_modules", {}).get(PRESENTED)
            if model is None or name == PRESENTED:
                raise
            return getattr(model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        model = vars(self).get("_modules", {}).get(PRESENTED)
        if isinstance(model, nn.Module) and name in model._modules:
            setattr(model, name, value)
        else:
            super().__setattr__(name, value)


class Expanded(Exception):  # noqa: N818 - nothing went wrong
    """A model bound to the context of several inputs was called with another number of rows."""


@dataclass(frozen=True)
class Presentation:
    """How a model is called, and what of its output counts.

    Attributes:
        model: The user's model.
        arrangement: Which of its inputs are explained.
        output: Where in what it returns the scores are.
        embedding: The module that embeds the token ids that are explained, or None.
        vocabulary: What is known of the ids.
        decoder: How it is read, where it is a causal language model whose next tokens are explained.
    """

    model: Callable[..., object]
    arrangement: Arrangement
    output: Output = None
    embedding: nn.Module | None = None
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    decoder: Decoder | None = None

    def __call__(self, arguments: Sequence[Any], more: Mapping[str, object] | None = None) -> object:
        """Return the scores for arguments, or all that the model returns where there are keywords."""
        if self.decoder is not None:
            return self._decoded(self.decoder, self._prompts(self.decoder, arguments, more), more)
        result = self.arrangement.call(self.model, arguments, more)
        return result if more else scores_of(result, self.output)

    def _prompts(self, decoder: Decoder, arguments: Sequence[Any], more: Mapping[str, object] | None) -> Prompts:
        """Return prompts with their continuations; without, where all that the model returns is asked for."""
        return decoder.prompts(arguments[: self.arrangement.count] if more else arguments)

    def _decoded(self, decoder: Decoder, prompts: Prompts, more: Mapping[str, object] | None) -> object:
        result = self.arrangement.call(self.model, prompts.arguments, {**prompts.more, **(more or {})})
        return result if more else decoder.scores(scores_of(result, self.output), prompts)

    def module(self) -> Presented:
        """Return the model as a module that takes the arguments, and returns scores."""
        return Presented(self.model, lambda arguments, more: self(arguments, more))

    def embedded(self, arguments: Sequence[Tensor]) -> Tensor:
        """Return what the embedding makes of the token ids among the arguments, ``(b, T, D)``, without its graph.

        Raises:
            XaiError: It is not called, or returns something else.
        """
        found: list[Tensor] = []
        own = arguments[: self.arrangement.count]

        def note(output: Tensor, *, swapped: bool) -> NoReturn:
            found.append(output.transpose(0, 1) if swapped else output)
            raise _Seen

        try:
            with torch.no_grad():
                self._at_tokens(note, own, lambda: self(own))
        except _Seen:
            pass
        return found[0].detach().clone()

    def on_embedded(self) -> Presented:
        """Return the model as a module that takes embedded tokens ``(b, T, D)``, followed by its arguments."""
        return Presented(self.model, lambda given, more: self.with_embedded(given[0], given[1:], more))

    def with_embedded(
        self, embedded: Tensor, arguments: Sequence[Any], more: Mapping[str, object] | None = None
    ) -> object:
        """Return the scores with these in place of what the embedding makes of the token ids."""
        if self.decoder is None:
            return self._at_tokens(_in_place(lambda _: embedded), arguments, lambda: self(arguments, more))
        decoder, prompts = self.decoder, self._prompts(self.decoder, arguments, more)
        put = _in_place(lambda output: prompts.embedded(output, embedded))
        return self._at_tokens(put, prompts.arguments, lambda: self._decoded(decoder, prompts, more))

    def _at_tokens(self, put: _Put, arguments: Sequence[Any], run: Callable[[], object]) -> object:
        """Return the scores of ``run``, with what ``put`` makes of the embedding's output in its place.

        An embedding may be used for other tokens as well, or as the head: the call is meant that is given the ids, or
        else, of a model that changes them first, the first whose output has their shape.

        Raises:
            XaiError: It is not called, or returns something else.
        """
        calls = _Calls(self.embedding, arguments, put)
        for calls.anything in (False, True):
            with calls.watch().block():
                scores = run()
            if calls.placed:
                return scores
            if not calls.others:
                raise _embedding_error("is not called in the forward pass")
        raise calls.misaligned()

    def bound(self, context: Inputs, count: int, *, embedded: bool = False) -> Presented:
        """Return the model as a module that takes what is explained alone, and has the context of some inputs.

        Args:
            context: That of the inputs, each ``(count, ...)``.
            count: How many inputs. Called with as many rows, these are the inputs in order; the context of one input
                goes with any number of rows; anything else raises :class:`Expanded`.
            embedded: Whether it takes embedded tokens, and the ids are context.
        """

        def called(explained: tuple[Any, ...], more: Mapping[str, object]) -> object:
            rows = len(explained[0]) if explained and isinstance(explained[0], Tensor) else count
            if rows != count and count > 1:
                raise Expanded(f"{rows} rows for the context of {count} inputs")
            held = context if rows == count else tuple(one.expand(rows, *one.shape[1:]) for one in context)
            return self.with_embedded(explained[0], held, more) if embedded else self((*explained, *held), more)

        return Presented(self.model, called)


def _in_place(make: Callable[[Tensor], Tensor]) -> _Put:
    """Return what puts another tensor in place of an embedding's output, made of it as ``(b, T, D)``."""

    def put(output: Tensor, *, swapped: bool) -> Tensor:
        return make(output.transpose(0, 1)).transpose(0, 1) if swapped else make(output)

    return put


class _Seen(BaseException):
    """What the embedding makes of tokens is known, and the rest of the pass is not needed."""


class _Calls:
    """The calls of an embedding in a forward pass.

    Args:
        embedding: The module.
        arguments: Those of the model, token ids first.
        put: See :meth:`Presentation._at_tokens`.

    Attributes:
        anything: Whether a call with other ids than these is taken, if its output has their shape.
        placed: Whether a call has been taken.
        others: What was returned by calls that were not.
    """

    anything = False

    def __init__(self, embedding: nn.Module | None, arguments: Sequence[Any], put: _Put) -> None:
        assert embedding is not None
        self.embedding, self._put = embedding, put
        self.ids: Tensor = arguments[0]
        self._context = {one.data_ptr() for one in arguments[1:] if isinstance(one, Tensor)}
        self._given: Tensor | None = None
        self.placed, self.others = False, list[object]()

    def watch(self) -> Watch:
        """Return a watch over one pass."""
        self.others.clear()
        return Watch(called=self._called, modules={"": self.embedding}, output=self._output)

    def misaligned(self) -> XaiError:
        """Return the error for an embedding that returns something else than a vector for each token."""
        output = self.others[0]
        shape = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        return _embedding_error(f"returns {shape} for token ids {tuple(self.ids.shape)}")

    def _called(self, module: nn.Module, arguments: Any) -> None:
        if module is self.embedding:
            self._given = next((one for one in arguments if isinstance(one, Tensor)), None)

    def _output(self, call: Call, output: object) -> Tensor | None:
        if self.placed:
            return None
        turned = self._turned()
        swapped = self._swapped(output, turned) if self.anything or turned is not None else None
        if swapped is None or not isinstance(output, Tensor):
            self.others.append(output)
            return None
        self.placed = True
        return self._put(output, swapped=swapped)

    def _turned(self) -> bool | None:
        """Return whether the call was given the ids with tokens first; None where it was given something else."""
        given = self._given
        if given is None or given.data_ptr() in self._context:
            return None
        ways = ((False, self.ids), (True, self.ids.T))
        alike = [(turned, one) for turned, one in ways if given.shape == one.shape]
        same = [turned for turned, one in alike if bool((given.to(one.device) == one).all())]
        by_strides = [turned for turned, one in alike if turned in same and given.stride() == one.stride()]
        return next(iter((*by_strides, *same)), None)

    def _swapped(self, output: object, turned: bool | None) -> bool | None:
        """Return whether an output is ``(T, b, D)`` rather than ``(b, T, D)``; None where it is neither."""
        if not isinstance(output, Tensor) or output.ndim != 3 or not output.is_floating_point():
            return None
        shapes = {False: self.ids.shape, True: self.ids.T.shape}
        return next((way for way in (bool(turned), not turned) if output.shape[:2] == shapes[way]), None)


def _embedding_error(what: str) -> XaiError:
    return XaiError(
        "xai_embedding",
        found=f"a module that {what}",
        expected="one that is called with the token ids and returns a vector for each, (N, T, D)",
        fix="name the module that embeds the tokens, as in named_modules()",
    )
