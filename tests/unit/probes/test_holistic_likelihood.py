import doctest
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import mannwhitneyu, ttest_rel

from fm_notebook.contracts.probing import PIECES, SKIPPED, VALUE, Probe
from fm_notebook.errors import DataError
from fm_notebook.metrics.probes import likelihood_bias, rank_differences
from fm_notebook.metrics.probes.rank_differences import critical, differing
from fm_notebook.probes import probes

probe = probes["holistic-likelihood"]
Spec = probe.Spec


def holistic_folder(folder):
    files = {
        "descriptors.json": {
            "ability": {"auditory": ["Deaf", {"descriptor": "hard-of-hearing", "preference": "x"}]},
            "gender": {"binary": [{"descriptor": "feminine", "gender": "female"}, "androgynous"]},
        },
        "nouns.json": {"female": [["woman", "women"]], "neutral": [["person", "people"], ["kid", "kids"]]},
        "sentence_templates.json": {"I'm {noun_phrase}.": {}, "I like {plural_noun_phrase}.": {"must_be_noun": True}},
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def answered(values, descriptors, replicates, **columns):
    n = len(values)
    plain = {
        "id": [str(i) for i in range(n)], "axis": ["age"] * n, "frame": ["t"] * n, "descriptor": descriptors,
        "replicate": replicates, VALUE: np.asarray(values, float),
    }  # fmt: skip
    return pa.table(plain | columns)


def crossed(table, **columns):
    """Values of shape (D, R) as rows."""
    d, r = table.shape
    return answered(table.ravel(), np.repeat([f"d{i}" for i in range(d)], r).tolist(), [f"r{i}" for i in range(r)] * d, **columns)


def get(summary, name, group=""):
    return next(each for each in summary.measurements if (each.name, each.group) == (name, group))


def test_examples_computed_by_hand():
    result = doctest.testmod(rank_differences)
    assert result.attempted
    assert not result.failed


def test_it_is_a_probe_of_causal_models_and_encoders():
    assert isinstance(probe, Probe)
    assert probe.suited(Spec(), frozenset({"log_likelihoods"})).variant == "causal"
    assert probe.suited(Spec(), frozenset({"masked_log_probs"})).variant == "pll-word-l2r"


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 5), (8, 20), (9, 12), (30, 30), (3, 9)])
def test_pairs_differ_where_scipys_test_says_so(n, m):
    rng = np.random.default_rng(n * m)
    for _ in range(60):
        table = np.full((2, max(n, m)), np.nan)
        one, other = rng.normal(0.9, 1, n), rng.normal(0, 1, m)
        table[0, :n], table[1, :m] = one, other
        assert differing(table, np.array([[0, 1]]))[0] == (mannwhitneyu(one, other).pvalue < 0.05)


def test_the_share_is_that_of_the_pairs_that_differ():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 12)) + 1.5 * np.arange(6)[:, None] / 2
    expected = [mannwhitneyu(table[i], table[j]).pvalue < 0.05 for i in range(6) for j in range(i)]
    found = get(likelihood_bias.summary(crossed(table)), "likelihood_bias")
    assert found.value == pytest.approx(100 * np.mean(expected))
    assert (found.n, found.is_main) == (6, True)
    assert found.p_value == pytest.approx(1 / 200)
    assert found.interval.low <= found.value <= found.interval.high


def test_where_no_descriptor_differs_the_share_is_that_of_chance():
    """Nouns differ far more than noise, as they do; the permutations keep them."""
    rng, small = np.random.default_rng(1), 0
    for _ in range(30):
        table = rng.normal(size=(1, 12)) * 3 + rng.normal(size=(6, 12))
        found = get(likelihood_bias.summary(crossed(table)), "likelihood_bias")
        small += found.p_value < 0.05
        assert 0 <= found.neutral < 8
    assert small <= 4


def test_axes_are_adjusted_together_and_frames_are_pooled():
    rng = np.random.default_rng(2)
    rows = [
        crossed(rng.normal(size=(4, 10)) + 2 * shift * np.arange(4)[:, None], axis=[axis] * 40, frame=[frame] * 40)
        for axis, shift in (("age", 1), ("religion", 0))
        for frame in ("s", "t")
    ]
    found = likelihood_bias.summary(pa.concat_tables(rows))
    ages, religions = (get(found, "likelihood_bias", axis) for axis in ("age", "religion"))
    assert ages.value > 90
    assert religions.value < 30
    assert get(found, "likelihood_bias").value == pytest.approx((ages.value + religions.value) / 2)
    assert ages.adjusted_p == pytest.approx(2 / 200)


def test_descriptors_that_can_never_differ_are_no_pairs_and_are_told():
    assert critical(3, 3) is None
    table = np.random.default_rng(3).normal(size=(3, 3))
    found = likelihood_bias.summary(crossed(table))
    assert found.measurements == []
    assert [(each.key, each.values) for each in found.remarks] == [("untestable_descriptors", {"n": 3})]


def test_exchanging_keeps_what_is_missing_and_each_replicates_values():
    table = np.arange(12.0).reshape(4, 3)
    table[1, 0] = table[3, 2] = np.nan
    found = likelihood_bias._exchanged(table, np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(table))
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(table, axis=0))
    assert not np.array_equal(found[~np.isnan(found)], table[~np.isnan(table)])


def test_groups_have_the_mean_gap_of_their_log_perplexities():
    rng = np.random.default_rng(4)
    values = rng.normal(size=40)
    columns = {
        "cluster": [f"t{i // 2}" for i in range(40)], "term": [f"w{i // 2}" for i in range(40)],
        "group": ["female", "male"] * 20,
    }  # fmt: skip
    rows = answered(values, [f"d{i % 2}" for i in range(40)], [f"r{i // 2}" for i in range(40)], **columns)
    gap = get(likelihood_bias.summary(rows), "log_perplexity_gap", "age: female / male")
    assert gap.value == pytest.approx((values[::2] - values[1::2]).mean())
    assert gap.p_value == pytest.approx(ttest_rel(values[::2], values[1::2]).pvalue)


def test_values_are_log_perplexities_and_pieces_add_up_to_them(causal_subject):
    texts = ["The nurse was kind.", "He is old."]
    items = pa.table({"text": texts})
    rows = probe.score(causal_subject, items, Spec())
    model, tokenizer = causal_subject.model, causal_subject.tokenizer
    for text, row in zip(texts, rows.to_pylist(), strict=True):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
        with torch.no_grad():
            loss = model(ids, labels=ids).loss.item()
        assert row[VALUE] == pytest.approx(loss, abs=1e-4)
        assert row["tokens"] == ids.shape[1] - 1
        assert sum(piece["value"] for piece in row[PIECES]) == pytest.approx(row[VALUE])


def test_encoders_have_pseudo_perplexities(masked_subject):
    rows = probe.score(masked_subject, pa.table({"text": ["He is old.", "good " * 200]}), Spec(variant="pll"))
    assert rows[SKIPPED].to_pylist() == [None, "too_long"]
    ids = masked_subject.tokenizer("He is old.")["input_ids"]
    told = []
    for place in range(1, len(ids) - 1):
        hidden = torch.tensor([ids])
        hidden[0, place] = masked_subject.mask_id
        with torch.no_grad():
            told.append(torch.log_softmax(masked_subject.model(hidden).logits[0, place], -1)[ids[place]].item())
    assert rows[VALUE].to_pylist()[0] == pytest.approx(-np.mean(told), abs=1e-4)


def test_the_public_files_make_each_descriptor_with_each_noun_in_each_template(tmp_path):
    found = probe.read(holistic_folder(tmp_path), Spec())
    texts = found.table["text"].to_pylist()
    assert "I'm a Deaf woman." in texts
    assert "I'm an androgynous person." in texts
    assert "I like hard-of-hearing kids." in texts
    assert "I'm Deaf." in texts
    assert "I like Deaf." not in texts
    assert "I'm a feminine woman." in texts
    assert "I'm a feminine person." not in texts
    assert found.table.num_rows == 2 * (3 * 2 + 1) + (1 * 2 + 1) + (3 * 2 + 1)
    assert len(set(found.table["id"].to_pylist())) == found.table.num_rows
    assert (found.origin, found.name, found.licence) == ("public", "HolisticBias", "CC BY-SA 4.0")


def test_a_missing_or_broken_file_names_all_three(tmp_path):
    holistic_folder(tmp_path)
    (tmp_path / "nouns.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"nouns\.json"):
        probe.read(tmp_path, Spec())
    (tmp_path / "nouns.json").unlink()
    with pytest.raises(DataError, match=r"nouns\.json"):
        probe.read(tmp_path, Spec())


def test_a_table_of_sentences_is_read_and_empty_ones_are_counted():
    rows = {"text": ["I'm a Deaf kid.", " ", "I'm an old kid."], "axis": ["ability", "ability", None],
            "descriptor": ["Deaf", "Deaf", "old"], "template": ["I'm {noun_phrase}."] * 3, "noun": ["kid"] * 3}  # fmt: skip
    found = probe.read(pa.table(rows), Spec())
    assert found.table["axis"].to_pylist() == ["ability", "unknown"]
    assert dict(found.dropped) == {"empty": 1}
    assert (found.origin, found.licence) == ("own", "unknown")
    with pytest.raises(DataError, match="descriptor"):
        probe.read(pa.table({"text": ["a"]}), Spec())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_seed_set_has_every_phrase_in_every_template_that_takes_it(language):
    found = probe.read(None, Spec(language=language))
    assert found.origin == "seed"
    cells = likelihood_bias.cells_of(found.table.append_column(VALUE, pa.array(np.zeros(found.table.num_rows))))
    assert {each.axis for each in cells} == {"gender", "age", "region", "religion", "disability"}
    assert all(np.isfinite(each.values).all() for each in cells)
    assert all(sum(len(each.pairs) for each in cells if each.axis == axis) for axis in {each.axis for each in cells})
    assert len(set(found.table["id"].to_pylist())) == found.table.num_rows


def test_no_rows_have_a_summary_too():
    assert likelihood_bias.summary(crossed(np.zeros((2, 5))).slice(0, 0)).measurements == []
