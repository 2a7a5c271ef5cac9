"""Lexicons of identity terms: ours are sound, and the user's file is one or is told why not."""

import pyarrow as pa
import pytest

from fm_notebook.data import lexicons
from fm_notebook.data.mentions import HAN, NONE, mentioned
from fm_notebook.errors import DataError

AXES = {"gender", "age", "religion", "region", "ethnicity", "sexual-orientation", "disability"}


def by(asked, *texts):
    return mentioned([pa.chunked_array([pa.array(list(texts), pa.large_string())])], str(asked)).to_pylist()


@pytest.mark.parametrize("language", lexicons.LANGUAGES)
def test_ours_have_every_axis_and_groups_with_terms(language):
    lexicon = lexicons.ours(language)
    assert set(lexicon.axes) == AXES
    assert set(lexicon.exceptions) <= AXES
    for name, groups in lexicon.axes.items():
        assert len(groups) >= 2, name
        assert all(terms for terms in groups.values())


@pytest.mark.parametrize("language", lexicons.LANGUAGES)
def test_a_term_stands_once_in_an_axis(language):
    for name, groups in lexicons.ours(language).axes.items():
        terms = [term for each in groups.values() for term in each]
        assert len(terms) == len(set(terms)), (name, {term for term in terms if terms.count(term) > 1})


def test_the_chinese_lexicon_is_chinese_and_the_english_one_is_not():
    for groups in lexicons.ours("en").axes.values():
        assert not [term for terms in groups.values() for term in terms if HAN.search(term)]
    for groups in lexicons.ours("zh").axes.values():
        assert not [term for terms in groups.values() for term in terms if not HAN.search(term) and not term[0].isdigit()]


def test_an_axis_joins_the_terms_of_both_languages():
    terms = lexicons.axis("gender").groups["female"]
    assert {"she", "她"} <= set(terms)


@pytest.mark.parametrize("language", lexicons.LANGUAGES)
def test_no_word_is_exchanged_for_two_others(language):
    table = lexicons.ours(language).swaps["gender"]
    both = [word for pair in (*table.pairs, *table.names) for word in pair]
    assert len(both) == len(set(both)), {word for word in both if both.count(word) > 1}
    firsts = [first for first, _ in table.one_way]
    assert not set(firsts) & set(both)
    assert len(firsts) == len(set(firsts))


def test_a_file_of_ones_own_is_a_lexicon(tmp_path):
    path = tmp_path / "my_terms.toml"
    path.write_text(
        '[axes.job]\ncare = ["nurse", "护士"]\ntrade = ["smith"]\n[exceptions]\njob = ["Mr Smith"]\n', encoding="utf-8"
    )
    assert by(path, "A nurse", "男护士", "the smith", "MR SMITH", "the sea") == ["care", "care", "trade", NONE, NONE]


def test_of_a_file_with_several_axes_one_is_named(tmp_path):
    path = tmp_path / "terms.toml"
    path.write_text('[axes.job]\ncare = ["nurse"]\n[axes.pet]\ndog = ["puppy"]\n')
    assert by(f"{path}:pet", "the puppy of a nurse") == ["dog"]
    with pytest.raises(DataError, match="job, pet"):
        by(path, "x")
    with pytest.raises(DataError, match="Did you mean pet"):
        by(f"{path}:pets", "x")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("axes = 3", "at axes"), ("[axes.job\n", "cannot be read"), ('[axes.job]\ncare = "nurse"', "axes.job.care"),
        ("[axes]\n", "has no axis"), ("[axes.job]\n", "axes.job"), ("[axes.job]\ncare = []", "axes.job.care"),
        ('[axes.job]\ncare = [""]', "axes.job.care.0"), ('[axis.job]\ncare = ["nurse"]', "at axes"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_lexicon_is_told_of_by_its_place(tmp_path, content, told):
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        by(path, "x")
    assert "bad.toml" in str(caught.value)
    if told != "has no axis":
        assert told in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.toml"):
        by(tmp_path / "nowhere.toml", "x")
