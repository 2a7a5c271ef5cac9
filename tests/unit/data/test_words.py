import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.data import words

TEXTS = st.lists(st.text(st.sampled_from("ab9_ .,'\t中国あัก́\u200d😀Ä\u3000"), max_size=12), min_size=1, max_size=5)


def spans(texts, cut=words.split, **more):
    text = words.characters(pa.array(texts, pa.large_string()))
    found = cut(text, **more)
    rows = np.repeat(np.arange(len(texts)), found.counts)
    lists = [[] for _ in texts]
    for row, start, end in zip(rows.tolist(), found.start.tolist(), found.end.tolist(), strict=True):
        first = text.offsets[row]
        lists[row].append(texts[row][start - first : end - first])
    return lists


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 3.5 km, isn't it?", ["It", "'", "s", "3", ".", "5", "km", ",", "isn", "'", "t", "it", "?"]),
        ("我爱北京 2024年", ["我", "爱", "北", "京", "2024", "年"]),
        ("@user #tag_1\thttp", ["@", "user", "#", "tag_1", "http"]),
        ("cafe\u0301 Müller", ["cafe\u0301", "Müller"]),
        ("กัน", ["กั", "น"]),
        ("한국어 좋아", ["한국어", "좋아"]),
        ("ひらガナ", ["ひ", "ら", "ガ", "ナ"]),
        ("", []),
        (" \n\u3000", []),
    ],
)
def test_words_of_spaced_scripts_and_characters_of_the_others(text, expected):
    assert spans([text]) == [expected]


@given(TEXTS)
def test_words_are_the_text_without_its_white_space(texts):
    for text, found in zip(texts, spans(texts), strict=True):
        assert "".join(found) == "".join(text.split())
        assert all(found)


@given(TEXTS)
def test_texts_do_not_meet(texts):
    assert spans(texts) == [spans([text])[0] for text in texts]


@given(TEXTS, st.data())
def test_a_word_never_goes_past_a_cut(texts, data):
    whole = sum(map(len, texts))
    cuts = data.draw(st.lists(st.integers(0, whole), max_size=4))
    text = words.characters(pa.array(texts, pa.large_string()))
    found = words.split(text, np.array(cuts, np.int64))
    for cut in cuts:
        assert not ((found.start < cut) & (cut < found.end)).any()
    assert (found.end - found.start).sum() == sum(len("".join(each.split())) for each in texts)


@given(TEXTS)
def test_white_space_parts_as_in_python(texts):
    assert spans(texts, words.by_white_space) == [text.split() for text in texts]


@given(TEXTS)
def test_every_character_is_a_word_if_asked_for(texts):
    assert spans(texts, words.each_character) == [list(text) for text in texts]


def test_marks_of_the_test_are_what_they_are_meant_to_be():
    assert [unicodedata.category(letter) for letter in "ั\u0301\u200d"] == ["Mn", "Mn", "Cf"]
