"""Hypothesis strategies over uninformative maps and explainers, small subjects, and the settings of metrics.

They draw parameters, not pixels: integers for places, a few words and coarse numbers for the rest. What they yield is
frozen, its ``repr`` is the call that rebuilds it, and it shrinks to something that is read in one line.

Importing this module registers torch's global generators with Hypothesis, which otherwise reseeds Python's and NumPy's
alone; an explainer that samples would be flaky under ``@given``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, prod
from typing import Any, TypeVar

import hypothesis.strategies as st
import torch
from hypothesis import register_random

from ..common.errors import XaiError, unknown_name
from ..evidence.metrics import METRICS
from ..maps.uninformative import FAMILIES, MATCHES, SIGNS, SIZED, Box, UninformativeMap
from .small_subject import KINDS, SmallSubject
from .uninformative import SEEDINGS, UninformativeExplainer

__all__ = [
    "Box",
    "SmallSubject",
    "UninformativeExplainer",
    "UninformativeMap",
    "settings_of",
    "subjects",
    "uninformative_explainers",
    "uninformative_maps",
]

T = TypeVar("T")


class _TorchRandom:
    """torch's global generators, those of CUDA where it is in use, as Hypothesis seeds and restores them."""

    def seed(self, seed: int) -> None:
        torch.default_generator.manual_seed(seed)
        for generator in self._accelerators():
            generator.manual_seed(seed)

    def getstate(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in (torch.default_generator, *self._accelerators())]

    def setstate(self, states: list[torch.Tensor]) -> None:
        # A device that came into use in between has no state to go back to.
        for generator, state in zip((torch.default_generator, *self._accelerators()), states, strict=False):
            generator.set_state(state)

    @staticmethod
    def _accelerators() -> tuple[torch.Generator, ...]:
        in_use = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return tuple(torch.cuda.default_generators) if in_use else ()


_TORCH = _TorchRandom()  # Hypothesis keeps a weak reference
register_random(_TORCH)


def uninformative_maps(
    shape: Sequence[int],
    *,
    families: Sequence[str] = FAMILIES,
    signs: Sequence[str] = SIGNS,
    match: Sequence[str] = MATCHES,
    amplitudes: Sequence[float] = (1.0,),
    max_boxes: int = 3,
) -> st.SearchStrategy[UninformativeMap]:
    """Return a strategy of maps that know nothing of the model.

    Args:
        shape: Places of one map, ``(F,)``, ``(H, W)`` or more axes; boxes lie in the last two.
        families: Which kinds of noise, the simplest first.
        signs: Which signs, the simplest first.
        match: Whether maps may take the magnitude of the input at each place: ``"nothing"``, ``"input"``.
        amplitudes: Factors for the whole map, the simplest first; rankings do not see them.
        max_boxes: The most boxes a map may stress.

    Raises:
        XaiError: ``shape`` has fewer than two places, or an option is out of range. Raised at the call, not in a draw.
    """
    shape = _checked_shape(shape)
    _check_names("families", families, FAMILIES)
    _check_names("signs", signs, SIGNS)
    _check_names("match", match, MATCHES)
    _check_count("max_boxes", max_boxes, least=0)
    if not amplitudes or not all(isinstance(value, (int, float)) and isfinite(value) for value in amplitudes):
        raise XaiError("amplitudes", found=repr(amplitudes), expected="one or more finite numbers", fix="pass [1.0]")
    options = {
        # The first half of the time the first: through it, weights by place or by input show best.
        "family": _one_of((families[0],) * (len(families) - 1) + tuple(families)),
        "sign": _one_of(signs),
        "match": _one_of(match),
        "amplitude": _one_of(amplitudes),
    }
    height, width = (1, *shape)[-2:]
    return _maps((height, width), max_boxes, _whole(1, max(1, min(16, max(height, width) // 4))), options)


@st.composite
def _maps(
    draw: st.DrawFn,
    plane: tuple[int, int],
    max_boxes: int,
    size: st.SearchStrategy[int],
    options: Mapping[str, st.SearchStrategy[Any]],
) -> UninformativeMap:
    # A background, boxes on a background, or boxes alone: never no weight at all.
    background, least, most = draw(_one_of([(1, 0, 0), (1, 1, max_boxes), (0, 1, max_boxes)][: 3 if max_boxes else 1]))
    boxes = draw(st.lists(_boxes(*plane), min_size=least, max_size=most))
    drawn = {name: draw(option) for name, option in options.items()}
    drawn["size"] = draw(size) if drawn["family"] in SIZED else 1
    return UninformativeMap(background=background, boxes=tuple(boxes), **drawn)


@st.composite
def _boxes(draw: st.DrawFn, height: int, width: int) -> Box:
    # Four draws: with more, Hypothesis leaves boxes that do nothing in what it reports.
    top, left = draw(_whole(0, height - 1)), draw(_whole(0, width - 1))
    return Box(top, left, draw(_whole(1, height - top)), draw(_whole(1, width - left)))


def uninformative_explainers(
    shape: Sequence[int], *, seedings: Sequence[str] = SEEDINGS, **options: Any
) -> st.SearchStrategy[UninformativeExplainer]:
    """Return a strategy of explainers that know nothing of the model but, perhaps, the ranking of its outputs.

    Args:
        shape: Places of one map.
        seedings: ``"fresh"``, ``"input"``, ``"output"``, the simplest first.
        options: Those of :func:`uninformative_maps`.

    Raises:
        XaiError: An option is out of range. Raised at the call, not in a draw.
    """
    _check_names("seedings", seedings, SEEDINGS)
    return st.builds(UninformativeExplainer, uninformative_maps(shape, **options), seeding=_one_of(seedings))


def subjects(
    *,
    kinds: Sequence[str] = KINDS,
    batch: int = 16,
    classes: Sequence[int] = (2, 3, 1),
    max_width: int = 8,
    max_depth: int = 3,
) -> st.SearchStrategy[SmallSubject]:
    """Return a strategy of small random models with inputs and targets.

    Args:
        kinds: Which models, the simplest first: ``"mlp"``, ``"tied"``, ``"functional"``, ``"cnn"``, ``"batchnorm"``,
            ``"residual"``, ``"attention"``.
        batch: Number of inputs.
        classes: How many outputs a model may have, the simplest first.
        max_width: The most units or channels of a hidden layer; the least is 4.
        max_depth: The most hidden layers or blocks.

    Raises:
        XaiError: An option is out of range. Raised at the call, not in a draw.
    """
    _check_names("kinds", kinds, KINDS)
    for name, value, least in (("batch", batch, 1), ("max_width", max_width, 4), ("max_depth", max_depth, 1)):
        _check_count(name, value, least=least)
    if not classes:
        raise XaiError("classes", found=repr(classes), expected="one or more numbers of outputs", fix="pass [2]")
    for count in classes:
        _check_count("classes", count, least=1)
    return st.builds(
        SmallSubject,
        kind=_one_of(kinds),
        seed=_whole(0, 999),
        width=_whole(4, max_width),
        depth=_whole(1, max_depth),
        classes=_one_of(classes),
        batch=st.just(batch),
    )


def settings_of(metric: str, *, shape: Sequence[int] | None = None, **fixed: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of metrics of one name, in the settings that its definition leaves open.

    Args:
        metric: A name such as ``"pixel_flipping"``.
        shape: Places of one map; what makes sense for images only is left out without it.
        fixed: Settings that are not left open.

    Raises:
        XaiError: The name or a setting is unknown, or the metric leaves nothing open. Raised at the call.
    """
    METRICS.build(metric, fixed, where="settings_of")
    kind = METRICS.get(metric, where="settings_of")
    choices = kind.open_settings(None if shape is None else _checked_shape(shape))
    if not choices:
        raise XaiError(
            "settings_of",
            found=f"the metric {metric!r}, which leaves no setting open",
            expected="a metric with the class method open_settings(shape)",
            fix="name 'pixel_flipping', for example",
        )
    fitting = {name: [v for v in values if _builds(kind, fixed | {name: v})] for name, values in choices.items()}
    drawn = {name: _one_of(values) for name, values in fitting.items() if name not in fixed and values}
    return st.builds(kind, **drawn, **{name: st.just(value) for name, value in fixed.items()})


def _builds(kind: Callable[..., object], settings: dict[str, Any]) -> bool:
    """Whether settings go together."""
    try:
        kind(**settings)
    except XaiError:
        return False
    return True


# Hypothesis mixes numbers that it reads in the modules that happen to be loaded into the integers it draws, so that one
# seed would draw other values in another process. No such number is as large as this.
_FAR = 3**60


def _whole(least: int, most: int) -> st.SearchStrategy[int]:
    """Return a strategy of whole numbers, the same for a seed whatever modules are loaded."""
    return st.integers(_FAR + least, _FAR + most).map(lambda value: value - _FAR)


def _one_of(values: Sequence[T]) -> st.SearchStrategy[T]:
    """Return a strategy of values that shrinks to the first, the same for a seed whatever modules are loaded."""
    chosen = tuple(values)
    return st.just(chosen[0]) if len(chosen) == 1 else _whole(0, len(chosen) - 1).map(chosen.__getitem__)


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    values = tuple(shape) if isinstance(shape, Sequence) else ()
    if not values or not all(isinstance(length, int) and length >= 1 for length in values) or prod(values) < 2:
        raise XaiError(
            "shape",
            found=repr(shape),
            expected="the lengths of one map's axes, with at least two places in all",
            fix="pass (height, width) or (features,)",
        )
    return values


def _check_names(where: str, names: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(names, str) or not names:
        raise XaiError(where, found=repr(names), expected="one or more names in a list", fix=f"pass [{known[0]!r}]")
    for name in names:
        if name not in known:
            raise unknown_name(where, name, known, kind="name")


def _check_count(where: str, value: int, *, least: int) -> None:
    if type(value) is not int or value < least:
        raise XaiError(where, found=repr(value), expected=f"a whole number of at least {least}", fix=f"change {where}=")
