"""Jobs of the tasks of causal language models, from their folder to the end of their journal."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef, PredictSpec
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.worker import models_loaded
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow

DATA = DataRef(source="rows", kind="value", fingerprint="f" * 64)
NAMES = ["ann", "bob", "eve", "joe"]
DRINKS = {"ann": "tea", "bob": "milk", "eve": "tea", "joe": "milk"}
PROMPTS = [f"{name} drinks" for name in NAMES]


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    """A Llama of two layers, and a tokenizer whose tokens are words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    words = ["<pad>", "<s>", "</s>", "<unk>", "drinks", "tea", "milk", ":", "Label", *NAMES]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(prefix="##")
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **special, **sizes)).save_pretrained(folder)
    return folder


def make_job(folder: Path, spec, labels=(), **tables) -> JobFolder:
    job = jobs.create(folder)
    for name, columns in tables.items():
        n = len(next(iter(columns.values())))
        table = pa.table({**columns, "row": pa.array(range(n), pa.int64())})
        with pa.ipc.new_file(str(getattr(job, f"{name}_rows")), table.schema) as writer:
            writer.write_table(table)
    counts = DataFacts(labels=list(labels), train_rows=4, eval_rows=4, train_label_counts=[], eval_label_counts=[])
    job.write(spec=spec, identity=Identity(name=folder.name), facts=counts)
    return job


def do(job):
    events = []
    execute(job, events.append, lambda: "run")
    assert events[-1].state == "finished", events[-1].error
    return events


def predictions(job):
    return pa.ipc.open_file(job.predictions).read_all().to_pydict()


@pytest.fixture
def run(llama, tmp_path) -> JobFolder:
    ref = ModelRef(source="tiny", kind="folder", location=str(llama))
    spec = FinetuneSpec(
        model=ref, train=DATA, task="text-generation", completion_only_loss=True, epochs=40.0, batch_size=4, learning_rate=1e-2,
        max_length=32, precision="fp32", eval_every=40,
    )  # fmt: skip
    rows = {"prompt": PROMPTS, "completion": [f" {DRINKS[name]}" for name in NAMES]}
    job = make_job(tmp_path / "run", spec, train=rows, eval=rows)
    assert do(job)[-1].result.metrics["top1_accuracy"] == 1.0
    return job


def test_a_run_learns_completions_and_gives_them(run, tmp_path):
    ref = ModelRef(source="run", kind="run", location=str(run.model))
    spec = PredictSpec(model=ref, task="text-generation", max_length=32, max_new_tokens=4, batch_size=3, precision="fp32")
    for name, columns in {"plain": {"text": PROMPTS[::-1]}, "rows": {"prompt": PROMPTS[::-1], "completion": PROMPTS}}.items():
        job = make_job(tmp_path / name, spec, eval=columns)
        events = do(job)
        assert [event for event in events if isinstance(event, ev.ItemsScored)][-1].done == 4
        assert predictions(job) == {"row": [0, 1, 2, 3], "text": ["milk", "tea", "milk", "tea"]}


def test_a_run_is_scored_and_each_row_has_its_perplexity(run, tmp_path):
    ref = ModelRef(source="run", kind="run", location=str(run.model))
    spec = EvaluateSpec(model=ref, run=str(run.path), data=DATA, task="text-generation", max_length=32, precision="fp32")
    job = make_job(tmp_path / "scored", spec, eval={"text": [f"{name} drinks {DRINKS[name]}" for name in NAMES]})
    found = do(job)[-1].evaluation
    assert found.n == 4
    assert {"perplexity", "loss", "top1_accuracy", "top5_accuracy"} == {score.name for score in found.scores}
    assert predictions(job)["tokens"] == [3, 3, 3, 3]
    assert len(found.text_perplexities) == 4
    json.loads(found.model_dump_json())


def test_what_a_language_model_learnt_shows_without_a_head(run, tmp_path):
    ref = ModelRef(source="run", kind="run", location=str(run.model))
    spec = EvaluateSpec(
        model=ref, data=DATA, task="zero-shot-classification", template="{text} drinks {label}", max_length=32, precision="fp32"
    )
    labels = ["milk", "tea"]
    rows = {"text": NAMES, "label": pa.array([labels.index(DRINKS[name]) for name in NAMES], pa.int32())}
    job = make_job(tmp_path / "zero_shot", spec, labels=labels, eval=rows)
    found = do(job)[-1].evaluation
    assert (found.n, found.labels, found["accuracy"].value) == (4, labels, 1.0)
    assert predictions(job)["label"] == [DRINKS[name] for name in NAMES]
    given = PredictSpec(model=ref, task="zero-shot-classification", template="{text} drinks {label}", precision="fp32")
    other = make_job(tmp_path / "predicted", given, labels=labels, eval={"text": NAMES})
    do(other)
    assert predictions(other)["tea"] == pytest.approx(predictions(job)["tea"], abs=1e-5)
