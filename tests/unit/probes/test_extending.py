"""The probe that docs/extending.md shows, held against a classifier of ten lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE, Probe
from fm_notebook.contracts.registry import Registry, registry_of
from fm_notebook.mitigations import mitigations
from fm_notebook.probes import probes
from fm_notebook.tasks import tasks

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"


class Loud:
    """A classifier that is sure of what is good, and takes capitals for anger."""

    labels = ("negative", "positive")

    def class_probabilities(self, texts, pairs=None):
        del pairs
        likes = np.array([0.2 if text.isupper() else 0.9 if "good" in text else 0.3 for text in texts])
        return np.column_stack([1 - likes, likes])


@pytest.fixture
def file(tmp_path) -> Path:
    """The page's example in a file of its own."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (shown,) = [each for each in blocks if each.startswith("# shouting.py")]
    path = tmp_path / "shouting.py"
    path.write_text(shown, encoding="utf-8")
    return path


@pytest.fixture
def shouting(file) -> Probe:
    registry: Registry[Probe] = Registry("probe", "fm_notebook.probes")
    return registry[registry.register(file)]


def test_its_file_is_taken_for_a_probe_and_keeps_the_promises_of_one(file, shouting):
    assert registry_of(file, (tasks, mitigations, probes)) is probes
    assert isinstance(shouting, Probe)
    assert shouting.needs(shouting.Spec()) == {"class_probabilities"}


def test_it_finds_what_capitals_do_to_an_answer(shouting):
    spec = shouting.Spec()
    items = shouting.read(pa.table({"text": ["good food", "bad food"]}), spec)
    scores = shouting.score(Loud(), items.table, spec)  # type: ignore[arg-type]
    assert scores[CHOICE].to_pylist() == [True, False]
    assert scores[VALUE].to_pylist() == pytest.approx([0.7, -0.1])
    assert scores[SKIPPED].null_count == 2
    (found,) = shouting.summarise(scores, spec).measurements
    assert (found.value, found.n, found.is_main) == (pytest.approx(0.3), 2, True)
    assert found.interval is not None
    assert shouting.summarise(scores.slice(0, 0), spec).measurements == []


def test_without_data_it_has_a_few_texts_of_its_own(shouting):
    items = shouting.read(None, shouting.Spec())
    assert items.table.num_rows == 4
    assert set(items.texts) <= set(items.table.column_names)
