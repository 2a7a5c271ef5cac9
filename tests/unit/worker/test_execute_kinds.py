"""Jobs of every kind of problem and of training, from their folder to predictions."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef, PredictSpec
from fm_notebook.engine.kernels.compiled.operations import operations
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity
from fm_notebook.worker import models_loaded
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow

DATA = DataRef(source="rows", kind="value", fingerprint="f" * 64)
WORDS = ["a", "the", "it", "was", "film", "plot"]


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


def write(path: Path, **columns):
    table = pa.table({**columns, "row": list(range(len(columns["text"])))})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    return [f"{['bad', 'good'][t]} {' '.join(rng.choice(WORDS, rng.integers(1, 9)))}" for t in truth], truth


def do(job, command=lambda: "run"):
    events = []
    execute(job, events.append, command)
    assert events[-1].error is None, events[-1].error
    return events


@pytest.fixture
def trained(tmp_path, tiny_bert):
    """Trains on sentences whose first word tells the truth; gives the job, its events and how to ask its model."""

    def train(label, labels, **fields):
        base = ModelRef(source="tiny", kind="folder", location=str(tiny_bert))
        facts = DataFacts(labels=labels, train_rows=60, eval_rows=20, train_label_counts=[], eval_label_counts=[])
        here = tmp_path / str(len(list(tmp_path.iterdir())))
        here.mkdir()
        job = jobs.create(here / "run")
        for path, n, seed in ((job.train_rows, 60, 0), (job.eval_rows, 20, 1)):
            texts, truth = sentences(n, seed)
            write(path, text=texts, label=label(truth))
        settings = {"epochs": 10.0, "batch_size": 8, "learning_rate": 1e-2, "dropout": 0.0, "max_length": 32, **fields}
        job.write(spec=FinetuneSpec(model=base, train=DATA, **settings), identity=Identity(name="run"), facts=facts)
        events = do(job)
        models_loaded.free()
        ref = ModelRef(source="run", kind="run", location=str(job.model))
        same = {name: fields[name] for name in ("problem", "task") if name in fields}

        def ask(texts=("good film", "bad plot")):
            other = jobs.create(here / "prediction")
            write(other.eval_rows, text=list(texts))
            spec = PredictSpec(model=ref, max_length=fields.get("max_length", 32), **same)
            other.write(spec=spec, identity=Identity(name="p"), facts=facts)
            do(other)
            return pa.ipc.open_file(other.predictions).read_all()

        def judge():
            other = jobs.create(here / "evaluation")
            texts, truth = sentences(20, 1)
            write(other.eval_rows, text=texts, label=label(truth))
            spec = EvaluateSpec(model=ref, run=str(job.path), data=DATA, max_length=fields.get("max_length", 32), **same)
            other.write(spec=spec, identity=Identity(name="e"), facts=facts)
            return do(other)[-1].evaluation

        return job, events, ask, judge

    return train


def test_several_labels_a_text(trained):
    lists = lambda truth: pa.array([[0, 1] if t else [] for t in truth], pa.list_(pa.int32()))  # noqa: E731
    _, events, ask, judge = trained(lists, ["x", "y"], problem="multi-label")
    assert events[-1].result.metrics["macro_f1"] == 1.0
    assert ask()["labels"].to_pylist() == [["x", "y"], []]
    assert judge()["micro_f1"].value == 1.0


def test_a_number_a_text(trained):
    _, events, ask, judge = trained(lambda truth: pa.array(2.0 * truth - 1), ["mood"], problem="regression", metric="rmse")
    assert events[-1].result.metrics["rmse"] < 0.3
    low, high = sorted(ask()["value"].to_pylist())
    assert low < -0.5 < 0.5 < high
    found = judge()
    assert len(found.points) == 20
    assert found["rmse"].value == pytest.approx(events[-1].result.metrics["rmse"], rel=0.05)  # bf16, in other batches


CLASSES = lambda truth: pa.array(truth, pa.int32())  # noqa: E731


@pytest.mark.parametrize("lora", [{"rank": 4}, {"rank": 8, "dora": True}])
def test_an_adapter_is_merged_into_the_result_and_kept_beside_it(trained, lora):
    job, events, ask, judge = trained(CLASSES, ["n", "p"], lora=lora, epochs=20.0)
    started = next(event for event in events if isinstance(event, ev.Started))
    assert started.trainable_parameters < started.parameters / 2
    assert events[-1].result.metrics["accuracy"] == 1.0
    assert (job.model / "adapter" / "adapter_model.safetensors").is_file()
    assert json.loads((job.model / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    assert ask()["label"].to_pylist() == ["p", "n"]
    assert judge()["accuracy"].value == 1.0


def test_a_tuned_prompt_is_put_on_its_base_again(trained):
    job, events, ask, judge = trained(CLASSES, ["n", "p"], prompt_tuning={"tokens": 4}, learning_rate=0.1, epochs=20.0)
    assert not list(job.model.glob("*.safetensors"))
    assert judge()["accuracy"].value == events[-1].result.metrics["accuracy"]
    assert set(ask()["label"].to_pylist()) <= {"n", "p"}


def test_a_frozen_backbone_keeps_its_weights(trained, tiny_bert):
    from safetensors.torch import load_file

    job, events, _, judge = trained(CLASSES, ["n", "p"], freeze="backbone", epochs=2.0)
    before, after = load_file(tiny_bert / "model.safetensors"), load_file(job.model / "model.safetensors")
    shared = [name for name in after if name.startswith("bert.encoder") and name in before]
    assert shared
    assert all((before[name] == after[name]).all() for name in shared)
    assert judge()["accuracy"].value == events[-1].result.metrics["accuracy"]
    assert next(event for event in events if isinstance(event, ev.Started)).trainable_parameters < 2000


def test_long_texts_go_in_pieces_and_are_judged_whole(trained):
    _, events, _, judge = trained(CLASSES, [], task="fill-mask", max_length=8, epochs=1.0)
    found = judge()
    assert events[-1].result.n_eval == 20
    assert found.n == 20
    assert found["masked_perplexity"].value > 1
    assert len(found.text_perplexities) <= 20


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
def test_faster_layers_on_and_off_learn_the_same(trained, task):
    def losses(**fields):
        _, events, _, _ = trained(CLASSES, ["n", "p"], task=task, epochs=3.0, learning_rate=1e-3, precision="fp32", **fields)
        return [event.loss for event in events if isinstance(event, ev.StepEnded)]

    on = losses()
    assert on == pytest.approx(losses(kernels="off"), abs=1e-5)
    assert on == pytest.approx(losses(packing="off"), abs=1e-5)


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_layers_in_c_are_noted_and_can_be_refused(trained, kernels):
    def run(**fields):
        _, events, _, _ = trained(CLASSES, ["n", "p"], epochs=3.0, learning_rate=1e-3, precision="bf16", **fields)
        started = next(event for event in events if isinstance(event, ev.Started))
        return [event.loss for event in events if isinstance(event, ev.StepEnded)], started.provenance["kernels"]

    losses, names = run(kernels=kernels)
    assert ("compiled_layer" in names) == (kernels == "auto" and operations() is not None)
    assert "bert_layer" in names
    assert losses == pytest.approx(run(kernels="off")[0], abs=5e-3)


def test_words_that_only_predictions_have_are_known_to_the_result(trained, tiny_bert):
    from safetensors.torch import load_file

    job, events, ask, _ = trained(CLASSES, ["n", "p"])
    started = next(event for event in events if isinstance(event, ev.Started))
    assert "vocabulary" in started.provenance["kernels"]
    assert started.parameters == sum(t.numel() for t in load_file(job.model / "model.safetensors").values())
    (table,) = [t for name, t in load_file(job.model / "model.safetensors").items() if name.endswith("word_embeddings.weight")]
    (before,) = [t for name, t in load_file(tiny_bert / "model.safetensors").items() if name.endswith("word_embeddings.weight")]
    assert table.shape == before.shape
    absent = 5 + 23  # "short", which no sentence has: it decayed with all the others, and did not move otherwise
    until = [event for event in events if isinstance(event, ev.StepEnded) and event.step <= events[-1].result.best_step]
    decay = np.prod([1 - event.learning_rate * 0.01 for event in until])
    assert table[absent].numpy() == pytest.approx(before[absent].numpy() * decay, abs=1e-6)
    assert ask(["good short cast", "bad long music"])["label"].to_pylist() == ["p", "n"]
