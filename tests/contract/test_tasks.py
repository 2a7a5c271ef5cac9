"""What every task promises, and a toy one that keeps it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fm_notebook.contracts.protocols import Task
from fm_notebook.contracts.registry import Registry
from fm_notebook.errors import FMError
from fm_notebook.tasks import tasks

TOY = '''
import numpy as np

from fm_notebook.contracts.results import Interval, Score

class Toy:
    """Says how far off a number is."""
    name = "toy"
    metrics = {"error": "min", "loss": "min"}
    def load_model(self, source, labels): return None
    def has_head(self, source): return True
    def example_losses(self, logits, batch): return (logits[:, 0] - batch["labels"]) ** 2
    def example_weights(self, targets, labels, class_weight): return np.ones(len(targets), np.float32)
    def probabilities(self, logits): return np.full(logits.shape, 1 / logits.shape[1])
    def score(self, logits, targets, *, seed):
        interval = Interval(low=0.0, high=0.1, method="exact")
        return [Score(name="error", value=0.0, n=len(targets), interval=interval)]

task = Toy()
'''


@pytest.fixture(params=[*tasks, "toy"])
def task(request, tmp_path) -> Task:
    if request.param != "toy":
        return tasks[request.param]
    (tmp_path / "toy.py").write_text(TOY)
    registry: Registry[Task] = Registry("task", "fm_notebook.tasks")
    registry.register(tmp_path / "toy.py")
    return registry["toy"]


def test_it_keeps_the_protocol(task):
    assert isinstance(task, Task)
    assert task.metrics
    assert set(task.metrics.values()) <= {"max", "min"}
    assert task.metrics["loss"] == "min"
    assert type(task).__doc__


def test_losses_and_weights_are_one_an_example(task):
    logits, targets = np.zeros((4, 2), np.float32), np.array([0, 1, 1, 0])
    losses = task.example_losses(torch.from_numpy(logits), {"labels": torch.from_numpy(targets)})
    assert losses.shape == (4,)
    weights = task.example_weights(targets, ["a", "b"], None)
    assert (weights.shape, weights.dtype) == ((4,), np.float32)


def test_probabilities_are_some(task):
    found = task.probabilities(np.array([[0.0, 3.0], [-2.0, 1.0]], np.float32))
    assert found.shape == (2, 2)
    assert found.sum(1) == pytest.approx([1, 1])


def test_it_scores_all_its_metrics_but_loss(task):
    found = task.score(np.eye(2, dtype=np.float32), np.array([0, 1]), seed=0)
    assert {score.name for score in found} == set(task.metrics) - {"loss"}
    assert all(score.n == 2 and score.interval for score in found)


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
