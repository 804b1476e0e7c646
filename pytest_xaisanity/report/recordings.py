"""Recorded baselines on disk: the evidence of claims, as JSON that a person can review and a merge can join.

Each claim has a block of its own, and each accepted recording in it a checksum for each of its fields, so that a block
may be copied from one file to another, and an edited number is told by the name of its field. Nothing is ever pickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..common.errors import XaiError, shown
from .file import write_whole
from .records import plain_value

__all__ = ["Name", "Recording", "Recordings", "command_for"]

VERSION = 1
_TITLE = "recorded baseline of pytest-xaisanity"
_CHECKED = 4  # hexadecimal digits of the checksum of a field
_A_LINE = 4  # scores
_SHORT = 100  # characters of what stands on one line
_FIX = "take it from version control, or delete it and record it again with --xai-update-baseline"


class Name(NamedTuple):
    """What tells one recorded claim from another.

    Attributes:
        test: The test's node id; empty outside pytest.
        explainer: The explainer's name.
        claim: The claim's id.
    """

    test: str
    explainer: str
    claim: str

    def __str__(self) -> str:
        return f"{self.explainer} {self.claim}" + (f" of {self.test}" if self.test else "")


@dataclass(frozen=True)
class Recording:
    """What was recorded of a claim, once.

    Attributes:
        words: The claim in one phrase, with the explainer.
        outcome: ``"passed"``, ``"failed"`` or ``"inconclusive"``.
        estimate: What was measured; None where that is no number.
        interval: Its bounds, likewise.
        confidence: With which each bound holds.
        n: How many inputs decided the claim.
        quantity: What ``estimate`` is of.
        scored: What scores inputs, with its settings.
        better: Which direction of a score is better.
        range: The least and the greatest possible score; None where there is none.
        noise: By how much scores differ from run to run; 0 where nothing is drawn.
        draws: Whether the explainer draws random numbers.
        seed: What everything was drawn with.
        settings: How the subject was read, by name.
        data: Digest of the inputs; empty for a stream.
        targets: Digest of the targets; ``"predicted"`` where the model's own predictions were explained.
        model: Digest of weights and buffers, which may be others now.
        device: Where it was measured.
        versions: Of Python and of the packages that decide.
        scores: The score of each input by its fingerprint, which is that of its target too; empty where no score is an
            input's own.
    """

    words: str
    outcome: Literal["passed", "failed", "inconclusive"]
    estimate: float | None
    interval: tuple[float | None, float | None]
    confidence: float
    n: int
    quantity: str
    scored: str
    better: Literal["higher", "lower"]
    range: tuple[float | None, float | None]
    noise: float
    draws: bool
    seed: int
    settings: Mapping[str, str]
    data: str
    targets: str
    model: str
    device: str
    versions: Mapping[str, str | None]
    scores: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return all of it in built-in types, in the order in which a file has it."""
        values: dict[str, Any] = plain_value(asdict(self))
        for mapping in ("settings", "versions", "scores"):
            values[mapping] = dict(sorted(values[mapping].items()))
        return values

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Recording:
        """Return the recording of these values."""
        pairs = {pair: (values[pair][0], values[pair][1]) for pair in ("interval", "range")}
        return cls(**{**values, **pairs})


class Recordings(Mapping[Name, tuple[Recording, ...]]):
    """The accepted recordings of each claim, of which a claim need be no worse than one.

    Args:
        blocks: The recordings by the name of the claim.
    """

    def __init__(self, blocks: Mapping[Name, Sequence[Recording]] | None = None) -> None:
        given = blocks or {}
        self._blocks = {name: tuple(given[name]) for name in sorted(given)}

    def __getitem__(self, name: Name) -> tuple[Recording, ...]:
        return self._blocks[name]

    def __iter__(self) -> Iterator[Name]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def updated(self, new: Mapping[Name, Recording]) -> Recordings:
        """Return these with new recordings in place of what was recorded of the same claims; all others stay."""
        return Recordings({**self._blocks, **{name: (one,) for name, one in new.items()}})

    def joined(self, other: Recordings) -> Recordings:
        """Return the recordings of both, each of which is accepted."""
        names = {*self, *other}
        return Recordings({name: (*self.get(name, ()), *other.get(name, ())) for name in names})

    @classmethod
    def read(cls, file: Path, where: str) -> Recordings:
        """Return what a file holds.

        Args:
            file: The file.
            where: The option that names it, for the error.

        Raises:
            XaiError: There is none, or it is no recorded baseline, one of a newer version, cut off, or edited.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise _missing(file, where) from None
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(file, where, f"that cannot be read ({error})", "a file of JSON") from None
        return _Reader(file, where).recordings(text)

    def write(self, file: Path) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        write_whole(file, self.text())

    def text(self) -> str:
        """Return the file: claims sorted by name, fields in a fixed order, scores by fingerprint."""
        claims = [
            {**name._asdict(), "accepted": [_with_checksum(name, one) for one in some]}
            for name, some in self._blocks.items()
        ]
        return "\n".join(_lines({"file": _TITLE, "schema_version": VERSION, "claims": claims})) + "\n"


def command_for(file: Path | str) -> str:
    """Return the command that records a baseline."""
    return f"pytest --xai-baseline={file} --xai-update-baseline"


# ------------------------------------------------------------------------------------------------------------ writing


def _lines(value: Any, depth: int = 0, head: str = "", tail: str = "") -> Iterator[str]:
    """Yield JSON with a line for each value; what is short and flat stands on one line, and scores in rows."""
    pad = " " * depth
    parts = _parts(value)
    inner = any(_parts(one) is not None for _, one in parts or ())
    if parts is None or (not inner and len(_json(value)) <= _SHORT):
        yield f"{pad}{head}{_json(value)}{tail}"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{pad}{head}{opening}"
    if inner:
        for place, (key, one) in enumerate(parts, 1):
            yield from _lines(one, depth + 1, key, "," if place < len(parts) else "")
    else:
        written = [f"{key}{_json(one)}" for key, one in parts]
        for start in range(0, len(written), _A_LINE):
            row = ", ".join(written[start : start + _A_LINE])
            yield f"{pad} {row}{',' if start + _A_LINE < len(written) else ''}"
    yield f"{pad}{closing}{tail}"


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """Return the parts of a list or a mapping, each with what stands before it; None for a plain value."""
    if isinstance(value, dict):
        return [(f"{_json(key)}: ", one) for key, one in value.items()]
    return [("", one) for one in value] if isinstance(value, list) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _with_checksum(name: Name, recording: Recording) -> dict[str, Any]:
    """Return a recording with its checksum, above its scores."""
    values = recording.plain()
    scores = values.pop("scores")
    return {**values, "checksum": " ".join(_checksums(name, {**values, "scores": scores}).values()), "scores": scores}


def _checksums(name: Name, values: Mapping[str, Any]) -> dict[str, str]:
    """Return a few digits for each field, which depend on the claim that it was recorded of."""
    return {
        key: blake2b(json.dumps([*name, key, value], sort_keys=True).encode(), digest_size=8).hexdigest()[:_CHECKED]
        for key, value in values.items()
    }


# ------------------------------------------------------------------------------------------------------------ reading


def _missing(file: Path, where: str) -> XaiError:
    return XaiError(
        where,
        found=f"no file {str(file)!r}",
        expected="a recorded baseline",
        fix=f"record one where the explanations are as they should be, with {command_for(file)}, and commit it",
    )


def _broken(file: Path, where: str, found: str, expected: str, fix: str = _FIX) -> XaiError:
    return XaiError(where, found=f"{str(file)!r} {found}", expected=expected, fix=fix)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(one is None or _is_number(one) for one in value)


def _is_one_of(value: Any, *, names: tuple[str, ...]) -> bool:
    return value in names


def _is_mapping(value: Any, *, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(holds, value.values()))


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "words": ("a text", _is_text),
    "outcome": ("passed, failed or inconclusive", partial(_is_one_of, names=("passed", "failed", "inconclusive"))),
    "estimate": ("a number or null", lambda value: value is None or _is_number(value)),
    "interval": ("two numbers or nulls", _is_pair),
    "confidence": ("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
    "n": ("a whole number", _is_whole),
    "quantity": ("a text", _is_text),
    "scored": ("a text", _is_text),
    "better": ("higher or lower", partial(_is_one_of, names=("higher", "lower"))),
    "range": ("two numbers or nulls", _is_pair),
    "noise": ("a number, 0 or more", lambda value: _is_number(value) and value >= 0),
    "draws": ("true or false", _is_flag),
    "seed": ("a whole number", _is_whole),
    "settings": ("texts by name", partial(_is_mapping, holds=_is_text)),
    "data": ("a text", _is_text),
    "targets": ("a text", _is_text),
    "model": ("a text", _is_text),
    "device": ("a text", _is_text),
    "versions": ("texts by name", partial(_is_mapping, holds=lambda value: value is None or _is_text(value))),
    "scores": ("numbers by fingerprint", partial(_is_mapping, holds=_is_number)),
}
assert [*_KINDS] == [one.name for one in fields(Recording)]


class _Reader:
    """Reads a file, and says of what is wrong with it where it is."""

    def __init__(self, file: Path, where: str) -> None:
        self.file, self.where = file, where

    def recordings(self, text: str) -> Recordings:
        try:
            found: Any = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refused)
        except (ValueError, RecursionError) as error:
            raise self._error(f"which is cut off or no JSON ({error})", "a whole file of JSON") from None
        if not isinstance(found, dict) or found.get("file") != _TITLE:
            raise self._error("which is another file", f'one with "file": "{_TITLE}"', "name another file")
        self._check_version(found.get("schema_version"))
        if found.keys() != {"file", "schema_version", "claims"} or not isinstance(found["claims"], list):
            raise self._error(f"with the fields {', '.join(found)}", "file, schema_version and a list of claims")
        blocks: dict[Name, tuple[Recording, ...]] = {}
        for place, block in enumerate(found["claims"], 1):
            name, some = self._block(block, f"claim {place}")
            if name in blocks:
                raise self._error(
                    f"with two blocks for {name}", "one block for each claim", 'join their lists "accepted" in one'
                )
            blocks[name] = some
        return Recordings(blocks)

    def _check_version(self, version: Any) -> None:
        if _is_whole(version) and version > VERSION:
            raise self._error(
                f"with schema_version {version}, of a newer pytest-xaisanity",
                f"at most {VERSION}, which this one reads",
                "update pytest-xaisanity, or delete the file and record it again with this one",
            )
        if version != VERSION:
            raise self._error(f"with schema_version {shown(version)}", str(VERSION))

    def _block(self, block: Any, which: str) -> tuple[Name, tuple[Recording, ...]]:
        known = {*Name._fields, "accepted"}
        if not isinstance(block, dict) or block.keys() != known:
            got = ", ".join(block) if isinstance(block, dict) else shown(block)
            raise self._error(f"whose {which} has {got}", ", ".join((*Name._fields, "accepted")))
        for key in Name._fields:
            if not _is_text(block[key]):
                raise self._error(f"whose {which} has {shown(block[key])} in the field {key}", "a text")
        name = Name(*(block[key] for key in Name._fields))
        if not isinstance(block["accepted"], list) or not block["accepted"]:
            raise self._error(f"with nothing accepted for {name}", "a list of recordings", "take the whole block out")
        return name, tuple(self._recording(name, one) for one in block["accepted"])

    def _recording(self, name: Name, values: Any) -> Recording:
        if not isinstance(values, dict) or values.keys() != {*_KINDS, "checksum"}:
            given = values.keys() if isinstance(values, dict) else set()
            apart = sorted(given ^ {*_KINDS, "checksum"})
            raise self._error(
                f"where {name} lacks, or has beside others, the fields {', '.join(apart)}", "the fields of a recording"
            )
        for key, (expected, fits) in _KINDS.items():
            if not fits(values[key]):
                raise self._error(f"where {name} has {shown(values[key])} in the field {key}", expected)
        self._check_sums(name, values)
        return Recording.of_plain({key: values[key] for key in _KINDS})

    def _check_sums(self, name: Name, values: Mapping[str, Any]) -> None:
        sums = _checksums(name, {key: values[key] for key in _KINDS})
        recorded = values["checksum"].split() if _is_text(values["checksum"]) else []
        if len(recorded) != len(sums):
            raise self._error(f"where {name} has no checksum of its {len(sums)} fields", "what was recorded")
        edited = [key for key, one in zip(sums, recorded, strict=True) if sums[key] != one]
        if len(edited) == len(sums):
            edited = ["test, explainer or claim (the checksum is that of another claim)"]
        if edited:
            raise self._error(f"where {name} was edited, in {', '.join(edited)}", "what was recorded")

    def _error(self, found: str, expected: str, fix: str = _FIX) -> XaiError:
        return _broken(self.file, self.where, found, expected, fix)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the field {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
