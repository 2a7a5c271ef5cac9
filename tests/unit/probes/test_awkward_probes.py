"""What a demanding user does to probes, and what a sceptic asks of their numbers: each of these went wrong once."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertForMaskedLM, BertForPreTraining

from fm_notebook import verbs
from fm_notebook.contracts.probe_reports import ProbeReports
from fm_notebook.contracts.probing import VALUE
from fm_notebook.contracts.specs import ModelRef
from fm_notebook.data.probe_sets import association_files, identity_sets, multiple_choice, pronoun_files, stereoset_files
from fm_notebook.engine.capabilities.masked import _whole_words
from fm_notebook.errors import DataError, ModelError, SpecError
from fm_notebook.metrics.probes import likelihood_bias, pair_summary
from fm_notebook.metrics.probes.preferences import score_p
from fm_notebook.metrics.probes.question_bias import Answered, measurements
from fm_notebook.metrics.two_way_clusters import difference_of, mean_of, ratio_of
from fm_notebook.panels import probe_report
from fm_notebook.probes import probes
from fm_notebook.session import models, probing
from fm_notebook.session.given import Assigned
from fm_notebook.worker.probing import _lost
from tests.unit.probes.conftest import bert, english_tokenizer

STEREOSET = {
    "id": "1", "target": "nurse", "bias_type": "gender", "context": "The nurse is BLANK.", "stereotype": "The nurse is kind.",
    "anti-stereotype": "The nurse is rude.", "unrelated": "The nurse is blue.",
}  # fmt: skip
BBQ = {
    "question_index": "1", "question_polarity": "neg", "context_condition": "ambig", "category": "Age", "context": "c",
    "question": "q?", "ans0": "A", "ans1": "B", "ans2": "Unknown", "label": 2,
    "answer_info": {"ans0": ["A", "old"], "ans1": ["B", "young"], "ans2": ["U", "unknown"]},
    "additional_metadata": {"stereotyped_groups": ["old"]},
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path, home):
    """A folder with a BERT that was tuned for masked words alone, as it is saved then."""
    del home
    folder = tmp_path / "tiny"
    bert(BertForMaskedLM, english_tokenizer()).save_pretrained(folder)
    english_tokenizer().save_pretrained(folder)
    return folder


def asked(model, name, **fields):
    given = {"model": Assigned(str(model)), **{key: Assigned(value, repr(value)) for key, value in fields.items()}}
    return probing.prepare_probes([name], given, on="kernel")


@pytest.mark.parametrize(
    "row", [STEREOSET | {"sentences": {"gold_label": [0, 1], "sentence": ["a"]}}, {"data": {"intrasentence": ["x"]}}]
)
def test_stereoset_of_another_form_is_refused_in_words(tmp_path, row):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match="not in the form of StereoSet"):
        stereoset_files.read(path)


def test_a_stereoset_item_of_an_unknown_kind_is_counted_and_none():
    rows = pa.Table.from_pylist([STEREOSET | {"type": "intrasentence"}, STEREOSET | {"type": "other"}])
    found = stereoset_files.read(rows)
    assert (len(found.table), found.dropped) == (1, (("unknown_kind", 1),))


@pytest.mark.parametrize("odd", ["not json", "[1]", "3", {}])
def test_a_question_whose_groups_cannot_be_read_is_counted_and_none(odd):
    rows = pa.Table.from_pylist([{**BBQ, "answer_info": json.dumps(BBQ["answer_info"])}, {**BBQ, "answer_info": str(odd)}])
    found = multiple_choice.bbq(rows.set_column(
        rows.schema.get_field_index("additional_metadata"), "additional_metadata",
        pa.array([json.dumps(BBQ["additional_metadata"])] * 2),
    ))  # fmt: skip
    assert (len(found.rows), found.dropped) == (1, {"no_single_target": 1})


@pytest.mark.parametrize(
    "columns",
    [
        {"template": ["t"] * 2, "toxicity": [0, 0], "phrase": ["I am gay", "I am straight"]},
        {"Template": ["t"] * 2, "Label": [1, 1], "Text": ["I am gay", "I am straight"]},
    ],
)
def test_labels_that_are_numbers_are_labels_of_identity_sets_too(columns):
    assert len(identity_sets.read(pa.table(columns)).rows) == 2


def test_a_cell_of_eec_that_is_a_number_is_read_as_text():
    names = ("Template", "Person", "Gender", "Race", "Emotion", "Emotion word")
    columns = {name: ["x", "x"] for name in names} | {"Emotion word": [1, 1], "Sentence": ["he is", "she is"]}
    assert not identity_sets.read(pa.table(columns)).rows


@pytest.mark.parametrize(("told", "expected"), [("abc", None), ("", None), ("37.5", 37.5)])
def test_a_share_of_women_that_is_no_number_is_refused_in_words(told, expected):
    rows = pa.table({"sentence_female": ["she"], "sentence_male": ["he"], "stereotype": ["male"], "percent_female": [told]})
    if told == "abc":
        with pytest.raises(DataError, match="percent_female = abc"):
            pronoun_files.read(rows)
    else:
        assert pronoun_files.read(rows).table["percent_female"].to_pylist() == [expected]


def test_a_blank_text_in_a_set_of_an_association_test_is_refused():
    sets = {"targ1": ["he", " "], "targ2": ["she", "her"], "attr1": ["a"], "attr2": ["b"]}
    with pytest.raises(DataError, match="empty"):
        association_files.read(pa.Table.from_pylist([{"test": "t", **sets}]), "word")


@pytest.mark.parametrize("wrong", [{"limit": -3}, {"limit": "many"}, {"limit": 20, "seed": "x"}, {"limit": 20, "seed": -1}])
def test_a_limit_or_a_seed_that_is_none_is_refused_in_words(tiny, wrong):
    with pytest.raises(SpecError, match="is not possible"):
        asked(tiny, "crows-pairs", **wrong)


@pytest.mark.slow
def test_of_a_family_with_a_limit_what_cannot_be_divided_is_asked_whole(tiny):
    found = asked(tiny, "bias", limit=20).launched
    limits = {name: each.job.jobfolder.spec.limit for name, each in found.items()}
    assert limits["weat"] is limits["seat"] is None
    assert limits["crows-pairs"] == 20
    with pytest.raises(SpecError, match="scored together"):
        asked(tiny, "weat", limit=20)


def test_bert_that_was_saved_without_its_head_for_pairs_is_asked_about_sentences_with_gaps(tiny, tmp_path):
    (launched,) = asked(tiny, "stereoset", limit=20).launched.values()
    assert launched.job.jobfolder.spec.fields["part"] == "intrasentence"
    bert(BertForPreTraining, english_tokenizer()).save_pretrained(tmp_path / "whole")
    held = [models.holds(ModelRef(source="x", kind="folder", location=str(each)), "seq_relationship") for each in
            (tiny, tmp_path / "whole", tmp_path / "nothing")]  # fmt: skip
    assert held == [False, True, None]


@pytest.mark.slow
def test_one_probe_that_fails_does_not_take_the_reports_of_the_others_with_it(tiny, monkeypatch):
    crows = type(probes["crows-pairs"])

    def fail(*_):
        raise ModelError("capabilities.no_mask", name="tiny")

    monkeypatch.setattr(crows, "score", fail)
    found = verbs.probe(str(tiny), "crows-pairs", "pairs", limit=20, on="kernel")
    assert isinstance(found, ProbeReports)
    assert set(found) == {"pairs"}
    assert "mask" in found.failed["crows-pairs"]
    assert any("crows-pairs" in line for line in probe_report.unfit(found))
    with pytest.raises(ModelError):
        verbs.probe(str(tiny), "crows-pairs", limit=20, on="kernel")


def test_a_vocabulary_with_gaps_still_has_words():
    tokenizer = type("Gaps", (), {
        "all_special_ids": [0], "__len__": lambda self: 4,
        "convert_ids_to_tokens": lambda self, ids: ["[UNK]", None, "he", "##s"],
        "convert_tokens_to_string": lambda self, tokens: "".join(tokens),
    })()  # fmt: skip
    assert _whole_words(tokenizer) == {2: "he"}


def test_an_axis_of_which_nothing_could_be_scored_is_named():
    rows = pa.table({"axis": ["age", "gender", "age"], "id": list("abc")})
    (remark,) = _lost(rows, rows.slice(1, 1))
    assert remark.values == {"n": 1, "names": "age"}
    assert not list(_lost(rows, rows))


def test_an_axis_with_a_single_descriptor_is_named():
    cells = [("age", each, str(noun)) for each in ("old", "young") for noun in range(4)] + [("religion", "Jewish", "0")]
    columns = dict(zip(("axis", "descriptor", "replicate"), map(list, zip(*cells, strict=True)), strict=True))
    rows = pa.table(columns | {"frame": ["t"] * 9, VALUE: np.arange(9.0)})
    lost = [each for each in likelihood_bias.summary(rows).remarks if each.key == "axes_lost"]
    assert [each.values["names"] for each in lost] == ["religion"]


@given(st.floats(-1e6, 1e6).filter(bool), st.integers(2, 40))
def test_equal_values_have_no_spread_whatever_rounding_says(value, n):
    found = mean_of(np.full(n, value), [np.arange(n)])
    assert found.variance == 0
    assert found.interval() is None
    assert found.p_value() is None


@given(st.integers(2, 30), st.integers(1, 6), st.integers(1, 6))
def test_equal_clusters_are_no_certainty(clusters, hits, misses):
    of = np.repeat(np.arange(clusters), hits + misses)
    found = ratio_of(np.tile(np.repeat([1.0, 0.0], [hits, misses]), clusters), np.ones(len(of)), [of])
    interval = found.share_interval()
    assert interval.high - interval.low > 0.05


def test_a_bias_in_every_answer_has_a_p_value():
    ones, n = np.ones(40, int), 40
    answered = Answered(
        answer=0 * ones, unknown=2 * ones, target=0 * ones, label=ones, is_ambiguous=np.zeros(n, bool),
        is_negative=np.ones(n, bool), cluster=np.arange(n),
    )  # fmt: skip
    found = next(each for each in measurements(answered) if each.name == "bias_disambiguated")
    assert (found.value, found.p_value < 1e-6) == (100.0, True)


@given(st.lists(st.booleans(), min_size=4, max_size=60), st.integers(1, 6))
def test_wilsons_interval_and_its_test_agree(choices, size):
    values = np.array(choices, float)
    share = mean_of(values, [np.arange(len(values)) // size])
    interval, p = share.share_interval(), score_p(share)
    if share.clusters > 1 and abs(p - 0.05) > 1e-6:
        assert (interval.low <= 0.5 <= interval.high) == (p > 0.05)


@given(st.floats(0.01, 0.99), st.integers(2, 20))
def test_groups_that_score_alike_differ_by_nothing_whatever_rounding_says(value, n):
    found = difference_of(np.full(n, value), np.arange(n) < n // 2, [np.arange(n)])
    assert found.variance == 0
    assert found.interval() is None


@pytest.mark.parametrize(("ties", "said"), [(0, 0), (30, 1)])
def test_ties_that_alone_take_the_share_below_one_half_are_warned_of(ties, said):
    n = 60
    values = np.array([0.0] * ties + [1.0, -1.0] * ((n - ties) // 2))
    columns = {"id": [str(i) for i in range(n)], "axis": ["age"] * n, "direction": ["stereo"] * n, VALUE: values}
    columns |= {"choice": [None if not each else bool(each > 0) for each in values], "control": pa.nulls(n, pa.string())}
    columns |= {"lengths_differ": [False] * n, "depends_on_order": [False] * n}
    remarks = pair_summary.summary(pa.table(columns), causal=False).remarks
    assert sum(each.key == "many_ties" for each in remarks) == said
