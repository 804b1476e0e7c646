"""What code of others returns, checked where it is asked: metrics, baselines, interventions, similarities, imputers.

Whatever they raise becomes one error that names them, and so does a value of another type, shape or number than their
abstract class promises.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from math import isfinite
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..common.errors import XaiError, said, shown
from ..explainers.attributions import Attributions
from ..maps.similarity import Prepared, Similarity
from ..statistics.bounds import ROUNDING
from ..statistics.evidence import Part
from ..subject.batches import out_of_memory
from ..subject.block import Block
from ..subject.tensors import readable
from .base import Baseline, Lab, MapMetric, Measured, Measurement, Procedure, Scored, Scores

__all__ = [
    "asked",
    "asked_for_each",
    "begun_by",
    "checked_maps",
    "checked_measured",
    "checked_measurement",
    "checked_numbers",
    "checked_parts",
    "checked_parts_of",
    "checked_procedure",
    "checked_scores",
    "checked_similarity",
    "prepared_by",
    "scores_by",
]

T = TypeVar("T")
_REPAIR = "repair it: the traceback of the cause stands above this error"


@contextmanager
def asked(where: str, *given: Tensor) -> Iterator[None]:
    """Ask code of others for something: what it raises is one error that names it.

    Args:
        where: What is asked, for the error: ``"metric 'mine'"``.
        given: Tensors that it is given and that others need, which it must not change.

    Raises:
        XaiError: It raised anything but this or out of memory, or changed what it was given.
    """
    versions = [_version(tensor) for tensor in given]
    try:
        yield
    except XaiError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        found = f"{type(error).__name__} raised{said(error)}"
        raise XaiError(where, found=found, expected="an answer", fix=_REPAIR) from error
    if versions != [_version(tensor) for tensor in given]:
        raise XaiError(
            where,
            found="tensors that it was given, changed in place",
            expected="tensors that stay as they are: others need them",
            fix="let it work on a copy: tensor.clone()",
        )


def asked_for_each(where: str, values: Callable[[], Generator[T]]) -> Generator[T]:
    """Yield what a generator of others yields; see :func:`asked`. It is closed when this one ends or is closed."""
    with asked(where):
        started = values()
        if not isinstance(started, Generator):
            raise XaiError(
                where,
                found=f"{_kind(started)} from maps(...) or sampled(...)",
                expected="a generator",
                fix="yield the maps, one batch after the other",
            )
        with closing(started):
            yield from started


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _kind(value: object) -> str:
    """Return what a value is called in an error."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    return "None" if value is None else f"a {type(value).__name__}"


def checked_numbers(
    where: str, what: str, value: object, *shapes: tuple[int, ...], like: Tensor | None = None
) -> Tensor:
    """Return a real tensor of one of these shapes, without a gradient, in single or double precision.

    Args:
        where: Who returned it, for the error.
        what: What it holds, in words: ``"scores"``.
        value: What was returned.
        shapes: The shapes that are accepted; -1 is any length.
        like: A tensor whose type and device it gets; by default its own.

    Raises:
        XaiError: It is none.
    """
    if isinstance(value, Tensor):
        readable(value, where)
    if not isinstance(value, Tensor) or value.is_complex() or not any(_fits(value, shape) for shape in shapes):
        wanted = " or ".join(str(shape).replace("-1", "any") for shape in dict.fromkeys(shapes))
        raise XaiError(
            where,
            found=f"{_kind(value)} as {what}",
            expected=f"a real tensor of shape {wanted}",
            fix=f"return {what} of that type and shape",
        )
    plain = value.detach().as_subclass(Tensor)
    if like is not None:
        return plain.to(like.device, like.dtype)
    return plain if plain.dtype in (torch.float32, torch.float64) else plain.float()


def _fits(value: Tensor, shape: tuple[int, ...]) -> bool:
    given = tuple(value.shape)
    return len(given) == len(shape) and all(want in (-1, has) for want, has in zip(shape, given, strict=True))


# ------------------------------------------------------------------------------------------------ metrics and baselines


def begun_by(baseline: Baseline, lab: Lab) -> Callable[[Block, Tensor], list[Tensor]]:
    """Return the function that makes the maps of a baseline, block by block."""
    where = f"baseline {baseline.name!r}"
    with asked(where):
        begun = baseline.begin(lab)
    if not callable(begun):
        raise XaiError(where, found=_kind(begun), expected="a function (block, like)", fix="return one from begin(lab)")
    return begun


def prepared_by(metric: MapMetric[T], lab: Lab, block: Block) -> T:
    """Return what a metric makes of a block, which all its scores share."""
    with asked(f"metric {metric.name!r}", *block.inputs):
        return metric.prepare(lab, block)


def scores_by(metric: MapMetric[T], prepared: T, maps: Tensor, draw: str) -> Scores:
    """Return a metric's scores of maps, checked."""
    where = f"metric {metric.name!r}"
    with asked(where, maps):
        scored = metric.score(prepared, maps, draw=draw)
    return checked_scores(where, scored, len(maps))


def checked_scores(where: str, scored: object, count: int) -> Scores:
    """Return the scores that a metric gives ``count`` maps.

    Raises:
        XaiError: They are no :class:`~.base.Scores`, or not one for each map.
    """
    if not isinstance(scored, Scores) or not isinstance(scored.curves, Mapping):
        raise XaiError(
            where,
            found=f"{_kind(scored)} as scores"
            if not isinstance(scored, Scores)
            else f"{_kind(scored.curves)} as curves",
            expected="Scores(values), or Scores(values, curves) with curves by name",
            fix="return Scores from pytest_xaisanity.evidence.base",
        )
    curves = {}
    for name, curve in scored.curves.items():
        if not isinstance(name, str) or not name.strip():
            raise XaiError(
                where, found=f"a curve named {shown(name)}", expected="a name in words", fix="name the curve"
            )
        curves[name] = checked_numbers(where, f"the curve {name!r}", curve, (count, -1))
    return Scores(checked_numbers(where, "scores", scored.values, (count,)), curves)


def checked_maps(where: str, maps: object, like: Tensor, *, channels: bool = False, whole: bool = False) -> Tensor:
    """Return maps of the shape and type of ``like``, or also of one without its channels.

    Args:
        where: Who made them, for the error.
        maps: What was made.
        like: Maps of the same inputs.
        channels: Whether the axis behind the first, that of the channels, may be missing.
        whole: Whether a map must be finite, or NaN at every place.

    Raises:
        XaiError: They are none.
    """
    shape = tuple(like.shape)
    shapes = [shape, (shape[0], *shape[2:])] if channels else [shape]
    found = checked_numbers(where, "maps", maps, *shapes, like=like)
    if whole:
        finite = torch.isfinite(found.flatten(1))
        broken = int((~finite.all(1) & ~found.flatten(1).isnan().all(1)).sum())
        if broken:
            raise XaiError(
                where,
                found=f"maps that are NaN or infinite at some places, of {broken} of {len(found)} inputs",
                expected="finite maps, or NaN at every place of an input that has none",
                fix="look for a division by zero in the maps",
            )
    return found


def checked_measurement(where: str, measurement: object) -> Measurement[Scored]:
    """Return the measurement that a metric asks for; raise when it is none."""
    if not isinstance(measurement, Measurement):
        raise XaiError(
            where,
            found=f"{_kind(measurement)} from measurement()",
            expected="a Measurement",
            fix="return an object of a class that derives from pytest_xaisanity.evidence.base.Measurement",
        )
    return measurement


def checked_parts_of(baseline: Baseline, places: tuple[int, ...]) -> Sequence[Baseline]:
    """Return the baselines that one stands for, each with a name of its own.

    Raises:
        XaiError: There are none.
    """
    where = f"baseline {baseline.name!r}"
    with asked(where):
        parts = baseline.parts(places)
        names = [part.name for part in parts]
    if not names or len(set(names)) < len(names) or not all(isinstance(part, Baseline) for part in parts):
        raise XaiError(
            where,
            found=f"the parts {shown(names)}",
            expected="one baseline or more, each with a name of its own",
            fix="return them from parts(places)",
        )
    return parts


def checked_measured(where: str, found: object, block: Block) -> Measured:
    """Return what a measurement found of a block.

    Raises:
        XaiError: It is nothing measured, has not one row for each input, or scores that are no numbers ``(b, draws)``.
    """
    if not isinstance(found, Measured):
        raise XaiError(where, found=_kind(found), expected="Scored or Compared", fix="return Scored.of(values)")
    for name, array in found.arrays().items():
        rows = array.shape[0] if isinstance(array, np.ndarray) and array.ndim else None
        if rows != len(block):
            held = _kind(array) if rows is None else f"{rows} rows"
            raise XaiError(
                where,
                found=f"{held} of {name or 'scores'} for {len(block)} inputs",
                expected="an array with one row for each input",
                fix="return a row for each input of the block, in order",
            )
    if isinstance(found, Scored) and (found.values.ndim != 2 or found.values.dtype.kind not in "biuf"):
        raise XaiError(
            where,
            found=f"scores {found.values.shape} of {found.values.dtype}",
            expected=f"real numbers ({len(block)}, draws)",
            fix="return Scored.of(values[:, None])",
        )
    return found


def checked_parts(where: str, parts: object) -> tuple[Part, ...]:
    """Return what something says of itself as parts of the evidence; raise when they are none."""
    if not isinstance(parts, tuple) or not all(isinstance(part, Part) for part in parts):
        raise XaiError(where, found=f"{_kind(parts)} from describe()", expected="a tuple of Part", fix="return ()")
    return parts


# ------------------------------------------------------------------------------------------------------- interventions


def checked_procedure(where: str, procedure: object) -> Procedure:
    """Return the procedure that an intervention began.

    Raises:
        XaiError: It is none, or what it says of itself cannot be.
    """
    if not isinstance(procedure, Procedure):
        raise XaiError(where, found=_kind(procedure), expected="a Procedure", fix="return one from start(lab, block)")
    with asked(where):
        shape, attributions = procedure.shape, procedure.attributions
    if not _is_shape(shape):
        raise XaiError(
            where,
            found=f"the shape {shown(shape)} of its procedure",
            expected="(seeds, positions), both 1 or more",
            fix="set shape to how many maps it yields for each input",
        )
    if not isinstance(attributions, Attributions):
        raise XaiError(
            where,
            found=f"{_kind(attributions)} as the attributions of its procedure",
            expected="what makes the maps before the intervention",
            fix="set attributions to lab.attributions",
        )
    return procedure


def _is_shape(shape: object) -> bool:
    return isinstance(shape, tuple) and len(shape) == 2 and all(type(one) is int and one > 0 for one in shape)


# -------------------------------------------------------------------------------------------------------- similarities


def checked_similarity(similarity: Similarity) -> Similarity:
    """Return a similarity whose halves are checked at each call."""
    where = f"similarity {similarity.name!r}"
    return replace(
        similarity,
        prepare=_checked_prepare(similarity.prepare, where),
        compare=_checked_compare(similarity.compare, where, similarity.low, similarity.high),
    )


@cache
def _checked_prepare(prepare: Callable[[Tensor], Prepared], where: str) -> Callable[[Tensor], Prepared]:
    def prepared(maps: Tensor) -> Prepared:
        with asked(where, maps):
            parts = prepare(maps)
        if not isinstance(parts, tuple) or not parts or not all(_has_rows(part, len(maps)) for part in parts):
            raise XaiError(
                where,
                found=f"{_kind(parts)} from prepare(maps)",
                expected="a tuple of tensors with one row for each map",
                fix="return (tensor,)",
            )
        return parts

    return prepared


def _has_rows(part: object, count: int) -> bool:
    return isinstance(part, Tensor) and part.shape[:1] == (count,)


@cache
def _checked_compare(
    compare: Callable[[Prepared, Prepared], Tensor], where: str, low: float, high: float
) -> Callable[[Prepared, Prepared], Tensor]:
    def compared(one: Prepared, other: Prepared) -> Tensor:
        with asked(where, *one, *other):
            scores = compare(one, other)
        found = checked_numbers(where, "scores", scores, (len(one[0]),))
        slack = ROUNDING * (high - low) if isfinite(high - low) else 0.0
        if bool(((found < low - slack) | (found > high + slack)).any()):
            raise XaiError(
                where,
                found=f"scores from {float(found.amin()):.4g} to {float(found.amax()):.4g}",
                expected=f"scores from {low:g} to {high:g}, the similarity's low and high",
                fix="widen low= and high= of the similarity to what its scores can be, or clip the scores",
            )
        return found

    return compared
