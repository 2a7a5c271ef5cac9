from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.data.encoding import encode
from fm_notebook.data.fingerprint import row_hashes
from fm_notebook.data.prepare import label_counts, prepare_rows, prepare_training
from fm_notebook.data.reading import Reading
from fm_notebook.data.values import from_value
from fm_notebook.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"
BIO = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def run(text, label, **more):
    rows = pa.table({"text": text, "label": label}) if label is not None else pa.table({"text": text})
    return encode(rows, Reading("tags", label="label" if label is not None else None), field="train", **more)


def words_of(table):
    rows = table.to_pylist()
    return [[row["text"][a:b] for a, b in zip(row["word_start"], row["word_end"], strict=True)] for row in rows]


def tags_of(encoded):
    return [[encoded.labels[i] for i in row] for row in encoded.table["label"].to_pylist()]


def failure(text, label, **more):
    with pytest.raises(DataError) as error:
        run(text, label, **more)
    return error.value.faults[0].key, str(error.value)


def span(start, end, label="PER"):
    return {"start": start, "end": end, "label": label}


def test_canonical_columns_have_their_types():
    encoded = run([["Ann", "went"], ["to", "Rome"]], [["B-PER", "O"], ["O", "B-LOC"]])
    numbers = pa.list_(pa.int32())
    assert encoded.table.schema == pa.schema(
        {"text": pa.large_string(), "word_start": numbers, "word_end": numbers, "label": numbers, "row": pa.int64()}
    )
    assert encoded.kind == "tags"
    assert encoded.labels == BIO
    assert encoded.table["text"].to_pylist() == ["Ann went", "to Rome"]
    assert words_of(encoded.table) == [["Ann", "went"], ["to", "Rome"]]
    assert tags_of(encoded) == [["B-PER", "O"], ["O", "B-LOC"]]


WORDS = st.text(st.sampled_from("abé中，"), max_size=3)
TAGS = st.sampled_from(["O", "B-X", "I-X", "B-Y"])


@given(st.lists(st.none() | st.lists(st.tuples(WORDS, TAGS), max_size=4), min_size=1, max_size=8))
def test_words_and_tags_are_kept_as_they_are(rows):
    kept = [row for row in rows if row and any(word for word, _ in row)]
    words = pa.array([row and [word for word, _ in row] for row in rows], pa.list_(pa.string()))
    tags = pa.array([row and [tag for _, tag in row] for row in rows], pa.list_(pa.string()))
    if not any(tag != "O" for row in rows if row for _, tag in row) or not kept:
        return
    encoded = run(words, tags)
    assert words_of(encoded.table) == [[word for word, _ in row] for row in kept]
    assert tags_of(encoded) == [[tag for _, tag in row] for row in kept]
    assert encoded.missing_rows == len(rows) - len(kept)


def test_words_of_chinese_are_joined_without_spaces():
    encoded = run([["北京", "大学", "in", "Beijing", "，", "很", "好"]], [["B-O", "I-O", *"OOOOO"]])
    assert encoded.table["text"].to_pylist() == ["北京大学 in Beijing ，很好"]


def test_single_characters_are_one_text_whatever_the_script():
    encoded = run([list("我在NBA"), list("ok")], [["O", "O", "B-O", "I-O", "I-O"], ["O", "O"]])
    assert encoded.table["text"].to_pylist() == ["我在NBA", "ok"]
    assert words_of(encoded.table) == [list("我在NBA"), list("ok")]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["B-X", "M-X", "E-X", "S-Y"], ["B-X", "I-X", "I-X", "B-Y"]),
        (["B-X", "I-X", "L-X", "U-Y"], ["B-X", "I-X", "I-X", "B-Y"]),
        (["I-X", "I-X", "B-X", "O"], ["I-X", "I-X", "B-X", "O"]),
    ],
)
def test_other_schemes_become_bio(tags, expected):
    encoded = run([list("abcd")], [tags])
    assert tags_of(encoded) == [expected]
    assert encoded.labels == (("O", "B-X", "I-X", "B-Y", "I-Y") if "Y" in str(tags) else ("O", "B-X", "I-X"))


def test_tags_without_prefix_stay_as_they_are():
    assert run([["a", "b"]], [["NOUN", "-LRB-"]]).labels == ("-LRB-", "NOUN")
    assert run([["a", "b", "c"]], [["PER", "O", "ADV"]]).labels == ("O", "ADV", "PER")
    assert run([["a", "b"]], [[2, 10]]).labels == ("2", "10")


def test_numbers_with_names_go_by_these():
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(datasets.ClassLabel(names=list(BIO)))}
    )
    data = datasets.Dataset.from_dict({"tokens": [["Ann", "x"], ["y"]], "ner_tags": [[3, 0], [1]]}, features=features)
    encoded = encode(from_value(data, field="train"), Reading("tags"), field="train")
    assert encoded.labels == BIO
    assert tags_of(encoded) == [["B-PER", "O"], ["B-LOC"]]


@pytest.mark.parametrize(
    ("labels", "tags", "expected"),
    [
        (("B-PER", "I-PER", "O"), ["B-PER", "E-PER", "S-PER", "O"], ["B-PER", "I-PER", "B-PER", "O"]),
        (("O", "B-PER", "M-PER", "E-PER"), ["B-PER", "M-PER", "E-PER", "O"], ["B-PER", "M-PER", "E-PER", "O"]),
        (("O", "PER"), ["B-PER", "I-PER", "O", "O"], ["PER", "PER", "O", "O"]),
    ],
)
def test_tags_are_matched_to_those_of_a_model(labels, tags, expected):
    assert tags_of(run([list("abcd")], [tags], labels=labels)) == [expected]
    assert failure([["a"]], [["B-Q"]], labels=labels)[0] == "data.label.unseen"


def test_spans_become_words_that_begin_and_end_where_they_do():
    text = "Ann-Marie lives in 北京市, ok"
    encoded = run([text, "none"], [[span(19, 21, "LOC"), span(0, 9)], []])
    assert words_of(encoded.table)[0] == ["Ann", "-", "Marie", "lives", "in", "北", "京", "市", ",", "ok"]
    assert tags_of(encoded)[0] == ["B-PER", "I-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O", "O", "O"]
    assert tags_of(encoded)[1] == ["O"]


@st.composite
def spanned(draw):
    text = draw(st.text(st.sampled_from("ab 中，é"), min_size=1, max_size=15))
    ends = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    found = [span(a, b, draw(st.sampled_from("XY"))) for a, b in zip(ends[::2], ends[1::2], strict=False) if text[a:b].strip()]
    return text, draw(st.permutations(found))


@given(st.lists(spanned(), min_size=1, max_size=4))
def test_spans_are_read_back_exactly(rows):
    rows = [row for row in rows if row[0].strip()]
    if not any(found for _, found in rows):
        return
    encoded = run([text for text, _ in rows], [list(found) for _, found in rows])
    for (text, found), row, tags in zip(rows, encoded.table.to_pylist(), tags_of(encoded), strict=True):
        back, ends = [], row["word_end"]
        for i, tag in enumerate(tags):
            if tag[0] == "B":
                back.append([row["word_start"][i], ends[i], tag[2:]])
            elif tag[0] == "I":
                back[-1][1] = ends[i]
        trimmed = [[s + len(w) - len(w.lstrip()), e - len(w) + len(w.rstrip()), k] for s, e, k, w in _with_text(text, found)]
        assert back == sorted(trimmed)


def _with_text(text, found):
    return [(each["start"], each["end"], each["label"], text[each["start"] : each["end"]]) for each in found]


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ([span(0, 4)], "data.spans.range"),
        ([span(-1, 2)], "data.spans.range"),
        ([span(2, 2)], "data.spans.range"),
        ([span(0, 2), span(1, 3)], "data.spans.overlap"),
        ([span(1, 2)], "data.spans.blank"),
    ],
)
def test_a_wrong_span_is_told_with_its_row(wrong, key):
    found, told = failure(["fine", "", "a b"], [[span(0, 4)], [span(0, 9)], wrong])
    assert found == key
    assert "row 2 " in told


def test_a_span_without_a_label_leaves_its_row_out():
    encoded = run(["ab", "cd"], [[span(0, 1)], [span(0, 1, None)]])
    assert encoded.table["row"].to_pylist() == [0]


@pytest.mark.parametrize(
    ("text", "tags"),
    [("张三 来", ["B-PER", "I-PER", "O", "O"]), ("张三来", "B-PER I-PER O"), ("张三来", "B-PER\tI-PER O\n")],
)
def test_a_tag_a_character_is_read(text, tags):
    encoded = run([text, "好"], [tags, ["O"] if isinstance(tags, list) else "O"])
    assert words_of(encoded.table) == [list(text), ["好"]]
    assert tags_of(encoded)[0][:2] == ["B-PER", "I-PER"]


def test_a_tag_a_word_of_a_text_is_read():
    encoded = run(["Ann Lee, went ", "I"], ["B-PER I-PER O", "O"])
    assert words_of(encoded.table) == [["Ann", "Lee,", "went"], ["I"]]
    assert tags_of(encoded)[0] == ["B-PER", "I-PER", "O"]


@pytest.mark.parametrize(
    ("text", "tags", "key"),
    [
        ([["a"], ["a", "b"]], [["B-X"], ["B-X"]], "data.tags.length"),
        (["ab", "ab c"], [["B-X", "O"], ["B-X", "O", "O"]], "data.tags.length"),
        ([["a", "b"]], [["B-X", "PER"]], "data.tags.prefix"),
        ([["a", "b"]], [["X-PER", "O"]], "data.tags.prefix"),
        ([["a", "b"]], [["O", "O"]], "data.tags.none"),
        ([["a", "b"]], [["N", "N"]], "data.label.one"),
        (["a"], [1], "data.tags.kind"),
        ([["a"]], [[span(0, 1)]], "data.tags.kind"),
        (["a"], [[{"from": 0, "to": 1}]], "data.tags.kind"),
        ([[1]], [["B-X"]], "data.text.kind"),
        ([1], [["B-X"]], "data.text.numbers"),
        (["", " "], ["B-X", "B-X"], "data.all_missing"),
    ],
)
def test_what_is_no_tagging_is_refused(text, tags, key):
    assert failure(text, tags)[0] == key


def test_a_wrong_number_of_tags_names_the_row():
    assert "row 1 " in failure([["a"], ["a", "b"]], [["B-X"], ["B-X"]])[1]


def test_rows_without_words_or_tags_are_missing():
    encoded = run([["a"], [], None, ["b", None], ["c"], [" "]], [["B-X"], [], ["O"], ["O", "O"], None, ["O"]])
    assert (encoded.table["row"].to_pylist(), encoded.missing_rows) == ([0], 5)


def test_untagged_rows_are_cut_into_words():
    assert words_of(run(["It is.", ""], None).table) == [["It", "is", "."]]
    assert words_of(run([["It", "is."]], None).table) == [["It", "is."]]


def test_a_frame_is_prepared_split_and_counted():
    rows = pd.DataFrame({"tokens": [["Ann", "Lee", f"w{i}"] for i in range(20)], "tags": [["B-PER", "I-PER", "O"]] * 20})
    data = prepare_training(rows, reading=Reading("tags"), eval_split=0.2, sources={"train": "rows"})
    assert (data.facts.train_rows, data.facts.eval_rows, data.facts.stratified, data.facts.held_out) == (16, 4, False, True)
    assert data.facts.labels == ["O", "B-PER", "I-PER"]
    assert data.facts.train_label_counts == [16, 16, 16]
    assert data.facts.eval_label_counts == [4, 4, 4]
    assert len(np.unique(row_hashes(data.train))) == 16
    other = rows.assign(tags=[["B-LOC", "I-LOC", "O"]] * 20)
    again = prepare_training(other, reading=Reading("tags"), eval_split=0.2, sources={"train": "rows"})
    assert again.train_ref.fingerprint != data.train_ref.fingerprint


def test_more_rows_than_a_batch_are_cut_alike(monkeypatch):
    from fm_notebook.data import stored

    texts, tags = [f"Ann {i}" for i in range(50)], [[span(0, 3)]] * 50
    whole = run(texts, tags).table
    monkeypatch.setattr(stored, "BATCH_ROWS", 7)
    assert run(texts, tags).table.equals(whole)


real = pytest.mark.skipif(not SHARED.exists(), reason="the real data sets are not beside the repository")


@real
@pytest.mark.parametrize(
    ("name", "sentences", "tokens", "types", "begins"),
    [
        ("wnut17", 3394, 62730, 6, {"B-person": 660, "B-location": 548, "B-group": 264, "B-product": 142}),
        ("weibo_ner", 1309, 71941, 8, {"B-PER.NOM": 733, "B-GPE.NAM": 201, "B-GPE.NOM": 8}),
    ],
)
def test_real_sentences_are_read_whole(name, sentences, tokens, types, begins):
    train, dev = (str(SHARED / name / f"{part}.conll") for part in ("train", "dev"))
    data = prepare_training(train, dev, reading=Reading("tags"), sources={"train": train, "eval": dev})
    assert data.facts.train_rows + data.facts.missing_rows == sentences
    assert sum(data.facts.train_label_counts) == tokens
    assert len(data.facts.labels) == 2 * types + 1
    counts = dict(zip(data.facts.labels, data.facts.train_label_counts, strict=True))
    assert {tag: counts[tag] for tag in begins} == begins
    if name == "weibo_ner":
        assert data.train["text"][0].as_py().startswith("科技全方位资讯智能，快捷的汽车生活需要有三屏一云爱你")


@real
def test_real_spans_are_exact():
    rows = pd.read_json(next((SHARED / "presidio_pii").glob("*.jsonl")), lines=True)
    spans = [
        [{"start": s["start_position"], "end": s["end_position"], "label": s["entity_type"]} for s in found]
        for found in rows["spans"]
    ]
    data = prepare_rows(pd.DataFrame({"text": rows["full_text"], "label": spans}), reading=Reading("tags"), source="pii")
    tags = np.array(data.labels)
    counts = label_counts(data.table, data.labels)
    begins = sum(n for tag, n in zip(tags.tolist(), counts, strict=True) if tag.startswith("B-"))
    assert begins == sum(map(len, spans))
    for row, found in zip(data.table.slice(0, 300).to_pylist(), spans, strict=False):
        starts = [s for s, code in zip(row["word_start"], row["label"], strict=True) if tags[code][0] == "B"]
        assert starts == sorted(each["start"] for each in found)
