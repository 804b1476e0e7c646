"""``--xai-list``: the names that claims may use, and what is taken for an explainer, with a line on each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from ..bench.battery import BATTERIES
from ..common.errors import XaiError
from ..common.registry import Registry

__all__ = ["listing"]


def listing() -> Iterator[str]:
    """Yield the lines: what every registry holds, those of other packages too, and the batteries."""
    from ..adversaries.mutants import MUTANTS
    from ..evidence.baselines import BASELINES
    from ..evidence.interventions import INTERVENTIONS
    from ..evidence.metrics import METRICS, METRICS_OF_OTHERS
    from ..explainers.adapters import ADAPTERS
    from ..maps.similarity import SIMILARITIES

    listed = {
        "interventions": INTERVENTIONS,
        "metrics": METRICS,
        "baselines": BASELINES,
        "similarities": SIMILARITIES,
        "mutants": MUTANTS,
        "adapters": ADAPTERS,
        "metrics of other libraries": METRICS_OF_OTHERS,
    }
    for title, registry in listed.items():
        yield from _section(title, {name: _line(registry, name) for name in registry})
    claims = {name: ", ".join(str(entry.claim) for entry in entries) for name, entries in BATTERIES.items()}
    yield from _section("batteries", claims)


def _section(title: str, lines: dict[str, str]) -> Iterator[str]:
    yield f"{title}:"
    wide = max(map(len, lines), default=0)
    yield from (f"  {name:<{wide}}  {line}".rstrip() for name, line in lines.items())
    yield ""


def _line(registry: Registry, name: str) -> str:
    """Return the first sentence of what an object says of itself."""
    from ..maps.similarity import Similarity

    try:
        found: Any = registry.get(name, where=registry.kind)
    except XaiError as error:
        return f"cannot be used: {error.found}"
    if isinstance(found, Similarity):
        return found.about
    first = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
    return re.sub(r"(?::\w+:)?`{1,2}~?([^`]*)`{1,2}", r"\1", first)
