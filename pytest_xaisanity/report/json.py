"""The JSON report: every verdict with its whole evidence."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .file import write_whole
from .records import Record

__all__ = ["write"]

_PACKAGES = ("pytest-xaisanity", "pytest", "torch", "captum", "numpy", "scipy")


def write(
    file: Path,
    records: Sequence[Record],
    *,
    settings: Mapping[str, Any],
    audit: Mapping[str, Any] | None = None,
    interrupted: bool = False,
) -> None:
    """Write settings, versions, verdicts and an audit, in an order that does not depend on workers.

    Args:
        file: The file.
        records: The verdicts.
        settings: Those that decide.
        audit: What an audit found, if there was one.
        interrupted: Whether the session stopped before its end, so that there may be less than there would be.

    Raises:
        OSError: The file cannot be written.
    """
    report = {
        "format": 1,
        "interrupted": interrupted,
        "settings": dict(settings),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "claims": [record.report() for record in records],
        **({} if audit is None else {"audit": audit}),
    }
    write_whole(file, json.dumps(report, indent=1, allow_nan=False) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
