"""The standard battery: what ``--xai-model``, ``--xai-inputs`` and ``--xai-explainer`` decide without a test file."""

import pytest


@pytest.mark.xai_changes_under("cascading_randomization")
@pytest.mark.xai_beats("random", on="pixel_flipping")
@pytest.mark.xai_invariant_under("batch_order")
def test_explanations(xai_verdict: object) -> None:
    """Each claim holds for the explainer of ``--xai-explainer``."""
    assert xai_verdict
