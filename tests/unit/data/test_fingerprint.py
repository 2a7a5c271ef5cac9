import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fm_notebook.data.fingerprint import fingerprint, row_hashes, text_hashes

TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=8)
KINDS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]


def stored(texts, kind, cut):
    """`texts` as a table of the type `kind`, in one or two chunks, cut out of a longer one, with metadata."""
    if pa.types.is_dictionary(kind):
        whole = pa.array(["before", *texts, "after"], kind.value_type).dictionary_encode().cast(kind)
    else:
        whole = pa.array(["before", *texts, "after"], kind)
    inner = whole.slice(1, len(texts))
    chunks = pa.chunked_array([inner.slice(0, cut), inner.slice(cut)] if cut else [inner], kind)
    return pa.table({"text": chunks}).replace_schema_metadata({"origin": "elsewhere"})


@settings(deadline=None)
@given(TEXTS, st.sampled_from(KINDS), st.integers(0, 8))
def test_the_way_of_storing_does_not_matter(texts, kind, cut):
    assert fingerprint(stored(texts, kind, min(cut, len(texts)))) == fingerprint(pa.table({"text": pa.array(texts, pa.string())}))


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_different_texts_have_different_fingerprints(one, other):
    tables = [pa.table({"text": pa.array(texts, pa.string())}) for texts in (one, other)]
    assert (fingerprint(tables[0]) == fingerprint(tables[1])) == (one == other)


@given(st.lists(st.none() | st.integers(-100, 100)))
def test_the_width_of_numbers_does_not_matter(numbers):
    prints = {fingerprint(pa.table({"n": pa.array(numbers, kind)})) for kind in (pa.int8(), pa.int32(), pa.int64())}
    assert len(prints) == 1
    assert len({fingerprint(pa.table({"n": pa.array(numbers, kind)})) for kind in (pa.float32(), pa.float64())} | prints) == 2


def test_names_order_of_columns_and_rows_and_the_border_between_texts_matter():
    tables = [
        pa.table({"a": ["x", "y"], "b": ["1", "2"]}),
        pa.table({"b": ["1", "2"], "a": ["x", "y"]}),
        pa.table({"a": ["x", "y"], "c": ["1", "2"]}),
        pa.table({"a": ["y", "x"], "b": ["1", "2"]}),
        pa.table({"a": ["xy", ""], "b": ["1", "2"]}),
        pa.table({"a": ["xy", None], "b": ["1", "2"]}),
    ]
    assert len({fingerprint(table) for table in tables}) == len(tables)


def test_the_border_between_lists_matters_and_their_storage_does_not():
    lists = [[["a", "b"], []], [["a"], ["b"]], [[], ["a", "b"]], [["a", "b"], None], [["ab"], []], [["a", None], []]]
    assert len({fingerprint(pa.table({"x": pa.array(each, pa.list_(pa.string()))})) for each in lists}) == len(lists)
    kinds = [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))]
    prints = {fingerprint(pa.table({"x": pa.array([["q"], ["a", "b"], [], None], kind).slice(1)})) for kind in kinds}
    assert len(prints) == 1


@pytest.mark.parametrize(
    "column",
    [
        [True, None],
        [1.5, float("nan")],
        [b"\xff", None],
        [[1, 2], None],
        [{"a": 1}, None],
        [None, None],
        np.array([2**64 - 1, 0], np.uint64),
        [],
    ],
)
def test_every_type_has_a_stable_fingerprint(column):
    whole = pa.table({"x": pa.array(column)})
    again = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert fingerprint(again) == fingerprint(whole) != fingerprint(pa.table({"y": pa.array(column)}))


def test_texts_are_equal_but_for_case_white_space_and_the_form_of_letters():
    hashes = text_hashes(["Café  au\tlait", " cafe\u0301 AU lait\n", "cafe au lait", "Straße", "STRASSE"])
    assert hashes.dtype == np.uint64
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[3] == hashes[4]


def test_hashes_are_the_same_on_every_machine():
    # BLAKE2b with 8 bytes of the normalised text, read little-endian: `printf 'hello world' | b2sum -l 64`.
    assert int(text_hashes(["Hello  World"])[0]).to_bytes(8, "little").hex() == B2SUM_HELLO_WORLD


B2SUM_HELLO_WORLD = "878633aa32a3b150"


def test_pairs_count_as_a_whole():
    table = pa.table({"text": ["a", "a", "ab"], "text_pair": ["bc", "b", "c"]})
    assert len(set(row_hashes(table).tolist())) == 3
    assert len(set(row_hashes(table.select(["text"])).tolist())) == 2


def test_a_hundred_thousand_texts_have_as_many_hashes():
    texts = [f"Some words of a tweet about nothing at all, number {i}, and a few more" for i in range(100_000)]
    assert len(np.unique(text_hashes(texts))) == len(texts)
