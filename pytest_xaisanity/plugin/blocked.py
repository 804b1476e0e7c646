"""What is left of the plugin when it is blocked: a suite with claims is collected, and its claims are skipped.

Without it ``-p no:xaisanity`` would lose tests: pytest takes the only argument of ``xai_explainer(Saliency)`` for what
is marked, so that the test below the marker becomes ``Saliency(test)``.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Let the stand-in take the plugin's place when it is blocked; do nothing otherwise."""
    if pluginmanager.is_blocked("xaisanity"):
        from . import stand_in
        from .options import add_ini_keys

        add_ini_keys(parser)  # those of the suite are no mistake
        pluginmanager.register(stand_in, "xaisanity-stand-in")
