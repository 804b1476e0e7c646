"""Pixel flipping of sentences: tokens are removed, in an order of each sentence's own length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...common.errors import XaiError
from ...common.seeding import generator
from ...maps.counted import lengths, packed, spread
from ...maps.token_imputation import Deletion, MaskToken, Padding, TokenImputer, ZeroEmbedding
from ...subject.block import Block, Inputs
from ...subject.outputs import select
from ...subject.subject import Subject

__all__ = ["TokenFlipping", "default_imputer", "refuse_tokens", "token_imputer"]


def default_imputer(subject: Subject, *, owner: str) -> TokenImputer:
    """Return what the model has: its mask token, else zeros in place of what its embedding returns, else padding.

    Raises:
        XaiError: It has none of these.
    """
    presentation = subject.presentation
    if presentation.vocabulary.mask is not None:
        return MaskToken()
    if presentation.embedding is not None:
        return ZeroEmbedding()
    if presentation.vocabulary.padding is not None:
        return Padding()
    raise _error(
        owner,
        "no mask token, no embedding and no padding that the model is known to have",
        "what removed tokens become",
        "name the embedding in xai_embedding, or pass imputer=MaskToken(id=...), Padding(id=...) or Deletion(id=...)",
    )


class TokenFlipping:
    """The pixel flipping of one block of sentences.

    A step removes the same share of each sentence's counted tokens, rounded to whole ones. Of continuations of several
    tokens the probability is that of each token, the geometric mean.

    Args:
        imputer: What becomes of removed tokens.
        fractions: The removed share at each point of a curve, from 0 on.
        output: ``"probability"`` or ``"logit"``.
        subject: What is explained.
        block: The sentences.
        seed: Seeds the order of ties.
        owner: The metric, for errors.
        counts: How many tokens are removed at each point of a curve, ``(points, b)``, of sentences with so many
            ``(b,)``; by default the nearest number to each share.

    Attributes:
        fractions: As above, ``(points,)``.
        probability: Whether curves are of probabilities.
        count: How many tokens count in the longest sentence.
        subject: What is explained.
    """

    def __init__(
        self,
        imputer: TokenImputer,
        fractions: Sequence[float],
        output: str,
        subject: Subject,
        block: Block,
        seed: int,
        *,
        owner: str,
        counts: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        assert block.mask is not None
        self.imputer, self.subject, self.block, self.seed, self.owner = imputer, subject, block, seed, owner
        self.mask = block.mask
        self.lengths = self.mask.sum(1)
        self.count = int(self.lengths.max())
        self._check()
        self.probability = output == "probability" and subject.link.gives_probabilities
        decoder = subject.presentation.decoder
        self.tokens = decoder.lengths(block.arguments) if block.continued and decoder is not None else None
        outputs = subject.outputs(block.arguments) if block.outputs is None else block.outputs
        self.untouched = self._explained(outputs, slice(None))
        self.fractions = torch.tensor(fractions, dtype=self.untouched.dtype, device=self.mask.device)
        shares = torch.tensor(fractions, dtype=torch.float64)[:, None]  # on the CPU: not all devices have such numbers
        long = self.lengths.cpu().double()
        removed = torch.round(shares * long) if counts is None else counts(long)
        self.removed = removed.float().to(self.mask.device)  # (points, b)
        self.empties = bool((self.removed[-1] == self.lengths).all())  # whether curves end without a token
        self.emptied: Tensor | None = None  # their last point, which they share, once one is drawn

    @property
    def shown(self) -> str:
        """What the curves are of."""
        return "probability" if self.probability else "raw output"

    def readings(self, maps: Tensor) -> list[Tensor]:
        """Return the maps, in one reading: the change from one token to none has no size to multiply them by."""
        return [maps]

    def ranks(self, maps: Tensor, draw: str) -> Tensor:
        """Return each token's place in the order of removal, most relevant first ``(b, T)``; -1 where none counts."""
        result = torch.full_like(maps, -1.0, dtype=torch.float32)
        for rows, length in lengths(self.mask):
            indices = [self.block.indices[row] for row in rows.tolist()]
            drawn = [torch.randperm(length, generator=generator(self.seed, "ties", draw, i)) for i in indices]
            shuffle = torch.stack(drawn).to(maps.device)
            scores = packed(maps, self.mask, rows, length).gather(1, shuffle)
            order = shuffle.gather(1, torch.argsort(scores, dim=1, descending=True, stable=True))
            places = torch.arange(length, dtype=torch.float32, device=maps.device).expand_as(order)
            spread(torch.empty_like(places).scatter_(1, order, places), self.mask, rows, result)
        return result

    def reversed(self, ranks: Tensor) -> Tensor:
        """Return the ranks of the reverse order."""
        return torch.where(self.mask, self.lengths[:, None] - 1 - ranks, ranks)

    def curve(self, ranks: Tensor) -> Tensor:
        """Return the explained output after each removal: ``(b, steps + 1)``."""
        size = len(ranks)
        removed = self.removed[1:] if self.emptied is None else self.removed[1:-1]

        def work(part: slice) -> Tensor:
            pairs = torch.arange(part.start, part.stop, device=ranks.device)
            rows = pairs % size
            gone = (ranks[rows] < removed[pairs // size, rows][:, None]) & self.mask[rows]
            return self._explained(self._answer(rows, gone), rows)

        with torch.inference_mode(False), torch.no_grad():
            points = [self.untouched[:, None]]
            if len(removed):
                points.append(self.subject.batches.run(size * len(removed), work).reshape(-1, size).T)
        if self.emptied is not None:
            points.append(self.emptied[:, None])
        curve = torch.cat(points, dim=1)
        if not torch.isfinite(curve).all():
            raise _error(
                self.owner,
                "outputs of xai_model that are NaN or infinite once tokens are removed",
                "finite outputs",
                "choose another imputer: mask_token, padding, zero_embedding or deletion",
            )
        if self.empties:
            self.emptied = curve[:, -1]
        if self.probability:
            self.subject.link.check(curve)
            curve = curve.clamp(0, 1)
        return curve

    def _explained(self, outputs: Tensor, rows: Tensor | slice) -> Tensor:
        wide = outputs if outputs.dtype == torch.float64 else outputs.float()
        if self.probability:
            each = 1 if self.tokens is None else self.tokens[rows].unsqueeze(1)
            wide = self.subject.link(wide / each)
        return select(wide, None if self.block.targets is None else self.block.targets[rows])

    def _answer(self, rows: Tensor, gone: Tensor) -> Tensor:
        """Return the outputs ``(r, ...)`` for sentences from which tokens are gone ``(r, T)``."""
        arguments = tuple(tensor[rows] for tensor in self.block.arguments)
        if isinstance(self.imputer, ZeroEmbedding):
            embedded = self.subject.presentation.embedded(arguments)
            return self.subject.answer(arguments, embedded.masked_fill(gone[..., None], 0))
        if isinstance(self.imputer, MaskToken):
            return self.subject.answer((arguments[0].masked_fill(gone, self._id("mask")), *arguments[1:]))
        hidden = self._never_all(gone, rows)
        if isinstance(self.imputer, Padding):
            ids = arguments[0].masked_fill(gone, self._id("padding"))
            return self.subject.answer((ids, *self._hiding(arguments[1:], hidden)))
        return self.subject.answer(self._moved_up(arguments, gone, hidden))

    def _never_all(self, gone: Tensor, rows: Tensor) -> Tensor:
        """Return which tokens are hidden: those that are gone, but for the first where no other would be seen."""
        assert self.block.sentences is not None
        seen = self.block.sentences[rows]
        nothing = ~(seen & ~gone).any(1)
        first = torch.zeros_like(gone).scatter_(1, seen.int().argmax(1, keepdim=True), True)
        return gone & ~(first & nothing[:, None])

    def _hiding(self, context: Inputs, hidden: Tensor) -> Inputs:
        """Return the context with an attention mask that hides tokens."""
        place = self.subject.attention
        return tuple(
            tensor.masked_fill(hidden, 0) if place == 1 + number else tensor for number, tensor in enumerate(context)
        )

    def _moved_up(self, arguments: Inputs, gone: Tensor, hidden: Tensor) -> Inputs:
        """Return arguments of which the tokens that are left stand in a row, and padding behind them."""
        assert self.block.sentences is not None
        ids = arguments[0].masked_fill(gone, self._id("padding"))
        order = torch.argsort(hidden.to(torch.uint8), dim=1, stable=True)
        moved = []
        for number, tensor in enumerate((ids, *self._hiding(arguments[1:], hidden))):
            along = tensor.ndim > 1 and tensor.shape[1] == gone.shape[1] and self._moves(number)
            moved.append(tensor.gather(1, order) if along and tensor.ndim == 2 else tensor)
        return tuple(moved)

    def _moves(self, number: int) -> bool:
        """Whether an argument goes with its tokens; positions stay where they are."""
        return "position" not in str(self.subject.arrangement.argument(number))

    def _id(self, what: str) -> int:
        given = self.imputer.id if isinstance(self.imputer, (MaskToken, Padding, Deletion)) else None
        vocabulary = self.subject.presentation.vocabulary
        known = vocabulary.mask if what == "mask" else vocabulary.padding
        found = known if given is None else given
        assert found is not None  # as was checked
        return found

    def _check(self) -> None:
        """Raise where there is too little to remove, or nothing that removed tokens can become."""
        if self.count < 2 and self.block.number == 0:  # of a later block others have been longer
            raise XaiError(
                self.owner,
                found=f"{len(self.block)} sentences of one token that counts",
                expected="two or more, which can be ranked",
                fix="give longer sentences, count more of their tokens in xai_mask, or claim infidelity",
            )
        imputer, presentation = self.imputer, self.subject.presentation
        if isinstance(imputer, ZeroEmbedding):
            if presentation.embedding is None:
                expected = "the module that embeds tokens"
                raise _error(self.owner, "no embedding", expected, "name it in xai_embedding")
            return
        what = "mask" if isinstance(imputer, MaskToken) else "padding"
        known = presentation.vocabulary.mask if what == "mask" else presentation.vocabulary.padding
        given = imputer.id if isinstance(imputer, (MaskToken, Padding, Deletion)) else None
        size = presentation.vocabulary.size
        if given is not None and size is not None and not 0 <= given < size:
            expected = f"an id from 0 to {size - 1}"
            raise _error(self.owner, f"id={given}", expected, "pass the id that the tokenizer has")
        if given is None and known is None:
            kind = type(imputer).__name__
            raise _error(
                self.owner,
                f"no {what} token that the model is known to have",
                "its id, in the model's configuration or in the imputer",
                f"pass imputer={kind}(id=tokenizer.{'mask' if what == 'mask' else 'pad'}_token_id)",
            )


def token_imputer(imputer: object, subject: Subject, default: Sequence[type], *, owner: str) -> TokenImputer:
    """Return the imputer of tokens that is meant: the one that was given, or the model's own for the default.

    Raises:
        XaiError: It is an imputer of other inputs.
    """
    if isinstance(imputer, TokenImputer):
        return imputer
    if type(imputer) in default:
        return default_imputer(subject, owner=owner)
    raise _error(
        owner,
        f"the imputer {type(imputer).__name__} for token ids, whose numbers mean nothing",
        "'mask_token', 'padding', 'zero_embedding' or 'deletion'",
        "name one of these, or leave imputer= out",
    )


def refuse_tokens(owner: str, block: Block) -> None:
    """Raise where inputs are tokens, which a metric does not take."""
    if block.mask is not None:
        raise XaiError(
            owner,
            found="tokens",
            expected="images, or other inputs of numbers that mean something",
            fix="claim comprehensiveness, sufficiency, deletion or pixel_flipping of tokens",
        )


def _error(owner: str, found: str, expected: str, fix: str) -> XaiError:
    return XaiError(f"{owner} imputer", found=found, expected=expected, fix=fix)
