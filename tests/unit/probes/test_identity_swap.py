from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE, Probe
from fm_notebook.errors import DataError, ModelError
from fm_notebook.probes import probes

probe = probes["identity-swap"]
Spec = probe.Spec
MADLIBS = Path(__file__).parents[4] / "shared/data/toxicity_identity_madlibs/madlibs.csv"


def subject(score, labels=("negative", "positive")):
    """A classifier whose last class has the probability `score` of the text."""

    def class_probabilities(texts, pairs=None):
        last = np.array([score(text) for text in texts], float)
        return np.column_stack([1 - last, last])

    return SimpleNamespace(labels=labels, class_probabilities=class_probabilities)


def scored(items, score, spec=None, **given):
    rows = probe.score(subject(score, **given), items.table, spec or Spec())
    assert rows.num_rows == items.table.num_rows
    joined = items.table
    for name in rows.column_names:
        joined = joined.append_column(name, rows[name])
    return joined


def pairs(*texts, **columns):
    return probe.read(pa.table({"first": [a for a, _ in texts], "second": [b for _, b in texts]} | columns), Spec())


def test_it_is_a_probe():
    assert isinstance(probe, Probe)
    assert probe.needs(Spec()) == {"class_probabilities"}
    assert "identity-swap" in probes.families["bias"]


def test_a_model_that_ignores_terms_has_no_gap_and_no_flips():
    rows = scored(pairs(("she is", "he is"), ("her cat", "his cat")), lambda _: 0.7)
    found = probe.summarise(rows, Spec())
    assert [each.value for each in found.measurements] == [0, 0, 0]
    assert rows[VALUE].to_pylist() == [0, 0]


def test_differences_gaps_and_flips_are_those_of_the_pairs():
    rows = scored(pairs(("aaaa", "b"), ("a", "bbb"), ("aa", "b")), lambda text: 0.2 * len(text))
    np.testing.assert_allclose(rows[VALUE].to_pylist(), [0.6, -0.4, 0.2])
    assert rows[CHOICE].to_pylist() == [True, True, False]
    summary = probe.summarise(rows, Spec())
    found = {each.name: each for each in summary.measurements}
    assert found["ctf_gap"].value == pytest.approx(0.4)
    assert found["flip_rate"].value == pytest.approx(200 / 3)
    assert found["signed_difference"].value == pytest.approx(0.4 / 3)
    assert found["signed_difference"].interval.low < 0 < found["signed_difference"].interval.high


def test_any_part_of_the_rows_gives_a_summary_and_none_gives_none():
    rows = scored(pairs(("aaaa", "b"), ("a", "bbb")), lambda text: 0.2 * len(text))
    assert probe.summarise(rows.slice(0, 1), Spec()).measurements[0].n == 1
    assert probe.summarise(rows.slice(0, 0), Spec()).measurements == []


def test_scores_do_not_depend_on_how_the_items_are_cut():
    items = pairs(("aaaa", "b"), ("a", "bbb"), ("aa", "b"))
    whole = scored(items, lambda text: 0.2 * len(text))
    parts = [probe.score(subject(lambda text: 0.2 * len(text)), items.table.slice(at, 1), Spec()) for at in range(3)]
    together = pa.concat_tables(parts)
    assert together.schema == whole.select(together.column_names).schema
    assert together == whole.select(together.column_names)


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [(("bad", "good"), None, "good"), (("positive", "other"), None, "positive"), (("bad", "good"), "bad", "bad")],
)
def test_the_class_is_the_one_asked_for_or_called_positive_or_the_last(labels, positive, expected):
    rows = scored(pairs(("aaaa", "b")), lambda text: 0.2 * len(text), Spec(positive=positive), labels=labels)
    assert rows["target_class"][0].as_py() == expected
    assert rows[VALUE][0].as_py() == pytest.approx(0.6 if expected == labels[1] else -0.6)


def test_a_class_that_the_model_does_not_have_is_refused():
    with pytest.raises(ModelError, match="negative, positive"):
        scored(pairs(("a", "b")), lambda _: 0.5, Spec(positive="postive"))


def jigsaw_fixture():
    """Twelve sentences about a term or not, scored so that Jigsaw's own tests say .88, .88 and 1."""
    background = {"toxic": [0.5, 0.8, 0.9], "nontoxic": [0.1, 0.2, 0.3]}
    subgroup = {"toxic": [0.4, 0.6, 0.71], "nontoxic": [0.21, 0.31, 0.55]}
    return [
        ("kind", label, f"row {label} {at} {term}", score)
        for term, scores in (("gay", subgroup), ("tall", background))
        for label, values in scores.items()
        for at, score in enumerate(values)
    ]


def test_jigsaws_fixtures_give_their_areas_under_the_curve(monkeypatch):
    from fm_notebook.data.probe_sets import identity_sets

    monkeypatch.setattr(identity_sets, "_words", lambda: {"jigsaw": ["gay", "tall"], "jigsaw-zh": "我讨厌"})
    rows = jigsaw_fixture()
    table = pa.table({"template": [r[0] for r in rows], "toxicity": [r[1] for r in rows], "phrase": [r[2] for r in rows]})
    answers = {row[2]: row[3] for row in rows}
    items = probe.read(table, Spec())
    found = probe.summarise(scored(items, answers.__getitem__, labels=("ok", "toxic")), Spec()).measurements
    of_gay = {each.name: each.value for each in found if each.group == "gay"}
    assert of_gay["subgroup_auc"] == pytest.approx(8 / 9)
    assert of_gay["bpsn_auc"] == pytest.approx(8 / 9)
    assert of_gay["bnsp_auc"] == 1


def test_a_set_is_scored_whole_and_each_term_is_compared_with_all_others():
    texts = ["hate gay", "hate deaf", "hate blind"]
    items = probe.read(pa.table({"template": ["v"] * 3, "toxicity": ["toxic"] * 3, "phrase": texts}), Spec())
    assert items.texts == ("first",)
    assert items.licence == "CC BY 4.0"
    assert set(items.table["block"].to_pylist()) == {"v toxic hate {}"}
    rows = scored(items, {"hate gay": 0.9, "hate deaf": 0.5, "hate blind": 0.1}.__getitem__)
    np.testing.assert_allclose(rows[VALUE].to_pylist(), [0.6, 0.0, -0.6], atol=1e-12)
    np.testing.assert_allclose(rows["gap"].to_pylist(), [0.6, 0.4, 0.6])
    names = {each.group for each in probe.summarise(rows, Spec()).measurements if each.name == "signed_difference"}
    assert names == {"identity: gay − others", "identity: deaf − others", "identity: blind − others"}


def test_another_class_than_toxicity_is_warned_of():
    rows = [("v", "toxic", "hate gay"), ("v", "toxic", "hate deaf"), ("v", "nontoxic", "hug gay"), ("v", "nontoxic", "hug deaf")]
    table = pa.table({"template": [r[0] for r in rows], "toxicity": [r[1] for r in rows], "phrase": [r[2] for r in rows]})
    items = probe.read(table, Spec())
    upside_down = probe.summarise(scored(items, lambda text: 0.1 if "hate" in text else 0.9), Spec())
    assert "swap_reversed" in [remark.key for remark in upside_down.remarks]
    right = probe.summarise(scored(items, lambda text: 0.9 if "hate" in text else 0.1), Spec())
    assert "swap_reversed" not in [remark.key for remark in right.remarks]


def test_one_axis_can_be_chosen_and_an_unknown_one_is_refused():
    table = pa.table({"first": ["a", "b"], "second": ["c", "d"], "axis": ["age", "gender"]})
    assert probe.read(table, Spec(axis="age")).table["first"].to_pylist() == ["a"]
    with pytest.raises(DataError, match="age, gender, all"):
        probe.read(table, Spec(axis="religion"))


def test_nothing_is_skipped_and_the_columns_of_the_contract_are_there():
    rows = scored(pairs(("a", "b")), lambda _: 0.5)
    assert {VALUE, SKIPPED, CHOICE} <= set(rows.column_names)
    assert rows[SKIPPED].null_count == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_seed_set_has_every_axis_and_no_group_is_dropped(language):
    items = probe.read(None, Spec(language=language))
    assert items.origin == "seed"
    assert set(items.table["axis"].to_pylist()) == {"gender", "age", "region", "religion", "disability"}
    rng = np.random.default_rng(0)
    rows = scored(items, lambda _: rng.random())
    found = probe.summarise(rows, Spec()).measurements
    assert {each.group for each in found if each.name == "ctf_gap"} == {"", "gender", "age", "region", "religion", "disability"}
    compared = [each for each in found if each.name == "signed_difference"]
    pairs = {(row["axis"], row["first_group"], row["second_group"]) for row in items.table.to_pylist()}
    assert len(compared) == len(pairs) >= 5
    assert sum(each.n for each in compared) == items.table.num_rows
    assert all(each.interval is not None for each in found if each.n > 1)


@pytest.mark.skipif(not MADLIBS.exists(), reason="the shared sample of the madlibs is not here")
def test_a_model_that_fears_one_word_is_found_out_on_the_madlibs():
    items = probe.read(MADLIBS, Spec())
    bad = {row["first"]: row["label"] == "toxic" for row in items.table.to_pylist()}
    rows = scored(items, lambda text: 0.9 if "muslim" in text else 0.6 if bad[text] else 0.2, labels=("ok", "toxic"))
    found = {(each.name, each.group): each for each in probe.summarise(rows, Spec()).measurements}
    assert found["bpsn_auc", "muslim"].value == 0
    assert found["bnsp_auc", "muslim"].value == 1
    assert found["bpsn_auc", "jewish"].value > 0.95
    worst = max((each for (name, _), each in found.items() if name == "signed_difference"), key=lambda each: each.value)
    assert worst.group == "identity: muslim − others"
    assert worst.adjusted_p < 0.001


@pytest.mark.parametrize(("language", "fixture"), [("en", "classifier_subject"), ("zh", "chinese_classifier_subject")])
def test_a_real_classifier_is_probed_end_to_end_and_in_parts_alike(request, language, fixture):
    model = request.getfixturevalue(fixture)
    spec = Spec(language=language)
    items = probe.read(None, spec).table.slice(0, 24)
    whole = probe.score(model, items, spec)
    parts = pa.concat_tables([probe.score(model, items.slice(at, 8), spec) for at in (0, 8, 16)])
    np.testing.assert_allclose(whole[VALUE].to_pylist(), parts[VALUE].to_pylist(), atol=1e-5)
    alone = lambda text: model.class_probabilities([text])[0, 1]  # noqa: E731
    one = [alone(row["first"]) - alone(row["second"]) for row in items.to_pylist()]
    np.testing.assert_allclose(whole[VALUE].to_pylist(), one, atol=1e-4)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_model_whose_whims_hang_on_templates_and_terms_is_seldom_called_biased(language):
    from fm_notebook.metrics.two_way_clusters import mean_of

    items = probe.read(None, Spec(language=language, axis="gender")).table
    ways = [np.unique(np.asarray(items[name].to_pylist(), object), return_inverse=True)[1] for name in ("template", "term")]
    rng = np.random.default_rng(0)

    def p_value(ways_told):
        whims = sum(0.7 * rng.normal(size=way.max() + 1)[way] for way in ways)
        return mean_of(whims + rng.normal(size=len(items)), ways_told).p_value()

    assert 0.02 <= np.mean([p_value(ways) < 0.05 for _ in range(400)]) <= 0.08
    assert np.mean([p_value([np.arange(len(items))]) < 0.05 for _ in range(400)]) > 0.15  # as if all were independent
