"""Drawings of a report: SVG by Matplotlib, with the colors of the page and text as text; small images as data URIs."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import isfinite
from typing import Any, TypeAlias
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from .figures import LEVELS, NOT_FINITE, Chart, Line, Mark, Numbers, Scale

__all__ = ["chart", "color", "contrast", "gradient", "heat", "interval", "photo"]

Bounds: TypeAlias = tuple[float | None, float | None]

# Stand-ins, by place, for the colors of the page, which depend on its theme: see the style sheet.
_PAGE = ("ink", "soft", "rule", "pass", "c1", "c2", "c3", "c4")
_INK, _SOFT, _RULE, _PASS, *_SERIES = (f"#0001{place + 16:02x}" for place in range(len(_PAGE)))
_MARKERS = "os^Dv"
_WIDTH = 4.4  # inches
_SIGNED, _UNSIGNED = "RdBu_r", "viridis"  # both are told apart by color-blind people
_BLANK = (136, 136, 136)  # what is not finite
_SHADES = 62  # of a drawn map: an even number, as of steps; more would take more room than the eye sees
_COARSE = bytes(round(step * _SHADES / LEVELS) for step in range(NOT_FINITE)) + bytes([_SHADES + 1])
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.5,
}


def interval(scale: Scale, estimate: float | None, bounds: Bounds, prefix: str) -> str:
    """Return the drawing of an estimate and its interval against thresholds and other marks.

    Args:
        scale: The thresholds and marks.
        estimate: What was measured, if it is known.
        bounds: The interval; an end that is not known reaches the edge.
        prefix: What ids in the drawing begin with, so that they are its own on a page.
    """
    low, high = _span(scale, estimate, bounds)
    rows = _rows(scale.marks, low, high)
    base = 0.3 + 0.17 * (max(rows, default=-1) + 1)  # of the axis, from below, in inches
    height = base + 0.62
    with _drawing(height) as figure:
        axes = figure.add_axes((0.04, base / height, 0.92, 0.4 / height))
        axes.set(xlim=(low, high), ylim=(0, 1), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_position(("data", 0))
        _draw_thresholds(axes, scale, low, high)
        ends = [edge if end is None else end for end, edge in zip(bounds, (low, high), strict=True)]
        axes.plot(ends, [0.5, 0.5], color=_INK, linewidth=3, solid_capstyle="butt", clip_on=False)
        if estimate is not None:
            axes.plot([estimate], [0.5], "o", color=_SERIES[0], markersize=7, clip_on=False)
        for mark, row in zip(scale.marks, rows, strict=True):
            _draw_mark(axes, mark, row, low, high)
        return _svg(figure, prefix)


def chart(shown: Chart, prefix: str) -> str:
    """Return the drawing of curves; their title is the page's affair."""
    named = any(isinstance(point, str) for point in shown.points)
    below = 0.7 if named else 0.46
    names = [*(line.name for line in shown.lines), *(level.name for level in shown.levels)]
    columns = 1 if max(map(len, names), default=0) > 26 else 2
    legend = 0.18 * -(-len(names) // columns) + 0.06
    height = 1.75 + below + legend
    with _drawing(height) as figure:
        axes = figure.add_axes((0.165, (below + legend) / height, 0.815, 1.65 / height))
        places = [float(place) for place in range(len(shown.points))] if named else [float(p) for p in shown.points]
        for line, (hue, dash, marker) in zip(shown.lines, _styles(shown.lines), strict=True):
            _draw_line(axes, shown, line, places, hue, dash, marker)
        for place, level in enumerate(shown.levels):
            dash = ("-.", ":")[place % 2]
            axes.axhline(
                level.value, color=_INK, linestyle=dash, linewidth=1, label=_cut(level.name, 48), clip_on=False
            )
        if shown.limits is not None:
            axes.set_ylim(min(0, axes.get_ylim()[0]), None)
        axes.grid(axis="y", color=_RULE, linewidth=0.6, clip_on=False)
        middle = (below + legend + 0.82) / height
        figure.text(0.012, middle, _cut(shown.up, 30), rotation=90, va="center", ha="left")
        axes.set_xlabel(_cut(shown.across, 60))
        if named:
            _name_points(axes, [str(point) for point in shown.points])
        figure.legend(loc="lower left", bbox_to_anchor=(0.02, 0), ncols=columns, borderaxespad=0, labelspacing=0.25)
        return _svg(figure, prefix)


def photo(given: Numbers) -> str:
    """Return an image as a data URI, in gray or colors from its least number to its greatest."""
    gray = bytes(min(255, round(step * 255 / LEVELS)) for step in range(NOT_FINITE)) + b"\x88"
    pixels = given.steps.translate(gray)
    height, width = given.shape[:2]
    picture = Image.frombytes("RGB" if len(given.shape) == 3 else "L", (width, height), pixels)
    exact = _encoded(picture, "PNG", optimize=True)
    small = _encoded(picture, "JPEG", quality=85, optimize=True)
    return min(exact, small, key=len)


def heat(values: Numbers) -> str:
    """Return a map as a data URI: red above and blue below zero, or from dark to bright where nothing is below."""
    height, width = values.shape if len(values.shape) == 2 else (1, values.shape[0])
    picture = Image.frombytes("P", (width, height), values.steps.translate(_COARSE))
    picture.putpalette(_palette(values.signed))
    return _encoded(picture, "PNG", optimize=True)


@cache
def _palette(signed: bool) -> bytes:
    """Return the color of each shade, and of what is not finite."""
    colors = (color(shade / _SHADES, signed=signed) for shade in range(_SHADES + 1))
    return bytes(part for one in (*colors, _BLANK) for part in one)


def color(share: float, *, signed: bool) -> tuple[int, int, int]:
    """Return the color at a share of a scale, 0 to 1, as red, green and blue in 0 to 255."""
    red, green, blue, _ = matplotlib.colormaps[_SIGNED if signed else _UNSIGNED](share, bytes=True)
    return int(red), int(green), int(blue)


def contrast(background: tuple[int, int, int]) -> str:
    """Return black or white: which is read better on a background, at 4.5 to 1 or more."""
    parts = [part / 255 for part in background]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"


def gradient(*, signed: bool) -> str:
    """Return the colors of a scale as a gradient of CSS."""
    stops = (color(place / 8, signed=signed) for place in range(9))
    return f"linear-gradient(to right, {', '.join('#{:02x}{:02x}{:02x}'.format(*stop) for stop in stops)})"


def _encoded(picture: Image.Image, kind: str, **options: object) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


# ------------------------------------------------------------------------------------------------------------ intervals


def _span(scale: Scale, estimate: float | None, bounds: Bounds) -> tuple[float, float]:
    """Return the ends of the axis: what is drawn, with a little room, and a scale of length one as a whole."""
    known = [one for one in (estimate, *bounds, scale.at_least, scale.at_most) if one is not None and isfinite(one)]
    known += [mark.value for mark in scale.marks]
    if scale.at_least is not None:
        known.append(scale.at_least + scale.margin)
    if scale.low is not None and scale.high is not None and scale.high - scale.low <= 1:
        known += [scale.low, scale.high]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _draw_thresholds(axes: Axes, scale: Scale, low: float, high: float) -> None:
    least, most = scale.at_least, scale.at_most
    start, end = low if least is None else least, high if most is None else most
    if (least is not None or most is not None) and start < end:
        axes.axvspan(start, end, color=_PASS, linewidth=0, clip_on=False)
    if least is not None and scale.margin:
        axes.axvspan(
            least, least + scale.margin, facecolor="none", edgecolor=_SOFT, linewidth=0.7, linestyle=":", clip_on=False
        )
    for word, value in (("at least", least), ("at most", most)):
        if value is not None:
            axes.axvline(value, color=_INK, linewidth=1.2, linestyle="--", clip_on=False)
            _label(axes, value, 1.08, f"{word} {value:.3g}", low, high, va="bottom")


def _draw_mark(axes: Axes, mark: Mark, row: int, low: float, high: float) -> None:
    axes.plot([mark.value], [0], "^", color=_SERIES[1], markersize=5, clip_on=False)
    _label(axes, mark.value, -0.78 - 0.42 * row, _cut(mark.name, 30), low, high, va="top", hue=_SERIES[1])


def _label(axes: Axes, x: float, y: float, text: str, low: float, high: float, *, va: str, hue: str = _INK) -> None:
    """Write a label about a place on the axis, and toward the middle at its ends."""
    share = (x - low) / (high - low)
    side = "left" if share < 0.15 else "right" if share > 0.85 else "center"
    axes.text(x, y, text, color=hue, fontsize=8, ha=side, va=va)


def _rows(marks: Sequence[Mark], low: float, high: float) -> list[int]:
    """Return the row in which each mark has its label, so that none covers another."""
    rows: list[int] = []
    taken: list[float] = []  # where each row is free from
    for mark in sorted(marks, key=lambda one: one.value):
        wide = 0.0155 * min(30, len(mark.name))
        share = (mark.value - low) / (high - low)
        start = share if share < 0.15 else share - wide if share > 0.85 else share - wide / 2
        row = next((place for place, free in enumerate(taken) if start > free), len(taken))
        taken[row : row + 1] = [start + wide + 0.01]
        rows.append(row)
    order = sorted(range(len(marks)), key=lambda place: marks[place].value)
    return [rows[order.index(place)] for place in range(len(marks))]


# --------------------------------------------------------------------------------------------------------------- charts


def _styles(lines: Sequence[Line]) -> Iterator[tuple[str, str, str]]:
    """Yield color, dashes and marker of each line: a rival has the color of the line that it stands beside."""
    own, beside = ([line for line in lines if line.beside is side] for side in (False, True))
    paired, seen = len(own) == len(beside), {False: 0, True: 0}
    for line in lines:
        place = seen[line.beside] + (len(own) if line.beside and not paired else 0)
        seen[line.beside] += 1
        yield _SERIES[place % len(_SERIES)], "--" if line.beside else "-", _MARKERS[place % len(_MARKERS)]


def _draw_line(axes: Axes, shown: Chart, line: Line, places: Sequence[float], hue: str, dash: str, marker: str) -> None:
    values, low, high = (_within(one, shown.limits) for one in (line.values, line.low, line.high))
    name = _cut(line.name, 48)
    if not shown.joined:
        dash = "none"
    if low and high and shown.joined:
        axes.fill_between(places, low, high, color=hue, alpha=0.18, linewidth=0, clip_on=False)
    elif low and high:
        axes.vlines(places, low, high, color=hue, linewidth=1.2, clip_on=False)
    face = "none" if line.beside else hue
    few = marker if len(values) <= 16 else ""
    style: dict[str, Any] = {"color": hue, "linestyle": dash, "marker": few, "markerfacecolor": face}
    axes.plot(places, values, label=name, clip_on=False, **style)


def _within(values: Sequence[float | None], limits: tuple[float, float] | None) -> list[float]:
    low, high = limits or (-float("inf"), float("inf"))
    return [float("nan") if value is None else min(max(value, low), high) for value in values]


def _name_points(axes: Axes, names: Sequence[str]) -> None:
    every = -(-len(names) // 12)
    shown = range(0, len(names), every)
    axes.set_xticks(list(shown), [_cut(names[place], 14) for place in shown], rotation=28, ha="right", fontsize=8)


def _cut(text: str, room: int) -> str:
    text = f" {text}" if text.startswith("_") else text  # which Matplotlib would leave out of a legend
    return text if len(text) <= room else f"{text[: room - 1]}…"


# ------------------------------------------------------------------------------------------------------------------ SVG


@contextmanager
def _drawing(height: float) -> Iterator[Figure]:
    """Give a figure in the style of the page, whatever Matplotlib's settings are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of glyphs that its font lacks, which the page's has
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(_WIDTH, height))
        figure.patch.set_visible(False)
        yield figure


def _svg(figure: Figure, prefix: str) -> str:
    """Return a figure as an element of a page, with ids of its own and nothing that names another address."""
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": prefix}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(stream.getvalue())
    used = {value[1:] for one in root.iter() for key, value in one.attrib.items() if key.endswith("href")}
    for parent in root.iter():
        for child in list(parent):
            name = _local(child.tag)
            if name in ("metadata", "style") or (name == "defs" and all(_local(one.tag) == "style" for one in child)):
                parent.remove(child)
    for one in root.iter():
        one.tag = _local(one.tag)
        one.attrib = dict(_attributes(one, used, prefix))
        one.text, one.tail = ((text or "").strip() or None for text in (one.text, one.tail))
    _unwrap(root)
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true", "focusable": "false"}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _unwrap(parent: ElementTree.Element) -> None:
    """Take groups away that say nothing of what they hold."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _unwrap(child)
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    parent[:] = children


def _attributes(one: ElementTree.Element, used: set[str], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in one.attrib.items():
        name = _local(key)
        if name == "id":
            if value in used:
                yield name, f"{prefix}-{value}"
        elif name == "href":
            yield name, f"#{prefix}-{value[1:]}"
        elif name == "style":
            yield name, _of_page(value)
        elif name in ("d", "points", "transform", "x", "y", "width", "height", "viewBox"):
            yield name, re.sub(r"(\d+\.\d\d)\d+", r"\1", " ".join(value.split()))
        else:
            yield name, value


def _of_page(style: str) -> str:
    """Return a style with the page's colors and font."""
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    themed = re.sub(r"#0001([0-9a-f]{2})", lambda found: f"var(--{_PAGE[int(found[1], 16) - 16]})", style)
    return re.sub(r"font: ([\d.]+)px [^;]*", r"font-size: \1px", themed)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
