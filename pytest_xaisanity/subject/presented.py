"""A model as explainers and measurements call it: with what is explained first, and scores as its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import XaiError
from ..model.inventory import PRESENTED
from ..model.tracing import Call, Watch
from .arrangement import Arrangement
from .block import Inputs
from .outputs import Output, scores_of
from .tokens import Vocabulary

__all__ = ["Expanded", "Presentation", "Presented"]

Called = Callable[[tuple[Any, ...], Mapping[str, object]], object]


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
    """

    model: Callable[..., object]
    arrangement: Arrangement
    output: Output = None
    embedding: nn.Module | None = None
    vocabulary: Vocabulary = field(default_factory=Vocabulary)

    def __call__(self, arguments: Sequence[Any], more: Mapping[str, object] | None = None) -> object:
        """Return the scores for arguments, or all that the model returns where there are keywords."""
        result = self.arrangement.call(self.model, arguments, more)
        return result if more else scores_of(result, self.output)

    def module(self) -> Presented:
        """Return the model as a module that takes the arguments, and returns scores."""
        return Presented(self.model, lambda arguments, more: self(arguments, more))

    def embedded(self, arguments: Sequence[Tensor]) -> Tensor:
        """Return what the embedding makes of the token ids among the arguments, ``(b, T, D)``, without its graph.

        Raises:
            XaiError: It is not called, or returns something else.
        """
        ids, seen = arguments[0], list[object]()

        def note(call: Call, output: object) -> None:
            seen.append(output)
            watch.stop()

        assert self.embedding is not None
        watch = Watch(modules={"": self.embedding}, output=note)
        with torch.no_grad():
            watch.during(lambda: self(arguments))
        if not seen:
            raise _embedding_error("is not called in the forward pass")
        return _aligned(seen[0], ids).detach().clone()

    def on_embedded(self) -> Presented:
        """Return the model as a module that takes embedded tokens ``(b, T, D)``, followed by its arguments."""
        return Presented(self.model, lambda given, more: self.with_embedded(given[0], given[1:], more))

    def with_embedded(
        self, embedded: Tensor, arguments: Sequence[Any], more: Mapping[str, object] | None = None
    ) -> object:
        """Return the scores with these in place of what the embedding makes of the token ids."""
        assert self.embedding is not None
        placed: list[bool] = []

        def put(call: Call, output: object) -> Tensor | None:
            if placed:  # an embedding may be used again, for other tokens or as the head
                return None
            placed.append(True)
            _aligned(output, arguments[0])
            assert isinstance(output, Tensor)
            swapped = output.shape != embedded.shape and output.shape == embedded.transpose(0, 1).shape
            return embedded.transpose(0, 1) if swapped else embedded

        with Watch(modules={"": self.embedding}, output=put).block():
            return self(arguments, more)

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


def _aligned(output: object, ids: Tensor) -> Tensor:
    """Return what the embedding returned as ``(b, T, D)``, of a model whose tokens may come first as well."""
    if isinstance(output, Tensor) and output.ndim == 3 and output.is_floating_point():
        if output.shape[:2] == ids.shape:
            return output
        if output.shape[:2] == ids.T.shape:
            return output.transpose(0, 1)
    shape = f"a tensor {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise _embedding_error(f"returns {shape} for token ids {tuple(ids.shape)}")


def _embedding_error(what: str) -> XaiError:
    return XaiError(
        "xai_embedding",
        found=f"a module that {what}",
        expected="one that is called with the token ids and returns a vector for each, (N, T, D)",
        fix="name the module that embeds the tokens, as in named_modules()",
    )
