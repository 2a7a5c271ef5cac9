import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.probing import CHOICE, VALUE, Probe
from fm_notebook.errors import DataError, SpecError
from fm_notebook.metrics.probes.pseudo_likelihood import likelihoods
from fm_notebook.probes import probes

probe = probes["pairs"]
Spec = probe.Spec
ROWS = {"one": ["She is rude.", "Old men hate art."], "two": ["He is rude.", "Young men hate art."], "what": ["gender", "age"]}
NAMED = Spec(first="one", second="two", axis_column="what")


def test_it_is_a_probe_of_encoders_and_of_causal_models():
    assert isinstance(probe, Probe)
    assert probe.suited(Spec(), frozenset({"masked_log_probs"})).variant == "pll-word-l2r"
    assert probe.suited(Spec(), frozenset({"log_likelihoods"})).variant == "causal"


def test_two_columns_and_an_axis_are_enough():
    found = probe.read(pa.table(ROWS), NAMED)
    assert found.table.select(["first", "second", "axis"]).to_pydict() == dict(
        zip(("first", "second", "axis"), ROWS.values(), strict=True)
    )
    assert (found.origin, found.licence) == ("own", "unknown")


@pytest.mark.parametrize("able", ["masked", "causal"])
def test_values_are_the_differences_of_the_sentences_scores(able, request):
    subject = request.getfixturevalue(f"{able}_subject")
    items = probe.read(pa.table(ROWS), NAMED).table
    rows = probe.score(subject, items, NAMED)
    variant = "causal" if able == "causal" else "pll-word-l2r"
    one, other = (np.array([each.total for each in likelihoods(subject, ROWS[name], variant)]) for name in ("one", "two"))
    np.testing.assert_allclose(rows[VALUE].to_pylist(), one - other, atol=1e-5)
    assert rows[CHOICE].to_pylist() == (one > other).tolist()
    summary = probe.summarise(
        items.append_column(VALUE, rows[VALUE])
        .append_column(CHOICE, rows[CHOICE])
        .append_column("lengths_differ", rows["lengths_differ"])
        .append_column("depends_on_order", rows["depends_on_order"]),
        NAMED,
    )
    assert {each.group for each in summary.measurements} == {"", "gender", "age"}


def test_templates_meet_all_terms_and_say_what_they_share():
    spec = Spec(templates=("{person} is late.", "Nobody likes {person}."), terms=(("the old man", "the young man"), ("x", "y")))
    found = probe.read(None, spec)
    assert found.table["first"].to_pylist() == [
        "The old man is late.",
        "X is late.",
        "Nobody likes the old man.",
        "Nobody likes x.",
    ]
    assert found.table["second"].to_pylist()[0] == "The young man is late."
    assert found.table["cluster"].to_pylist() == ["{person} is late."] * 2 + ["Nobody likes {person}."] * 2
    assert len(set(found.table["term"].to_pylist())) == 2
    assert (found.origin, found.name) == ("own", "2 × 2")


def test_a_term_pair_of_one_term_is_dropped_and_counted():
    found = probe.read(None, Spec(templates=("{x} is late.",), terms=(("a", "a"), ("a", "b"))))
    assert found.table.num_rows == 1
    assert dict(found.dropped) == {"identical": 1}


@pytest.mark.parametrize("template", ["Nobody is late.", "{a} likes {b}."])
def test_a_template_has_one_placeholder(template):
    with pytest.raises(DataError, match="placeholders"):
        probe.read(None, Spec(templates=(template,), terms=(("a", "b"),)))


def test_templates_without_terms_and_templates_beside_data_are_refused():
    with pytest.raises(SpecError, match="together"):
        probe.read(None, Spec(templates=("{x} is late.",)))
    with pytest.raises(SpecError, match="both data and templates"):
        probe.read(pa.table(ROWS), Spec(templates=("{x} is late.",), terms=(("a", "b"),)))


def test_two_files_of_a_folder_are_read_row_by_row(tmp_path):
    for name, texts in (("gender_female_test", ["她很凶", "女司机"]), ("gender_male_test", ["他很凶", "男司机"])):
        (tmp_path / f"{name}.csv").write_text(",replaced_sentence\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)))
    found = probe.read(tmp_path, Spec(first="gender_female_test", second="gender_male_test"))
    assert found.table.select(["first", "second"]).to_pylist() == [
        {"first": "她很凶", "second": "他很凶"}, {"first": "女司机", "second": "男司机"}
    ]  # fmt: skip
    assert found.language == "zh"
    with pytest.raises(DataError, match="no file 'first'"):
        probe.read(tmp_path, Spec())
    (tmp_path / "gender_male_test.csv").write_text(",replaced_sentence\n0,他\n")
    with pytest.raises(DataError, match="differ in length"):
        probe.read(tmp_path, Spec(first="gender_female_test", second="gender_male_test"))


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match="columns first, second are missing"):
        probe.read(pa.table(ROWS), Spec())


def test_ids_are_those_given_if_they_tell_rows_apart():
    rows = {"first": ["a b", "a c"], "second": ["a d", "a e"]}
    assert probe.read(pa.table(rows | {"id": ["x", "y"]}), Spec()).table["id"].to_pylist() == ["x", "y"]
    assert probe.read(pa.table(rows | {"id": ["x", "x"]}), Spec()).table["id"].to_pylist() == ["0", "1"]


def test_without_data_and_templates_the_seed_set_is_asked():
    assert probe.read(None, Spec(language="zh")).origin == "seed"
