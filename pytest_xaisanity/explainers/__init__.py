"""Explainers: adapters to what users have, and running them on a subject."""

from .adapters import Explainer, as_explainer
from .running import Explained

__all__ = ["Explained", "Explainer", "as_explainer"]
