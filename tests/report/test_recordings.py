"""Recorded baselines on disk: reviewable, joined without loss, and refused where something is wrong with them."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from pytest_xaisanity import XaiError
from pytest_xaisanity.report.recordings import Name, Recording, Recordings

NAME = Name("tests/test_maps.py::test_it[a]", "Saliency", "beats-random-on-pixel_flipping")
ONE = Recording(
    words="Saliency beats random on pixel_flipping",
    outcome="passed",
    estimate=0.91,
    interval=(0.8, None),
    confidence=0.95,
    n=16,
    quantity="share of random orders beaten",
    scored="pixel_flipping",
    better="higher",
    range=(-1.0, 1.0),
    noise=0.0,
    draws=False,
    seed=0,
    settings={"task": "classification", "axes": "None"},
    data="d1",
    targets="predicted",
    model="m1",
    device="cpu",
    versions={"torch": "2.7.0", "captum": None},
    scores={f"{place:010x}": place / 256 for place in range(256)},
)


@pytest.fixture
def file(tmp_path):
    """Return a file with one recorded claim."""
    path = tmp_path / "baseline.json"
    Recordings({NAME: [ONE]}).write(path)
    return path


def read(path):
    return Recordings.read(path, "--xai-baseline")


def refused(path):
    """Return what is said of a file that cannot be read."""
    with pytest.raises(XaiError) as error:
        read(path)
    assert error.value.where == "--xai-baseline"
    return error.value


def edited(path, *steps, to):
    """Change a value in a file, at the end of a path of keys."""
    found = json.loads(path.read_text())
    inner = found
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = to
    path.write_text(json.dumps(found))


FIRST = ("claims", 0, "accepted", 0)


def test_what_is_written_is_read(file):
    assert dict(read(file)) == {NAME: (ONE,)}
    text = file.read_text()
    read(file).write(file)
    assert file.read_text() == text


def test_the_order_of_what_is_recorded_is_not_told(file):
    keys = [*ONE.scores]
    random.Random(0).shuffle(keys)
    mixed = replace(ONE, scores={key: ONE.scores[key] for key in keys}, settings=dict([*ONE.settings.items()][::-1]))
    names = [NAME, NAME._replace(explainer="A"), NAME._replace(test="a"), NAME._replace(claim="z")]
    texts = {Recordings({name: [one] for name in order}).text() for order, one in ((names, ONE), (names[::-1], mixed))}
    assert len(texts) == 1
    told = [tuple(block.values())[:3] for block in json.loads(texts.pop())["claims"]]
    assert told == sorted(told)


def test_a_person_can_review_it(file):
    lines = file.read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) < 120
    assert '     "estimate": 0.91,' in lines
    other = replace(ONE, scores={**ONE.scores, f"{7:010x}": 0.5})
    changed = [a for a, b in zip(lines, Recordings({NAME: [other]}).text().splitlines(), strict=True) if a != b]
    assert len(changed) == 2  # the row of the score, and the checksum
    assert any("checksum" in line for line in changed)


def test_fifty_claims_of_256_inputs_are_less_than_half_a_megabyte():
    every = Recordings({NAME._replace(claim=f"claim-{place}"): [ONE] for place in range(50)})
    assert len(every.text()) < 500_000


def test_an_update_leaves_all_others(file):
    other = NAME._replace(claim="bounded-complexity")
    anew = replace(ONE, estimate=0.5)
    updated = Recordings({NAME: [ONE, ONE], other: [ONE]}).updated({NAME: anew})
    assert dict(updated) == {NAME: (anew,), other: (ONE,)}


def test_several_files_are_accepted_together():
    other = replace(ONE, model="m2")
    joined = Recordings({NAME: [ONE]}).joined(Recordings({NAME: [other], NAME._replace(test="b"): [ONE]}))
    assert joined[NAME] == (ONE, other)
    assert len(joined) == 2


def test_a_recording_may_be_copied_into_the_list_of_its_claim(file, tmp_path):
    other = tmp_path / "other.json"
    Recordings({NAME: [replace(ONE, model="m2")]}).write(other)
    copied = json.loads(other.read_text())["claims"][0]["accepted"][0]
    edited(file, "claims", 0, "accepted", to=[*json.loads(file.read_text())["claims"][0]["accepted"], copied])
    assert [one.model for one in read(file)[NAME]] == ["m1", "m2"]


def test_hostile_names_come_back(tmp_path):
    name = Name('t"\n\\ü\u202e🧪', "<script>", "x" * 10_000)
    Recordings({name: [replace(ONE, words="\x00 🧪 \u2028")]}).write(tmp_path / "b.json")
    assert read(tmp_path / "b.json")[name][0].words == "\x00 🧪 \u2028"


def test_a_missing_file_says_the_command_that_makes_it(tmp_path):
    path = tmp_path / "baseline.json"
    assert f"pytest --xai-baseline={path} --xai-update-baseline" in refused(path).fix


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(file, share):
    text = file.read_text()
    file.write_text(text[: int(share * len(text))])
    assert "cut off or no JSON" in refused(file).found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", "another file"),
        ('{"schema_version": 1, "claims": []}', "another file"),
        ("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other", "no JSON"),
        ('{"file": "a", "file": "b"}', "the field 'file' stands twice"),
        ('{"file": NaN}', "NaN is no number"),
    ],
)
def test_another_file_is_refused(file, text, found):
    file.write_text(text)
    assert found in refused(file).found


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(file).found


@pytest.mark.parametrize(
    ("version", "found", "fix"),
    [(2, "of a newer pytest-xaisanity", "update pytest-xaisanity"), (0, "schema_version 0", ""), ("1", "'1'", "")],
)
def test_another_schema_is_refused(file, version, found, fix):
    edited(file, "schema_version", to=version)
    error = refused(file)
    assert found in error.found
    assert fix in error.fix


@pytest.mark.parametrize("field", [*ONE.plain()])
def test_an_edited_field_is_named(file, field):
    """Each field is edited to something that it may be: only the checksum tells."""
    values = ONE.plain()
    others = {
        "outcome": "failed",
        "interval": [0.8, 0.9],
        "better": "lower",
        "range": [0.0, 1.0],
        "draws": True,
        "confidence": 0.9,
        "scores": {**values["scores"], f"{7:010x}": 0.5},
        "settings": {"task": "multilabel", "axes": "None"},
        "versions": {},
    }
    value = values[field]
    other = others[field] if field in others else value + 1 if isinstance(value, (int, float)) else f"{value} "
    edited(file, *FIRST, field, to=other)
    error = refused(file)
    assert error.found.endswith(f"was edited, in {field}")
    assert str(NAME) in error.found


@pytest.mark.parametrize("field", [*ONE.plain()])
def test_a_field_that_cannot_be_is_named(file, field):
    edited(file, *FIRST, field, to=[{"a": []}])
    assert refused(file).found.endswith(f"in the field {field}")


def test_a_recording_of_another_claim_is_refused(file):
    edited(file, "claims", 0, "claim", to="beats-edges-on-pixel_flipping")
    assert "test, explainer or claim" in refused(file).found


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("claims",), {}, "with the fields"),
        (("more",), 1, "with the fields"),
        (("claims", 0), 1, "claim 1 has 1"),
        (("claims", 0, "test"), 3, "in the field test"),
        (("claims", 0, "accepted"), [], "nothing accepted"),
        ((*FIRST, "more"), 1, "the fields more"),
        (FIRST, 3, "lacks, or has beside others"),
        ((*FIRST, "checksum"), "1234", "no checksum"),
        ((*FIRST, "checksum"), None, "no checksum"),
    ],
)
def test_another_shape_is_refused(file, path, value, found):
    edited(file, *path, to=value)
    assert found in refused(file).found


def test_two_blocks_of_one_name_are_refused(file):
    edited(file, "claims", to=2 * json.loads(file.read_text())["claims"])
    assert f"two blocks for {NAME}" in refused(file).found


def test_it_is_written_whole_or_not_at_all(file, monkeypatch):
    before = file.read_text()
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        Recordings({}).write(file)
    assert file.read_text() == before
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_numbers_that_are_none_are_null():
    text = Recordings({NAME: [replace(ONE, estimate=None, interval=(None, None), range=(0.0, None))]}).text()
    assert '"estimate": null' in text
    assert not re.search("NaN|Infinity", text)


def test_scores_stand_in_the_order_of_their_fingerprints(file):
    keys = re.findall(r'"([0-9a-f]{10})"', file.read_text())
    assert len(keys) == 256
    assert all(a < b for a, b in pairwise(keys))
