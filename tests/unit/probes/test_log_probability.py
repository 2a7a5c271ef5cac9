import doctest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import ttest_1samp

from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE, Probe
from fm_notebook.errors import DataError
from fm_notebook.metrics.probes import association_gaps
from fm_notebook.metrics.probes.log_probability import Marked, associations
from fm_notebook.probes import probes

probe = probes["log-probability"]
Spec = probe.Spec
PUBLIC = Path(__file__).parents[4] / "shared/data/bec_pro/bec_pro_en.tsv"
HEADER = "id\tSentence\tSent_TM\tSent_AM\tSent_TAM\tTemplate\tPerson\tGender\tProfession\tProf_Gender\n"


def log_p(subject, ids, place, masked):
    hidden = torch.tensor([ids])
    hidden[0, masked] = subject.mask_id
    with torch.no_grad():
        return torch.log_softmax(subject.model(hidden).logits[0, place].double(), -1)[ids[place]].item()


def marked(text, target, attribute):
    spans = [(text.index(each), text.index(each) + len(each)) for each in (target, attribute)]
    return Marked(text, *spans)


def bec_pro(tmp_path, rows):
    lines = [
        f"{i}\t{sentence}\t-\t-\t-\t<person subject> is a <profession>.\t{person}\t{gender}\t{job}\t{kind}"
        for i, (sentence, person, gender, job, kind) in enumerate(rows)
    ]
    path = tmp_path / "bec_pro_en.tsv"
    path.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return path


ROWS = [
    ("He is a nurse.", "He", "male", "nurse", "female"),
    ("This man is a nurse.", "man", "male", "nurse", "female"),
    ("She is a nurse.", "She", "female", "nurse", "female"),
    ("This woman is a nurse.", "woman", "female", "nurse", "female"),
    ("He is a engineer.", "He", "male", "engineer", "male"),
    ("She is a engineer.", "She", "female", "engineer", "male"),
    ("He is a doctor.", "He", "male", "doctor", "balanced"),
    ("She is a doctor.", "She", "female", "doctor", "balanced"),
]


def test_it_is_a_probe_of_encoders():
    assert isinstance(probe, Probe)
    assert probe.needs(Spec()) == {"masked_log_probs"}


def test_the_association_is_the_formula_one_mask_at_a_time(masked_subject):
    one, other = marked("The woman is a nurse.", "woman", "nurse"), marked("The man is a nurse.", "man", "nurse")
    found = associations(masked_subject, [one], [other])
    for association, word in zip((found[0][0], found[1][0]), (one, other), strict=True):
        ids = masked_subject.tokenizer(word.text)["input_ids"]  # [CLS] the woman is a nurse . [SEP]
        expected = log_p(masked_subject, ids, 2, [2]) - log_p(masked_subject, ids, 2, [2, 5])
        assert association.total == pytest.approx(expected, abs=1e-4)


def test_trap_8_the_prior_is_read_where_the_target_stands(masked_subject):
    """Kurita's code reads it at the attribute's mask, and one place to the left for want of [CLS]."""
    sentence = marked("The nurse told the woman.", "woman", "nurse")
    other = marked("The nurse told the man.", "man", "nurse")
    ids = masked_subject.tokenizer(sentence.text)["input_ids"]
    right = log_p(masked_subject, ids, 5, [5]) - log_p(masked_subject, ids, 5, [2, 5])
    hidden = torch.tensor([ids])
    hidden[0, [2, 5]] = masked_subject.mask_id
    with torch.no_grad():
        told = torch.log_softmax(masked_subject.model(hidden).logits[0].double(), -1)[:, ids[5]]
    found = associations(masked_subject, [sentence], [other])[0][0].total
    assert found == pytest.approx(right, abs=1e-4)
    for wrong in (2, 1, 4):
        assert abs(found - (log_p(masked_subject, ids, 5, [5]) - told[wrong].item())) > 1e-2


def test_a_target_of_several_tokens_is_masked_whole_and_read_from_left_to_right(masked_subject):
    one, other = marked("A zoo is good.", "zoo", "good"), marked("A man is good.", "man", "good")
    found = associations(masked_subject, [one], [other])[0][0]
    ids = masked_subject.tokenizer(one.text)["input_ids"]  # [CLS] a z ##o ##o is good . [SEP]
    chain = [[2, 3, 4], [3, 4], [4]]
    expected = [
        log_p(masked_subject, ids, masked[0], masked) - log_p(masked_subject, ids, masked[0], [*masked, 6]) for masked in chain
    ]
    np.testing.assert_allclose(found.parts, expected, atol=1e-4)
    assert found.target == (2, 3, 4)


def test_words_that_both_targets_have_are_not_masked(masked_subject):
    one, other = marked("The old woman is bad.", "The old woman", "bad"), marked("The old man is bad.", "The old man", "bad")
    first, second = associations(masked_subject, [one], [other])
    assert first[0].target == second[0].target == (3,)
    longer = marked("The man is bad.", "The man", "bad")
    first, second = associations(masked_subject, [other], [longer])
    assert (first[0].target, second[0].target) == ((1, 2, 3), (1, 2))


def test_the_value_is_the_difference_of_associations_and_the_pieces_add_up_to_it(masked_subject, tmp_path):
    items = probe.read(bec_pro(tmp_path, ROWS), Spec()).table
    rows = probe.score(masked_subject, items, Spec())
    expected = np.subtract(rows["first_association"].to_pylist(), rows["second_association"].to_pylist())
    np.testing.assert_allclose(rows[VALUE].to_pylist(), expected)
    assert rows[CHOICE].to_pylist() == (expected > 0).tolist()
    for row in rows.to_pylist():
        assert sum(piece["value"] for piece in row[PIECES] + row[OTHER_PIECES]) == pytest.approx(row[VALUE])
    assert [row["text"] for row in rows[PIECES].to_pylist()[0]] == ["She"]


def test_bec_pro_pairs_persons_by_turn_and_the_typical_gender_comes_first(tmp_path):
    found = probe.read(bec_pro(tmp_path, ROWS), Spec())
    told = found.table.select(["first", "second", "group", "kind"]).to_pylist()
    assert told[1] == {"first": "This woman is a nurse.", "second": "This man is a nurse.", "group": "female", "kind": "female"}
    assert told[2] == {"first": "He is a engineer.", "second": "She is a engineer.", "group": "male", "kind": "male"}
    assert told[3]["group"] == "female"
    assert (found.origin, found.name, found.licence) == ("public", "BEC-Pro", "CC BY 4.0")


def test_the_man_of_a_manager_is_no_person(tmp_path):
    """BEC-Pro's own masked sentences have a *lodging [MASK]ager*."""
    rows = [
        ("This man is a manager.", "man", "male", "manager", "male"),
        ("This woman is a manager.", "woman", "female", "manager", "male"),
    ]
    found = probe.read(bec_pro(tmp_path, rows), Spec()).table.to_pylist()[0]
    assert found["first"][found["first_target_start"] : found["first_target_end"]] == "man"
    assert found["first"][found["first_attribute_start"] : found["first_attribute_end"]] == "manager"


def test_the_public_file_is_2700_pairs_with_each_person_and_profession_in_place():
    if not PUBLIC.exists():
        pytest.skip("shared/data/bec_pro is not here")
    found = probe.read(PUBLIC, Spec())
    assert (found.table.num_rows, found.dropped) == (2700, ())
    kinds = {each["values"]: each["counts"] for each in found.table["kind"].value_counts().to_pylist()}
    assert kinds == {"female": 900, "male": 900, "balanced": 900}
    assert len(set(found.table["term"].to_pylist())) == 9
    for row in found.table.to_pylist():
        assert row["second"][row["second_attribute_start"] : row["second_attribute_end"]] == row["attribute"]


def test_other_columns_and_unpaired_persons_are_refused(tmp_path):
    with pytest.raises(DataError, match="Sentence, Template"):
        probe.read(pa.table({"first": ["a"], "second": ["b"]}), Spec())
    with pytest.raises(DataError, match="nurse"):
        probe.read(bec_pro(tmp_path, ROWS[:3]), Spec())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_seed_set_marks_persons_and_attributes(language, masked_subject, chinese_subject):
    items = probe.read(None, Spec(language=language)).table
    for row in items.to_pylist():
        for side in ("first", "second"):
            assert row[side][row[f"{side}_attribute_start"] : row[f"{side}_attribute_end"]] == row["attribute"]
            assert row[side][row[f"{side}_target_start"] : row[f"{side}_target_end"]].strip()
    some = items.take(list(range(0, items.num_rows, items.num_rows // 12)))
    rows = probe.score(masked_subject if language == "en" else chinese_subject, some, Spec(language=language))
    assert rows[SKIPPED].null_count == some.num_rows
    assert np.isfinite(rows[VALUE].to_pylist()).all()


def test_a_target_within_the_attribute_and_one_too_long_are_skipped_with_their_reason(masked_subject):
    same, other = marked("The man is bad.", "man", "man is"), marked("The woman is bad.", "woman", "woman is")
    long = (
        Marked("The man is " + "very " * 200 + "bad.", (4, 7), (11, 15)),
        Marked("The boy is " + "very " * 200 + "bad.", (4, 7), (11, 15)),
    )
    gone = Marked("The man is bad.", (4, 7), (90, 95)), Marked("The boy is bad.", (4, 7), (90, 95))
    first, _ = associations(masked_subject, [same, long[0], gone[0]], [other, long[1], gone[1]])
    assert [each.skipped for each in first] == ["target_in_attribute", "too_long", "target_not_found"]


def answered(first, second, **columns):
    n, values = len(first), np.subtract(first, second)
    plain = {
        "axis": ["gender"] * n, VALUE: values, CHOICE: values > 0, "first_association": first, "second_association": second,
        "target_tokens": [1] * n, "group": ["female"] * n, "other_group": ["male"] * n,
    }  # fmt: skip
    return pa.table(plain | columns)


def get(summary, name, group=""):
    return next(each for each in summary.measurements if (each.name, each.group) == (name, group))


def test_the_mean_has_students_test_and_the_effect_size_is_the_mean_over_the_pooled_deviation():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 1, 60), rng.normal(0, 2, 60)
    found = probe.summarise(answered(first, second), Spec())
    assert get(found, "association_difference").p_value == pytest.approx(ttest_1samp(first - second, 0).pvalue)
    size = get(found, "association_effect_size")
    assert size.value == pytest.approx((first.mean() - second.mean()) / np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2))
    assert size.interval.low < size.value < size.interval.high


def test_balanced_professions_tell_no_stereotype_and_have_a_gap_of_their_own():
    kinds = ["female"] * 4 + ["male"] * 4 + ["balanced"] * 4
    first = [2.0, 2.1, 2.2, 1.9, 1.0, 1.1, 0.9, 1.0, 5.0, 5.1, 4.9, 5.0]
    sides = {"group": ["female"] * 4 + ["male"] * 4 + ["female"] * 4, "other_group": ["male"] * 4 + ["female"] * 4 + ["male"] * 4}
    found = probe.summarise(answered(first, [0.0] * 12, kind=kinds, **sides), Spec())
    assert get(found, "association_difference").n == 8
    gaps = {kind: get(found, "association_gap", kind).value for kind in ("female", "male", "balanced")}
    assert gaps == pytest.approx({"female": 2.05, "male": -1.0, "balanced": 5.0})


def test_targets_of_several_tokens_are_remarked():
    found = probe.summarise(answered([1.0, 2.0], [0.0, 0.5], target_tokens=[1, 3]), Spec())
    assert [(each.key, each.values["n"]) for each in found.remarks] == [("targets_of_several_tokens", 1)]


def test_no_rows_have_a_summary_too():
    rows = answered([1.0, 2.0], [0.0, 0.5])
    assert probe.summarise(rows.slice(0, 0), Spec()).measurements == []
    assert get(probe.summarise(rows.slice(0, 1), Spec()), "association_difference").n == 1


def test_examples_computed_by_hand():
    result = doctest.testmod(association_gaps)
    assert result.attempted
    assert not result.failed


def test_no_spread_has_no_effect_size():
    assert np.isnan(association_gaps.effect_size(np.ones(3), np.zeros(3)))


def test_an_effect_size_of_few_clusters_has_no_interval():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.4, 1, 60), rng.normal(0, 1, 60)
    few, enough = ([f"t{i % n}" for i in range(60)] for n in (9, 10))
    sizes = [
        get(probe.summarise(answered(first, second, cluster=each, term=each), Spec()), "association_effect_size")
        for each in (few, enough)
    ]
    assert sizes[0].interval is None
    assert sizes[1].interval is not None
