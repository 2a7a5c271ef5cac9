from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from fm_notebook.data.files import from_file
from fm_notebook.data.probe_sets import identity_sets
from fm_notebook.errors import DataError

MADLIBS = Path(__file__).parents[5] / "shared/data/toxicity_identity_madlibs/madlibs.csv"
EEC = ("ID", "Sentence", "Template", "Person", "Gender", "Race", "Emotion", "Emotion word")


def eec(*people, word="angry", emotion="anger"):
    rows = [
        (f"{i}", f"{person} feels {word}.", "<person subject> feels <emotion word>.", person, gender, race, emotion, word)
        for i, (person, gender, race) in enumerate(people)
    ]
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(EEC)})


def test_eec_pairs_phrases_with_their_counterpart_and_names_within_race_and_gender():
    found = identity_sets.read(eec(
        ("my wife", "female", ""), ("my aunt", "female", ""), ("my uncle", "male", ""), ("my husband", "male", ""),
        ("Tia", "female", "African-American"), ("Amanda", "female", "European"),
        ("Leroy", "male", "African-American"), ("Adam", "male", "European"),
    ))  # fmt: skip
    pairs = {(row["axis"], row["term"], row["first_group"], row["second_group"]) for row in found.rows}
    assert pairs == {
        ("gender", "my wife/my husband", "female", "male"), ("gender", "my aunt/my uncle", "female", "male"),
        ("gender", "Tia/Leroy", "female", "male"), ("gender", "Amanda/Adam", "female", "male"),
        ("race", "Tia/Amanda", "African-American", "European"), ("race", "Leroy/Adam", "African-American", "European"),
    }  # fmt: skip
    assert found.rows[0]["label"] == "anger"
    assert not found.dropped


def test_a_sentence_without_counterpart_is_counted_and_one_without_emotion_is_neutral():
    found = identity_sets.read(eec(("she", "female", ""), ("he", "male", ""), ("my mom", "female", ""), word="", emotion=""))
    assert [(row["first"], row["second"], row["label"]) for row in found.rows] == [("she feels .", "he feels .", "neutral")]
    assert found.dropped == Counter(no_partner=1)


def jigsaw(rows):
    return pa.table({"template": [r[0] for r in rows], "toxicity": [r[1] for r in rows], "phrase": [r[2] for r in rows]})


def chinese(terms, frames=("我是{}", "作为{}我感到体贴")):
    hate = [("hate_identity", "toxic", f"我讨厌{term}") for term in terms]
    return jigsaw(hate + [("am_identity", "nontoxic", frame.format(term)) for frame in frames for term in terms])


def test_chinese_terms_are_those_that_are_hated_and_the_longest_is_meant():
    terms = ["同性恋", "男同性恋", "老年人", "中老年人", "青年", "青年人"]
    found = identity_sets.read(chinese(terms))
    assert found.language == "zh"
    assert Counter(row["term"] for row in found.rows) == dict.fromkeys(terms, 3)
    assert {row["template"] for row in found.rows} == {"我讨厌{}", "我是{}", "作为{}我感到体贴"}


def test_of_two_terms_in_one_sentence_the_longest_is_meant():
    found = identity_sets.read(chinese(["青年", "老年人"], ["像青年一样的{}"]))
    both = [row for row in found.rows if "一样" in row["first"]]
    assert [row["term"] for row in both] == ["老年人"] * len(both)


def test_ninety_one_chinese_terms_have_as_many_rows_each():
    terms = [chr(0x4E00 + 7 * i) + chr(0x6000 + 11 * i) + "人" for i in range(91)]
    frames = [f"作为{{}}我觉得{chr(0x5300 + i)}好" for i in range(393)]
    found = identity_sets.read(chinese(terms, frames))
    assert set(Counter(row["term"] for row in found.rows).values()) == {394}
    assert len({row["term"] for row in found.rows}) == 91


def test_rows_without_identity_are_counted_and_not_dropped_in_silence():
    found = identity_sets.read(jigsaw([
        ("verb_adj", "toxic", "kill gay"), ("verb_adj", "toxic", "kill straight"), ("verb_adj", "toxic", "kill gay"),
        ("you_occupation", "nontoxic", "You are a nice barber"), ("verb_adj", "nontoxic", "hug deaf"), ("verb_adj", "toxic", ""),
    ]))  # fmt: skip
    assert [row["first"] for row in found.rows] == ["kill gay", "kill straight"]
    assert found.dropped == Counter(no_identity_term=1, repeated=1, alone_in_template=1, empty=1)


def test_a_persons_name_is_no_identity_term():
    rows = [("name_adj", "BAD", "Christian is a nasty gay"), ("name_adj", "BAD", "Christian is a nasty muslim")]
    found = identity_sets.read(pa.table({"Text": [r[2] for r in rows], "Label": ["BAD"] * 2, "Template": ["name_adj"] * 2}))
    assert [row["term"] for row in found.rows] == ["gay", "muslim"]
    assert [row["label"] for row in found.rows] == ["toxic", "toxic"]


def test_two_words_are_one_term_and_toxic_and_harmless_templates_are_apart():
    found = identity_sets.read(jigsaw([
        ("v", "toxic", "hate african american"), ("v", "toxic", "hate american"), ("v", "nontoxic", "hate african"),
        ("v", "nontoxic", "hate middle aged"),
    ]))  # fmt: skip
    assert [row["term"] for row in found.rows] == ["african american", "american", "african", "middle aged"]
    assert len({row["block"] for row in found.rows}) == 2


@pytest.mark.skipif(not MADLIBS.exists(), reason="the shared sample of the madlibs is not here")
def test_the_shared_madlibs_are_read_whole():
    found = identity_sets.read(from_file(MADLIBS, field="data"))
    assert len({row["term"] for row in found.rows}) == 50
    assert len(found.rows) + sum(found.dropped.values()) == 11_998
    assert found.dropped["no_identity_term"] == 136  # all of them about occupations


def test_own_texts_are_swapped_with_women_first_and_rows_without_a_hit_are_counted():
    found = identity_sets.read(
        pa.table({"text": ["He called his son.", "She left", "It rains", None, "他很聪明", "She and he met"]})
    )
    assert [(row["first"], row["second"]) for row in found.rows] == [
        ("She called her daughter.", "He called his son."), ("She left", "He left"), ("她很聪明", "他很聪明"),
        ("She and he met", "He and she met"),
    ]  # fmt: skip
    assert [row["first_group"] for row in found.rows] == ["female", "female", "female", identity_sets.ORIGINAL]
    assert found.dropped == Counter(no_identity_term=1, empty=1)


def test_own_pairs_are_taken_as_they_are_and_faulty_ones_counted():
    given = pa.table({"first": ["a", "b", ""], "second": ["c", "b", "d"], "first_group": ["x", "x", "x"]})
    found = identity_sets.read(given)
    assert [(row["first"], row["first_group"], row["second_group"]) for row in found.rows] == [("a", "x", "second")]
    assert found.dropped == Counter(identical=1, empty=1)


def test_other_columns_are_named_with_what_is_expected():
    with pytest.raises(DataError, match="review, stars"):
        identity_sets.read(pa.table({"review": ["x"], "stars": ["1"]}))


@pytest.mark.parametrize(
    ("columns", "text"), [({"review": ["He left"], "note": ["x"]}, "review"), ({"review": ["He left"]}, "text")]
)
def test_another_column_may_hold_the_texts_and_the_only_one_with_words_does(columns, text):
    assert identity_sets.read(pa.table(columns | {"stars": [3]}), text).rows[0]["first"] == "She left"


def test_own_labels_are_kept_and_a_column_of_numbers_is_none():
    given = {"text": ["He left", "She won", "He fell"], "class": ["bad", "good", None], "score": [0.1, 0.2, 0.3]}
    assert [row["label"] for row in identity_sets.read(pa.table(given), label="class").rows] == ["bad", "good", ""]
    assert [row["label"] for row in identity_sets.read(pa.table(given)).rows] == ["", "", ""]
    many = pa.table({"text": [f"He left {i}" for i in range(30)], "score": list(range(30))})
    assert {row["label"] for row in identity_sets.read(many, label="score").rows} == {""}
