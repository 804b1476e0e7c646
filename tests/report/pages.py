"""What tests of the HTML report share: a reader of pages that minds their syntax, and records to draw."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from laboratory import record_of

from pytest_xaisanity.report.figures import (
    Chart,
    Exhibit,
    Fact,
    Figures,
    Heat,
    Line,
    Mark,
    Named,
    Numbers,
    Picture,
    Scale,
    Table,
)

REFERRING = ("src", "href", "xlink:href", "data", "action", "formaction", "poster", "srcset", "background", "ping")
VOID = {"meta", "br", "img", "input"}


class Page(HTMLParser):
    """A page read strictly: every element that is opened is closed, in order.

    Attributes:
        elements: Tag and attributes of each, but for places where a line may break.
        text: What a person can read, but for styles and scripts.
        unseen: These.
    """

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.source, self.elements, self.text, self.unseen, self._open = source, [], "", "", []
        self.feed(source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        if tag == "wbr":
            return
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data):
        if {"style", "script"} & set(self._open):
            self.unseen += data
        else:
            self.text += data

    def all(self, tag):
        """Return the attributes of the elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, name):
        """Return the values of an attribute."""
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def addresses(shown):
    """Return what a page refers to that does not lie within it: what is not only text."""
    named = [value for _, attributes in shown.elements for name, value in attributes.items() if name in REFERRING]
    styles = [*shown.values("style"), shown.unseen]
    called = [one for style in styles for one in re.findall(r"(?:url|fetch|import|open|src)\s*\(\s*([^)]*)", style)]
    outside = [one for one in (*named, *called) if not one.startswith(("#", "data:"))]
    return outside + re.findall(r"@import[^;]*|XMLHttpRequest|https?:", shown.unseen)


def numbers(shape, low=-1.0, high=1.0, seed=0):
    """Return numbers whose bytes follow one another."""
    count = 1
    for side in shape:
        count *= side
    steps = bytes((seed + 37 * place) % 255 for place in range(count))
    return Numbers(tuple(shape), base64.b64encode(steps).decode(), low, high)


def figures(text="word", shape=(6, 6)):
    """Return one figure of each kind, with ``text`` wherever a text can stand."""
    maps = (Named(f"{text} explanation", numbers(shape)), Named(f"after {text}", numbers(shape, low=0.0)))
    row = tuple(Named(one.name, numbers((3,), one.values.low)) for one in maps)
    pictures = (
        Picture("image", numbers((*shape, 3)), maps, note=text),
        Picture("series", numbers((2, 9)), tuple(Named(text, numbers((1, 9))) for _ in maps)),
        Picture("tokens", None, row, words=(text, "a", "b")),
        Picture("table", None, row, words=(text, "age", "sex"), texts=("1", "2", "-3")),
    )
    curves = Line(f"explainer, {text}", (0.9, None, 0.1), (0.8, 0.4, 0.0), (1.0, 0.6, 0.2))
    return Figures(
        Scale(0.0, 1.0, at_most=0.5, marks=(Mark(text, 0.9), Mark("edges", 0.91))),
        (
            Chart(
                text,
                text,
                text,
                (text, "fc", "conv"),
                (curves, Line(text, (1.0, 0.5, 0.2), beside=True)),
                (Mark(text, 0.5),),
                note=text,
            ),
        ),
        (Table(text, (text, "mean"), ((text, "0.5"), ("b", "0.2"))),),
        (Heat(text, numbers(shape), text),),
        (Exhibit(7, text, text, pictures),),
        (Fact(text, text),),
    )


def drawn(text="word", **changes):
    """Return a record with every kind of figure, and ``text`` wherever a text can stand."""
    words = {"test": f"test_it.py::test[{text}]", "claim": f"{text} claim", "explainer": text, "reason": text}
    words |= {"quantity": text, "decided_by": text, "reproduce": text, "advice": text, "rows": ((text, text),)}
    return record_of(**{**words, "figures": figures(text), **changes})


def without_times(source):
    """Return a page without when it was written, and how it was asked for."""
    return re.sub(r"<time>.*?</time>|command line</th><td>.*?</td>", "", source)
