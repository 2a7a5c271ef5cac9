import doctest

import pytest

from fm_notebook.data.probe_sets import hurtful as module
from fm_notebook.data.probe_sets.hurtful import Hurtful, read
from fm_notebook.errors import DataError

HURTLEX = "id\tpos\tcategory\tstereotype\tlemma\tlevel\n"


def test_examples_in_the_docstrings_are_right():
    assert doctest.testmod(module).attempted
    assert not doctest.testmod(module).failed


def test_hurtlex_is_read_at_its_conservative_level(tmp_path):
    path = tmp_path / "hurtlex_EN.tsv"
    path.write_text(HURTLEX + "EN1\tn\tcds\tno\tfool\tconservative\nEN2\tn\tan\tno\tduck\tinclusive\n", encoding="utf-8")
    assert read(path) == {"fool": "CDS"}


def test_a_word_a_line_will_do(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufefffool\n\n old fool \n", encoding="utf-8")
    assert set(read(path)) == {"fool", "old fool"}


def test_another_encoding_is_refused_in_words(tmp_path):
    path = tmp_path / "latin.tsv"
    path.write_bytes((HURTLEX + "IT1\tn\tcds\tno\tcretinità\tconservative\n").encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read(path)


@pytest.mark.parametrize("text", ["word\tkind\nfool\tx\n", HURTLEX + "EN2\tn\tan\tno\tduck\tinclusive\n"])
def test_other_columns_and_empty_lexicons_are_refused(tmp_path, text):
    path = tmp_path / "x.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="gone"):
        read(tmp_path / "gone.tsv")


WORDS = Hurtful.of({"idiot": "mind", "piece of work": "mind", "brütal": "deed", "笨蛋": "mind", "坏": "deed", "half-wit": "mind"})


@pytest.mark.parametrize("text", ["IDIOT", "brutal", "Piece of work", "笨蛋", "half wit"])
def test_a_word_is_looked_up_as_a_whole_whatever_its_capitals_and_accents(text):
    assert WORDS.word(text)


@pytest.mark.parametrize("text", ["an idiot", "idiotic", "", "大笨蛋", "piece"])
def test_more_than_the_word_is_no_word(text):
    assert WORDS.word(text) is None


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("a real idiot!", "mind"), ("what a piece of work he is", "mind"), ("他真是个笨蛋。", "mind"), ("很坏", "deed"),
        ("idiotic", None), ("a piece of cake", None), ("brutally", None), ("", None), ("a half-wit", "mind"),
    ],
)  # fmt: skip
def test_a_text_is_searched_for_whole_words_and_phrases(text, category):
    assert WORDS.within(text) == category


def test_the_first_hurtful_word_counts():
    assert WORDS.within("bad 坏 idiot") == "deed"
