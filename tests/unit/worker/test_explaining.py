"""Explanation jobs, from their folder to the `Attribution` at the end of their journal."""

from pathlib import Path

import numpy as np
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import ExplainSpec, ModelRef
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity
from fm_notebook.worker import models_loaded
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


@pytest.fixture(scope="module")
def classifier(tiny_bert, tmp_path_factory) -> Path:
    """The tiny BERT with a head of large random weights, for one label of three."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("models") / "classifier"
    names = {0: "bad", 1: "good", 2: "neither"}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3, id2label=names)
    torch.nn.init.normal_(model.classifier.weight, std=5.0)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    words = ["<pad>", "<s>", "</s>", "<unk>", "drinks", "tea", "milk", ":", "Label", "ann", "bob", "sour"]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **special, **sizes, initializer_range=0.3)).save_pretrained(folder)
    return folder


@pytest.fixture
def explain(tmp_path):
    """Does a job; gives its events and its attribution."""

    def do(folder: Path, text: str, *, labels=(), command=lambda: "run", **fields):
        job = jobs.create(tmp_path / str(len(list(tmp_path.iterdir()))))
        ref = ModelRef(source="tiny", kind="folder", location=str(folder))
        spec = ExplainSpec(model=ref, text=text, device="cpu", labels=tuple(labels), **fields)
        facts = DataFacts(labels=list(labels), train_rows=0, eval_rows=1, train_label_counts=[], eval_label_counts=[])
        job.write(spec=spec, identity=Identity(name="e"), facts=facts)
        events: list = []
        execute(job, events.append, command)
        return events, events[-1].attribution

    return do


def test_a_text_is_explained_by_both_methods_and_the_model_is_kept(explain, classifier):
    events, found = explain(classifier, "good film 影 and")
    assert events[-1].error is None
    assert [found.written(piece) for piece in found.pieces] == ["good", "film", "影", "and"]
    assert found.labels == ["bad", "good", "neither"]
    assert found.predicted == found.label == found.labels[int(np.argmax(found.probabilities))]
    assert sum(found.probabilities) == pytest.approx(1)
    assert [each.method for each in found.methods] == ["integrated-gradients", "occlusion"]
    assert found["integrated-gradients"].completeness_error < 1e-3
    assert -1 <= found.agreement <= 1
    assert found.unknown_share == 0.25
    assert [event.key for event in events if isinstance(event, ev.Noted)] == ["unknown_tokens"]
    (kept,) = models_loaded._kept
    assert not kept.loaded.model.training
    assert all(p.requires_grad and p.grad is None for p in kept.loaded.model.parameters())
    frame = found.to_pandas()
    assert frame["piece"].tolist() == ["good", "film", "影", "and"]
    whole = found["integrated-gradients"].output - found["integrated-gradients"].baseline_output
    assert frame["integrated_gradients"].sum() == pytest.approx(whole, abs=1e-3)


def test_another_label_one_method_and_the_answer_alone(explain, classifier):
    _, found = explain(classifier, "good film", label="neither", methods=("occlusion",), unit="word")
    assert found.label == "neither"
    assert [each.method for each in found.methods] == ["occlusion"]
    assert found.agreement is None
    _, bare = explain(classifier, "good film", methods=())
    assert bare.methods == []
    assert bare.probabilities == pytest.approx(found.probabilities)


def test_a_text_that_is_too_long_says_from_where_it_is_not_read(explain, classifier):
    text = "good film " * 10
    events, found = explain(classifier, text, max_length=8)
    assert found.cut_at == text.index("good film", 29) - 1
    assert len(found.pieces) == 6
    assert "truncated" in [event.key for event in events if isinstance(event, ev.Noted)]


def test_labels_and_tasks_that_are_not_there_are_refused(explain, classifier, tiny_bert):
    assert explain(classifier, "good", label="god")[0][-1].error.faults[0]["key"] == "explain.label"
    assert explain(tiny_bert, "good", task="fill-mask")[0][-1].error.faults[0]["key"] == "explain.task"
    assert explain(tiny_bert, "good")[0][-1].error.faults[0]["key"] == "weights.untrained_head"


def test_it_can_be_cancelled(explain, classifier):
    events, found = explain(classifier, "good film", command=lambda: "cancel")
    assert events[-1].state == "cancelled"
    assert found is None


def test_of_a_language_model_the_last_token_is_explained(explain, llama):
    _, found = explain(llama, "ann drinks sour milk", task="text-generation")
    assert found.problem == "next-token"
    assert found.target == [3]
    assert found.label == "milk"
    assert found["occlusion"].scores[3] is None
    assert found["occlusion"].baseline == "removal"
    assert found["integrated-gradients"].completeness_error < 1e-3
    assert np.log(found.probability) == pytest.approx(found.pieces[3].log_probability, abs=1e-4)


@pytest.mark.parametrize("score", ["sum", "mean", "pmi"])
def test_labels_that_are_texts_get_the_probabilities_of_predicting(explain, llama, tmp_path, score):
    import pyarrow as pa

    from fm_notebook.contracts.specs import PredictSpec

    fields = {"task": "zero-shot-classification", "score": score, "shots": (("ann drinks tea", "tea"),)}
    labels = ["tea", "sour milk"]
    _, found = explain(llama, "bob drinks", labels=labels, **fields)
    assert [found.written(piece) for piece in found.pieces] == ["bob", "drinks"]
    assert found["integrated-gradients"].completeness_error < 1e-3
    job = jobs.create(tmp_path / "predicted")
    table = pa.table({"text": ["bob drinks"], "row": [0]})
    with pa.ipc.new_file(str(job.eval_rows), table.schema) as writer:
        writer.write_table(table)
    ref = ModelRef(source="tiny", kind="folder", location=str(llama))
    facts = DataFacts(labels=labels, train_rows=0, eval_rows=1, train_label_counts=[], eval_label_counts=[])
    job.write(spec=PredictSpec(model=ref, device="cpu", precision="fp32", **fields), identity=Identity(name="p"), facts=facts)
    execute(job, lambda event: None, lambda: "run")
    said = pa.ipc.open_file(job.predictions).read_all().to_pylist()[0]
    assert found.probabilities == pytest.approx([said[label] for label in labels], abs=1e-4)
    assert found.predicted == said["label"]


def test_an_equal_job_gives_equal_scores(explain, classifier):
    first, second = (explain(classifier, "good film and plot")[1] for _ in range(2))
    assert first.methods == second.methods
