"""Specs and events are frozen, closed and survive JSON."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import Evaluation, Interval, Score
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef, PredictSpec, read_spec

DATA = DataRef(source="frame", kind="value", fingerprint="ab", rows=3)
MODEL = ModelRef(source="bert", kind="hub", location="bert")
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def test_model_and_train_suffice():
    spec = FinetuneSpec(model=MODEL, train=DATA)
    assert (spec.text, spec.label, spec.task) == ("text", "label", "text-classification")


@pytest.mark.parametrize(
    "spec",
    [
        FinetuneSpec(model=MODEL, train=DATA, class_weight={"a": 2.0}),
        EvaluateSpec(model=MODEL, data=DATA),
        PredictSpec(model=MODEL),
    ],
    ids=lambda spec: spec.kind,
)
def test_a_spec_survives_json_and_knows_its_kind(spec):
    assert read_spec(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("epochs", math.inf), ("learning_rate", -1e-5), ("batch_size", 0), ("batch_size", 2.5), ("seed", -1),
        ("eval_split", 0), ("eval_split", 1), ("seed", 2**32), ("seed", 1.0), ("max_length", 3),
        ("batch_size", True),
        ("dropout", 1.0), ("precision", "fp8"), ("device", "gpu"), ("device", "cuda:x"), ("lr_schedule", "step"),
        ("class_weight", "heavy"), ("class_weight", {"a": 0.0}), ("warmup_steps", -1), ("max_grad_norm", 0),
        ("epcohs", 3), ("text", ""),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(field, value):
    with pytest.raises(ValidationError):
        FinetuneSpec.model_validate({"model": MODEL, "train": DATA, field: value})


def test_all_faults_are_found_at_once():
    with pytest.raises(ValidationError) as caught:
        FinetuneSpec.model_validate({"epochs": -1, "batch_size": 0, "nonsense": 1})
    assert {error["loc"][0] for error in caught.value.errors()} == {"model", "train", "epochs", "batch_size", "nonsense"}


def test_a_spec_cannot_be_changed():
    spec = FinetuneSpec(model=MODEL, train=DATA)
    with pytest.raises(ValidationError, match="frozen"):
        spec.epochs = 5.0


@given(st.integers(1, 10**6), NUMBERS, NUMBERS)
def test_a_step_survives_the_journal_with_its_non_finite_numbers(step, loss, norm):
    event = ev.StepEnded(
        step=step, epoch=0.5, loss=loss, learning_rate=1e-5, grad_norm=norm, examples=8, tokens=99, seconds=0.1, memory_bytes=1
    )
    read = ev.read_event(event.model_dump_json())
    assert isinstance(read, ev.StepEnded)
    assert read.model_dump_json() == event.model_dump_json()
    assert (read.loss, read.grad_norm) == pytest.approx((loss, norm), nan_ok=True, rel=0, abs=0)


@given(st.dictionaries(st.text(max_size=9), st.one_of(st.text(max_size=9), st.integers(-9, 9), st.booleans()), max_size=3))
def test_an_event_is_one_line_whatever_it_holds(values):
    line = ev.Noted(key="x", values=values).model_dump_json()
    assert len(line.splitlines()) == 1 or "\n" not in line
    assert ev.read_event(line).values == values  # type: ignore[union-attr]


def test_an_unknown_event_is_refused():
    with pytest.raises(ValidationError):
        ev.read_event('{"type": "Sneezed", "time": 1}')


def test_an_evaluation_finds_its_scores_by_name_and_becomes_a_frame():
    score = Score(name="accuracy", value=0.5, n=2, interval=Interval(low=0.1, high=0.9, method="wilson"))
    found = Evaluation(model="m", data=DATA, labels=["a", "b"], n=2, scores=[score], classes=[], confusion=[[1, 0], [1, 0]])
    assert found["accuracy"] is score or found["accuracy"] == score
    with pytest.raises(KeyError):
        found["sneezes"]
    frame = found.to_pandas()
    assert list(frame.columns) == ["label", "metric", "value", "low", "high", "n"]
    assert frame.loc[0, ["metric", "value", "low", "high", "n"]].tolist() == ["accuracy", 0.5, 0.1, 0.9, 2]
