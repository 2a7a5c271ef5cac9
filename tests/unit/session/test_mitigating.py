"""The mitigations of a cell: checked field by field, and the columns that they need kept beside the training rows."""

import json
import time

import pandas as pd
import pytest

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data.stored import write
from fm_notebook.errors import DataError, FMError, SpecError
from fm_notebook.jobs.folder import Identity
from fm_notebook.session import store
from fm_notebook.session.binding import Assigned, Bound, bind_finetune, check_finetune
from fm_notebook.session.differences import differences
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run

TEXTS = ["he sang well", "she sang well", "it rained all day", "the man and the woman"]
ROWS = [
    {"text": f"{TEXTS[i % 4]} {i}", "label": "pn"[i // 2 % 2], "gender": "mwx"[i % 3], "region": "ns"[i % 2]} for i in range(40)
]
SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))
WITH_GENDER = {"reweighing": {"by": "gender"}}


@pytest.fixture
def model(home):
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def given(model):
    def given(**values):
        fields = {"model": str(model), "train": ROWS, **values}
        return {name: Assigned(value, line=number) for number, (name, value) in enumerate(fields.items(), 2) if value is not ...}

    return given


@pytest.fixture
def bind(given):
    def bind(**values) -> Bound:
        return bind_finetune(given(**values))

    return bind


@pytest.fixture
def base(bind):
    """A finished run without mitigations, as its folder stands there."""

    def base(**values):
        bound = bind(**values)
        folder = store.create_run("plain")
        for role, table in bound.tables.items():
            write(table, folder.data / f"{role}.arrow")
        folder.write(spec=bound.spec, identity=Identity(name="plain", key="k", created=time.time()), facts=bound.facts)
        return bound, "plain"

    return base


def lines(error: FMError) -> list[str]:
    return [fault.lines()[0] for fault in error.faults]


def test_every_field_of_a_mitigation_is_written_out_in_the_order_given(bind):
    bound = bind(mitigation={"reweighing": {"by": "mentions:gender"}, "counterfactual-augmentation": {}})
    assert isinstance(bound.spec, FinetuneSpec)
    written = json.loads(bound.spec.model_dump_json())["mitigation"]
    assert list(written) == ["reweighing", "counterfactual-augmentation"]
    assert written["counterfactual-augmentation"] == {"axis": "gender", "names": True}
    again = bind(mitigation={"reweighing": {"by": "mentions:gender"}, "counterfactual-augmentation": {"axis": "gender"}})
    assert again.key == bound.key


def test_none_and_no_mitigation_are_the_same(bind):
    assert bind().key == bind(mitigation=None).key == bind(mitigation={}).key
    assert bind(mitigation={"counterfactual-augmentation": {}}).key != bind().key


def test_groups_are_kept_beside_the_training_rows(bind):
    found = bind(mitigation={"reweighing": {"by": "gender*mentions:gender"}}).tables["train"]
    frame = found.to_pandas()
    assert (frame["by.gender"] == [ROWS[row]["gender"] for row in frame["row"]]).all()
    words = ["male", "female", "unmentioned", "female+male"]
    assert (frame["by.mentions:gender"] == [words[row % 4] for row in frame["row"]]).all()


@pytest.mark.parametrize("problem", ["auto", "single-label"])
def test_rows_to_evaluate_on_need_no_groups(bind, problem):
    held_out = [{"text": "she left", "label": "p"}, {"text": "he left", "label": "n"}]
    tables = bind(mitigation=WITH_GENDER, eval=held_out, problem=problem).tables
    assert "by.gender" in tables["train"].column_names
    assert "by.gender" not in tables["eval"].column_names


def test_all_that_is_wrong_is_told_with_the_line(bind):
    with pytest.raises(SpecError) as caught:
        bind(
            mitigation={
                "reweihging": {},
                "reweighing": {"bye": 1, "variant": "balance"},
                "counterfactual-augmentation": {"axis": "age"},
            },
            epochs=-1,
        )
    told = lines(caught.value)
    assert told == [
        "Line 4: There is no mitigation 'reweihging'. Did you mean reweighing?",
        "Line 4: The mitigation reweighing lacks its field 'by'.",
        "Line 4: reweighing.variant = 'balance' is not possible.",
        "Line 4: There is no field 'reweighing.bye'. Did you mean by?",
        "Line 4: counterfactual-augmentation.axis = 'age' is not possible.",
        "Line 5: epochs = -1 is not possible.",
    ]


@pytest.mark.parametrize("wrong", ["reweighing", {"reweighing": "gender"}, ["reweighing"]])
def test_what_is_no_dict_of_dicts_is_refused(bind, wrong):
    with pytest.raises(SpecError, match="mitigation"):
        bind(mitigation=wrong)


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("gendr", "Did you mean gender"),
        ("mentions:gendr", "Did you mean gender"),
        ("mention:gender", "Did you mean mentions:gender"),
    ],
)
def test_a_group_that_is_not_there_is_told_with_the_line_of_the_mitigation(bind, by, told):
    with pytest.raises(DataError, match=told) as caught:
        bind(mitigation={"reweighing": {"by": by}})
    assert lines(caught.value)[0].startswith("Line 4:")


def test_a_form_is_told_without_reading_rows(given):
    _, faults = check_finetune(given(mitigation={"reweighting": {}}))
    assert [fault.key for fault in faults] == ["unknown.mitigation"]


@pytest.mark.parametrize(
    ("rows", "fields"),
    [
        ([{"text": ["a", "b"], "label": ["O", "O"]}] * 9, {"task": "token-classification"}),
        ([{"text": f"t {i}", "label": i / 7} for i in range(9)], {}),
        ([{"text": f"t {i}", "label": ["a", "b"][: i % 3]} for i in range(9)], {}),
        ([{"text": f"some words {i}"} for i in range(9)], {"task": "fill-mask"}),
        ([{"text": f"some words {i}"} for i in range(9)], {"task": "text-generation"}),
        ([{"messages": [{"role": "user", "content": f"she {i}"}]} for i in range(9)], {"task": "text-generation"}),
    ],
)
def test_rows_that_it_is_not_for_are_refused_in_words(bind, rows, fields):
    with pytest.raises(SpecError) as caught:
        bind(train=rows, mitigation={"reweighing": {"by": "mentions:gender"}}, **fields)
    assert caught.value.faults[0].key == "mitigation.kind"
    assert lines(caught.value)[0].startswith("Line 4:")


def test_texts_to_learn_language_from_may_be_augmented(bind):
    rows = [{"text": f"she saw it {i}"} for i in range(9)]
    assert bind(train=rows, task="fill-mask", mitigation={"counterfactual-augmentation": {}}).spec.mitigation  # type: ignore[union-attr]


def test_a_run_like_another_keeps_its_rows_and_gets_groups_told_by_texts(bind, base):
    plain, name = base()
    found = bind(model=..., train=..., base=name, mitigation={"reweighing": {"by": "mentions:gender"}})
    assert found.tables["train"].drop_columns(["by.mentions:gender"]).equals(plain.tables["train"])
    assert found.tables["eval"].equals(plain.tables["eval"])
    assert set(found.tables["train"]["by.mentions:gender"].to_pylist()) == {"male", "female", "unmentioned", "female+male"}
    assert found.spec.train.fingerprint == plain.spec.train.fingerprint  # type: ignore[union-attr]


def test_a_run_like_another_with_a_mitigation_has_it_too(bind, base):
    _, name = base(mitigation=WITH_GENDER)
    assert bind(model=..., train=..., base=name, epochs=1.0).spec.mitigation == {  # type: ignore[union-attr]
        "reweighing": {"by": "gender", "variant": "independence"}
    }


def test_a_column_that_the_base_did_not_keep_is_told_of(bind, base):
    _, name = base()
    with pytest.raises(SpecError, match="no column 'gender'") as caught:
        bind(model=..., train=..., base=name, mitigation=WITH_GENDER)
    assert lines(caught.value)[0].startswith("Line 5:")
    assert "train" in str(caught.value)


def test_rows_of_the_base_that_can_be_read_again_are(bind, base, home):
    path = home / "rows.csv"
    pd.DataFrame(ROWS).to_csv(path, index=False)
    plain, name = base(train=str(path))
    found = bind(model=..., train=..., base=name, mitigation=WITH_GENDER)
    assert found.tables["train"]["text"].equals(plain.tables["train"]["text"])
    assert found.tables["train"]["by.gender"].to_pylist() == [
        ROWS[row]["gender"] for row in found.tables["train"]["row"].to_pylist()
    ]


def test_a_script_says_at_its_top_that_it_has_no_mitigation(make_folder):
    without, with_one = (
        Run(Job(make_folder(name, spec=SPEC.model_copy(update={"mitigation": mitigation})))).code()
        for name, mitigation in {"plain": None, "fairer": {"counterfactual-augmentation": {"axis": "gender"}}}.items()
    )
    assert "mitigation" not in without
    assert "mitigations" in with_one.partition("import ")[0]


def test_the_differences_of_two_runs_name_each_field_of_a_mitigation():
    other = SPEC.model_copy(update={"mitigation": {"reweighing": {"by": "gender", "variant": "independence"}}})
    assert [(each.field, each.right) for each in differences(SPEC, other)] == [
        ("mitigation.reweighing.by", "gender"),
        ("mitigation.reweighing.variant", "independence"),
    ]
