"""Whom a text names: whole words, the longest first, in both languages."""

import random
import re
import time

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.data import lexicons, mentions
from fm_notebook.data.mentions import NONE, SEVERAL, mentioned
from fm_notebook.errors import DataError


def by(axis, *texts):
    return mentioned([column(*texts)], axis).to_pylist()


def column(*texts):
    return pa.chunked_array([pa.array(list(texts), pa.large_string())])


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("She left.", "female"), ("THE MAN", "male"), ("her husband", "female+male"), ("It rained.", NONE), ("", NONE),
        ("women's rights", "female"), ("he’s late", "male"), ("my ex-husband", "male"), ("a non binary person", "nonbinary"),
        ("a non-binary woman and her son", "female+male+nonbinary"), ("a transgender woman", "female+transgender"),
        # whole words only
        ("Herman met Theresa in the theatre", NONE), ("manœuvre", NONE), ("the Ottoman", NONE), ("shé", NONE), ("he2", NONE),
        # a longer word around the term
        ("Burger King", NONE), ("the burger king", "male"), ("a queen-size bed", NONE), ("the queen", "female"),
        ("Stephen King and the king", "male"),
    ],
)  # fmt: skip
def test_english_words_are_found_whole(text, group):
    assert by("gender", text) == [group]


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("他来了", "male"), ("她来了", "female"), ("他和她", "female+male"), ("下雨了", NONE),
        ("其他人", NONE), ("弹吉他", NONE), ("吉他手说他来", "male"), ("他们和其他人", "male"), ("她们", "female"),
        ("子女和儿女", NONE), ("男女老少", NONE), ("女儿", "female"), ("女婿", "male"), ("处女作", NONE), ("女权", NONE),
        ("我妈的手机", "female"), ("妈的", NONE), ("真他妈烦", NONE), ("他妈妈", "female+male"),
        ("外公司", NONE), ("外公", "male"),
        ("一位gay男士", "male"), ("Mr王", "male"), ("小姐姐", "female"),
    ],
)  # fmt: skip
def test_chinese_words_are_found_anywhere_but_in_longer_ones(text, group):
    assert by("gender", text) == [group]


def test_a_word_with_a_capital_is_found_only_as_it_is_written():
    assert by("region", "Polish film", "POLISH FILM", "polish the shoe", "a pole") == ["european", "european", NONE, NONE]
    assert by("region", "mexican food", "MEXICANS") == ["north-american"] * 2
    assert by("region", "美国队长", "美国人", "上海人民广场", "上海人") == [NONE, "north-american", NONE, "east-china"]


def test_a_longer_term_of_another_group_is_no_term_of_this_one():
    assert by("region", "South American", "American", "Indian Ocean", "印度人", "印度尼西亚人") == [
        "latin-american", "north-american", NONE, "south-asian", "southeast-asian",
    ]  # fmt: skip
    assert by("sexual-orientation", "男同学", "男同", "女同性恋", "同性恋") == [NONE, "gay", "lesbian", "gay"]


def test_several_groups_are_one_group_by_name_where_they_are_few():
    assert by("religion", "A Muslim and a Jew", "穆斯林和佛教徒", "atheists") == [SEVERAL, SEVERAL, "no-religion"]
    assert by("age", "old men and children") == ["young+old"]


def test_both_texts_of_a_row_count_and_a_missing_one_names_nobody():
    texts = [column("he", None, "she"), column("she", None, None)]
    assert mentioned(texts, "gender").to_pylist() == ["female+male", NONE, "female"]


def test_rows_in_chunks_and_without_rows_have_their_groups():
    chunks = pa.chunked_array([pa.array(["he", "it"], pa.large_string()), pa.array(["其他她"], pa.large_string())])
    assert mentioned([chunks], "gender").to_pylist() == ["male", NONE, "female"]
    assert mentioned([chunks.slice(0, 0)], "gender").to_pylist() == []


@pytest.mark.parametrize("axis", lexicons.axes())
def test_every_term_alone_names_its_group(axis):
    chosen = lexicons.axis(axis)
    for group, terms in chosen.groups.items():
        found = by(axis, *terms)
        wrong = {term: got for term, got in zip(terms, found, strict=True) if group not in got.split("+") and got != SEVERAL}
        assert not wrong


@pytest.mark.parametrize("axis", lexicons.axes())
def test_every_exception_alone_names_nobody(axis):
    words = lexicons.axis(axis).exceptions
    assert not {word: group for word, group in zip(words, by(axis, *words), strict=True) if group != NONE}


def test_it_is_what_a_search_of_each_text_by_python_says():
    rng = random.Random(0)
    words = [
        "he",
        "she",
        "其他",
        "他",
        "她",
        "sheher",
        "King",
        "Burger King",
        "我妈的",
        "妈的",
        "queen size",
        "the",
        "男女",
        "女",
        "！",
        "x",
    ]
    texts = ["".join(rng.choice([" ", "", "-"]) + rng.choice(words) for _ in range(rng.randint(1, 8))) for _ in range(800)]
    axis = lexicons.axis("gender")
    everything = re.compile(mentions.pattern([*axis.exceptions, *(term for terms in axis.groups.values() for term in terms)]))
    groups = {group: re.compile(mentions.pattern(terms)) for group, terms in axis.groups.items()}
    expected = []
    for text in texts:
        found = everything.findall(text)
        held = [group for group, is_term in groups.items() if any(is_term.fullmatch(word) for word in found)]
        expected.append("+".join(held) or NONE)
    assert by("gender", *texts) == expected
    assert len(set(expected)) >= 4


def test_an_unknown_axis_gets_a_hint():
    with pytest.raises(DataError, match="gender") as caught:
        by("gendr", "he")
    assert "disability" in str(caught.value)


def test_a_hundred_thousand_texts_take_a_moment():
    words = np.array(["the", "a", "film", "plot", "good", "bad", "woman", "man", "he", "she", "people", "very"])
    texts = [" ".join(row) for row in words[np.random.default_rng(0).integers(0, len(words), (100_000, 12))]]
    began = time.perf_counter()
    assert len(by("gender", *texts)) == 100_000
    assert time.perf_counter() - began < 20  # 0.2 s here; a quadratic slip takes minutes
