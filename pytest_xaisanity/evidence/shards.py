"""Explanations of many inputs, made as shards: blocks that are explained in whatever process, kept on disk as they end.

The blocks are those in which inputs are visited anyway, each explained in the same micro-batches and company and with
what was found out of the explainer on the first of them, which is explained in this process. So the maps are the same
bit for bit, wherever a shard is explained: those of explainers that draw too, for each input has generators of its own,
and those of explainers whose maps depend on the batch.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.content import content_of
from ..common.digest import digest_of
from ..common.errors import XaiError, XaiWarning
from ..common.jobs import Jobs
from ..common.kept import Kept
from ..common.once import Failed, Once, arrived, one_thread, travelling
from ..explainers.attributions import Attributions
from ..model.training import Retraining
from ..subject.block import Block

__all__ = ["explanations"]

_BLOCKS = 4  # in a shard, of 64 inputs each
_FEW = 2  # shards that are explained in this process
_ALIKE = 1e-3  # of the largest attribution: maps in other company differ by rounding
Shard = range  # of numbers of blocks


@dataclass(frozen=True, eq=False)
class _Explaining:
    """What all shards share.

    Attributes:
        attributions: The explainer on all inputs; where it travels on a few of them, as bytes.
        inputs: All inputs ``(N, ...)``, where these travel.
    """

    attributions: Attributions | bytes
    inputs: NDArray[Any]

    def __sizeof__(self) -> int:
        """Return the size of the inputs, by which clusters tell what is better sent once."""
        return self.inputs.nbytes


class _Maps(NamedTuple):
    """The maps ``(n, ...)`` of a shard, and the places of its inputs in the data ``(n,)``."""

    maps: NDArray[Any]
    indices: NDArray[np.int64]


def explanations(attributions: Attributions, retraining: Retraining, which: str) -> Tensor:
    """Return the maps of all inputs of a subject in memory ``(N, ...)``, in the order of the data, on the CPU.

    To be called while the model is lent. Shards run through ``retraining.jobs``, and each is kept as soon as it ends,
    where content tells what the explainer is. An explainer that gives the same inputs other maps is asked in this
    process alone, and nothing of it is kept.

    Args:
        attributions: What explains.
        retraining: What says how jobs are spread, and where results are kept.
        which: Which inputs these are, for the bar: ``"training"``.

    Raises:
        XaiError: The explainer raised, or its attributions are none; workers died in a row.
    """
    with one_thread():
        return _Explanations(attributions, retraining).all(which)


class _Explanations:
    """Gathers the maps of shards."""

    def __init__(self, attributions: Attributions, retraining: Retraining) -> None:
        self.attributions, self.retraining = attributions, retraining
        self.count = len(attributions.subject)
        with closing(attributions.subject.blocks(early=False)) as blocks:
            self.first = next(blocks)
        key = _key(attributions) if retraining.folder is not None else ""
        self.kept = Kept(retraining.folder if key else None, "explanations")
        shards = _shards(self.count, len(self.first))
        self.shards = {f"maps-{digest_of(key, shard.start, shard.stop)}": shard for shard in shards}
        self.found: Tensor | None = None
        self.known: set[str] = set()

    def all(self, which: str) -> Tensor:
        """Return the maps of all inputs."""
        missing = {key: shard for key, shard in self.shards.items() if not self.read(key, warn=True)}
        done = sum(self._size(shard) for key, shard in self.shards.items() if key in self.known)
        if missing:
            name = f"{self.attributions.explainer.name}, {which}"
            with self.retraining.bar(self.count, done, desc=name, unit="input") as ended:
                once = self._once(len(missing))
                if (key := next(iter(self.shards))) in missing:
                    self.keep(key, self._first)
                    ended(self._size(missing.pop(key)))
                with closing(once.done(missing)) as shards:
                    for key in shards:
                        ended(self._size(missing[key]))
        assert self.found is not None
        return self.found

    def _once(self, count: int) -> Once[_Explaining, Shard, _Maps]:
        """Explain the first block, by which it is known how the explainer is run, and return what does the others.

        Where there are two shards to do, one is that of the first block, and no process is started for the other.
        """
        explain, shared = self.attributions, _Explaining(self.attributions, _NONE)
        jobs = self.retraining.jobs if count > _FEW else Jobs(1)
        alone = f"{explain.explainer.name} explains in this process alone, for it"
        maps = explain(self.first)
        self._first = _Maps(maps.cpu().numpy(), np.array(self.first.indices))
        if not _repeats(explain, self.first, maps):
            self.kept.folder = None
            if jobs.spread:
                warnings.warn(f"{alone} gives the same inputs other maps", XaiWarning, stacklevel=2)
            return Once(Jobs(1), self.kept, explained, shared, self.read, self.keep)
        few = explain.on(explain.subject.on(self.first.inputs[0][:2].cpu()))
        jobs, sent = travelling(jobs, few, f"{alone} or xai_model")
        if isinstance(sent, bytes):
            shared = _Explaining(sent, _numpy(explain))
        return Once(jobs, self.kept, explained, shared, self.read, self.keep)

    def _size(self, shard: Shard) -> int:
        width = len(self.first)
        return min(self.count, shard.stop * width) - shard.start * width

    def read(self, key: str, *, warn: bool = False) -> bool:
        """Whether the maps of a shard are there, in this process or on disk."""
        if key not in self.known and (arrays := self.kept.read(key, warn=warn)) is not None:
            if _fits(arrays, self._size(self.shards[key]), self.count):
                self._put(key, _Maps(arrays["maps"], arrays["indices"].astype(np.int64)))
            elif warn:
                self.kept.spurn(key, "it holds something else than explanations of these inputs")
        return key in self.known

    def keep(self, key: str, made: _Maps) -> None:
        """Take and keep the maps of a shard."""
        self._put(key, made)
        self.kept.write(key, made._asdict())

    def _put(self, key: str, made: _Maps) -> None:
        maps = torch.from_numpy(np.array(made.maps))  # what a cluster returns may not be writable
        if self.found is None:
            self.found = maps.new_empty(self.count, *maps.shape[1:])
        self.found[made.indices.tolist()] = maps
        self.known.add(key)


_NONE = np.empty(0, np.float32)


def _shards(count: int, width: int) -> Sequence[Shard]:
    """Return the numbers of the blocks of each shard: of the first block alone, and of a few of the others."""
    blocks = -(-count // width)
    return [range(1), *(range(start, min(blocks, start + _BLOCKS)) for start in range(1, blocks, _BLOCKS))]


def explained(shared: _Explaining, shard: Shard) -> _Maps | Failed:
    """Explain the blocks of a shard, on one thread."""
    if isinstance(shared.attributions, Attributions):
        return _explained(shared.attributions, shard)
    try:
        few: Attributions = arrived(shared.attributions)
        if few.subject.device.type == "cuda":
            few.subject.device = torch.device("cuda", torch.cuda.current_device())  # that of this worker
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arrays that are not writable: nobody writes to them
            attributions = few.on(few.subject.on(torch.from_numpy(shared.inputs)))
        with one_thread():
            return attributions.subject.lend(lambda: _explained(attributions, shard))
    except XaiError as error:
        return Failed(error, traceback.format_exc() if error.__cause__ is not None else "")


def _explained(attributions: Attributions, shard: Shard) -> _Maps:
    with closing(attributions.subject.blocks(early=False, skip=shard.start)) as blocks:
        made = [(attributions(block).cpu(), block.indices) for block in islice(blocks, len(shard))]
    indices = [index for _, some in made for index in some]
    return _Maps(torch.cat([maps for maps, _ in made]).numpy(), np.array(indices))


def _repeats(explain: Attributions, block: Block, maps: Tensor) -> bool:
    """Whether an explainer gives a block the same maps once more, up to rounding: two inputs of it, or all of them."""
    few = block.rows(range(min(2, len(block))))
    scale = _ALIKE * float(maps.abs().max())
    try:
        if torch.allclose(explain(few), maps[: len(few)], rtol=0, atol=scale):
            return True
    except XaiError:  # of batches of one size alone
        pass
    return torch.allclose(explain(block), maps, rtol=0, atol=scale)  # maps may depend on the batch


def _numpy(attributions: Attributions) -> NDArray[Any]:
    """Return all inputs of a subject in memory with a single one."""
    (inputs,) = attributions.subject.in_memory
    return inputs.detach().cpu().numpy()


def _key(attributions: Attributions) -> str:
    """Return a digest of all that the maps depend on; nothing where it cannot be told."""
    subject, explainer = attributions.subject, attributions.explainer
    asked = (explainer.attribute, explainer.name, explainer.tokens, explainer.reduction, explainer.smooth)
    told = content_of(asked, subject.model, subject.reading)
    where = (subject.device.type, subject.batches.size, torch.get_default_dtype(), torch.__version__)
    return "" if told is None else digest_of(told, attributions.settings, subject.data_fingerprint, where)


def _fits(arrays: Mapping[str, NDArray[Any]], size: int, count: int) -> bool:
    maps, indices = arrays.get("maps"), arrays.get("indices")
    if maps is None or indices is None or maps.dtype.kind != "f" or indices.dtype.kind != "i":
        return False
    return len(maps) == size == len(np.unique(indices)) and bool((indices >= 0).all() and (indices < count).all())
