import doctest
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.capabilities import TokenLogProbs, TokenText
from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE
from fm_notebook.data.probe_sets import multiple_choice as module
from fm_notebook.data.probe_sets.multiple_choice import answered, bbq, cbbq, matched, options
from fm_notebook.errors import DataError

CBBQ = Path(__file__).parents[5] / "shared/data/cbbq_zh"


def test_examples_in_the_docstrings_are_right():
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed


def bbq_row(**changed):
    return {
        "example_id": 0, "question_index": "1", "question_polarity": "neg", "context_condition": "ambig", "category": "Age",
        "answer_info": {"ans0": ["grandfather", "old"], "ans1": ["grandson", "nonOld"], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"stereotyped_groups": ["Old"], "source": "x"}, "context": "A and B.", "question": "Who?",
        "ans0": "The grandfather", "ans1": "The grandson", "ans2": "Unknown", "label": 2,
    } | changed  # fmt: skip


def one(**changed):
    return bbq(pa.Table.from_pylist([bbq_row(**changed)]))


def test_the_target_is_the_one_answer_whose_group_is_stereotyped_whatever_the_case():
    row = one().rows[0]
    assert (row["target"], row["unknown"], row["label"]) == (0, 2, 2)
    assert (row["condition"], row["polarity"], row["cluster"]) == ("ambig", "neg", "Age 1")


@pytest.mark.parametrize("groups", [["old", "nonOld"], ["young"], []])
def test_without_exactly_one_target_a_row_is_excluded_and_counted(groups):
    found = one(additional_metadata={"stereotyped_groups": groups})
    assert found.dropped == Counter(no_single_target=1)
    assert found.table.num_rows == 0


def test_the_polarity_may_be_spelt_in_either_way_and_labels_may_be_text():
    assert one(question_polarity="nonneg").rows[0]["polarity"] == "nonneg"
    assert one(question_polarity="non_neg").rows[0]["polarity"] == "nonneg"
    assert one(label="2").rows[0]["label"] == 2


@pytest.mark.parametrize("changed", [{"label": 7}, {"label": None}, {"ans0": "Unknown"}, {"ans1": "", "ans0": ""}])
def test_odd_rows_are_counted(changed):
    assert one(**changed).dropped == Counter(odd_question=1)


def test_structs_may_come_as_json_text():
    row = bbq_row()
    assert one(answer_info=json.dumps(row["answer_info"]), additional_metadata=json.dumps(row["additional_metadata"])).rows


def test_wrong_columns_are_named_with_what_is_expected():
    with pytest.raises(DataError, match="answer_info"):
        bbq(pa.table({"question": ["x"]}))


def test_files_and_folders_are_read_with_their_byte_order_mark(tmp_path):
    text = "\ufeff" + "\n".join(json.dumps(bbq_row(category=name)) for name in ("Age", "SES"))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(json.dumps(bbq_row(category="Religion")), encoding="utf-8")
    assert [row["axis"] for row in bbq(tmp_path / "a.jsonl").rows] == ["Age", "SES"]
    assert len(bbq(tmp_path).rows) == 3
    assert len(set(bbq(tmp_path).table["id"].to_pylist())) == 3
    assert bbq(tmp_path).within(module.CATEGORIES)
    assert not one(category="dentists").within(module.CATEGORIES)


def cbbq_rows(right_to_negative, category="gender", unknown=2):
    answers = {0: "甲", 1: "乙", 2: "丙"} | {unknown: "不知道"}
    other = 3 - unknown - right_to_negative
    return [
        {
            "question_index": 1, "question_polarity": polarity, "context_condition": condition, "category": category,
            "context": "某公司", "question": "谁？", "label": str(label),
            "ans0": answers[0], "ans1": answers[1], "ans2": answers[2],
        }
        for condition, polarity, label in (
            ("ambiguous", "neg", unknown), ("ambiguous", "non_neg", unknown), ("disambiguous", "neg", right_to_negative),
            ("disambiguous", "non_neg", other),
        )
    ]  # fmt: skip


def read_cbbq(rows):
    return cbbq(pa.Table.from_pylist(rows))


@pytest.mark.parametrize(("right_to_negative", "target"), [(1, 0), (0, 1)])
def test_trap_14_the_target_is_who_is_not_right_in_the_contexts_that_contradict_the_stereotype(right_to_negative, target):
    found = read_cbbq(cbbq_rows(right_to_negative))
    assert {row["target"] for row in found.rows} == {target}
    assert {row["polarity"] for row in found.rows} == {"neg", "nonneg"}


def test_categories_of_both_patterns_keep_their_own_rule():
    found = read_cbbq(cbbq_rows(1, "religion") + cbbq_rows(0, "gender"))
    assert {(row["axis"], row["target"]) for row in found.rows} == {("religion", 0), ("gender", 1)}


def test_where_a_category_is_mixed_the_question_decides():
    second = [row | {"question_index": 2} for row in cbbq_rows(0)]
    found = read_cbbq(cbbq_rows(1) + second)
    assert {(row["cluster"], row["target"]) for row in found.rows} == {("gender 1", 0), ("gender 2", 1)}


def test_a_category_without_disambiguated_rows_is_counted_and_none_at_all_is_refused():
    lonely = [row for row in cbbq_rows(1, "age") if row["context_condition"] == "ambiguous"]
    assert read_cbbq(cbbq_rows(1) + lonely).dropped == Counter(no_single_target=2)
    with pytest.raises(DataError, match="2"):
        read_cbbq(lonely)


@pytest.mark.skipif(not CBBQ.exists(), reason="the shared CBBQ gender set is not here")
def test_the_shared_gender_set_names_women_as_the_target_throughout():
    found = cbbq(CBBQ)
    assert not found.dropped
    assert len(found.rows) == 1_534 + 1_838
    assert {row["target"] for row in found.rows} == {1}
    assert all("女" in row["ans1"] or "变性" in row["ans1"] or "男" not in row["ans1"] for row in found.rows)


def items(*rows):
    return bbq(pa.Table.from_pylist([bbq_row(**row) for row in rows])).table


def log_probs(*values):
    text = TokenText((), (), (), (), (), ())
    return TokenLogProbs(text, np.arange(len(values)), np.array(values, float))


def test_three_answers_are_asked_after_the_context_and_question():
    asked = options(items({}))
    assert asked.contexts == ("A and B.\n\nQ: Who?\nA:",) * 3
    assert asked.texts == (" The grandfather", " The grandson", " Unknown")
    assert asked.answer.tolist() == [0, 1, 2]


def test_trap_6_twelve_options_with_ten_unknowns_are_a_variant_of_their_own():
    asked = options(items({}, {}), synonyms=True)
    assert Counter(asked.item.tolist()) == {0: 12, 1: 12}
    assert Counter(asked.answer.tolist()) == {0: 2, 1: 2, 2: 20}
    one_is_likely = [log_probs(-3), log_probs(-4)] + [log_probs(-9)] * 9 + [log_probs(-2)]
    assert options(items({}), synonyms=True).support(one_is_likely).tolist() == [[-3, -4, -2]]


def test_chinese_questions_are_put_in_chinese_without_a_space():
    asked = options(read_cbbq(cbbq_rows(1)).table)
    assert asked.contexts[0].endswith("谁？\n答：")
    assert asked.texts[0] == "甲"


def test_length_may_be_divided_by():
    asked = options(items({}))
    found = [log_probs(-1, -1, -1), log_probs(-2), log_probs(-9)]
    assert asked.support(found).argmax() == 1
    assert asked.support(found, by_token=True).argmax() == 0


def test_answers_become_scores_and_none_is_skipped():
    given = items({}, {"question_polarity": "nonneg"}, {}, {})
    scores = answered(given, [0, 0, 2, None], np.tile([-1.0, -3.0, -2.0], (4, 1)))
    assert scores[CHOICE].to_pylist() == [True, False, None, None]
    assert scores[VALUE].to_pylist() == [2, -2, 2, 2]
    assert scores[SKIPPED].to_pylist() == [None, None, None, "no_answer"]
    assert scores["answer"].to_pylist() == [0, 0, 2, None]
    assert answered(given, [0] * 4)[VALUE].null_count == 4


@pytest.mark.parametrize(
    ("said", "expected"),
    [("the grandson", 1), ("The Grandson.", 1), ("{the grandfather}", 0), ("grandfather", 0), ("someone", None), ("", None)],
)
def test_free_answers_are_matched(said, expected):
    assert matched(said, ["The grandfather", "The grandson", "Unknown"], ["grandfather", "grandson", "Unknown"]) == expected
