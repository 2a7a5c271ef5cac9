"""Rows that name a gender are there twice, the others once, and all that is not a text is as it was."""

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.protocols import TrainingRows
from fm_notebook.mitigations.counterfactual_augmentation import Spec, mitigation
from fm_notebook.mitigations.reweighing import Spec as ReweighingSpec
from fm_notebook.mitigations.reweighing import mitigation as reweighing


def given(weights=None, **columns) -> TrainingRows:
    n = len(next(iter(columns.values())))
    kinds = {"label": pa.int32()}
    arrays = {name: pa.array(values, kinds.get(name, pa.large_string())) for name, values in columns.items()}
    table = pa.table({**arrays, "row": pa.array(range(10, 10 + n), pa.int64())})
    return TrainingRows(table, np.ones(n) if weights is None else np.array(weights), ["no", "yes"])


def apply(rows, **fields):
    return mitigation.apply(rows, Spec(**fields), seed=0)


def test_texts_with_a_gender_are_added_exchanged_under_the_same_label():
    rows = given([1, 2, 3, 4], text=["He sang", "It rained", "她唱歌", "其他"], label=[0, 1, 1, 0])
    found, notes = apply(rows)
    assert found.rows["text"].to_pylist() == ["He sang", "It rained", "她唱歌", "其他", "She sang", "他唱歌"]
    assert found.rows["label"].to_pylist() == [0, 1, 1, 0, 0, 1]
    assert found.rows["row"].to_pylist() == [10, 11, 12, 13, 10, 12]
    assert found.weights.tolist() == [1, 2, 3, 4, 1, 3]
    assert found.rows.schema == rows.rows.schema
    assert [(note.key, note.values["n"], note.values["rows"]) for note in notes] == [("mitigation.augmented", 2, 4)]


def test_both_texts_of_a_pair_are_exchanged_together():
    found, _ = apply(given(text=["a man", "x"], text_pair=["she", "her"], label=[0, 1]))
    added = found.rows.slice(2)
    assert added["text"].to_pylist() == ["a woman", "x"]
    assert added["text_pair"].to_pylist() == ["he", "him"]


def test_prompts_and_completions_are_exchanged_too():
    found, _ = apply(given(prompt=["Describe him"], completion=["He is tall"]))
    assert found.rows.slice(1).to_pylist() == [{"prompt": "Describe her", "completion": "She is tall", "row": 10}]


def test_texts_without_a_gender_change_nothing_and_that_is_said():
    rows = given(text=["It rained", "弹吉他"], label=[0, 1])
    found, notes = apply(rows)
    assert found.rows.equals(rows.rows)
    assert (notes[0].key, notes[0].level) == ("mitigation.augmented_none", "warning")


def test_given_names_stay_if_asked():
    found, _ = apply(given(text=["Mary ran", "he ran"], label=[0, 1]), names=False)
    assert found.rows["text"].to_pylist() == ["Mary ran", "he ran", "she ran"]


def test_a_copy_has_the_gender_that_it_names_and_the_region_of_its_row():
    rows = given(text=["He sang", "it"], label=[0, 1])
    table = rows.rows.append_column("by.mentions:gender", pa.array(["male", "unmentioned"], pa.large_string()))
    table = table.append_column("by.region", pa.array(["n", "s"], pa.large_string()))
    found, _ = apply(TrainingRows(table, rows.weights, rows.labels))
    assert found.rows["by.mentions:gender"].to_pylist() == ["male", "unmentioned", "female"]
    assert found.rows["by.region"].to_pylist() == ["n", "s", "n"]


def test_after_it_there_is_nothing_left_to_weigh():
    texts = ["he sang"] * 6 + ["she sang"] * 2
    table = given(text=texts, label=[1] * 5 + [0, 0, 1]).rows
    table = table.append_column("by.mentions:gender", pa.array(["male"] * 6 + ["female"] * 2, pa.large_string()))
    rows = TrainingRows(table, np.ones(8), ["no", "yes"])
    before, _ = reweighing.apply(rows, ReweighingSpec(by="mentions:gender"), seed=0)
    after, _ = reweighing.apply(apply(rows)[0], ReweighingSpec(by="mentions:gender"), seed=0)
    assert not np.allclose(before.weights, 1)
    assert np.allclose(after.weights, 1)


def test_rows_in_many_chunks_are_the_same_as_in_one():
    rows = given(text=["he", "it", "she", "x"] * 50, label=[0, 1] * 100)
    chunks = pa.Table.from_batches(rows.rows.to_batches(max_chunksize=7))
    found, _ = apply(TrainingRows(chunks, rows.weights, rows.labels))
    assert found.rows.combine_chunks().equals(apply(rows)[0].rows.combine_chunks())
    assert len(found.rows) == 300
