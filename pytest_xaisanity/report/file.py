"""Files that reports are written to: tried at the start, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..common.errors import XaiError

__all__ = ["check_file", "write_whole"]


def check_file(where: str, file: Path) -> None:
    """Raise where nothing could be written to a file; what is in it stays as it is.

    Args:
        where: The option that names the file.
        file: The file, which need not exist.
    """
    if file.is_dir():
        raise XaiError(where, found=f"the folder {str(file)!r}", expected="a file", fix="add the name of a file")
    if not file.absolute().parent.is_dir():
        raise XaiError(
            where,
            found=f"{str(file)!r} in a folder that does not exist",
            expected="a file in an existing folder",
            fix="make the folder first",
        )
    existed = os.path.lexists(file)
    try:
        with file.open("ab"):
            pass
        if not existed:
            file.unlink()
    except OSError as error:
        raise XaiError(
            where,
            found=f"{str(file)!r}, which cannot be written ({error.strerror})",
            expected="a file that can be written, in a folder that can be written to",
            fix="name another file, or allow writing to this one",
        ) from None


def write_whole(file: Path, text: str) -> None:
    """Write a file so that an interrupt leaves the old one or the new one, and never half of it.

    Raises:
        OSError: It cannot be written.
    """
    target = file.resolve()  # of a link, what it points to
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")  # a device or a pipe, which must not be replaced
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    except OSError:
        target.write_text(text, encoding="utf-8")  # a file that can be written, in a folder that cannot
        return
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """Return the mask of new files; the system tells it only to those who set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
