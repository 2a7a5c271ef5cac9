"""Embedding jobs: the mean of the last hidden state, as plain transformers gives it, in the order of the rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EmbedSpec, ModelRef
from fm_notebook.data import stored
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.worker import embedding, models_loaded
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow
TEXTS = ["good film", "bad", "the plot was not very good and we saw it", "film plot scene music end cast long short", "good film"]
FACTS = DataFacts(labels=["n", "p"], train_rows=0, eval_rows=5, train_label_counts=[], eval_label_counts=[])


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


@pytest.fixture
def make_job(tmp_path, tiny_bert):
    def make(texts=TEXTS, pairs=None, **fields) -> JobFolder:
        job = jobs.create(tmp_path / str(len(list(tmp_path.iterdir()))))
        columns = {"text": pa.array(texts, pa.large_string()), "row": pa.array(range(len(texts)), pa.int64())}
        more = {"text_pair": pa.array(pairs, pa.large_string())} if pairs else {}
        stored.write(pa.table(columns | more), job.eval_rows)
        model = ModelRef(source="tiny", kind="folder", location=str(tiny_bert))
        spec = EmbedSpec(model=model, data=DataRef(source="rows", kind="value"), max_length=32, device="cpu", **fields)
        job.write(spec=spec, identity=Identity(name="tiny"), facts=FACTS)
        return job

    return make


def do(job, command=lambda: "run"):
    events = []
    execute(job, events.append, command)
    return events


def by_transformers(folder, texts, pairs=None) -> np.ndarray:
    """One text after the other, without padding; special tokens are part of the mean."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.no_grad():
        for i, text in enumerate(texts):
            inputs = tokenizer(text, pairs[i] if pairs else None, return_tensors="pt", truncation=True, max_length=32)
            found.append(model(**inputs).last_hidden_state[0].mean(0).numpy())
    return np.stack(found) / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("packing", ["auto", "off"])
@pytest.mark.parametrize("pairs", [None, ["it was", "we saw it", "a", "dull", "it was"]])
def test_vectors_are_the_mean_of_the_last_hidden_state(make_job, tiny_bert, packing, pairs):
    job = make_job(pairs=pairs, packing=packing, batch_size=2)
    events = do(job)
    assert events[-1].state == "finished", events[-1]
    vectors = np.load(job.path / embedding.FILE)
    assert vectors.dtype == np.float16
    assert (job.path / embedding.FILE).stat().st_mode & 0o777 == 0o600
    np.testing.assert_allclose(vectors.astype(float), by_transformers(tiny_bert, TEXTS, pairs), atol=1e-3)
    items = [event for event in events if isinstance(event, ev.ItemsScored)]
    assert items[-1].done == items[-1].total == len(TEXTS)


def test_cancel_ends_it_without_a_file(make_job):
    job = make_job()
    assert do(job, lambda: "cancel")[-1].state == "cancelled"
    assert not (job.path / embedding.FILE).exists()


def test_equal_texts_have_equal_vectors_and_more_than_a_chunk_keeps_its_order(make_job, monkeypatch):
    monkeypatch.setattr(embedding, "CHUNK", 2)
    job = make_job()
    do(job)
    vectors = np.load(job.path / embedding.FILE).astype(float)
    np.testing.assert_allclose(vectors[0], vectors[4], atol=1e-3)
    assert (vectors @ vectors.T).argmax(1).tolist() in ([0, 1, 2, 3, 0], [0, 1, 2, 3, 4], [4, 1, 2, 3, 4])
