"""The schema of the JSON report: ``schema.json`` in this folder, of which each version is told by its number."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["SCHEMA_VERSION", "schema"]

SCHEMA_VERSION = 1


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the report that this version of the package writes."""
    text = files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    read: dict[str, Any] = json.loads(text)
    return read
