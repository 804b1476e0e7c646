"""The HTML report, from records alone: what stands in it, that nothing is fetched, and that names are only names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from laboratory import record_of
from report.pages import Page, addresses, drawn, figures, numbers

from pytest_xaisanity.report import plots
from pytest_xaisanity.report.audited import Audited, Mutation
from pytest_xaisanity.report.figures import NOT_FINITE, Figures, Mark, Numbers, Scale
from pytest_xaisanity.report.html import cut, line, lines, page, write
from pytest_xaisanity.report.mutation import Mutations
from pytest_xaisanity.report.records import Record

HOSTILE = {
    "markup": "</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>",
    "quotes": "\"onload=alert(1) x='' `${1}` {{ 7*7 }} {% raw %} $\\alpha$ &amp; &#60;",
    "lines": "one\ntwo\r\nthree\x1b[31m\x00",
    "long": "x" * 10_000,
    "right to left": "\u202eevil\u2066 שלום",
    "emoji": "👩🏽‍🔬 ﷽ \U0001f4a9",
    "surrogate": "a\ud800b",
    "underscore": "_private",
}

FEW = {"markup", "lines", "surrogate"}  # the others take their time


def audit_of(text="word"):
    """Return an audit with every status, and a text wherever one can stand."""
    mutations = {
        "edge_map": Mutation("killed", killed_by=["a"]),
        text: Mutation("survived", caught_by=text),
        "noise": Mutation("survived", reason=text),
        "stale": Mutation("broken", reason=text),
        "same": Mutation("equivalent", reason=text),
        "none": Mutation("inapplicable"),
        "cut": Mutation("not judged", reason=text),
    }
    audited = Audited(text, "digest", ["a", "b"], mutations, {"b": text}, {"a": f"{text} a", "b": "b"})
    return Mutations([audited, replace(audited, subject="another")])


def page_of(*records, **settings):
    """Return the page of records, read."""
    settings = {"settings": {"seed": 0, "device": "auto"}, "command": "pytest -q", **settings}
    return Page(page(records, **settings))


@pytest.fixture(scope="module")
def shown():
    """Return a page on which every text is a word."""
    return page_of(drawn(), audit=audit_of())


def test_what_is_drawn_comes_back_from_plain_values():
    one = figures()
    assert Figures.of_plain(json.loads(json.dumps(one.plain()))) == one
    record = drawn()
    assert Record.from_plain(json.loads(json.dumps(record.plain()))) == record
    assert "figures" not in record.report()


def test_numbers_are_those_of_their_steps():
    given = Numbers.of_bytes((4,), bytes([0, 127, 254, NOT_FINITE]), -2.0, 2.0)
    assert given.values == [-2.0, 0.0, 2.0, None]
    assert given.signed


def test_claims_with_news_come_first():
    outcomes = ["passed", "inconclusive", "error", "failed"]
    shown = page_of(*(record_of(outcome=outcome, claim=f"claim {outcome}") for outcome in outcomes))
    assert [one["data-outcome"] for one in shown.all("article")] == ["failed", "error", "inconclusive", "passed"]
    assert "1 failed, 1 error, 1 inconclusive, 1 passed" in shown.source


@pytest.mark.parametrize(("status", "fails"), [("regressed", True), ("refused", True), ("regressed", False)])
def test_a_claim_that_passed_and_got_worse_looks_like_news(status, fails):
    """It has a badge of its own, says whether its test failed, and is not hidden with those that passed."""
    compared = {"status": status, "reason": "18 of 256 inputs", "fails": fails}
    shown = Page(page([record_of(outcome="passed", compared=compared)], settings={}, command="pytest"))
    news = [attributes for _, attributes in shown.elements if attributes.get("data-news") == status]
    assert [attributes["data-outcome"] for attributes in news] == ["passed", "passed"]
    badges = [attributes for _, attributes in shown.elements if attributes.get("class") == "badge news"]
    assert len(badges) == 2
    assert f"1 {status}" in shown.text
    assert ("which failed its test" in shown.text) is fails
    assert '[data-outcome="passed"]:not([data-news])' in shown.unseen


def test_everything_of_a_record_is_on_the_page():
    record = drawn("word", outcome="failed", estimate=0.123, interval=(0.1, None), confidence=0.95)
    shown = page_of(record, audit=audit_of(), interrupted=True).text
    words = [record.claim, record.reason, record.test, record.reproduce, record.advice, "0.123 in [0.1, unknown]"]
    words += ["Interrupted", "pytest -q", "torch", "mutation score 0.33", "assert explainer.word", "SURVIVED"]
    assert [word for word in words if word not in shown] == []


def test_a_page_refers_to_nothing_outside_of_it(shown):
    assert addresses(shown) == []
    policy = next(one["content"] for one in shown.all("meta") if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; img-src data:")
    faulty = '<a href="//a.b/c"></a><p style="color: red; background: url(x.png)"></p><style>@import "x"</style>'
    assert addresses(Page(faulty)) == ["//a.b/c", "x.png", '@import "x"']


def test_ids_are_unique_and_what_is_referred_to_is_there():
    shown = page_of(drawn(), drawn("other"), audit=audit_of())
    ids = shown.values("id")
    assert len(ids) == len(set(ids))
    referred = [one.removeprefix("#") for one in shown.values("href")]
    referred += [name for value in shown.values("aria-labelledby") for name in value.split()]
    assert set(referred) <= set(ids)


def test_pictures_and_drawings_are_told_in_words(shown):
    assert all(image["alt"].strip() for image in shown.all("img"))
    labels = [one for one in shown.values("aria-label") if one.startswith("Interval")][:1]
    told = "word 0.1 in [0, unknown], n=3; passes where it is shown to be at most 0.5; word 0.9; edges 0.91"
    assert labels == [f"Interval: {told}"]
    assert any("0.9 at word, 0.1 at conv, between 0.1 and 0.9" in one for one in shown.values("aria-label"))
    headings = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert all("scope" in one for one in shown.all("th"))


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name, marks=[] if name in FEW else pytest.mark.slow) for name, text in HOSTILE.items()],
)
def test_hostile_names_are_only_text(text, tmp_path, shown):
    """In ids of tests, claims, explainers, messages, words, targets, names of curves and layers, and in an audit."""
    file = tmp_path / "report.html"
    write(file, [drawn(text)], settings={"seed": 0, "device": "auto"}, command=text, audit=audit_of(text))
    hostile = Page(file.read_text(encoding="utf-8"))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in shown.elements], "as with a word"
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert len(hostile.all("script")) == 1
    assert addresses(hostile) == []
    assert cut(line(text), 60)[:40] in hostile.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", hostile.source)


def test_what_cannot_be_seen_is_written_out():
    assert line("a\nb\x1b\u202e\ud800\u2028é👩🏽‍🔬") == r"a\nb\x1b\u202e\ud800\u2028é👩🏽‍🔬"
    assert lines("a\nb\r") == "a\nb\\r"
    assert cut("x" * 500, 100).startswith("x" * 67 + " … ")


def test_a_claim_without_figures_and_a_session_without_claims_have_a_page():
    assert page_of(record_of(outcome="error", estimate=None, interval=(None, None), n=0)).all("article")
    assert "No claim was decided" in page_of().text


def test_an_interval_is_drawn_where_it_lies():
    """The bar reaches from end to end, on the same axis as the dot and the threshold."""
    scale = Scale(0.0, 1.0, at_least=0.5)
    drawing = plots.interval(scale, 0.8, (0.6, 0.9), "p")
    low, high = -0.06, 1.06  # what is drawn, with a little room

    def place(value):
        return 316.8 * (0.04 + 0.92 * (value - low) / (high - low))

    bar = re.search(r'd="M ([\d.]+) [\d.]+ L ([\d.]+) [\d.]+" style="[^"]*stroke-width: 3', drawing)
    assert [float(one) for one in bar.groups()] == pytest.approx([place(0.6), place(0.9)], abs=0.02)
    dot = re.search(r'<use href="#[^"]+" x="([\d.]+)"[^>]*fill: var\(--c1\)', drawing)
    assert float(dot[1]) == pytest.approx(place(0.8), abs=0.02)
    assert "at least 0.5" in drawing


@pytest.mark.parametrize(("estimate", "bounds"), [(None, (None, None)), (0.0, (0.0, 0.0)), (1e9, (None, 1e9))])
def test_an_interval_of_any_kind_can_be_drawn(estimate, bounds):
    marks = tuple(Mark(f"a control of a long name {place}", 0.01 * place) for place in range(5))
    assert plots.interval(Scale(marks=marks), estimate, bounds, "p").startswith("<svg")


def test_labels_of_marks_do_not_cover_one_another():
    marks = tuple(Mark("fresh noise", 0.001 * place) for place in range(3))
    drawing = plots.interval(Scale(0.0, 1.0, at_most=0.5, marks=marks), 0.5, (0.4, 0.6), "p")
    heights = re.findall(r'y="([\d.]+)"[^>]*>fresh noise<', drawing)
    assert len(set(heights)) == 3


def test_colors_are_those_of_the_page_and_letters_can_be_read():
    drawing = plots.chart(figures().charts[0], "p")
    assert not re.findall(r"#[0-9a-f]{6}", drawing)
    assert {"var(--c1)", "var(--ink)"} <= set(re.findall(r"var\(--\w+\)", drawing))
    for signed in (True, False):
        for step in range(0, 255, 2):
            background = plots.color(step / 254, signed=signed)
            assert contrast_of(background, plots.contrast(background)) >= 4.5


def test_zero_is_white_and_signs_differ_in_more_than_hue():
    assert min(plots.color(0.5, signed=True)) > 240
    below, above = (plots.color(share, signed=True) for share in (0.1, 0.9))
    assert below[2] > below[0] + 80
    assert above[0] > above[2] + 80
    lightness = [luminance(plots.color(share / 10, signed=False)) for share in range(11)]
    assert lightness == sorted(lightness)  # a sequential scale is read in gray too


def test_the_colors_of_the_page_can_be_read():
    """Letters on cards and on the page at 4.5 to 1, in light and in dark."""
    themes = re.findall(r"color-scheme: (?:light|dark);(.*?)\}", page_of().source, re.DOTALL)
    assert len(themes) == 4
    for theme in themes:
        colors = {name: rgb(value) for name, value in re.findall(r"--([\w]+): (#[0-9a-f]+)", theme)}
        letters = colors.keys() - {"page", "card", "rule", "pass"}
        assert len(letters) == 11
        low = {
            (name, ground)
            for name in letters
            for ground in ("page", "card")
            if ratio(luminance(colors[name]), luminance(colors[ground])) < 4.5
        }
        assert not low


def rgb(value):
    digits = value[1:] if len(value) == 7 else "".join(2 * digit for digit in value[1:])
    return tuple(int(digits[place : place + 2], 16) for place in (0, 2, 4))


def contrast_of(background, letters):
    return ratio(luminance(background), luminance(rgb(letters)))


def ratio(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(color):
    """Return the relative luminance of WCAG 2."""
    parts = [part / 255 for part in color]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_map_keeps_its_zeros_and_its_holes():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    given = Numbers.of_bytes((1, 4), bytes([0, 127, 254, NOT_FINITE]), -1.0, 1.0)
    picture = Image.open(BytesIO(b64decode(plots.heat(given).partition(",")[2]))).convert("RGB")
    colors = [picture.getpixel((place, 0)) for place in range(4)]
    assert colors[:3] == [plots.color(share, signed=True) for share in (0.0, 0.5, 1.0)]
    assert colors[3] == (136, 136, 136)
    photo = Numbers.of_bytes((2, 2), bytes([0, 127, 254, 254]), 0.0, 1.0)
    gray = Image.open(BytesIO(b64decode(plots.photo(photo).partition(",")[2])))
    assert [gray.getpixel(place) for place in ((0, 0), (1, 1))] == [0, 255]


def test_a_claim_on_images_of_noise_takes_less_than_a_tenth_of_a_megabyte():
    """So that fifty take less than five: six inputs in color, each with three maps, none of which can be packed."""
    import random

    rng = random.Random(0)

    def noise(*shape):
        count = 1
        for side in shape:
            count *= side
        return Numbers.of_bytes(shape, bytes(rng.choices(range(255), k=count)), -1.0, 1.0)

    one = figures()
    named = one.exhibits[0].pictures[0].maps[0]
    exhibits = tuple(
        replace(
            one.exhibits[0],
            pictures=(
                replace(
                    one.exhibits[0].pictures[0],
                    given=noise(48, 48, 3),
                    maps=tuple(replace(named, values=noise(48, 48)) for _ in range(3)),
                ),
            ),
        )
        for _ in range(6)
    )
    many = record_of(figures=replace(one, exhibits=exhibits))
    sizes = [len(page_of(*records).source) for records in ((), (many,))]
    assert sizes[1] - sizes[0] < 100_000


def test_numbers_of_another_shape_can_be_shown():
    shown = figures(shape=(3, 5))
    assert page_of(record_of(figures=shown)).all("img")
    assert plots.heat(numbers((7,))).startswith("data:image/png")
