"""Arrays kept on disk by a digest of all that they depend on: each set whole or not at all, and never as pickles."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import XaiWarning, said

__all__ = ["Array", "Kept"]

Array: TypeAlias = NDArray[np.generic]


class Kept:
    """A folder of NumPy archives, read without pickle.

    An archive is written beside its place and moved there, so that whoever is cut off, by whatever, leaves the whole
    or nothing, and other processes see the whole or nothing. What the archive holds is checked when it is read: each
    array bears a checksum. A folder that cannot be written to is one warning, and nothing is kept from there on.

    Args:
        folder: Where to; made on the first write. None keeps nothing.
        what: What the arrays are, in the plural, for warnings.
    """

    def __init__(self, folder: Path | None, what: str) -> None:
        self.folder, self._what = folder, what

    def file(self, key: str) -> Path | None:
        """Return the file of a key, or None where nothing is kept."""
        return None if self.folder is None else self.folder / f"{key}.npz"

    def read(self, key: str) -> dict[str, Array] | None:
        """Return the arrays kept under a key; None where there are none, or none that can be read."""
        file = self.file(key)
        if file is None or not file.exists():
            return None
        try:
            # Opened here, because NumPy leaves a file open that is no archive.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except Exception as error:  # whatever a damaged archive makes its readers raise
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
