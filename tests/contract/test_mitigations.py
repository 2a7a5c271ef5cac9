"""What every mitigation promises, and a toy one that keeps it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel

from fm_notebook.contracts import fields
from fm_notebook.contracts.events import Noted, read_event
from fm_notebook.contracts.protocols import Mitigation, TrainingRows
from fm_notebook.contracts.registry import Registry, registry_of
from fm_notebook.errors import FMError
from fm_notebook.mitigations import mitigations
from fm_notebook.tasks import tasks

TOY = """
from fm_notebook.contracts.values import Frozen
from fm_notebook.contracts.protocols import TrainingRows

class Spec(Frozen):
    factor: float = 2.0

class Heavier:
    name = "heavier"
    summary = "Every row counts more."
    stage = "pre-processing"
    kinds = frozenset({"single-label"})
    Spec = Spec
    source = "https://example.org"
    def groups(self, spec): return ()
    def apply(self, given, spec, *, seed): return TrainingRows(given.rows, given.weights * spec.factor, given.labels), []

mitigation = Heavier()
"""
FIELDS = {"reweighing": {"by": "gender"}}
KINDS = {"single-label", "multi-label", "regression", "tags", "text", "completion", "chat"}


@pytest.fixture(params=[*mitigations, "heavier"])
def mitigation(request, tmp_path) -> Mitigation:
    if request.param != "heavier":
        return mitigations[request.param]
    (tmp_path / "heavier.py").write_text(TOY)
    registry: Registry[Mitigation] = Registry("mitigation", "fm_notebook.mitigations")
    registry.register(tmp_path / "heavier.py")
    return registry["heavier"]


@pytest.fixture
def spec(mitigation):
    return mitigation.Spec.model_validate(FIELDS.get(mitigation.name, {}))


@pytest.fixture
def given() -> TrainingRows:
    texts = ["he sang", "she sang", "it rained", "the man", "women"]
    groups = pa.array(["m", "w", None, "m", "w"], pa.large_string())
    table = pa.table({
        "text": pa.array(texts, pa.large_string()), "label": pa.array([1, 0, 1, 1, 1], pa.int32()),
        "row": pa.array([3, 5, 8, 9, 11], pa.int64()), "by.gender": groups,
    })  # fmt: skip
    return TrainingRows(table, np.ones(5), ["n", "p"])


def test_it_keeps_the_protocol(mitigation):
    assert isinstance(mitigation, Mitigation)
    assert type(mitigation).__name__
    assert issubclass(mitigation.Spec, BaseModel)
    assert mitigation.stage in {"pre-processing", "in-processing", "post-processing"}
    assert mitigation.kinds <= KINDS
    assert mitigation.summary.endswith((".", "。"))
    assert "http" in mitigation.source


def test_its_fields_can_be_told_and_survive_json(mitigation, spec):
    assert all(fields.expected(mitigation.Spec, name) for name in mitigation.Spec.model_fields)
    assert mitigation.Spec.model_validate_json(spec.model_dump_json()) == spec
    assert all(isinstance(name, str) for name in mitigation.groups(spec))


def test_the_rows_are_still_there_and_what_is_new_looks_like_them(mitigation, spec, given):
    found, notes = mitigation.apply(given, spec, seed=0)
    assert found.rows.slice(0, 5).equals(given.rows)
    assert found.rows.schema == given.rows.schema
    assert set(found.rows["row"].to_pylist()) == set(given.rows["row"].to_pylist())
    assert found.weights.shape == (len(found.rows),)
    assert np.isfinite(found.weights).all()
    assert (found.weights > 0).all()
    assert found.labels == given.labels
    assert all(read_event(note.model_dump_json()) == note for note in notes)
    assert all(isinstance(note, Noted) for note in notes)


def test_the_same_rows_give_the_same(mitigation, spec, given):
    one, other = (mitigation.apply(given, spec, seed=3) for _ in range(2))
    assert one[0].rows.equals(other[0].rows)
    assert one[0].weights.tolist() == other[0].weights.tolist()
    assert [note.values for note in one[1]] == [note.values for note in other[1]]


def test_names_are_those_of_the_registry():
    assert all(mitigations[name].name == name for name in mitigations)


def test_an_unknown_mitigation_gets_a_hint():
    with pytest.raises(FMError, match="reweighing"):
        mitigations["reweiging"]


def test_a_file_is_registered_where_its_object_belongs(tmp_path):
    for name, text in {"a": "task = 1", "b": "mitigation: int = 2", "c": "x = (", "d": "y = 1"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    found = [registry_of(tmp_path / f"{name}.py", (tasks, mitigations)).kind for name in "abcd"]
    assert found == ["task", "mitigation", "task", "task"]
    assert registry_of(tmp_path / "nowhere.py", (tasks, mitigations)) is tasks


@pytest.mark.parametrize("name", list(mitigations))
def test_importing_it_loads_no_torch_and_no_numpy(name):
    code = f"""
import sys
from fm_notebook.mitigations import mitigations
mitigations[{name!r}].Spec
heavy = {{"torch", "transformers", "numpy", "pandas", "pyarrow", "scipy", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
