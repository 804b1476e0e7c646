"""The JSON report: every verdict with its whole evidence, as ``schema.json`` beside this file describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .file import write_whole
from .provenance import versions
from .records import Record
from .schema import SCHEMA_VERSION

__all__ = ["write"]


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
        "schema_version": SCHEMA_VERSION,
        "interrupted": interrupted,
        "settings": dict(settings),
        "versions": versions(),
        "claims": [record.report() for record in records],
        **({} if audit is None else {"audit": audit}),
    }
    write_whole(file, json.dumps(report, indent=1, allow_nan=False) + "\n")
