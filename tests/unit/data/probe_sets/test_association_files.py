"""Association tests are read in every form in which they are published, and what has no effect size is refused in words."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from fm_notebook.data.probe_sets import association_files, association_items
from fm_notebook.errors import DataError

WORDS = {
    "targ1": {"category": "Male", "examples": ["John", "man"]},
    "targ2": {"category": "Female", "examples": ["Amy", "woman"]},
    "attr1": {"category": "Career", "examples": ["office", "salary", "executive"]},
    "attr2": {"category": "Family", "examples": ["home", "wedding"]},
}
SENTENCES = {
    "targ1": {"category": "Male", "examples": ["This is John.", "John is here.", "A man is there.", "These are men."]},
    "targ2": {"category": "Female", "examples": ["This is Amy.", "Amy is here.", "A woman is there.", "These are women."]},
    "attr1": {"category": "Career", "examples": ["This is an office.", "The salaries are here."]},
    "attr2": {"category": "Family", "examples": ["This is a home.", "It is a wedding."]},
}


def write(path: Path, value: object, *, indent: int | None = None) -> Path:
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def changed(**sets: object) -> dict:
    return WORDS | sets


def test_a_published_file_is_one_object_over_many_lines_named_by_its_file(tmp_path):
    (test,) = association_files.read(write(tmp_path / "weat6.jsonl", WORDS, indent=2), "word")
    assert (test.name, test.level, test.axis) == ("weat6", "word", "gender")
    assert test.sets["X"].texts == ("John", "man")
    assert test.sets["B"].category == "Family"


def test_a_folder_gives_the_tests_of_the_level_asked_for(tmp_path):
    write(tmp_path / "weat6.jsonl", WORDS)
    write(tmp_path / "sent-weat6.jsonl", SENTENCES)
    assert [test.name for test in association_files.read(tmp_path, "word")] == ["weat6"]
    assert [test.name for test in association_files.read(tmp_path, "sentence")] == ["sent-weat6"]


def test_tests_a_line_have_their_own_names_and_levels(tmp_path):
    lines = [{"test": "weat6", "level": "word", **WORDS}, {"test": "sent-weat6", "level": "sentence", **SENTENCES}]
    path = tmp_path / "tests.jsonl"
    path.write_text("\ufeff" + "\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")  # with a byte order mark
    assert [test.name for test in association_files.read(path, "sentence")] == ["sent-weat6"]


def test_sentences_learn_their_words_from_the_test_over_words(tmp_path):
    write(tmp_path / "weat6.jsonl", WORDS)
    alone = write(tmp_path / "sent-weat6.jsonl", SENTENCES)
    for given in (tmp_path, alone):  # in the folder, or beside the file
        (test,) = association_files.read(given, "sentence")
        assert test.sets["X"].words == ("John", "John", "man", "man")


def test_the_users_words_beside_the_examples_are_taken(tmp_path):
    given = {**SENTENCES, "targ1": {**SENTENCES["targ1"], "words": ["a", "a", "b", "b"]}}
    (test,) = association_files.read(write(tmp_path / "mine.jsonl", given), "sentence")
    assert test.sets["X"].words == ("a", "a", "b", "b")


def test_without_words_each_sentence_is_its_own_and_that_is_told(tmp_path):
    found = association_items.items(write(tmp_path / "sent-mine.jsonl", SENTENCES), "sentence", "en")
    assert len(set(found.table["cluster"].to_pylist())) == found.table.num_rows
    assert [remark.key for remark in found.remarks] == ["words_unknown"]
    assert (found.origin, found.licence) == ("own", "unknown")


def test_repeated_texts_are_one_and_counted(tmp_path):
    given = changed(targ1={"category": "Male", "examples": ["John", "man", "John"]})
    found = association_items.items(write(tmp_path / "weat6.jsonl", given), "word", "en")
    assert found.dropped == (("repeated", 1),)
    assert found.table["text"].to_pylist().count("John") == 1


def test_frames_with_the_same_keys_are_read():
    found = association_files.read(pa.Table.from_pylist([{"test": "mine", **WORDS}]), "word")
    assert found[0].name == "mine"


def test_a_test_of_the_other_level_is_taken_and_told(tmp_path):
    found = association_items.items(write(tmp_path / "weat6.jsonl", WORDS), "sentence", "en")
    assert "other_level" in [remark.key for remark in found.remarks]


def test_two_tests_of_one_name_are_told_apart():
    found = association_files.read(pa.Table.from_pylist([{"test": "t", **WORDS}, {"test": "t", **WORDS}]), "word")
    assert [test.name for test in found] == ["t", "t #2"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (changed(targ1={"category": "Male", "examples": ["John", "man", "he"]}), "3 texts about Male and 2 about Female"),
        (changed(targ1={"category": "Male", "examples": ["John", "Amy"]}), "both target sets: Amy"),
        (changed(targ1={"category": "Male", "examples": []}), "empty sets: X"),
        (changed(attr2={"category": "Family", "examples": [" "]}), "empty sets: B"),
        (changed(attr2={"category": "Family", "words": []}), "not in the form"),
        (changed(attr2={"category": "Family", "examples": [1, 2]}), "not in the form"),
        ({"sent_more": "a", "sent_less": "b"}, "found: sent_more, sent_less"),
        (changed(targ1={"category": "Male", "examples": ["John", "man"], "words": ["John"]}), "each of its 2 examples"),
    ],
    ids=["unequal", "overlap", "empty", "blank", "no examples", "no texts", "other keys", "too few words"],
)
def test_what_has_no_effect_size_is_refused_in_words(tmp_path, given, words):
    with pytest.raises(DataError) as error:
        association_files.read(write(tmp_path / "weat6.jsonl", given), "word")
    assert words in str(error.value)
    assert "weat6" in str(error.value)


@pytest.mark.parametrize("content", [b"not json", b"[1, 2]", b"\xff\xfe", b"3"])
def test_a_file_that_is_no_test_is_told(tmp_path, content):
    (tmp_path / "weat6.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="weat6"):
        association_files.read(tmp_path / "weat6.jsonl", "word")


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="no association test"):
        association_files.read(tmp_path, "word")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_seed_set_has_eight_sentences_a_word_and_words_at_one_place_share_templates(language):
    words = association_items.items(None, "word", language).table
    table = association_items.items(None, "sentence", language).table
    assert table.num_rows == association_items.SENTENCES_A_WORD * words.num_rows
    assert set(table["axis"].to_pylist()) >= {"gender", "age", "religion"}
    name = words["test"][0].as_py()
    frames = {}
    for row in table.to_pylist():
        if row["test"] == name:
            frames.setdefault(row["role"], []).append(row["text"].replace(row["word"], "_").lower())
    if language == "zh":  # no capitals and no articles come between
        assert frames["X"] == frames["Y"]
    assert len(frames["X"]) == len(frames["Y"])
