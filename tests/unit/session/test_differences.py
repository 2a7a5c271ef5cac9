"""What two specs say differently."""

from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.session.differences import Difference, differences, flat

ROWS = DataRef(source="reviews", kind="value", fingerprint="a" * 64)
SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m", fingerprint="b" * 64), train=ROWS)


def changed(**fields):
    return SPEC.model_copy(update=fields)


def test_equal_specs_differ_in_nothing():
    assert differences(SPEC, changed()) == []


def test_a_changed_field_is_named_with_both_values_in_the_order_of_the_spec():
    found = differences(SPEC, changed(seed=3, learning_rate=1e-4, task="fill-mask"))
    assert found == [
        Difference("task", "text-classification", "fill-mask"),
        Difference("learning_rate", "5e-05", "0.0001"),
        Difference("seed", "0", "3"),
    ]


def test_a_field_that_only_one_has_is_empty_in_the_other():
    assert differences(SPEC, changed(max_steps=9)) == [Difference("max_steps", "", "9")]
    assert differences(changed(max_steps=9), SPEC) == [Difference("max_steps", "9", "")]


def test_groups_are_compared_field_by_field():
    left, right = changed(lora=LoraSpec(rank=4)), changed(lora=LoraSpec(rank=8))
    assert differences(left, right) == [Difference("lora.rank", "4", "8")]
    assert {each.field for each in differences(SPEC, left)} == {"lora.rank", "lora.dropout", "lora.dora"}
    assert differences(changed(class_weight={"n": 1.0}), SPEC) == [Difference("class_weight.n", "1.0", "")]


def test_the_same_rows_under_another_name_are_the_same_and_other_rows_under_the_same_name_are_not():
    assert differences(SPEC, changed(train=ROWS.model_copy(update={"source": "frame"}))) == []
    (found,) = differences(SPEC, changed(train=ROWS.model_copy(update={"fingerprint": "c" * 64})))
    assert found == Difference("train", "reviews (aaaaaaaa)", "reviews (cccccccc)")


def test_flat_names_every_field_that_is_set():
    found = flat(changed(lora=LoraSpec()))
    assert found["epochs"] == "3.0"
    assert found["lora.rank"] == "8"
    assert "max_steps" not in found
    assert "kind" not in found
