"""The markers: what ``pytest.mark`` offers for claims and explainers, and how ``pytest --markers`` describes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ..claims.make import VERBS, signature_of
from ..claims.written import Written

__all__ = ["CLAIMS", "EXPLAINER", "install", "mark_of", "register"]

CLAIMS = tuple(f"xai_{verb}" for verb in VERBS)
EXPLAINER = "xai_explainer"

_TEST = "The test asks for xai_verdict and asserts it; it runs once for each claim and explainer among its markers."
_EXPLAINED = (
    "an explainer that the claims of the test are about; may be repeated. Without one, that of the fixture "
    "xai_explainer."
)


class _Marker:
    """A marker whose only argument may be a class or a function.

    pytest takes such an argument for the thing that is marked, so that ``xai_explainer(Saliency)`` would mark Captum's
    class and return it.
    """

    def __init__(self, mark: pytest.MarkDecorator) -> None:
        self._mark = mark

    def __call__(self, *args: object, **kwargs: object) -> pytest.MarkDecorator:
        return self._mark.with_args(*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        return getattr(self._mark, name)


def install(config: pytest.Config) -> None:
    """Make ``pytest.mark`` offer the markers as :class:`_Marker` until the session ends."""
    for name in (*CLAIMS, EXPLAINER):
        mark = getattr(pytest.mark, name)
        if not isinstance(mark, _Marker):
            setattr(pytest.mark, name, _Marker(mark))
            config.add_cleanup(partial(delattr, pytest.mark, name))


def mark_of(claim: Written) -> pytest.MarkDecorator:
    """Return the marker that makes a claim."""
    name = f"xai_{claim.verb}"
    mark: pytest.MarkDecorator = getattr(pytest.mark, name)(*claim.args, **claim.settings)
    return mark


def register(config: pytest.Config, explainer: Callable[..., object]) -> None:
    """Describe the markers by what they stand for: the four verbs, and the method that makes an explainer."""
    for name, verb in zip(CLAIMS, VERBS.values(), strict=True):
        first = (verb.__doc__ or "").partition("\n")[0]
        config.addinivalue_line("markers", f"{name}{signature_of(verb)}: {first[:1].lower()}{first[1:]} {_TEST}")
    config.addinivalue_line("markers", f"{EXPLAINER}{signature_of(explainer)}: {_EXPLAINED}")
