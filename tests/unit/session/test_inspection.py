"""The rows of an evaluation: filtered, sorted and counted as by the plainest code; label errors, notes and neighbours with it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.errors import SpecError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics.intervals import newcombe, wilson
from fm_notebook.session.inspection import neighbours, opening
from fm_notebook.session.inspection.inspection import Inspection
from fm_notebook.session.inspection.notes import RowNotes
from fm_notebook.session.inspection.slices import Slice, Sort
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched

TEXTS = ["Good film", "a BAD film", "很好的电影", "dull", "Straße", "good good", "", "bad"]
TRUTH = [1, 0, 1, 0, 1, 1, 0, 0]
YES = [0.9, 0.2, 0.4, 0.95, 0.7, 0.9, 0.5, 0.1]
GENDER = ["f", "m", None, "f", "m", "f", "m", "f"]


@pytest.fixture
def folder(tmp_path, write_evaluation) -> JobFolder:
    both = np.stack([1 - np.array(YES), YES], axis=1)
    return write_evaluation(tmp_path / "run" / "1", TEXTS, TRUTH, both, ["no", "yes"], groups={"gender": GENDER})


@pytest.fixture
def rows(folder) -> Inspection:
    return Inspection.of(folder)


PREDICTED = [int(p > 0.5) for p in YES]


@pytest.mark.parametrize(
    ("chosen", "holds"),
    [
        (Slice(), lambda i: True),
        (Slice(true="yes"), lambda i: TRUTH[i] == 1),
        (Slice(predicted="no"), lambda i: PREDICTED[i] == 0),
        (Slice(true="yes", predicted="no"), lambda i: (TRUTH[i], PREDICTED[i]) == (1, 0)),
        (Slice(right=False), lambda i: TRUTH[i] != PREDICTED[i]),
        (Slice(contains="GOOD"), lambda i: "good" in TEXTS[i].lower()),
        (Slice(contains=" bad "), lambda i: "bad" in TEXTS[i].lower()),
        (Slice(contains="的电"), lambda i: "的电" in TEXTS[i]),
        (Slice(contains="good", true="no"), lambda i: False),
        (Slice(groups={"gender": "f"}), lambda i: GENDER[i] == "f"),
        (Slice(groups={"gender": None}), lambda i: GENDER[i] is None),
        (Slice(shortest=4, longest=6), lambda i: 4 <= len(TEXTS[i]) <= 6),
    ],
)
def test_a_slice_holds_the_rows_that_meet_all_its_conditions(rows, chosen, holds):
    assert rows.find(chosen, Sort(by="row", descending=False)).tolist() == [i for i in range(8) if holds(i)]


@given(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=2, max_size=30), st.booleans())
def test_rows_that_are_equal_stay_in_the_order_of_the_data(tmp_path_factory, write_evaluation, chances, descending):
    folder = tmp_path_factory.mktemp("run")
    both = np.stack([1 - np.array(chances), chances], axis=1)
    found = Inspection.of(write_evaluation(folder / "1", ["x"] * len(chances), [1] * len(chances), both, ["no", "yes"]))
    for by in ("loss", "margin", "confidence", "length", "row"):
        key = found._numbers(by)
        expected = sorted(range(len(chances)), key=lambda i, key=key: -key[i] if descending else key[i])
        assert found.find(order=Sort(by=by, descending=descending)).tolist() == expected


def test_the_numbers_of_a_row_are_those_of_its_probabilities(rows):
    own = [p if t else 1 - p for p, t in zip(YES, TRUTH, strict=True)]
    np.testing.assert_allclose(rows.loss, -np.log(own))
    np.testing.assert_allclose(rows.confidence, [max(p, 1 - p) for p in YES])
    np.testing.assert_allclose(rows.label_errors.margin, [2 * p - 1 for p in own])
    assert rows.length.tolist() == [len(text) for text in TEXTS]


def test_rows_are_sorted_by_group_too(rows):
    found = rows.find(order=Sort(by="by.gender", descending=False)).tolist()
    assert [GENDER[i] for i in found] == ["f"] * 4 + ["m"] * 3 + [None]


def test_the_confusion_of_a_slice_is_scikit_learns(rows):
    from sklearn.metrics import confusion_matrix

    found = rows.find(Slice(groups={"gender": "f"}))
    expected = confusion_matrix([TRUTH[i] for i in found], [PREDICTED[i] for i in found], labels=[0, 1])
    assert rows.confusion(found).tolist() == expected.tolist()


def test_statistics_set_a_slice_against_the_rest(rows):
    told = rows.statistics(rows.find(Slice(groups={"gender": "f"})))
    assert (told.n, told.right, told.rest_n, told.rest_right) == (4, 3, 4, 3)
    assert told.accuracy == wilson(3, 4)
    assert told.difference == newcombe((3, 4), (3, 4))
    nothing = rows.statistics(np.zeros(0, np.int64))
    assert (nothing.n, nothing.accuracy, nothing.difference) == (0, None, None)


def test_a_slice_chosen_by_its_outcome_says_so():
    assert Slice(right=True).is_by_outcome
    assert Slice(true="a", predicted="b").is_by_outcome
    assert Slice(suspects=True).is_by_outcome
    assert not Slice(true="a", contains="x").is_by_outcome


@pytest.mark.parametrize(
    ("chosen", "key"),
    [(Slice(true="maybe"), "inspect.label"), (Slice(groups={"age": "1"}), "inspect.grouping"),
     (Slice(groups={"gender": "q"}), "inspect.group")],
)  # fmt: skip
def test_what_is_not_there_is_named(rows, chosen, key):
    with pytest.raises(SpecError) as raised:
        rows.find(chosen)
    assert raised.value.faults[0].key == key


def test_an_unknown_order_is_named(rows):
    with pytest.raises(SpecError) as raised:
        rows.find(order=Sort(by="by.age"))
    assert raised.value.faults[0].key == "inspect.column"


def test_several_labels_a_text_are_refused_in_words(tmp_path, folder):
    spec = folder.spec.model_copy(update={"problem": "multi-label"})
    folder.write(spec=spec, identity=folder.identity)
    with pytest.raises(SpecError, match="one class a row"):
        Inspection.of(JobFolder(folder.path))


@pytest.mark.parametrize(("how", "stays"), [("started", False), ("reused", True)])
def test_what_is_refused_leaves_nothing_behind_that_was_not_there(folder, monkeypatch, how, stays):
    folder.write(spec=folder.spec.model_copy(update={"problem": "regression"}), identity=folder.identity)
    launched = Launched(Job(JobFolder(folder.path)), how)
    monkeypatch.setattr(opening, "prepare_evaluation", lambda fields, **_: launched)
    with pytest.raises(SpecError, match="regression"):
        opening.prepare_inspection({})
    assert folder.path.exists() is stays


def test_a_frame_has_all_that_is_known_of_its_rows(rows):
    rows.notes.write(rows.hashes_of(np.array([2]))[0], "really?")
    frame = rows.frame(np.array([2, 0]))
    assert frame.index.tolist() == [2, 0]
    assert frame["row"].tolist() == [102, 100]
    assert frame["text"].tolist() == [TEXTS[2], TEXTS[0]]
    assert frame["label"].tolist() == ["yes", "yes"]
    assert frame["predicted"].tolist() == ["no", "yes"]
    assert frame["gender"].isna().tolist() == [True, False]
    assert frame["note"].tolist() == ["really?", ""]
    np.testing.assert_allclose(frame["p(yes)"], [0.4, 0.9])


def test_notes_survive_another_order_and_another_case_of_the_text(folder, tmp_path, write_evaluation):
    notes = Inspection.of(folder).notes
    assert notes.path.parent == tmp_path / "run"
    notes.write(Inspection.of(folder).hashes_of(np.array([0]))[0], "a note\nof two lines 很好")
    both = np.stack([1 - np.array(YES[:2]), YES[:2]], axis=1)
    other = Inspection.of(write_evaluation(tmp_path / "run" / "2", ["x", "good  FILM"], [0, 1], both, ["no", "yes"]))
    assert other.find(Slice(noted=True)).tolist() == [1]
    assert other.frame(np.array([1]))["note"].tolist() == ["a note\nof two lines 很好"]
    assert notes.path.stat().st_mode & 0o777 == 0o600
    other.notes.write(other.hashes_of(np.array([1]))[0], " ")
    assert other.find(Slice(noted=True)).tolist() == []
    assert len(notes.hashes()) == 0  # written by another notebook


def test_a_torn_line_of_notes_costs_that_note_alone(tmp_path):
    notes = RowNotes(tmp_path / "notes.jsonl")
    notes.write(2**64 - 1, "kept")
    notes.path.write_text(notes.path.read_text() + '{"row": "0f", "no\n')
    assert notes.of(2**64 - 1) == "kept"
    assert [json.loads(line).get("note") for line in notes.path.read_text().splitlines()[:2]] == [None, "kept"]


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**16))
def test_neighbours_are_those_of_scikit_learn(n, k, seed):
    from sklearn.metrics.pairwise import cosine_similarity

    vectors = np.random.default_rng(seed).normal(size=(n, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    place = seed % n
    where, cosines = neighbours.nearest(unit, place, k)
    expected = cosine_similarity(unit.astype(np.float32))[place]
    assert where[0] == place
    np.testing.assert_allclose(cosines[1:], np.sort(np.delete(expected, place))[::-1][: k - 1], atol=2e-3)


def test_a_slice_of_neighbours_is_in_the_order_of_their_cosine(rows, monkeypatch):
    unit = np.array([[1, 0], [0.6, 0.8], [0, 1], [0.8, 0.6], [-1, 0], [0, -1], [1, 0], [0.96, 0.28]], np.float16)
    monkeypatch.setattr(neighbours, "vectors", lambda folder: unit)
    monkeypatch.setattr("fm_notebook.session.inspection.inspection.NEIGHBOURS", 4)
    assert rows.find(Slice(near=0), Sort(by="similarity")).tolist() == [0, 6, 7, 3]
    assert rows.find(Slice(near=0), Sort(by="row", descending=False)).tolist() == [0, 3, 6, 7]
