"""The HTML report: one file that needs no network and no scripts."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from . import plots
from .audited import Audited
from .figures import Chart, Named, Numbers, Picture
from .file import write_whole
from .mutation import Mutations
from .provenance import versions
from .records import Record
from .text import numbers

__all__ = ["page", "write"]

_OUTCOMES = {"failed": "✗", "error": "!", "inconclusive": "?", "passed": "✓"}
"""A sign for each outcome, those with news first."""
_OVERRIDES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # of the direction of writing
_STRONGEST = 5  # tokens that are told in words


def write(
    file: Path,
    records: Sequence[Record],
    *,
    settings: Mapping[str, Any],
    command: str,
    audit: Mutations | None = None,
    interrupted: bool = False,
) -> None:
    """Write the report of a session.

    Args:
        file: The file.
        records: The verdicts.
        settings: Those that decide.
        command: The command line.
        audit: What an audit found, if there was one.
        interrupted: Whether the session stopped before its end.

    Raises:
        OSError: The file cannot be written.
    """
    text = page(records, settings=settings, command=command, audit=audit, interrupted=interrupted)
    write_whole(file, text)


def page(
    records: Sequence[Record],
    *,
    settings: Mapping[str, Any],
    command: str,
    audit: Mutations | None = None,
    interrupted: bool = False,
) -> str:
    """Return the report as text, see :func:`write`."""
    environment = _environment()
    ordered = sorted(records, key=lambda record: (not record.regression, list(_OUTCOMES).index(record.outcome)))
    held = Counter(record.regression for record in records if record.regression)
    claims = [_Claim(number, record) for number, record in enumerate(ordered, 1)]
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    counts = Counter(record.outcome for record in records)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        claims=claims,
        counts={outcome: counts[outcome] for outcome in _OUTCOMES},
        regressions=[f"{count} {status}" for status, count in held.items()],
        signs=_OUTCOMES,
        explainers=sorted({record.explainer for record in records}),
        audit=None if audit is None else _Audit(audit),
        interrupted=interrupted,
        provenance=dict(_provenance(settings, command)),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=Markup(style),
        script=Markup(script),
        script_digest=digest,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__ or "pytest_xaisanity.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"line": line, "lines": lines, "cut": cut, "breakable": breakable}
    environment.filters |= {"number": _number, "signed": _signed}
    environment.globals |= {"numbers": numbers, "gradient": plots.gradient}
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()


def _provenance(settings: Mapping[str, Any], command: str) -> Iterator[tuple[str, str]]:
    yield "command line", command
    for name, value in settings.items():
        yield name, "none" if value is None else str(value)
    for name, version in versions().items():
        yield f"version of {name}", version or "not installed"


# ----------------------------------------------------------------------------------------------------------------- text


def lines(text: str) -> str:
    """Return a text with what cannot be seen written out, and its lines as they are."""
    return "\n".join(line(one) for one in text.split("\n"))


def line(text: str) -> str:
    """Return a text on one line, with line breaks, control characters and changes of direction written out."""
    return "".join(char if _is_seen(char) else _written_out(char) for char in str(text))


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") and ord(char) not in _OVERRIDES


def _written_out(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def cut(text: str, room: int = 160) -> str:
    """Return a text without its middle where it is longer than there is room for."""
    return text if len(text) <= room else f"{text[: room - room // 3]} … {text[len(text) - room // 3 :]}"


def breakable(text: str) -> Markup:
    """Return a text that lines may break between the parts of a path, the words of a name, and before its settings."""
    return Markup(re.sub(r"(?<=::|.[/_])(?=.)|(?=[(\[])", "<wbr>", str(escape(text))))


def _number(value: float | None) -> str:
    """Return a number of three digits, with a true minus."""
    return "unknown" if value is None else f"{value:.3g}".replace("-", "−")


def _signed(value: float | None) -> str:
    """Return a number with its sign."""
    return f"+{_number(value)}" if value is not None and value > 0 else _number(value)


# --------------------------------------------------------------------------------------------------------------- claims


@dataclass(frozen=True)
class _Claim:
    """What the page shows of one record."""

    number: int
    record: Record

    @property
    def anchor(self) -> str:
        return f"claim-{self.number}"

    @property
    def sign(self) -> str:
        return _OUTCOMES[self.record.outcome]

    @property
    def interval(self) -> tuple[Markup, str] | None:
        """The drawing of the interval, and what it shows in words."""
        scale, record = self.record.figures.scale, self.record
        if scale is None:
            return None
        told = f"Interval: {numbers(record)}"
        ends = (("at least", scale.at_least), ("at most", scale.at_most))
        told += "".join(
            f"; passes where it is shown to be {word} {value:.3g}" for word, value in ends if value is not None
        )
        told += "".join(f"; {mark.name} {mark.value:.3g}" for mark in scale.marks)
        drawn = plots.interval(_visible(scale), record.estimate, record.interval, f"{self.anchor}-i")
        return Markup(drawn), told

    @property
    def charts(self) -> Iterator[tuple[str, Markup, str, str]]:
        """Title, drawing, what it shows in words, and a note, of each chart."""
        for place, shown in enumerate(self.record.figures.charts):
            drawn = plots.chart(_visible(shown), f"{self.anchor}-c{place}")
            yield shown.title, Markup(drawn), _in_words(shown), shown.note

    @property
    def pictures(self) -> Iterator[tuple[Any, list[_Shown]]]:
        """Each exhibit with its pictures."""
        for exhibit in self.record.figures.exhibits:
            yield exhibit, [_Shown(picture) for picture in exhibit.pictures]

    @property
    def kinds(self) -> list[str]:
        """The kinds of pictures."""
        exhibits = self.record.figures.exhibits
        return sorted({picture.kind for exhibit in exhibits for picture in exhibit.pictures})

    @property
    def signs(self) -> list[bool]:
        """Whether there are maps with values below zero, and whether there are others."""
        pictures = [picture for exhibit in self.record.figures.exhibits for picture in exhibit.pictures]
        return sorted({one.values.signed for picture in pictures for one in picture.maps}, reverse=True)

    @property
    def heats(self) -> Iterator[tuple[Any, _Map]]:
        """Each map that is shown by itself."""
        for shown in self.record.figures.heats:
            yield shown, _Map(Named(shown.title, shown.values))


def _visible(shown: Any) -> Any:
    """Return a figure with every text of it on one line, and with what cannot be seen written out."""
    return type(shown).of_plain(_with_visible_text(asdict(shown)))


def _with_visible_text(value: Any) -> Any:
    if isinstance(value, str):
        return line(value)
    if isinstance(value, dict):
        return {key: _with_visible_text(part) for key, part in value.items()}
    return [_with_visible_text(part) for part in value] if isinstance(value, (list, tuple)) else value


def _in_words(shown: Chart) -> str:
    """Return what a chart shows to those who hear it."""
    told = [f"{shown.title}; across: {shown.across}; up: {shown.up}"]
    for one in shown.lines:
        points: tuple[float | str, ...] = shown.points
        known = [(point, value) for point, value in zip(points, one.values, strict=True) if value is not None]
        if known:
            (first, start), (last, end) = known[0], known[-1]
            least, most = (pick(value for _, value in known) for pick in (min, max))
            told.append(
                f"{one.name}: {_number(start)} at {_point(first)}, {_number(end)} at {_point(last)}, "
                f"between {_number(least)} and {_number(most)}"
            )
    told += [f"{level.name}: {_number(level.value)}" for level in shown.levels]
    return ". ".join(told)


def _point(point: float | str) -> str:
    return point if isinstance(point, str) else _number(point)


# --------------------------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class _Map:
    """A map on a page."""

    named: Named

    @property
    def name(self) -> str:
        return self.named.name

    @property
    def numbers(self) -> Numbers:
        return self.named.values

    @property
    def source(self) -> str:
        """The map as an image."""
        return plots.heat(self.numbers)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        shape = self.numbers.shape
        return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])

    @property
    def scale(self) -> str:
        """Between which numbers the colors lie."""
        high = _number(self.numbers.high)
        return f"±{high}" if self.numbers.signed else f"0 to {high}"

    @property
    def told(self) -> str:
        """What the map shows to those who hear it."""
        height, width = self.size
        values = self.numbers.values
        known = [place for place, value in enumerate(values) if value is not None]
        if not known:
            return f"{self.name}: {height} by {width} values, none of them finite"
        least, most = (pick(known, key=lambda place: values[place] or 0.0) for pick in (min, max))
        places = (f"{_number(values[p])} in row {p // width + 1}, column {p % width + 1}" for p in (most, least))
        highest, lowest = places
        return f"{self.name}: {height} by {width} values; highest {highest}; lowest {lowest}"

    @property
    def bars(self) -> Iterator[tuple[float, float, float | None]]:
        """Left edge and width of a bar for each value, in percent, and the value."""
        low, high = self.numbers.low, self.numbers.high
        zero = 100 * (0 - low) / (high - low)
        for value in self.numbers.values:
            end = zero if value is None else 100 * (value - low) / (high - low)
            yield round(min(zero, end), 1), round(abs(end - zero), 1), value

    def chips(self, words: Sequence[str]) -> Iterator[tuple[str, str, str, float | None]]:
        """Yield each word with its background, the color of its letters, and its value."""
        for word, step, value in zip(words, self.numbers.steps, self.numbers.values, strict=True):
            background = plots.color(step / 254, signed=self.numbers.signed) if value is not None else (136, 136, 136)
            yield word, "#{:02x}{:02x}{:02x}".format(*background), plots.contrast(background), value

    def strongest(self, words: Sequence[str]) -> list[tuple[str, float]]:
        """Return the words that weigh most."""
        known = [(word, value) for word, value in zip(words, self.numbers.values, strict=True) if value is not None]
        return sorted(known, key=lambda pair: -abs(pair[1]))[:_STRONGEST]


@dataclass(frozen=True)
class _Shown:
    """A picture on a page."""

    picture: Picture

    @property
    def kind(self) -> str:
        return self.picture.kind

    @property
    def maps(self) -> list[_Map]:
        return [_Map(one) for one in self.picture.maps]

    @property
    def source(self) -> str:
        """The input as an image."""
        assert self.picture.given is not None
        return plots.photo(self.picture.given)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of an image, channels and points of a series."""
        assert self.picture.given is not None
        return self.picture.given.shape[:2]

    @property
    def range(self) -> str:
        """Between which numbers the input lies."""
        assert self.picture.given is not None
        return f"{_number(self.picture.given.low)} to {_number(self.picture.given.high)}"

    @property
    def paths(self) -> list[str]:
        """The points of each channel of a series, in a frame of 100 by 30."""
        assert self.picture.given is not None
        channels, count = self.picture.given.shape
        steps = self.picture.given.steps
        rows = [steps[row * count : (row + 1) * count] for row in range(channels)]
        return [
            " ".join(f"{100 * x / max(1, count - 1):.1f},{29 - step * 28 / 254:.1f}" for x, step in enumerate(row))
            for row in rows
        ]


# ---------------------------------------------------------------------------------------------------------------- audit


class _Audit:
    """What an audit found, as the page shows it."""

    def __init__(self, found: Mutations) -> None:
        self.headline = found.headline()
        self.survivors = found.survivors()
        self.records = found.records
        self.names = [name for name, _ in found.named()]
        self.words = {claim: words for record in self.records for claim, words in record.words.items()}
        self.claims = sorted({claim for record in self.records for claim in record.claims}, key=self._word)
        statuses = {name: {m.mutations[name].status for m in self._with(name)} for name in self._mutants()}
        self.mutants = sorted(statuses, key=lambda name: (not statuses[name] & {"survived", "broken"}, name))

    def _word(self, claim: str) -> str:
        return self.words.get(claim, claim)

    def _mutants(self) -> Iterable[str]:
        return dict.fromkeys(name for record in self.records for name in record.mutations)

    def _with(self, mutant: str) -> list[Audited]:
        return [record for record in self.records if mutant in record.mutations]

    def cell(self, record: Audited, mutant: str) -> tuple[str, str]:
        """Return the status of a mutant, and it in words: the numbers of the claims that killed it."""
        if mutant not in record.mutations:
            return "none", ""
        mutation = record.mutations[mutant]
        killers = sorted(self.claims.index(claim) + 1 for claim in mutation.killed_by)
        words = {"killed": f"by {', '.join(map(str, killers))}", "survived": "SURVIVED", "broken": "BROKEN"}
        words |= {"equivalent": "explains the same", "inapplicable": "does not exist", "not judged": "not judged"}
        return mutation.status.replace(" ", "-"), words[mutation.status]

    @property
    def news(self) -> Iterator[tuple[str, str, str]]:
        """Explainer, mutant and what is to be known, of mutants that broke or were not judged; claims not audited."""
        for name, record in zip(self.names, self.records, strict=True):
            for mutant, mutation in record.mutations.items():
                if mutation.status == "broken":
                    yield name, mutant, f"raised {mutation.reason}"
                elif mutation.status == "not judged":
                    yield name, mutant, f"was not judged: {mutation.reason}"
            for claim, why in record.dropped.items():
                yield name, self._word(claim), f"was not audited: {why}"
