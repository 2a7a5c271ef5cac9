"""Which pronoun a model prefers: against the model asked one mask at a time, and against hand-made answers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import pearsonr

from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE, Probe
from fm_notebook.probes import probes

probe = probes["pronoun-preference"]
Spec = probe.Spec
WINOGENDER = Path(__file__).parents[4] / "shared/data/winogender"
ROWS = [
    ("She is a nurse.", "He is a nurse.", "female", "nurse"),
    ("The doctor said that her work is good.", "The doctor said that his work is good.", "male", "doctor"),
    ("The engineer said that she made her home.", "The engineer said that he made his home.", "male", "engineer"),
]  # fmt: skip


def table(rows=ROWS) -> pa.Table:
    names = ("sentence_female", "sentence_male", "stereotype", "occupation")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def answered(values, *, stereotype=None, **columns) -> pa.Table:
    n = len(values)
    plain = {
        "kind": [""] * n, "stereotype": stereotype or ["female"] * n, "occupation": [f"o{i}" for i in range(n)],
        "cluster": [f"o{i}" for i in range(n)], "template": [""] * n, "percent_female": pa.nulls(n, pa.float64()),
        VALUE: pa.array([float(value) for value in values], pa.float64()),
    }  # fmt: skip
    return pa.table(plain | columns)


def get(summary, name, group=""):
    return next(each for each in summary.measurements if (each.name, each.group) == (name, group))


def masked_slowly(subject, sentence: str, pronouns: list[str]) -> float:
    """ln p of the pronouns, all masked, one sentence at a time."""
    tokenizer, text = subject.tokenizer, sentence
    for pronoun in pronouns:
        text = f" {text} ".replace(f" {pronoun} ", f" {tokenizer.mask_token} ", 1).strip()
    given = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        logs = torch.log_softmax(subject.model(**given).logits[0].double(), -1)
    places = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0].tolist()
    ids = [tokenizer.convert_tokens_to_ids(pronoun.lower()) for pronoun in pronouns]
    return sum(logs[place, token].item() for place, token in zip(places, ids, strict=True))


def test_it_is_a_probe():
    assert isinstance(probe, Probe)
    assert probe.suited(Spec(), frozenset({"masked_log_probs"})).variant == "masked"
    assert probe.suited(Spec(), frozenset({"log_likelihoods"})).variant == "causal"
    assert probe.needs(Spec(variant="causal")) == {"log_likelihoods"}
    assert probe.needs(Spec(variant="masked")) == {"masked_log_probs"}


def test_masked_scores_are_those_of_one_mask_at_a_time(masked_subject):
    items = probe.read(table(), Spec()).table
    found = probe.score(masked_subject, items, Spec()).to_pylist()
    pronouns = [(["She"], ["He"]), (["her"], ["his"]), (["she", "her"], ["he", "his"])]
    for (female, male, towards, _), words, row in zip(ROWS, pronouns, found, strict=True):
        gap = masked_slowly(masked_subject, female, words[0]) - masked_slowly(masked_subject, male, words[1])
        expected = gap if towards == "female" else -gap
        assert row[VALUE] == pytest.approx(expected, abs=1e-4)
        assert row[CHOICE] == (expected > 0)
        assert row[SKIPPED] is None


def test_the_pieces_add_up_and_are_the_pronouns(masked_subject):
    items = probe.read(table(), Spec()).table
    for item, row in zip(items.to_pylist(), probe.score(masked_subject, items, Spec()).to_pylist(), strict=True):
        pieces = [*row[PIECES], *row[OTHER_PIECES]]
        assert sum(piece["value"] for piece in pieces) == pytest.approx(row[VALUE])
        assert {piece["text"].lower() for piece in pieces} <= {"he", "she", "his", "her"}
        assert all(item["sentence"][piece["start"] : piece["end"]] == piece["text"] for piece in row[PIECES])


def test_causal_scores_are_differences_of_log_likelihoods(causal_subject):
    items = probe.read(table(), Spec()).table
    found = probe.score(causal_subject, items, Spec()).to_pylist()
    totals = [
        [each.total for each in causal_subject.log_likelihoods(items[name].to_pylist())]
        for name in ("sentence", "other_sentence")
    ]
    assert [row[VALUE] for row in found] == pytest.approx([one - other for one, other in zip(*totals, strict=True)], abs=1e-4)


def test_pronouns_of_another_number_of_pieces_are_skipped(masked_subject):
    rows = [*ROWS, ("She saw herself.", "He saw him.", "female", "nurse")]  # herself is spelt in letters
    found = probe.score(masked_subject, probe.read(table(rows), Spec()).table, Spec())
    assert found[SKIPPED].to_pylist() == [None] * 3 + ["pieces_differ"]
    assert found[VALUE].to_pylist()[3] is None


def test_chinese_pronouns_are_asked(chinese_subject):
    items = probe.read(None, Spec(language="zh"))
    assert (items.origin, items.language) == ("seed", "zh")
    found = probe.score(chinese_subject, items.table.slice(0, 16), Spec())
    assert set(found[SKIPPED].to_pylist()) == {None}
    pieces = [piece["text"] for row in found[PIECES].to_pylist() for piece in row]
    assert set(pieces) <= {"他", "她"}


def test_the_seed_sets_are_balanced():
    for language in ("en", "zh"):
        towards = probe.read(None, Spec(language=language)).table["stereotype"].to_pylist()
        assert 0.4 <= towards.count("female") / len(towards) <= 0.6


def test_a_model_that_always_says_he_shows_no_preference_over_all_and_one_in_each_half():
    sides = ["female", "male"] * 40
    found = probe.summarise(answered([1 if side == "male" else -1 for side in sides], stereotype=sides), Spec())
    assert get(found, "stereotypical_pronoun").value == 50.0
    assert get(found, "stereotypical_pronoun", "male").value == 100.0
    assert get(found, "stereotypical_pronoun", "female").value == 0.0
    assert get(found, "stereotypical_pronoun").is_main


def test_share_and_gap_are_clustered_by_occupation():
    rng = np.random.default_rng(0)
    of_occupation = rng.normal(0.3, 1, 12)
    values = np.repeat(of_occupation, 20) + rng.normal(0, 0.1, 240)
    names = [f"o{i}" for i in range(12) for _ in range(20)]
    clustered = get(probe.summarise(answered(values, cluster=names), Spec()), "pronoun_gap")
    alone = get(probe.summarise(answered(values), Spec()), "pronoun_gap")
    assert clustered.value == pytest.approx(values.mean())
    assert clustered.interval.high - clustered.interval.low > 3 * (alone.interval.high - alone.interval.low)
    assert clustered.p_value > alone.p_value


def test_ties_prefer_neither():
    share = get(probe.summarise(answered([0, 0, 1, 1]), Spec()), "stereotypical_pronoun")
    assert (share.value, share.ties, share.n) == (50.0, 2, 4)


def test_types_of_winobias_are_told_apart_and_adjusted():
    kinds = ["type 1"] * 30 + ["type 2"] * 30
    found = probe.summarise(answered([1] * 30 + [-1, 1] * 15, kind=kinds), Spec())
    assert get(found, "stereotypical_pronoun", "type 1").value == 100.0
    assert get(found, "stereotypical_pronoun", "type 2").value == 50.0
    assert get(found, "pronoun_gap", "type 2").adjusted_p is not None
    assert get(found, "pronoun_gap").adjusted_p is None


@pytest.mark.skipif(not WINOGENDER.is_dir(), reason="shared/data/winogender is not there")
def test_the_correlation_is_over_occupations_and_of_the_pronouns_that_stand_for_them():
    items = probe.read(WINOGENDER, Spec())
    assert (items.name, items.licence, items.origin) == ("Winogender", "MIT", "public")
    rng = np.random.default_rng(0)
    rows = items.table.to_pylist()
    follows = [0.05 * (row["percent_female"] - 50) * (row["kind"] == "occupation") + rng.normal(0, 0.5) for row in rows]
    values = [lean if row["stereotype"] == "female" else -lean for row, lean in zip(rows, follows, strict=True)]
    found = probe.summarise(items.table.append_column(VALUE, pa.array(values)), Spec())
    of_occupation, of_other = (get(found, "occupation_correlation", kind) for kind in ("occupation", "participant"))
    assert of_occupation.is_main
    assert of_occupation.n == 60
    assert of_occupation.value > 0.9
    assert abs(of_other.value) < 0.35
    leans: dict[str, list[float]] = {}
    for row, lean in zip(rows, follows, strict=True):
        if row["kind"] == "occupation":
            leans.setdefault(row["occupation"], []).append(lean)
    percent = {row["occupation"]: row["percent_female"] for row in rows}
    assert of_occupation.value == pytest.approx(
        pearsonr([np.mean(leans[name]) for name in leans], [percent[name] for name in leans]).statistic
    )
    assert {"positive_predictive_only", "participant_is_control"} <= {remark.key for remark in found.remarks}


def test_nothing_scored_gives_no_measurement():
    assert probe.summarise(answered([]), Spec()).measurements == []
