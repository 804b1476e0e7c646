"""Where a report comes from: versions of the packages that decide."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = ("pytest-xaisanity", "pytest", "torch", "captum", "numpy", "scipy")


def versions() -> dict[str, str | None]:
    """Return the version of Python and of the packages that decide; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
