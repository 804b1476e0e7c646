"""Kokhlikyan et al. 2021 on MiniLM: six layers of a sentence transformer as published, with a linear head.

The head was trained on 1,500 sentences and reads 74 % of others right. Once it is randomized, sums over the
dimensions of the embedding have a cosine of about 0 and norms one of 0.9. Attention weights alone do not see the
head: they are the same whatever is claimed of the film, whatever the head has learned, so that they fail where
Integrated Gradients pass.
"""

from __future__ import annotations

import pytest
from text2021_methods import attention, integrated_gradients, of_cosine
from text2021_networks import minilm_tokenizer

from pytest_xaisanity.claims.other_forms import InForms
from pytest_xaisanity.maps.forms import Form

INPUTS = 48


@pytest.fixture(scope="module")
def xai_model(minilm_reader):
    """Return MiniLM with its head."""
    return minilm_reader[0]


@pytest.fixture(scope="module")
def xai_inputs(minilm_reader, sentences):
    """Return sentences that the head was not trained on, as tokens."""
    return minilm_reader[1](sorted(sentences.test_texts[:200], key=len)[:INPUTS])


@pytest.fixture(scope="module")
def xai_tokenizer(minilm_reader):
    """Return what the report makes words of ids with."""
    return minilm_tokenizer()


@pytest.fixture(scope="module")
def xai_embedding():
    """Return the module whose output is explained, before positions are added."""
    return "encoder.embeddings.word_embeddings"


@pytest.mark.slow
def test_attention_alone_does_not_see_the_head(xai):
    """It is what the encoder does; nothing is left to change when what reads the encoder is another."""
    weights = xai.explainer(attention)
    verdict = weights.changes_under("cascading_randomization", depth=1)
    assert verdict.failed
    assert verdict.estimate > 0.99


@pytest.mark.slow
def test_attention_is_the_same_for_either_class(xai):
    """It knows of no class."""
    assert xai.explainer(attention).changes_under("other_target").failed


@pytest.mark.slow
def test_the_reduction_decides_of_integrated_gradients(xai):
    """One claim has both kinds and all reductions."""
    verdict = of_cosine(integrated_gradients(xai, "global", "sum"))
    cosines = {form: by["cosine"].estimate for form, by in verdict.evidence.get_part(InForms).found.items()}
    assert verdict.passed
    assert "depends on the reduction" in verdict.reason
    assert max(abs(cosines[Form("sum", kind)]) for kind in ("with", "without")) < 0.25
    assert cosines[Form("l2", "with")] > 0.85


@pytest.mark.slow
def test_integrated_gradients_follow_the_class(xai):
    """The explanation of the other class is another one."""
    assert integrated_gradients(xai, "global", "sum").changes_under("other_target")
