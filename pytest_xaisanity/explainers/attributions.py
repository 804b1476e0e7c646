"""An explainer on a subject: its maps, kept and checked, and one clear error for each mistake."""

from __future__ import annotations

import copy
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import XaiError, XaiWarning, said
from ..common.seeding import isolated
from ..maps.counted import counted_scores
from ..maps.forms import Form, forms_of
from ..maps.reduction import DEFAULT, SUMS, reduced, with_reduction
from ..model.lending import evaluating
from ..model.snapshot import Hooks
from ..model.tracing import uncompiled
from ..subject.batches import MicroBatches, out_of_memory
from ..subject.block import Block, Inputs
from ..subject.layout import Layout
from ..subject.presented import Expanded
from ..subject.subject import Subject
from ..subject.tensors import from_numpy
from .explainer import Explainer, Request
from .multiplied import Multiplied
from .precomputed import asked_again
from .row_draws import Shared
from .sampling import Draw, Sampling, in_batches

__all__ = ["Attributions", "Forms", "MapCache"]

_CACHE_BYTES = 64 * 2**20
_NO_FRACTIONS = "let a wrapper of the model hold what is not explained, or choose a perturbation method"
# What torch says where an index or a label is a fraction.
_ASKS_FOR_WHOLE = re.compile(r"scalar types?:? (Long|Int)|must be (long|int)|Long, Int|as indices|integral|LongTensor")
# What torch says where a gradient of whole numbers is asked for.
_ASKS_FOR_GRADIENTS = re.compile(
    r"require gradients|floating point|does not require grad|not have been used in the graph|" + _ASKS_FOR_WHOLE.pattern
)


class MapCache:
    """Attribution maps kept for other claims on the same evidence, the oldest dropped first.

    Args:
        limit: Bytes to keep at most. Streams keep nothing, so that memory stays flat in the number of inputs.
    """

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self.limit = limit
        self._maps: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> Tensor | None:
        """Return the maps kept under ``key``, or None."""
        if key in self._maps:
            self._maps.move_to_end(key)
        return self._maps.get(key)

    def put(self, key: Hashable, maps: Tensor) -> None:
        """Keep ``maps`` unless they alone exceed the limit."""
        size = maps.numel() * maps.element_size()
        if size > self.limit or key in self._maps:
            return
        self._maps[key] = maps
        self._bytes += size
        while self._bytes > self.limit:
            _, dropped = self._maps.popitem(last=False)
            self._bytes -= dropped.numel() * dropped.element_size()


class Attributions:
    """An explainer on a subject: called with a block, it returns the block's attribution maps.

    A map is channel-reduced by summing, as completeness asks for: inputs ``(b, C, *places)`` have maps
    ``(b, *places)``, inputs ``(b, F)`` have maps ``(b, F)``. With several input tensors the maps are flattened and
    joined: ``(b, places in all)``.

    Args:
        subject: What is explained.
        explainer: What explains it.
        seed: Seeds explainers that draw random numbers, for each input by itself, so that what an input gets never
            depends on the micro-batch.
        cache: Where maps are kept for other claims; None keeps none.

    Attributes:
        fingerprint: The subject's, a part of the keys under which maps are kept.
        sampling: Whether the explainer draws, and how it is then run.
        known: The forms in which its maps are known, once there are some, and what it is given of tokens.
    """

    def __init__(self, subject: Subject, explainer: Explainer, seed: int, cache: MapCache | None = None) -> None:
        self.subject = subject
        self.explainer = explainer
        self.seed = seed
        self.cache = cache
        self.fingerprint = ""
        self.sampling = Sampling(explainer, seed)
        self._varied = False
        self._whole = False
        self._per_channel = False
        self.known = Forms()
        self._in_forms = False
        self._move: Callable[[Request], Tensor] | None = None  # what is added to what the embedding makes of tokens
        self._expands = False  # whether it calls a model that takes context with other rows than those explained

    def share(self, other: Attributions) -> None:
        """Keep maps under the keys of others of the same explainer, and know of it what they know."""
        self.fingerprint, self.sampling = other.fingerprint, other.sampling
        self.known, self._in_forms = other.known, other._in_forms

    def remember(self, fingerprint: str) -> None:
        """Take the subject's fingerprint into the keys under which maps are kept."""
        self.fingerprint = fingerprint

    def __call__(
        self,
        block: Block,
        *,
        stage: str = "the model as given",
        state: tuple[Hashable, ...] = (),
        run: int = 0,
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return the maps ``(b, *places)``.

        Args:
            block: The inputs.
            stage: What was done to the model, in words, for error texts.
            state: What was done to the model, as a key; empty for the model as given.
            run: Number of the run: other runs draw other random numbers.
            targets: Other targets than the block's own.

        Raises:
            XaiError: The explainer raised, or its attributions have the wrong shape or type; on the model as given also
                when they hold NaN or all are constant.
        """
        if self.explainer.precomputed and (state or run):
            raise asked_again(f"explainer {self.explainer.name}", f"{stage}, once more" if run else stage)
        key = self.key(block, state, run)
        if self.cache is not None and targets is None and (kept := self.cache.get(key)) is not None:
            return self._chosen(kept, block)
        maps = self.measured(block, block.targets if targets is None else targets, stage, (run, repr(state)))
        maps = _where_counted(maps, block)
        if not state:
            self._check_values(self._own(maps, block.layout), stage, block.mask)
        if self.cache is not None and targets is None:
            self.cache.put(key, maps)
        return self._chosen(maps, block)

    def _chosen(self, maps: Tensor, block: Block) -> Tensor:
        """Return maps in all their forms where these are asked for, or in the explainer's own."""
        return maps if self._in_forms else self._own(maps, block.layout)

    def _own(self, maps: Tensor, layout: Layout) -> Tensor:
        return maps[:, 0] if not self._per_channel and maps.ndim > 1 + len(layout.places) else maps

    def of_some(
        self,
        block: Block,
        rows: Sequence[int],
        *,
        stage: str,
        state: tuple[Hashable, ...],
        targets: Tensor | None = None,
    ) -> Tensor:
        """Return the maps of the inputs at some places of a block, in order.

        All are explained where the model takes no batches of another size.

        Args:
            block: The inputs.
            rows: Their places.
            stage: See :meth:`__call__`.
            state: See :meth:`__call__`.
            targets: Targets of the whole block, other than its own.
        """
        if len(rows) < len(block) and not self._whole:
            some = block.rows(rows)
            given = None if targets is None else targets[list(rows)]
            try:
                return self(some, stage=stage, state=state, targets=given)
            except XaiError as error:
                if error.__cause__ is None:
                    raise
                self._whole = self._takes_whole_blocks_alone(block, some, stage, error)
        maps = self(block, stage=stage, state=state, targets=targets)
        return maps if len(rows) == len(block) else maps[list(rows)]

    def _takes_whole_blocks_alone(self, block: Block, some: Block, stage: str, error: XaiError) -> bool:
        """Return True where whole blocks can be explained and parts cannot; otherwise raise the error of the part."""
        draw = (0, "size of the batch")
        try:
            self.measured(block, block.targets, stage, draw)
        except XaiError:
            raise error from error.__cause__
        try:
            self.measured(some, some.targets, stage, draw)
        except XaiError:
            text = f"{self.explainer.name} takes batches of one size alone: whole ones are explained for each cell"
            warnings.warn(text, XaiWarning, stacklevel=2)
            return True
        raise error from error.__cause__  # which had nothing to do with the number of inputs

    def per_channel(self) -> Attributions:
        """Return the same, with a value for each channel: it returns maps ``(b, C, *places)``.

        Where the explainer gives one value a place, each channel has an equal share of it.
        """
        twin = copy.copy(self)
        twin._per_channel = True
        return twin

    @property
    def settings(self) -> tuple[int, bool]:
        """What maps depend on beside explainer and subject: the seed, and whether each channel has its own."""
        return self.seed, self._per_channel

    def on(self, subject: Subject) -> Attributions:
        """Return the same explainer on another subject of the same model, with what is known of it; nothing is kept."""
        twin = copy.copy(self)
        twin.subject, twin.cache = subject, None
        return twin

    def drawn_alike(self, block: Block, *, stage: str) -> Tensor:
        """Return maps that are not kept, for which what is drawn is what was drawn on the model as given.

        Args:
            block: The inputs.
            stage: What was done to them or to the model, in words, for error texts.
        """
        if self.explainer.precomputed:
            raise asked_again(f"explainer {self.explainer.name}", stage)
        return self._chosen(_where_counted(self.measured(block, block.targets, stage, (0, repr(()))), block), block)

    def of_moved(self, move: Callable[[Request], Tensor]) -> Attributions:
        """Return the same of tokens to whose embedding something is added; only :meth:`answered` is to be asked.

        Args:
            move: Returns what is added for the rows of a request, whose tokens are embedded, ``(r, T, D)``.

        Raises:
            XaiError: The explainer explains token ids, which cannot be moved.
        """
        if not self.known.embedded:
            raise self._error(
                "an explainer of token ids, which cannot be moved by a little",
                "one that explains what the embedding makes of them, as gradients do",
                "claim it of a gradient method, or pass embedded=True where the explainer is a function",
            )
        twin = copy.copy(self)
        twin._move = move
        return twin

    def in_forms(self) -> Attributions:
        """Return the same, with maps in all forms that are known of them, the explainer's own first.

        It returns maps ``(b, forms, *places)``, in the order of ``known.forms``; where there is a single form, which is
        the rule for what is neither a token nor multiplied, they are ``(b, *places)``.
        """
        twin = copy.copy(self)
        twin._in_forms = True
        return twin

    def multipliers(self, block: Block) -> Inputs | None:
        """Return what local attributions of a block are multiplied by: ``x - x0``, or the inputs where x0 is not known.

        Of tokens it is what the embedding makes of them, ``(b, T, D)``; None where no embedding is known.
        """
        request = self.request(block, block.targets)
        if request.layout.kind == "tokens":
            if request.presentation is None or request.presentation.embedding is None:
                return None
            request = request.embed()
        attribute = self.explainer.attribute
        known = isinstance(attribute, Multiplied) and (self.known.embedded or not request.embedded)
        return attribute.factors(request) if known and isinstance(attribute, Multiplied) else request.inputs

    def reordered(self, block: Block, order: Tensor) -> Tensor:
        """Return the maps of the block's inputs, computed in another order and put back into place."""
        if self.explainer.precomputed:
            raise asked_again(f"explainer {self.explainer.name}", "another order")
        if self.sampling.draws is None:
            self(block)
        rows = self.request(block, block.targets)
        shuffled = replace(
            rows,
            inputs=tuple(tensor[order] for tensor in rows.inputs),
            context=tuple(tensor[order] for tensor in rows.context),
            sentences=None if rows.sentences is None else rows.sentences[order],
            targets=None if rows.targets is None else rows.targets[order],
            indices=tuple(rows.indices[place] for place in order.tolist()),
        )
        half = self.subject.batches.of(max(2, (len(block) + 1) // 2))  # other company too; one alone has no order
        try:
            maps = self._together(shuffled, half)
        except XaiError as error:
            if error.__cause__ is None:
                raise
            maps = self._together(shuffled, self.subject.batches)  # a model may take batches of one size alone
        return self._chosen(_where_counted(maps[torch.argsort(order)], block), block)

    def _together(self, request: Request, batches: MicroBatches) -> Tensor:
        """Return the maps of rows in the company of others; what is drawn for each input is drawn again."""
        if self.sampling.draws:
            return self.answered_in_forms(request, "another order", lambda _: (0, repr(())), batches)
        with isolated(self.seed, "explain", self.explainer.name, "together"):
            return in_batches(self.explainer, request, lambda rows, _: self._called(rows, "another order"), batches)

    def cached(self, state: tuple[Hashable, ...], block: Block) -> bool:
        """Whether maps of this state and block are kept."""
        return self.cache is not None and self.cache.get(self.key(block, state, run=0)) is not None

    def key(self, block: Block, state: tuple[Hashable, ...], run: int) -> Hashable:
        """Return the key under which the maps of a block are kept."""
        return (self.fingerprint, self.explainer.key, self.seed, state, run, block.indices, self._per_channel)

    def measured(self, block: Block, targets: Tensor | None, stage: str, draw: Draw) -> Tensor:
        """Return the maps of a block that are not kept: what a class of other maps overrides.

        Args:
            block: The inputs.
            targets: What is explained of each.
            stage: What was done to the model, in words, for error texts.
            draw: Tells apart what an explainer draws that draws.
        """
        return self.answered_in_forms(self.request(block, targets), stage, lambda place: draw)

    def request(self, block: Block, targets: Tensor | None) -> Request:
        """Return the request to explain the targets of a block."""
        subject = self.subject
        return Request(
            subject.presented,
            block.inputs,
            targets,
            block.indices,
            subject.count,
            subject.axes,
            context=block.context,
            presentation=subject.presentation,
            sentences=None if block.sentences is None or bool(block.sentences.all()) else block.sentences,
        )

    def answered(
        self, request: Request, stage: str, draw: Callable[[int], Draw], batches: MicroBatches | None = None
    ) -> Tensor:
        """Return the explainer's maps of any rows, as :meth:`answered_in_forms` does, in its own form."""
        maps = self.answered_in_forms(request, stage, draw, batches)
        return self._own(maps, request.layout)

    def answered_in_forms(
        self, request: Request, stage: str, draw: Callable[[int], Draw], batches: MicroBatches | None = None
    ) -> Tensor:
        """Return the explainer's maps of any rows, as long as they may be; ``draw`` is of a row's place in these.

        One that draws is given sentences without their padding, so that what it draws does not depend on it.
        """
        batches = self.subject.batches if batches is None else batches
        if request.sentences is not None:
            if self.sampling.draws is None:
                self.answered_in_forms(replace(request.part(slice(0, 2)), sentences=None), stage, draw, batches)
            if self.sampling.draws:
                return self._without_padding(request, stage, draw, batches)
        room = self.subject.batches.size
        return self.sampling.maps(request, partial(self._called, stage=stage), draw, batches, room)

    def _without_padding(
        self, request: Request, stage: str, draw: Callable[[int], Draw], batches: MicroBatches
    ) -> Tensor:
        """Return the maps of sentences that are explained without their padding, where they are 0."""
        maps: Tensor | None = None
        for rows, some in request.without_padding():
            places, (kept, width) = rows.tolist(), some.kept or (rows, 0)
            found = self.answered_in_forms(some, stage, partial(_drawn_at, draw, places), batches)
            if maps is None:
                maps = found.new_zeros(len(request), *found.shape[1:-1], width)
            wide = maps[rows]
            wide[..., kept] = found
            maps[rows] = wide
        assert maps is not None
        return maps

    def _called(self, request: Request, stage: str) -> Tensor:
        """Return the maps of rows that are explained in one call; one call each, where it has more rows than these."""
        if not self._expands or request.company is not None:
            try:
                return self._of_tokens(request, stage)
            except Expanded:
                self._expands = True
        rows = [self._of_tokens(request.part(slice(row, row + 1)), stage) for row in range(len(request))]
        return torch.cat(rows)

    def _of_tokens(self, request: Request, stage: str) -> Tensor:
        """Return the maps of rows, of which tokens are given as what the embedding makes of them, or as their ids."""
        if self.known.embedded is None:
            self.known.embedded = self._must_embed(request)
        if self.known.embedded is not None:
            return self._explained(self._placed(request) if self.known.embedded else request, request.inputs, stage)
        try:
            maps = self._explained(request, request.inputs, stage)
            self.known.embedded = False
        except XaiError as error:
            if not _ASKS_FOR_GRADIENTS.search(str(error.__cause__ or "")):
                raise
            maps = self._explained(request.embed(), request.inputs, stage)
            self.known.embedded = True
        return maps

    def _placed(self, request: Request) -> Request:
        """Return the request to explain what the embedding makes of tokens, moved where it is to be."""
        embedded = request.embed()
        return (
            embedded if self._move is None else replace(embedded, inputs=(embedded.inputs[0] + self._move(embedded),))
        )

    def _must_embed(self, request: Request) -> bool | None:
        """Return whether tokens are given as what the embedding makes of them; None where it has to be tried."""
        kind = self.explainer.tokens
        if request.layout.kind != "tokens" or kind == "ids":
            return False
        if request.presentation is not None and request.presentation.embedding is not None:
            return True if kind == "embedded" else None
        if kind == "embedded":
            raise self._without_embedding(request.inputs)
        return False

    def _without_embedding(self, inputs: Inputs) -> XaiError:
        return self._error(
            f"token ids {tuple(inputs[0].shape)} of {inputs[0].dtype}, which have no gradient, and no embedding",
            "the module whose output can be explained in their place",
            "name it in xai_embedding, or Bench(embedding=...); or choose a perturbation method",
        )

    def _explained(self, request: Request, originals: Inputs, stage: str) -> Tensor:
        """Return the maps ``(b, *places)`` of the original inputs, of what is given in their place in one call."""
        hooks = Hooks(self.subject.model) if isinstance(self.subject.model, nn.Module) else None
        try:
            with torch.inference_mode(False), torch.enable_grad(), uncompiled():
                given = tuple(tensor.clone() for tensor in request.inputs)
                targets = None if request.targets is None else request.targets.clone()
                context = tuple(tensor.clone() for tensor in request.context)
                results = _asked(self.explainer, replace(request, inputs=given, context=context, targets=targets))
        except XaiError:
            raise
        except (Expanded, Shared) as cut_off:
            if isinstance(cut_off, Shared):
                self.subject.restore()
            if hooks is not None:
                hooks.restore()
            raise
        except Exception as error:
            if out_of_memory(error):
                self.subject.restore()  # what it was cut off in the middle of; it is called again with fewer inputs
            if hooks is not None:
                hooks.restore()  # with those of earlier calls, which are the explainer's own
            if out_of_memory(error):
                raise
            raise self._raised(error, request, stage) from error
        finally:
            trained = evaluating(self.subject.model)
        if trained:
            raise self._error(
                f"{trained[0] or 'the model'} put into training mode, on {stage}",
                "a model in evaluation mode, as the explainer was given it",
                "leave model.train() out, or call model.eval() before returning",
            )
        self._check_echo(results[0], given, request.inputs, stage)
        return self._maps(results, originals, stage)

    def _raised(self, error: Exception, request: Request, stage: str) -> XaiError:
        """Return the error for what the explainer raised."""
        text = str(error)
        whole = _whole(request.inputs)
        if whole and not isinstance(error, AssertionError) and _ASKS_FOR_WHOLE.search(text):
            return self._error(
                f"fractions in place of {whole} given to the model, on {stage}{said(error)}",
                "floating-point inputs, or an explainer that leaves whole numbers as they are",
                _NO_FRACTIONS,
            )
        if "does not require grad" in text or "not have been used in the graph" in text:
            return self._detached(text.splitlines()[0], request.inputs, stage)
        dropped = self._drops_the_batch(request)
        if dropped is not None:
            return dropped
        return self._error(
            f"{type(error).__name__} raised by the explainer on {stage}{said(error)}",
            "attributions",
            "call the explainer by hand on one batch of xai_inputs",
        )

    def _detached(self, text: str, inputs: Inputs, stage: str) -> XaiError:
        whole = _whole(inputs)
        if whole:
            return self._error(
                f"no gradient of {whole} ({text}), on {stage}",
                "floating-point inputs, or an explainer that needs no gradients",
                _NO_FRACTIONS,
            )
        return self._error(
            f"attributions detached from any input ({text}), on {stage}",
            "outputs that depend differentiably on the inputs",
            "call requires_grad_() on the inputs if the explainer is your own; look for detach(), no_grad() or "
            "NumPy in the model's forward",
        )

    def _drops_the_batch(self, request: Request) -> XaiError | None:
        """Return the error for a model that takes no single input, if that is the matter."""
        if len(request) > 1:
            return None
        try:
            self.subject.outputs((*request.inputs, *request.context))
        except XaiError as error:
            return error if error.__cause__ is None else None  # what the explainer raised tells more than the model
        except Exception:
            return None
        return None

    def _error(self, found: str, expected: str, fix: str) -> XaiError:
        return self.explainer.error(found, expected, fix)

    def _maps(self, results: Sequence[object], inputs: Inputs, stage: str) -> Tensor:
        """Return the maps of attributions, and of those with the other multiplier where these are known too.

        They are ``(b, *places)``, or ``(b, forms, *places)`` where they are known in several forms.
        """
        layouts = self.subject.layout(inputs).each
        each = [self._values(result, inputs, stage) for result in results]
        named = self.explainer.reduction
        reducible = any(_of_dimensions(*one) for one in zip(each[0], inputs, layouts, strict=True))
        attribute = self.explainer.attribute
        own = Form(
            named or (DEFAULT if reducible else None), attribute.own if isinstance(attribute, Multiplied) else None
        )
        forms = self.known.checked(forms_of(own, both=len(each) > 1), self.explainer, stage)
        if reducible and own.reduction in SUMS and not self._varied:
            self.known.cancels = any(bool(one.any()) for one in each[0])
        if self._per_channel:
            return self._joined(each[0], inputs, layouts, named, stage)
        maps = [
            self._joined(each[form.multiplier != own.multiplier], inputs, layouts, form.reduction, stage)
            for form in forms
        ]
        return maps[0] if len(maps) == 1 else torch.stack(maps, dim=1)

    def _values(self, result: object, inputs: Inputs, stage: str) -> list[Tensor]:
        """Return what an explainer returned as one tensor for each of the inputs."""
        results = result if isinstance(result, (tuple, list)) else (result,)
        if len(results) != len(inputs):
            raise self._error(
                f"{len(results)} attribution tensors for {len(inputs)} input tensors, on {stage}",
                "one attribution tensor for each input tensor",
                "return attributions in the order of the inputs",
            )
        return [self._tensor(one, tensor, stage) for one, tensor in zip(results, inputs, strict=True)]

    def _joined(
        self, values: Sequence[Tensor], inputs: Inputs, layouts: Sequence[Layout], reduction: str | None, stage: str
    ) -> Tensor:
        """Return the maps of all input tensors, by a reduction, in a row."""
        parts = zip(values, inputs, layouts, strict=True)
        maps = [self._map(*part, reduction, stage) for part in parts]
        return maps[0] if len(maps) == 1 else torch.cat([one.flatten(1) for one in maps], dim=1)

    def _check_echo(self, result: object, given: Inputs, originals: Inputs, stage: str) -> None:
        for tensor, original in zip(given, originals, strict=True):
            if result is tensor and torch.equal(tensor.detach(), original):
                raise self._error(
                    f"the very inputs it was given, returned on {stage}",
                    "attributions",
                    "return what was computed from the inputs; where the input itself is meant, return a copy",
                )

    def _tensor(self, result: object, tensor: Tensor, stage: str) -> Tensor:
        given, result = result, from_numpy(result, f"explainer {self.explainer.name}")
        if not isinstance(result, Tensor) or result.is_complex():
            dtype = f" of {given.dtype}" if isinstance(given, (Tensor, np.ndarray)) else ""
            raise self._error(
                f"a {type(given).__name__}{dtype} returned on {stage}",
                "a real tensor of attributions",
                "return a tensor or an array of numbers",
            )
        values = result.detach().as_subclass(Tensor).to(tensor.device)
        return values if values.dtype in (torch.float32, torch.float64) else values.float()

    def _map(self, given: Tensor, tensor: Tensor, layout: Layout, reduction: str | None, stage: str) -> Tensor:
        values = self._reduce(given, tensor, layout, reduction, stage)
        maps = layout.expand(values, len(tensor)) if self._per_channel else layout.reduce(values, len(tensor))
        if maps is None:
            raise self._error(
                f"attributions of shape {tuple(given.shape)} for inputs of shape {tuple(tensor.shape)}, on {stage}",
                f"one of {', '.join(str(shape) for shape in layout.accepted(len(tensor)))}",
                "reduce or upsample the attributions to the places of the inputs",
            )
        return maps

    def _reduce(self, values: Tensor, tensor: Tensor, layout: Layout, reduction: str | None, stage: str) -> Tensor:
        """Return one value for each token of those of its dimensions; of other inputs where a reduction is named."""
        if _of_dimensions(values, tensor, layout):
            return reduced(values, reduction)
        if self.explainer.reduction is None:
            return values
        whole = values.numel() == len(tensor) * prod(layout.values) and values.ndim == tensor.ndim
        if layout.channels is not None and whole:
            return reduced(values.movedim(layout.axis, -1), reduction)
        raise self._error(
            f"attributions of shape {tuple(values.shape)} for inputs of shape {tuple(tensor.shape)}, on {stage}, "
            f"which reduction={reduction} cannot reduce",
            "a value for each dimension or channel",
            "leave reduction= out",
        )

    @property
    def called(self) -> str:
        """The explainer's name, with the reduction that made one value for each token of those of its dimensions."""
        name = self.explainer.name
        if self.explainer.reduction is not None or not self.known.forms:
            return name
        return with_reduction(name, self.known.forms[0].reduction)

    def _check_values(self, maps: Tensor, stage: str, mask: Tensor | None = None) -> None:
        flat = maps.flatten(1)
        broken = ~torch.isfinite(flat).all(1)
        if broken.any():
            raise self._error(
                f"NaN or infinite attributions for {int(broken.sum())} of {len(maps)} inputs, on {stage}",
                "finite attributions",
                "look for a division by zero in the explainer",
            )
        alone = flat.shape[1] == 1 if mask is None else bool((mask.sum(1) == 1).all())
        self._varied = self._varied or alone or bool(counted_scores(mask, _vary, flat).any())
        if not self._varied and self.known.cancels and not maps.any():
            raise self._error(
                f"attributions whose {self.known.forms[0].reduction} over the dimensions of a token is 0 but for "
                f"rounding, for all of {len(maps)} inputs, on {stage}",
                "maps that rank the tokens; behind a layer normalization the gradients of a token's dimensions cancel",
                "name another reduction, reduction='l2' or 'abs_sum'; or multiply by the input, with multiplier='with' "
                "where the method has it",
            )
        if not self._varied:  # one dead input in a short block is no mistake
            raise self._error(
                f"constant attributions for all of {len(maps)} inputs, on {stage}",
                "maps that rank the features of the input",
                "check targets, baselines and the head of the model: a zero head gives zero gradients"
                + ("; an explainer that draws must draw for each input by itself" if self.sampling.draws else ""),
            )


class Forms:
    """What is found out of an explainer when it is first called.

    Attributes:
        forms: The forms in which its maps are known, its own first.
        embedded: Whether it is given what the embedding makes of tokens; None as long as that is not known.
        cancels: Whether dimensions that are summed are other than 0, so that sums of 0 are those of what cancels.
    """

    def __init__(self) -> None:
        self.forms: tuple[Form, ...] = ()
        self.embedded: bool | None = None
        self.cancels = False

    def checked(self, forms: tuple[Form, ...], explainer: Explainer, stage: str) -> tuple[Form, ...]:
        """Return the forms of some maps, which are those of all others.

        Raises:
            XaiError: They are not.
        """
        if self.forms and forms != self.forms:
            raise explainer.error(
                f"attributions with an axis of dimensions in one call and without it in another, on {stage}",
                "attributions that have as many axes in each call",
                "return a value for each dimension, or one for each token",
            )
        self.forms = forms
        return forms


def _asked(explainer: Explainer, request: Request) -> tuple[object, ...]:
    """Return what the explainer answers, and the same with the other multiplier, where that costs no pass."""
    attribute = explainer.attribute
    if isinstance(attribute, Multiplied) and request.company is None:  # gradients are not taken in company
        return attribute.both(request)
    return (explainer.attributions(request),)


def _of_dimensions(values: Tensor, tensor: Tensor, layout: Layout) -> bool:
    """Whether there is a value for each dimension of each token."""
    return layout.kind == "tokens" and values.ndim == 3 and values.shape[:2] == (len(tensor), *layout.places)


def _drawn_at(draw: Callable[[int], Draw], places: Sequence[int], place: int) -> Draw:
    """Return what tells apart the draws for one of the rows at some places."""
    return draw(places[place])


def _where_counted(maps: Tensor, block: Block) -> Tensor:
    """Return maps that are 0 where a place does not count."""
    if block.mask is None:
        return maps
    return maps.masked_fill(~(block.mask if maps.ndim == block.mask.ndim else block.mask[:, None]), 0.0)


def _vary(maps: Tensor) -> Tensor:
    """Return whether each map ``(b, places)`` holds more than one value."""
    return maps.amax(1) != maps.amin(1)


def _whole(inputs: Inputs) -> str:
    """Return which input tensors hold whole numbers, or nothing."""
    whole = [f"{place} ({tensor.dtype})" for place, tensor in enumerate(inputs) if not tensor.is_floating_point()]
    return f"input tensor{'s' * (len(whole) > 1)} {', '.join(whole)}" if whole else ""
