"""The subject: the model, its inputs and the targets to explain, checked once and streamed in blocks.

Inputs are visited in blocks that end at the looks 16, 32, 64, 128, 192, ..., whatever the micro-batch, so that what a
claim saw when it was decided never depends on the memory of the machine. Inputs are visited in a seeded random order,
so that sorted inputs bias no early decision: those of a stream too, which is read to its end first.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..common.checks import check_whole
from ..common.digest import digest_of, passing_digest_of, plain_attributes
from ..common.errors import XaiError, XaiWarning, said
from ..model.lending import Lending, own_changes
from ..model.snapshot import modules_with_modes
from .arrangement import Arrangement, Explained, arguments_of, arrangement_of
from .batches import MicroBatches, out_of_memory
from .block import Block, Inputs
from .decoder import Decoder, continuations, generates
from .devices import chosen_device, floating_dtype
from .inputs import Memory, Raw, Stream, block_sizes, other_inputs, source_of
from .layout import Axes, Layout, checked_axes
from .mappings import Names
from .outputs import HALF, Output, check_output, checked_output, columns, scores_of
from .presented import Presentation
from .reading import other_reading
from .tables import check_features, columns_of, from_frame, not_finite
from .targets import Sizes, are_flags, explained, has_several, is_multi_hot
from .task import Link, checked_task, lie_in_unit, link_of, next_token
from .tensors import kind_of
from .tokens import SPECIAL, Mask, attended, attention_of, check_ids, counted, embedding_of, vocabulary_of

__all__ = ["Subject"]

T = TypeVar("T")

_CHECKED = 16  # inputs on which the model is asked twice whether it answers alike
_SAMPLE = 4096  # inputs from which something is learned, at least where there are so many
_FAR = 100.0  # times as large inputs show whether outputs are probabilities


class Subject:
    """What is explained.

    Args:
        model: A ``torch.nn.Module``, or any callable from the inputs to a tensor of outputs ``(N, classes)``,
            ``(N, 1)`` or ``(N,)``.
        inputs: A tensor or array ``(N, ...)``, a tuple of them for a model with several inputs, a mapping of the names
            of its arguments to tensors, or an iterable of batches, a stream, which gives the same inputs whenever it is
            read. A batch is a tensor, a tuple of the model's input tensors, such a mapping, or a list ``[inputs,
            targets]`` as a ``DataLoader`` gives it; one such list by itself is taken for inputs with their targets. An
            entry ``labels`` or ``label`` of a mapping holds targets, and is never passed on. A stream is read to its
            end, of 65,536 inputs at most, and visited in a random order as a tensor is; 1,024 of its inputs, or 256
            MiB, are held at once, and it is read again for others. Of an iterator, which can be read only once, as many
            are drawn at random.
        targets: Class indices ``(N,)``; output positions ``(N, k)`` for outputs of k axes behind the batch; multi-hot
            labels ``(N, labels)`` of 0 and 1, of which the highest label that is present is explained; token ids
            ``(N,)`` or ``(N, K)`` that continue the prompts of a causal language model, padded with -100; or None: the
            targets that the batches carry, or else the highest output, which is the predicted class, or the only output
            of a model that has one.
        task: What the outputs are: ``"classification"``, ``"multilabel"`` (each label by itself), ``"regression"`` (the
            output as it is, whichever the targets name), ``"next_token"`` (logits of the next token behind each, see
            :mod:`~pytest_xaisanity.subject.decoder`), or ``"auto"`` to judge by the outputs (see
            :func:`~pytest_xaisanity.subject.task.link_of`) and by what a model of Hugging Face's says of itself.
        explain: Names or positions of the inputs that are explained; the others are context. By default the
            floating-point ones but for masks, or the token ids.
        output: Where the scores are in what the model returns: the name of a field, a position, or a function of it; by
            default the tensor, ``logits``, or the first of a tuple.
        embedding: The module whose output is explained where inputs are tokens, or its name; by default what a model of
            Hugging Face's says, and False for none.
        mask: Which tokens count: the name of an input, a function of the inputs, or a tensor ``(N, T)``; by default all
            but padding and special tokens.
        axes: Which axes of the inputs are places and which channels, where they are not ``(N, C, *places)`` or
            ``(N, F)``: ``"channels_last"``, ``"NTF"`` and the like (see
            :func:`~pytest_xaisanity.subject.layout.checked_axes`).
        features: The names of the columns of a table ``(N, F)``; by default those of a data frame.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. ``"auto"`` takes an accelerator where there
            is one. The model is moved only while it is measured.
        batch_size: The most inputs in one pass of the model; None sizes it automatically.
        seed: Seeds the order in which inputs are visited.

    Raises:
        XaiError: Inputs are empty, of unequal lengths or no tensors; targets do not fit; there is no such task or
            device.
    """

    _lending: Lending | None = None
    _link: Link | None = None
    touched = False  # whether hooks or plain attributes had to be put back, the last time
    _known_as = ""
    _read_as = False  # whether it is known if the model is a causal language model
    _bare: bool | None = None  # whether the model returns its scores as a tensor
    _presentation: Presentation | None = None
    _sizes: Sizes = ()
    _kept: tuple[Hashable, Any] = (None, None)

    def __init__(
        self,
        model: Any,
        inputs: Any,
        targets: Any = None,
        *,
        task: str = "auto",
        explain: Explained = None,
        output: Output = None,
        embedding: object = None,
        mask: Mask = None,
        axes: object = None,
        features: object = None,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        _check_model(model)
        if batch_size is not None:
            batch_size = check_whole("Bench", "batch_size", batch_size)
        self.model, self.seed = model, seed
        self.task = checked_task(task)
        self._explain, self._output, self._mask = explain, check_output(output), mask
        self._embedding, self._embeds = embedding_of(model, embedding), embedding not in (None, False)
        self._names = Names(vocabulary_of(model, self._embedding).padding or 0)
        self.axes: Axes = checked_axes(axes)
        self.features = check_features(features, columns_of(inputs))
        self._source = source_of(*self._names.flattened(from_frame(inputs), targets), seed)
        self.device = chosen_device(device, model)
        self._batch_size = batch_size
        self.batches = MicroBatches(batch_size, self.device)
        self.dtype = floating_dtype(model)
        self._said_training = self._said_reading = self._checked = False
        self._predicted: dict[tuple[int, ...], Tensor | None] = {}
        self._contents: dict[tuple[int, ...], str] = {}
        self._learned: dict[Hashable, Any] = {}
        self._own: set[str] = set()  # buffers and plain attributes that the model itself changes
        if isinstance(self._source, Memory):
            self._present(self._source.inputs)

    def on(self, inputs: object) -> Subject:
        """Return a subject of the same model, read alike, of other inputs in memory; its targets are predictions."""
        other = Subject(self.model, inputs, device=self.device, **self.reading)
        other._lending, other._own, other._said_reading = self._lending, self._own, True
        return other

    @property
    def reading(self) -> dict[str, Any]:
        """How the model is read, whatever its inputs: the arguments but for these and the device."""
        read: dict[str, Any] = {"task": self.task, "axes": self.axes, "features": self.features or None}
        read |= {"explain": self._explain, "output": self._output, "batch_size": self._batch_size, "seed": self.seed}
        return read

    @property
    def in_memory(self) -> Inputs:
        """The input tensors, where they are in memory, as they were given."""
        assert isinstance(self._source, Memory)
        return self._source.inputs

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process: all but how the model is lent here."""
        return {**vars(self), "_lending": None}

    @property
    def streamed(self) -> bool:
        """Whether the inputs are an iterable of batches rather than tensors in memory."""
        return isinstance(self._source, Stream)

    @property
    def given_targets(self) -> Tensor | None:
        """The positions ``(N,)`` or ``(N, k)`` that were given beside inputs in memory, or None."""
        targets = self._source.targets if isinstance(self._source, Memory) else None
        if self._presentation is not None and self._presentation.decoder is not None:
            return None  # one head gives the logits of all tokens
        return None if is_multi_hot(targets, self._sizes) else targets

    @property
    def predicts(self) -> bool:
        """Whether the model has to predict what is explained of each input."""
        return self.given_targets is None

    @property
    def checks(self) -> int:
        """How many inputs the model is asked about, once, for the checks alone."""
        return _CHECKED if self.predicts else 2 * _CHECKED

    @property
    def count(self) -> int | None:
        """How many inputs there are; None for a stream, whose length is not known."""
        return None if self.streamed else len(self)

    @property
    def drawn_from(self) -> int | None:
        """How many inputs there are, where only a random part of them can be visited, known once it is."""
        return self._source.drawn_from

    def __len__(self) -> int:
        if isinstance(self._source, Stream):
            raise TypeError("the length of a stream is not known")
        return self._source.count

    def renew(self) -> str:
        """Forget predictions made with other weights, and return the subject's fingerprint."""
        fingerprint = self.fingerprint()
        if fingerprint != self._known_as:
            self._known_as = fingerprint
            self.forget()
        return fingerprint

    def forget(self) -> None:
        """Forget what the model has said of the inputs."""
        self._checked, self._kept, self._sizes = False, (None, None), ()
        self._predicted.clear()
        self._learned.clear()

    def fingerprint(self) -> str:
        """Return a digest of the model, inputs and targets (a stream counts by identity).

        Of the model: weights, buffers, and the plain values that its modules keep as attributes, such as a slope or a
        flag that the forward pass may read.
        """
        if not isinstance(self.model, nn.Module):
            return passing_digest_of(self._source.identity, id(self.model))
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        modules = [(name, type(m).__qualname__, repr(plain_attributes(m))) for name, m in self.model.named_modules()]
        return passing_digest_of(self._source.identity, tensors, modules)

    @property
    def model_fingerprint(self) -> str:
        """A digest of the weights and buffers, equal in every process; nothing where the model is no module."""
        if not isinstance(self.model, nn.Module):
            return ""
        return digest_of([*self.model.named_parameters(), *self.model.named_buffers()])

    @property
    def data_fingerprint(self) -> str:
        """A digest of inputs and targets, equal in every process; nothing for a stream."""
        return "" if self.streamed else self._source.identity

    @property
    def inputs_fingerprint(self) -> str:
        """A digest of the inputs alone, equal in every process; nothing for a stream."""
        return digest_of(*self._source.inputs) if isinstance(self._source, Memory) else ""

    @property
    def targets_fingerprint(self) -> str:
        """A digest of the targets; ``"predicted"`` or ``"streamed"`` where none were given beside the inputs."""
        if self._source.targets is not None:
            return digest_of(self._source.targets)
        return "streamed" if self._source.carries_targets else "predicted"

    @property
    def is_read(self) -> bool:
        """Whether a block has been read, so that it is known how."""
        return self._link is not None

    @property
    def read_as(self) -> dict[str, str]:
        """How the model and the inputs are read, in words by the name of the setting; known once a block was read."""
        given = {"axes": self.axes, "explain": self._explain, "output": self._output, "mask": self._mask}
        return {"task": self.link.task, **{name: _in_words(value) for name, value in given.items()}}

    def lend(self, work: Callable[[], T]) -> T:
        """Return ``work()``, done with the model in evaluation mode on the subject's device; it comes back as it was.

        See :class:`~pytest_xaisanity.model.lending.Lending`.

        Raises:
            XaiError: The explainer has changed the model.
        """
        before, self._lending = self._lending, self._begin_lending()
        try:
            result = self._lending.during(work)
            self.touched = self._lending.touched
            return result
        finally:
            self._lending = before

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the model to a block as :meth:`lend` does to a function, which is safer against interrupts."""
        before, self._lending = self._lending, self._begin_lending()
        try:
            with self._lending.block():
                yield
        finally:
            self._lending = before

    def restore(self) -> None:
        """Put back what an explainer that was cut off has left on the lent model: all but weights and buffers."""
        if self._lending is not None:
            self._lending.restore()

    def _begin_lending(self) -> Lending:
        modules = modules_with_modes(self.model) if isinstance(self.model, nn.Module) else ()
        if not self._said_training and any(module.training for _, module in modules):
            self._said_training = True
            warnings.warn(
                "xai_model was in training mode; it is measured in evaluation mode and restored afterwards",
                XaiWarning,
                stacklevel=4,
            )
        return Lending(self.model, self.device, self.seed, self._own)

    def blocks(self, *, early: bool = True, skip: int = 0) -> Generator[Block]:
        """Yield the inputs in blocks of at most 64, on the device, with targets. To be read inside :meth:`lent`.

        Args:
            early: Whether the first blocks are smaller, to look early.
            skip: How many blocks to leave out, which have been measured already.
        """
        self._check_table()
        source, first, start = self._from(block_sizes(early), skip)
        raw = self._read(source)
        for number in itertools.count(first):
            if raw is None:
                return
            (indices, inputs, targets), raw = raw, self._read(source)
            if number < skip:
                start += len(indices)
                continue
            explained, context = self._present(inputs).arrangement.split(tuple(map(self._place, inputs)))
            mask, sentences = self._counted((*explained, *context), indices)
            targets, before = self._continuation(targets, (*explained, *context), indices)
            context = (*context, *before)
            outputs = None
            if indices not in self._predicted:
                outputs, self._predicted[indices] = self._explained((*explained, *context), targets, start)
            yield Block(
                number,
                indices,
                explained,
                self._predicted[indices],
                self.layout(explained),
                context=context,
                mask=mask,
                sentences=sentences,
                last=raw is None,
                outputs=outputs,
                continued=bool(before),
            )
            start += len(indices)

    def _from(self, sizes: Iterator[int], skip: int) -> tuple[Iterator[Raw], int, int]:
        """Return what reads the blocks, the number of the first that it reads, and how many inputs are before it."""
        if isinstance(self._source, Stream):  # which is read, and compared with what it was before
            return self._source.blocks(sizes), 0, 0
        start = sum(itertools.islice(sizes, skip))
        return self._source.blocks(sizes, start), skip, start

    def _present(self, tensors: Inputs) -> Presentation:
        """Return how the model is called, which the first tensors tell."""
        if self._presentation is None:
            masks = (SPECIAL, *([self._mask] if isinstance(self._mask, str) else []))
            arrangement = arrangement_of(
                tensors, self._names.names, self._explain, self.model, tokens=self._embeds, masks=masks
            )
            tokens = Layout.of(arrangement.split(tensors)[0]).kind == "tokens"
            embedding = self._embedding if tokens else None
            if self._embeds and not tokens:
                raise _no_tokens(arrangement.split(tensors)[0])
            vocabulary = vocabulary_of(self.model, embedding)
            self._presentation = Presentation(self.model, arrangement, self._output, embedding, vocabulary)
        return self._presentation

    def _counted(self, arguments: Inputs, indices: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
        """Return which places of tokens count, and which are no padding; None for other inputs."""
        explained = arguments[: len(self.arrangement.explained)]
        if Layout.of(explained, self.axes).kind != "tokens":
            if self._mask is not None:
                raise _no_tokens(explained)
            return None, None
        ids, vocabulary = explained[0], self.presentation.vocabulary
        check_ids(ids, vocabulary)
        named = self.arrangement.named(arguments)
        sentences = attended(ids, named, arguments_of(self.model)[0], vocabulary.padding)
        return counted(self._mask, ids, named, sentences, vocabulary, indices), sentences

    def _continuation(
        self, targets: Tensor | None, arguments: Inputs, indices: tuple[int, ...]
    ) -> tuple[Tensor | None, Inputs]:
        """Return the targets of a block; where they are continuations their last tokens, and the others as context."""
        if not self._read_as:
            few = tuple(tensor[: self._few] for tensor in arguments)
            self._presentation, self._read_as = replace(self.presentation, decoder=self._decoder(few)), True
        decoder = self.presentation.decoder
        if decoder is None or targets is None:
            return targets, ()
        before, last = continuations(targets.to(self.device), decoder, indices)
        return last, () if before is None else (before,)

    def _decoder(self, arguments: Inputs) -> Decoder | None:
        """Return how the model is read if it is a causal language model, of which a few inputs are arguments."""
        named = self.task == "next_token"
        tokens = Layout.of(arguments[: len(self.arrangement.explained)], self.axes).kind == "tokens"
        if named and not tokens:
            raise _no_tokens(arguments[: len(self.arrangement.explained)], "a task of tokens")
        if not named and not (tokens and self.task == "auto" and generates(self.model)):
            return None
        with torch.inference_mode(False), torch.no_grad():
            outputs = self._scores(arguments, None)
        if not named and not (isinstance(outputs, Tensor) and outputs.shape[:2] == arguments[0].shape):
            return None  # the user has made scores of each input of them
        return Decoder.of(self.model, self.arrangement, self.presentation.vocabulary, outputs)

    @property
    def presentation(self) -> Presentation:
        """How the model is called, and what of its output counts; known once a block has been read."""
        assert self._presentation is not None
        return self._presentation

    @property
    def output(self) -> Output:
        """Where the scores are in what the model returns, as the user has said; None for the default."""
        return self._output

    @property
    def arrangement(self) -> Arrangement:
        """Which of the inputs are explained; known once a block has been read."""
        return self.presentation.arrangement

    @property
    def presented(self) -> Any:
        """The model as measurements and explainers call it: with arguments, those that are explained first.

        It is the model itself where that is how it is called, and returns its scores as a tensor.
        """
        plain = self.arrangement.is_plain and self._output is None and self._bare and not self.presentation.decoder
        return self.model if plain else self.presentation.module()

    def _scores(self, inputs: Inputs, embedded: Tensor | None) -> object:
        """Return what is among the model's output the scores; what the model raises is one error."""
        given = self.presentation
        try:
            if self._bare is not None:
                return given(inputs) if embedded is None else given.with_embedded(embedded, inputs)
            returned = self.arrangement.call(self.model, inputs)
        except Exception as error:
            if out_of_memory(error) or isinstance(error, XaiError):
                raise
            raise _refused(error, inputs) from error
        self._bare = isinstance(returned, Tensor)
        return scores_of(returned, self._output)

    @property
    def attention(self) -> int | None:
        """The position of the attention mask among the arguments, where the model takes one."""
        arrangement = self.arrangement
        order = [arrangement.argument(number) for number in range(arrangement.count)]
        found = attention_of({label: torch.empty(0) for label in order}, arguments_of(self.model)[0])
        return None if found is None else order.index(found)

    def arguments(self, inputs: object) -> Inputs:
        """Return inputs in memory, given as the subject's own are, as arguments of the model, on their devices."""
        flat = self._names.of_data(inputs)
        explained, context = self.arrangement.split(flat if isinstance(flat, tuple) else (flat,))
        return (*explained, *context)

    def layout(self, inputs: Inputs) -> Layout:
        """Return which axes of inputs of the model are places and which are channels."""
        layout = Layout.of(inputs, self.axes)
        if self.features and len(self.features) != prod(layout.places):
            raise XaiError(
                "xai_features",
                found=f"{len(self.features)} names for inputs with {prod(layout.places)} features",
                expected="one name for each column of the inputs",
                fix="set xai_features (Bench(features=)) to the names of the columns, in order",
            )
        if self.axes is None and not self._said_reading:
            self._said_reading = True
            doubt = other_reading(self.model, inputs, layout)
            if doubt:
                warnings.warn(doubt, XaiWarning, stacklevel=2)
        return layout

    def _explained(self, inputs: Inputs, targets: Tensor | None, start: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the outputs of a block, where they were needed, and what is explained of them."""
        outputs = self._checked_outputs(inputs, targets, start) if targets is None else None
        if not self._checked:  # no prediction is needed, but the model is asked about a few for the checks
            few = self._checked_outputs(tuple(tensor[:_CHECKED] for tensor in inputs), targets, start)
            outputs = few if len(few) == len(inputs[0]) else None
        if outputs is None and is_multi_hot(targets, self._sizes):
            outputs = self._checked_outputs(inputs, targets, start)
        found = explained(targets, outputs, self._sizes, task=self.link.task)
        return outputs, None if found is None else found.to(self.device)

    @property
    def link(self) -> Link:
        """What makes probabilities of the model's outputs, if anything does; known once a block has been read."""
        assert self._link is not None
        return self._link

    def _read(self, source: Iterator[Raw]) -> Raw | None:
        """Return the next block of the source, or None; a stream that gives other inputs than before is an error."""
        raw = next(source, None)
        if raw is not None and self.streamed:
            indices, inputs, _ = raw
            digest = digest_of(*inputs)
            if self._contents.setdefault(indices, digest) != digest:
                raise other_inputs(indices[0])
        return raw

    def shared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned for ``key`` the last time, if it was the last key; otherwise call it.

        Two measurements that go over the same block in turns share in this way what both need, and only one block's
        worth is kept.
        """
        if self._kept[0] != key:
            self._kept = (key, make())
        return self._kept[1]

    def learned(self, key: Hashable, learn: Callable[[Inputs, tuple[int, ...]], T]) -> T:
        """Return what ``learn`` makes of what is explained and its places in the data, once for each key.

        It is given those that are visited first, and about 4,096 at most.
        """
        return self.once(key, lambda: learn(*self._sample()))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returned for ``key`` the first time, as long as model, inputs and targets are the same.

        It is made while the model is as it was given.
        """
        if key not in self._learned:
            self._learned[key] = make()
        found: T = self._learned[key]
        return found

    def _sample(self) -> tuple[Inputs, tuple[int, ...]]:
        indices: list[int] = []
        kept: list[Inputs] = []
        source = self._source.blocks(block_sizes(early=False))
        while len(indices) < _SAMPLE and (raw := self._read(source)) is not None:
            places, inputs, _ = raw
            indices += places
            explained, _ = self._present(inputs).arrangement.split(inputs)
            kept.append(tuple(map(self._place, explained)))
        return tuple(torch.cat(tensors) for tensors in zip(*kept, strict=True)), tuple(indices)

    def release(self) -> None:
        """Let go of what :meth:`shared` keeps."""
        self._kept = (None, None)

    def _check_table(self) -> None:
        """Raise where a table in memory has missing values, also in rows that may not be visited."""
        known = self._source.inputs if isinstance(self._source, Memory) and not self._checked else ()
        table = known[0] if len(known) == 1 and known[0].ndim == 2 and known[0].is_floating_point() else None
        if table is not None and not torch.isfinite(table).all():
            raise not_finite(table, self.features)

    def _place(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise not_finite(tensor, self.features)
            return tensor.to(self.device, self.dtype or tensor.dtype)
        return tensor.to(self.device)

    def outputs(self, inputs: Inputs) -> Tensor:
        """Return the scores ``(b, classes)`` or ``(b, 1)`` for arguments, without gradients, in micro-batches."""
        shapes: set[Sizes] = set()

        def work(part: slice) -> Tensor:
            result = self.answer(tuple(tensor[part].clone() for tensor in inputs))
            shapes.add(tuple(result.shape[1:]))
            if len(shapes) > 1:
                raise _changed_shape(*shapes)
            return result

        with torch.inference_mode(False), torch.no_grad():
            return self.batches.run(len(inputs[0]), work)

    def answer(self, inputs: Inputs, embedded: Tensor | None = None) -> Tensor:
        """Return the model's scores for arguments in one pass, ``(b, classes)`` or ``(b, 1)``, without gradients.

        Args:
            inputs: The arguments.
            embedded: What stands in place of what the embedding makes of the tokens, ``(b, T, D)``.

        Raises:
            XaiError: It is no output, or has another shape than before.
        """
        result = columns(checked_output(self._scores(inputs, embedded), len(inputs[0])))
        sizes = tuple(result.shape[1:])
        if self._sizes and sizes != self._sizes:
            raise _changed_shape(self._sizes, sizes)
        return result

    def probe(self, block: Block) -> Inputs:
        """Return arguments of a block on which to see how the model works: two, or as many as a ``batch_size`` allows.

        One alone would not do for a model that drops the axis of a batch of one, or takes batches of one size.
        """
        return tuple(tensor[: self._few] for tensor in block.arguments)

    @property
    def _few(self) -> int:
        return min(self._batch_size or 2, self.batches.size)

    def _checked_outputs(self, inputs: Inputs, targets: Tensor | None, start: int) -> Tensor:
        outputs = self.outputs(inputs)
        if not torch.isfinite(outputs).all():
            raise XaiError(
                "xai_model",
                found=f"outputs that are NaN or infinite for inputs from {start} on",
                expected="finite outputs",
                fix="check the weights and the preprocessing of xai_inputs",
            )
        if not self._checked:
            self._check_reproducible(inputs, outputs)
            self._checked, self._sizes = True, tuple(outputs.shape[1:])
            telling = self._source.telling
            several = has_several(targets if telling is None else telling, self._sizes)
            if self.presentation.decoder is not None:
                several, given = len(inputs) > self.arrangement.count, self.task == "next_token"
                self._link = next_token(several=several, given=given)
            else:
                self._link = link_of(self.task, self._to_judge_by(inputs, outputs), several=several)
        return outputs

    def _to_judge_by(self, inputs: Inputs, outputs: Tensor) -> Tensor:
        """Return a few outputs to judge by what they are, also far from the inputs where they may be probabilities.

        There only probabilities stay in [0, 1]. A model that keeps something of its inputs does not see such ones.
        """
        few = outputs[:_CHECKED].cpu()
        if self.task == "regression" or self._own or not lie_in_unit(few):
            return few
        far = tuple(t[:_CHECKED] * _FAR if t.is_floating_point() else t[:_CHECKED] for t in inputs)
        try:
            there = self.outputs(far).cpu()
        except Exception:  # a model may check its inputs
            return few
        return torch.cat([few, there[torch.isfinite(there.flatten(1)).all(1)]])

    def _check_reproducible(self, inputs: Inputs, outputs: Tensor) -> None:
        again, own = own_changes(self.model, lambda: self.outputs(tuple(tensor[:_CHECKED] for tensor in inputs)))
        self._own |= own
        tolerance = 5e-2 if {outputs.dtype, self.dtype} & HALF else 1e-3
        scale = float(outputs.abs().max()) or 1.0
        gap = float((again - outputs[:_CHECKED]).abs().max())
        if gap > tolerance * scale:
            raise XaiError(
                "xai_model",
                found=f"other answers to the same inputs in evaluation mode (they differ by {gap:.3g})",
                expected="a model that answers the same input alike",
                fix="turn its sampling off (dropout called with training=True, noise layers) or seed it inside forward",
            )


def _in_words(setting: object) -> str:
    """Return a setting in words that are the same in every process."""
    if isinstance(setting, (Tensor, np.ndarray)):
        return f"a tensor {digest_of(setting)[:8]}"
    if callable(setting):
        return setting.__qualname__ if inspect.isroutine(setting) else type(setting).__qualname__
    return str(setting)


def _no_tokens(explained: Inputs, what: str = "an embedding or a mask of tokens") -> XaiError:
    shown = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in explained)
    return XaiError(
        "xai_inputs",
        found=f"{what}, and inputs {shown}",
        expected="token ids (N, T), whole numbers",
        fix="name the token ids in xai_explain, or leave xai_embedding, xai_mask and xai_task out",
    )


def _check_model(model: Any) -> None:
    if isinstance(model, type) or not callable(model):
        found = f"the class {model.__name__}" if isinstance(model, type) else f"an object of type {kind_of(model)}"
        raise XaiError(
            "xai_model",
            found=found,
            expected="a torch.nn.Module, or another callable from inputs to outputs",
            fix="give the model itself, made and loaded",
        )
    if isinstance(model, nn.Module) and any(is_lazy(p) for p in (*model.parameters(), *model.buffers())):
        raise XaiError(
            "xai_model",
            found="a model with lazy parameters, which have no shape yet",
            expected="a model that has been called",
            fix="call it once on a batch in the fixture",
        )
    if isinstance(model, nn.Module) and any(p.is_meta for p in model.parameters()):
        raise XaiError(
            "xai_model",
            found="weights on the meta device, which have no values",
            expected="a model with weights",
            fix="load the weights, or call model.to_empty(device=...) and initialize them",
        )


def _refused(error: Exception, inputs: Inputs) -> XaiError:
    """Return the error for a model that raised when it was called with the inputs."""
    shapes = ", ".join(f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in inputs)
    return XaiError(
        "xai_model",
        found=f"{type(error).__name__} when called with inputs {shapes} on {inputs[0].device}{said(error)}",
        expected="a model that accepts xai_inputs",
        fix=_where_labels_go(inputs)
        or "call the model by hand on one batch of xai_inputs; set --xai-device if it is the device",
    )


def _where_labels_go(inputs: Inputs) -> str:
    """Return what to do with a last tensor that looks like labels, or like the values of a regression."""
    *others, last = inputs
    if not others or last.ndim > 2:
        return ""
    if are_flags(last) or (last.ndim == 1 and not last.is_floating_point()):
        return "give labels apart from inputs: in xai_targets, or in a stream of lists [inputs, targets]"
    if last.is_floating_point():
        return (
            "stream the inputs without the values that a regression should give, which are not needed, as in "
            "[batch[0] for batch in loader]; if they are an input, call the model by hand on one batch"
        )
    return ""


def _changed_shape(before: Sizes, after: Sizes) -> XaiError:
    first, second = (f"({', '.join(['N', *map(str, sizes)])})" for sizes in (before, after))
    return XaiError(
        "xai_model",
        found=f"outputs of shape {first} for some inputs and {second} for others",
        expected="outputs of one shape for each input, whatever the batch",
        fix="let a wrapper of the model pad or cut its outputs to one shape; where inputs are scored against all of a "
        "batch, as pairs are, return their own scores in xai_output: lambda found: found.logits_per_image.diagonal()",
    )
