import doctest

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fm_notebook.errors import DataError
from fm_notebook.metrics import subgroup_auc as module
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.metrics.subgroup_auc import final_metric, subgroup_aucs

LABELS = ["ok", "toxic"]


def given(scores, positive):
    scores = np.asarray(scores, float)
    return Predictions.of(
        np.asarray(positive).astype(int), (scores > 0.5).astype(int), LABELS,
        probabilities=np.c_[1 - scores, scores], positive="toxic",
    )  # fmt: skip


def made(rng, n, bias=0.2):
    """Rows may mention several groups; those that mention the first get higher scores."""
    members = rng.random((n, 3)) < (0.3, 0.2, 0.01)
    positive = rng.random(n) < 0.3
    scores = np.clip(0.2 + 0.4 * positive + bias * members[:, 0] + 0.2 * rng.normal(size=n), 0, 1)
    return given(scores, positive), members, ["a", "b", "rare"]


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_the_areas_equal_scikit_learns_on_the_rows_of_their_definition():
    predictions, members, names = made(np.random.default_rng(0), 800)
    found = subgroup_aucs(predictions, members, names)
    positive, scores = predictions.is_positive, predictions.scores
    for at, name in enumerate(names):
        g = members[:, at]
        rows = {"subgroup_auc": g, "bpsn_auc": g ^ positive, "bnsp_auc": ~(g ^ positive)}
        for metric, own in rows.items():
            score = found[name].get(metric)
            assert score.value == pytest.approx(roc_auc_score(positive[own], scores[own])), metric
            assert score.n == own.sum()


def test_the_equality_gaps_equal_one_half_less_mann_whitneys_u():
    predictions, members, names = made(np.random.default_rng(1), 500)
    row = subgroup_aucs(predictions, members, names)["a"]
    positive, scores, g = predictions.is_positive, predictions.scores, members[:, 0]
    for metric, of in (("positive_aeg", positive), ("negative_aeg", ~positive)):
        background, own = scores[of & ~g], scores[of & g]
        u = stats.mannwhitneyu(background, own).statistic
        score = row.get(metric)
        assert score.value == pytest.approx(0.5 - u / (len(own) * len(background)))
        assert score.interval.low > 0  # scores of rows that mention the group are shifted upwards


def test_a_shift_of_innocent_rows_lowers_bpsn_and_not_subgroup_auc():
    predictions, members, names = made(np.random.default_rng(2), 3000)
    found = subgroup_aucs(predictions, members, names)
    assert found["a"].get("bpsn_auc").interval.high < found["b"].get("bpsn_auc").interval.low
    assert found["a"].get("subgroup_auc").value == pytest.approx(found["b"].get("subgroup_auc").value, abs=0.06)


def test_groups_that_few_rows_mention_are_marked_and_not_in_the_final_metric():
    predictions, members, names = made(np.random.default_rng(3), 1000)
    found = subgroup_aucs(predictions, members, names)
    assert (found["rare"].small, found.n_small) == (True, 1)
    kept = [found[name] for name in "ab"]
    means = [np.mean([row.get(m).value ** -5.0 for row in kept]) ** -0.2 for m in ("subgroup_auc", "bpsn_auc", "bnsp_auc")]
    overall = roc_auc_score(predictions.is_positive, predictions.scores)
    assert final_metric(found) == pytest.approx((overall + sum(means)) / 4)


def test_a_group_that_no_row_mentions_has_reasons_in_place_of_scores():
    found = subgroup_aucs(given([0.1, 0.9], [0, 1]), np.zeros((2, 1), bool), ["g"])["g"]
    assert found.scores == []
    assert {lost.reason for lost in found.undefined} == {"one_class"}
    assert final_metric(subgroup_aucs(given([0.1, 0.9], [0, 1]), np.zeros((2, 1), bool), ["g"])) is None


def test_input_that_cannot_be_ranked_is_refused(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    plain = Predictions.of([0, 1], [0, 1], LABELS, positive="toxic")
    with pytest.raises(DataError, match="no probability of a positive label"):
        subgroup_aucs(plain, np.zeros((2, 1), bool), ["g"])
    with pytest.raises(DataError) as caught:
        subgroup_aucs(given([0.1, 0.9], [0, 1]), np.zeros((3, 1), bool), ["g"])
    assert "mentions has 3 rows where 2" in str(caught.value)
