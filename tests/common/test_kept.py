"""Arrays on disk: whole or not at all, and never silently wrong."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from pytest_xaisanity import XaiWarning
from pytest_xaisanity.common import kept as module
from pytest_xaisanity.common.kept import Kept

ARRAYS = {"one": np.arange(500), "two": np.array([0.5])}


@pytest.fixture
def kept(tmp_path):
    found = Kept(tmp_path / "made" / "here", "numbers")
    found.write("key", ARRAYS)
    return found


def test_what_is_written_is_read(kept):
    found = kept.read("key")
    assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert kept.read("other") is None
    assert [file.name for file in kept.folder.iterdir()] == ["key.npz"]


def test_without_a_folder_nothing_is_kept():
    kept = Kept(None, "numbers")
    kept.write("key", ARRAYS)
    assert kept.read("key") is None


def test_any_damage_is_seen(kept):
    """Each byte of the arrays that is another one, and each file that ends too early."""
    file = kept.file("key")
    whole = file.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 60)
    for place in places.tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.warns(XaiWarning) if _unreadable(kept) else _nothing():
            found = kept.read("key")
        if found is not None:  # a byte that says nothing of the arrays, such as the time of writing
            assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items() if name in found)
        file.write_bytes(whole[:place])
        with pytest.warns(XaiWarning, match="ignored and made again"):
            assert kept.read("key") is None


def _unreadable(kept):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kept.read("key") is None


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_pickles_are_not_read(kept):
    np.savez(kept.file("bad"), one=np.array([object()], dtype=object))
    with pytest.warns(XaiWarning, match="cannot be read"):
        assert kept.read("bad") is None


@pytest.mark.filterwarnings("error::pytest_xaisanity.XaiWarning")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_is_full_or_read_only_is_one_warning(kept, monkeypatch, code):
    """What is half written is taken away, and nothing more is tried."""

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(code, "no")

    monkeypatch.setattr(module.np, "savez", full)
    folder = kept.folder
    with pytest.warns(XaiWarning, match="numbers cannot be kept on disk"):
        kept.write("more", ARRAYS)
    kept.write("again", ARRAYS)  # without a second warning
    assert [file.name for file in folder.iterdir()] == ["key.npz"]


def test_a_file_where_the_folder_should_be_is_one_warning(tmp_path):
    (tmp_path / "file").touch()
    kept = Kept(tmp_path / "file", "numbers")
    with pytest.warns(XaiWarning, match="cannot be kept"):
        kept.write("key", ARRAYS)
