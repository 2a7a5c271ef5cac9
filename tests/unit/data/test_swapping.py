"""Words of one gender for those of the other, and every other letter as it was."""

import pyarrow as pa
import pytest

from fm_notebook.data import lexicons
from fm_notebook.data.swapping import swapper


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He left.", "She left."), ("The WOMEN and the man", "The MEN and the woman"), ("It rained, the other day.", None),
        ("a Man's world", "a Woman's world"), ("Himself a king", "Herself a queen"), ("Herman and Theresa", None),
        # her and his
        ("I read her book.", "I read his book."), ("I saw her.", "I saw him."), ("I saw her and left", "I saw him and left"),
        ("He gave her a rose", "She gave him a rose"), ("He gave her his book", "She gave him her book"),
        ("HER own idea", "HIS own idea"), ("It is his.", "It is hers."), ("his car is hers", "her car is his"),
        ("tell him that", "tell her that"), ("her", "him"), ("Hers is red", "His is red"),
        # titles and names
        ("Mrs Smith met Mr. Jones", "Mr Smith met Ms. Jones"), ("Miss Marple", "Mr Marple"), ("I miss it", None),
        ("Mary and MARY", "James and JAMES"), ("Johnny", None), ("yes, sir", "yes, madam"),
        # Chinese
        ("他来了", "她来了"), ("她们和其他人", "他们和其他人"), ("先生们，女士们", "女士们，先生们"), ("他妈妈", "她爸爸"),
        ("吉他", None), ("儿子和女儿", "女儿和儿子"), ("子女", None), ("一名男医生", "一名女医生"),
        ("爸爸妈妈", "妈妈爸爸"), ("王小姐", "王先生"), ("父女俩", "母子俩"), ("我妈的", "我爸的"),
        ("他妈的", None), ("外公司", None), ("小姐姐", "小哥哥"), ("叫James的男孩", "叫Mary的女孩"),
    ],
)  # fmt: skip
def test_words_are_exchanged_and_the_rest_stays(text, swapped):
    assert swapper()(text) == (text if swapped is None else swapped)


def test_names_stay_if_asked():
    assert swapper(names=False)("Mary and her king") == "Mary and her king".replace("king", "queen").replace("her", "his")


@pytest.mark.parametrize("language", lexicons.LANGUAGES)
def test_words_that_are_paired_come_back_when_exchanged_twice(language):
    table = lexicons.ours(language).swaps["gender"]
    swap = swapper()
    for one, other in (*table.pairs, *table.names):
        assert (swap(one), swap(other)) == (other, one)
        assert swap(swap(f"the {one}, the {other}.")) == f"the {one}, the {other}."


@pytest.mark.parametrize("language", lexicons.LANGUAGES)
def test_what_goes_one_way_becomes_a_word_that_comes_back(language):
    for one, other in lexicons.ours(language).swaps["gender"].one_way:
        assert swapper()(one) == other


def test_a_quick_look_finds_all_that_the_slow_one_changes():
    texts = ["he", "其他", "Mary", "mary", "tell HER", "x", "我妈的", "ex-wife", None, "heroine", "theatre"]
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    touched = swapper().touches(column)
    changed = [text is not None and swapper()(text) != text for text in texts]
    assert all(seen for seen, change in zip(touched, changed, strict=True) if change)
    assert not touched[texts.index("x")]
    assert not touched[texts.index("theatre")]
    assert sum(changed) >= 5
