import pytest

from fm_notebook.data.conll import conll_table
from fm_notebook.data.files import from_file
from fm_notebook.errors import DataError


def read(text):
    table = conll_table(text.split("\n"), faults={"field": "train", "path": "a.conll"}, line=2)
    return list(zip(table["words"].to_pylist(), table["tags"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "a\tO\nb\tB-X\n\nc\tO\n",
        "a O\r\nb B-X\r\n\r\n\r\nc O",
        "-DOCSTART- -X- -X- O\n\na NN x O\nb NN x B-X\n\nc NN y O\n\n",
        "# id = 5\n# text = a b\na\t0\tO\nb\t1\tB-X\n \n# id 6\nc\t0\tO\n\n\n",
    ],
)
def test_sentences_end_at_blank_lines_and_the_last_column_is_the_tag(text):
    assert read(text) == [(["a", "b"], ["O", "B-X"]), (["c"], ["O"])]


def test_a_number_sign_can_be_a_word():
    assert read("#\tO\n#tag\tB-X\n\n# O\nx O") == [(["#", "#tag"], ["O", "B-X"]), (["#", "x"], ["O", "O"])]


def test_a_word_may_hold_spaces_where_tabs_part_and_be_a_wide_space():
    assert read("New York\tB-X\n\u3000 O") == [(["New York", "\u3000"], ["B-X", "O"])]


def test_a_line_without_a_tag_is_named():
    with pytest.raises(DataError, match="line 3") as error:
        read("a O\n\nb\n")
    assert (error.value.faults[0].key, error.value.faults[0].line) == ("data.file.conll", 2)


@pytest.mark.parametrize("ending", ["conll", "bio", "iob", "iob2", "bmes"])
def test_files_are_known_by_their_endings(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes("\ufeffä\tO\n\nb\tB-X\n".encode())
    assert from_file(path, field="train").to_pydict() == {"words": [["ä"], ["b"]], "tags": [["O"], ["B-X"]]}
