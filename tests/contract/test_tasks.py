"""What every task promises, and a toy one that keeps it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertTokenizerFast

from fm_notebook.contracts.protocols import IGNORED, Outputs, Task
from fm_notebook.contracts.registry import Registry
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import FMError
from fm_notebook.tasks import tasks

TOY = '''
import numpy as np
import pyarrow as pa

from fm_notebook.contracts.results import Interval, Report, Score
from fm_notebook.data.reading import Reading

class Toy:
    """Says how far off a number is."""
    name = "toy"
    level = "text"
    metrics = {"error": "min", "loss": "min"}
    def configure(self, spec): return self
    def reading(self, spec): return Reading(kind="single-label", text=spec.text, label=spec.label)
    def load_model(self, source, labels): return None
    def has_head(self, source): return True
    def encode(self, rows, tokenizer, labels, *, max_length):
        from fm_notebook.engine.batching import Examples
        from fm_notebook.engine.tokens import tokenize
        n = len(rows)
        tokens = tokenize(tokenizer, rows["text"], None, max_length)
        return Examples(tokens, rows["label"].to_numpy(), np.ones(n, np.float32), rows["row"].to_numpy())
    def losses(self, logits, targets): return (logits[:, 0] - targets) ** 2
    def keep(self, logits, targets): return {"error": self.losses(logits, targets)}
    def report(self, outputs, labels, *, seed):
        error, interval = outputs.values["error"].mean(), Interval(low=0.0, high=9.0, method="exact")
        return Report(scores=[Score(name=name, value=error, n=len(outputs), interval=interval) for name in self.metrics])
    def predictions(self, outputs, rows, labels): return pa.table({"error": outputs.values["error"]})

task = Toy()
'''
TEXTS = ["a good film", "bad", "a b a b"]
ROWS = {
    "single-label": {"text": TEXTS, "label": pa.array([1, 0, 1], pa.int32())},
    "tags": {
        "text": TEXTS,
        "word_start": pa.array([[0, 2, 7], [0], [0, 2, 4, 6]], pa.list_(pa.int32())),
        "word_end": pa.array([[1, 6, 11], [3], [1, 3, 5, 7]], pa.list_(pa.int32())),
        "label": pa.array([[0, 1, 0], [1], [0, 0, 1, 0]], pa.list_(pa.int32())),
    },
    "text": {"text": TEXTS},
}
ROWS |= {"auto": ROWS["single-label"], "generation": ROWS["text"]}
LABELS = {"tags": ["O", "B-x"], "text": [], "generation": []}


@pytest.fixture(params=[*tasks, "toy"])
def task(request, tmp_path) -> Task:
    if request.param != "toy":
        return tasks[request.param]
    (tmp_path / "toy.py").write_text(TOY)
    registry: Registry[Task] = Registry("task", "fm_notebook.tasks")
    registry.register(tmp_path / "toy.py")
    return registry["toy"]


@pytest.fixture
def spec(task) -> FinetuneSpec:
    ref = ModelRef(source="m", kind="folder", location="/m")
    return FinetuneSpec(model=ref, train=DataRef(source="rows", kind="value"), task=task.name)


@pytest.fixture
def rows(task, spec) -> pa.Table:
    columns = ROWS[task.reading(spec).kind]
    return pa.table({**columns, "row": [3, 5, 8]})


@pytest.fixture
def labels(task, spec) -> list[str]:
    return LABELS.get(task.reading(spec).kind, ["n", "p"])


@pytest.fixture
def examples(task, spec, rows, labels):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "good", "bad", "film"]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=16)
    return task.configure(spec).encode(rows, tokenizer, labels, max_length=16)


def test_it_keeps_the_protocol(task, spec):
    assert isinstance(task, Task)
    assert isinstance(task.configure(spec), Task)
    assert task.metrics
    assert set(task.metrics.values()) <= {"max", "min"}
    assert task.metrics["loss"] == "min"
    assert type(task).__doc__


def test_rows_become_examples_with_a_weight_for_each_target(examples):
    batch = examples.batch(np.arange(len(examples)), 0)
    assert set(examples.rows) <= {3, 5, 8}
    assert len(batch.targets) == len(batch.weights) == (len(batch) if batch.level == "text" else len(batch.ids))
    assert (batch.weights.dtype, batch.total > 0) == (np.float32, True)


def test_held_out_rows_are_always_the_same(examples):
    which = np.arange(len(examples))
    assert examples.batch(which).ids.tolist() == examples.batch(which).ids.tolist()
    assert examples.batch(which).targets.tolist() == examples.batch(which).targets.tolist()


def test_from_logits_to_losses_scores_and_predictions(task, spec, rows, labels, examples):
    task, batch = task.configure(spec), examples.batch(np.arange(len(examples)))
    targets = torch.from_numpy(batch.targets[batch.places])
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(len(targets), max(len(labels), 10))).astype(np.float32))
    logits = logits[:, : len(labels)] if labels and targets.max() < len(labels) else logits  # else targets are words
    losses = task.losses(logits, targets)
    assert losses.shape == (len(targets),)
    assert losses.isfinite().all()
    kept = {name: tensor.numpy() for name, tensor in task.keep(logits, targets).items()}
    assert all(len(values) == len(targets) for values in kept.values())
    outputs = Outputs(kept, batch.targets[batch.places], batch.counts)
    report = task.report(outputs, labels, seed=0)
    assert set(task.metrics) <= {score.name for score in report.scores}
    assert all(score.interval or not np.isfinite(score.value) for score in report.scores if score.n > 1)
    assert report == task.report(outputs, labels, seed=0)


def test_ignored_is_what_torch_ignores():
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORED


def test_names_are_those_of_the_registry():
    assert all(tasks[name].name == name for name in tasks)


def test_an_unknown_task_gets_a_hint():
    with pytest.raises(FMError, match="text-classification"):
        tasks["text-clasification"]


@pytest.mark.parametrize("name", list(tasks))
def test_importing_it_loads_no_torch(name):
    code = f"""
import sys
from fm_notebook.tasks import tasks
tasks[{name!r}]
heavy = {{"torch", "transformers", "numpy", "pandas", "scipy", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
