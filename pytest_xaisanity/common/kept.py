"""Arrays kept on disk by a digest of all that they depend on: each set whole or not at all, and never as pickles."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import XaiWarning, said

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["Array", "Kept"]

Array: TypeAlias = NDArray[np.generic]


class Kept:
    """A folder of NumPy archives, read without pickle, each made by one process at a time.

    An archive is written beside its place and moved there, so that whoever is cut off, by whatever, leaves the whole
    or nothing, and other processes see the whole or nothing. What the archive holds is checked when it is read: each
    array bears a checksum. A folder that cannot be written to is one warning, and nothing is kept from there on.

    What a process is about to make it reserves, so that others may leave it alone: with a lock that the system releases
    when its holder dies. Where there are no locks, something may be made twice, with the same result.

    Args:
        folder: Where to; made on the first write. None keeps nothing.
        what: What the arrays are, in the plural, for warnings.
    """

    def __init__(self, folder: Path | None, what: str) -> None:
        self.folder, self._what = folder, what
        self._reserved: dict[str, BaseFileLock] = {}

    def file(self, key: str) -> Path | None:
        """Return the file of a key, or None where nothing is kept."""
        return None if self.folder is None else self.folder / f"{key}.npz"

    def reserve(self, key: str) -> bool:
        """Return whether this process may make what a key stands for: no other one has reserved it.

        Whoever has reserved several waits for nobody until they are released, so that no two wait for each other.
        """
        file = self.file(key)
        if file is None:
            return True
        from filelock import FileLock, Timeout  # comes with torch

        lock = FileLock(file.with_suffix(".lock"))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, NotImplementedError):  # of a folder without locks
            return True
        self._reserved[key] = lock
        return True

    def release(self, *keys: str) -> None:
        """Let others make what these keys stand for; where none is named, all that is reserved."""
        for key in keys or tuple(self._reserved):
            if (lock := self._reserved.pop(key, None)) is not None:
                lock.release()
                _remove(Path(lock.lock_file))

    def read(self, key: str, *, warn: bool = True) -> dict[str, Array] | None:
        """Return the arrays kept under a key; None where there are none, or none that can be read.

        Args:
            key: Theirs.
            warn: Whether what cannot be read is a warning.
        """
        file = self.file(key)
        if file is None or not file.exists():
            return None
        try:
            # Opened here, because NumPy leaves a file open that is no archive.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except Exception as error:  # whatever a damaged archive makes its readers raise
            if warn:
                self.spurn(key, f"it cannot be read ({type(error).__name__}{said(error)})")
            return None

    def spurn(self, key: str, why: str) -> None:
        """Say that what is kept under a key is not used, and made again."""
        warnings.warn(f"{self.file(key)} is ignored and made again: {why}", XaiWarning, stacklevel=3)

    def write(self, key: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays under a key."""
        file = self.file(key)
        if file is None:
            return
        part = file.with_suffix(f".{os.getpid()}.part")
        named: dict[str, Any] = dict(arrays)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.savez(stream, **named)
            part.replace(file)
        except OSError as error:
            self.folder = None
            text = f"{self._what} cannot be kept on disk, and the next session will make them again ({error})"
            warnings.warn(text, XaiWarning, stacklevel=2)
        finally:
            _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # of a file system that has become read-only
        return
