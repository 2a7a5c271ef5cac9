"""Multi-label scores against scikit-learn and a bootstrap row by row."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as sk

from fm_notebook.errors import ModelError
from fm_notebook.metrics import multilabel
from fm_notebook.metrics.multilabel import evaluate

NAMES = ["joy", "anger", "never there"]


@st.composite
def predictions(draw):
    shape = draw(st.integers(1, 25)), 3
    probabilities = draw(npst.arrays(np.float64, shape, elements=st.floats(0, 1)))
    return probabilities, draw(npst.arrays(np.int64, shape, elements=st.integers(0, 1))) * [1, 1, 0]


def noisy(rng, n, shares=(0.5, 0.3, 0.1), skill=1.5):
    """Targets of a row depend on each other through a common part."""
    common = rng.normal(size=(n, 1))
    targets = rng.random((n, len(shares))) < np.clip(np.array(shares) * np.exp(0.7 * common - 0.2), 0, 1)
    logits = rng.normal(size=targets.shape) + common / 2 + skill * (targets - 0.5) * 2
    return 1 / (1 + np.exp(-logits)), targets


def by_name(found):
    return {score.name: score for score in found.scores}


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(multilabel)
    assert result.attempted > 1
    assert not result.failed


@settings(max_examples=30, deadline=None)
@given(predictions(), st.sampled_from([0.3, 0.5]))
def test_scores_equal_scikit_learn(pair, threshold):
    probabilities, targets = pair
    found, given_ = evaluate(probabilities, targets, NAMES, seed=0, threshold=threshold), probabilities >= threshold
    values = {name: score.value for name, score in by_name(found).items()}
    assert values["subset_accuracy"] == pytest.approx(sk.accuracy_score(targets, given_))
    assert values["micro_f1"] == pytest.approx(sk.f1_score(targets, given_, average="micro", zero_division=0))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(targets, given_, average="macro", zero_division=0))
    assert values["hamming_loss"] == pytest.approx(sk.hamming_loss(targets, given_))
    losses = [sk.log_loss(targets[:, c], probabilities[:, c], labels=[0, 1]) for c in range(3)]
    assert values["loss"] == pytest.approx(np.mean(losses))
    theirs = sk.precision_recall_fscore_support(targets, given_, zero_division=0)
    ours = [(c.precision.value, c.recall.value, c.f1.value, c.support) for c in found.classes]
    assert pytest.approx(np.array(theirs)) == np.array(ours).T
    assert [c.label for c in found.classes] == NAMES


@settings(max_examples=30, deadline=None)
@given(predictions(), st.floats(0.5, 0.99))
def test_every_score_with_items_has_an_interval_that_holds_it(pair, level):
    found = evaluate(*pair, NAMES, seed=0, level=level)
    for score in found.scores + [s for c in found.classes for s in (c.precision, c.recall, c.f1)]:
        assert (score.interval is not None) == (score.n > (score.name == "loss")), score
        if score.interval:
            assert score.interval.low - 1e-9 <= score.value <= score.interval.high + 1e-9, score


def test_the_bootstrap_equals_one_that_draws_rows():
    probabilities, targets = noisy(np.random.default_rng(0), 200)
    found, rng = by_name(evaluate(probabilities, targets, NAMES, seed=0)), np.random.default_rng(1)
    drawn = [rng.integers(0, 200, 200) for _ in range(300)]

    def f1(t, p, axis):
        return np.mean(2 * (t & p).sum(axis) / (t.sum(axis) + p.sum(axis)))

    plain = {
        "micro_f1": lambda t, p: f1(t, p, None),
        "macro_f1": lambda t, p: f1(t, p, 0),
        "hamming_loss": lambda t, p: (t != p).mean(),
    }
    targets, given_ = targets.astype(bool), probabilities >= 0.5
    for name in ("micro", "macro"):  # the plain formulas are scikit-learn's, which takes 2 ms for each
        assert plain[f"{name}_f1"](targets, given_) == pytest.approx(sk.f1_score(targets, given_, average=name))
    for name, theirs in plain.items():
        ends = np.quantile([theirs(targets[r], probabilities[r] >= 0.5) for r in drawn], [0.025, 0.975])
        interval = found[name].interval
        assert (interval.low, interval.high) == pytest.approx(ends, abs=0.02), name
        assert interval.method == "bootstrap"


@pytest.mark.slow
def test_the_macro_f1_interval_covers_the_population_about_as_often_as_it_says():
    rng, held = np.random.default_rng(2), 0
    large, truth = noisy(rng, 200_000)
    population = sk.f1_score(truth, large >= 0.5, average="macro")
    for seed in range(100):
        found = by_name(evaluate(*noisy(rng, 250), NAMES, seed=seed))["macro_f1"].interval
        held += found.low <= population <= found.high
    assert 0.89 <= held / 100 <= 0.99


def test_n_is_the_denominator():
    found = evaluate(np.array([[0.9, 0.9, 0.1], [0.1, 0.9, 0.1]]), np.array([[1, 0, 0], [1, 1, 0]]), NAMES, seed=0)
    assert {name: score.n for name, score in by_name(found).items()} == {
        "micro_f1": 4, "macro_f1": 4, "subset_accuracy": 2, "hamming_loss": 6, "loss": 2,
    }  # fmt: skip
    assert [(c.precision.n, c.recall.n, c.f1.n) for c in found.classes] == [(1, 2, 2), (2, 1, 2), (0, 0, 0)]


def test_a_few_rows_all_right_are_not_called_certain():
    found = evaluate(np.array([[0.9], [0.1]]), np.array([[1], [0]]), ["a"], seed=0)
    for name, end in {"micro_f1": "low", "macro_f1": "low", "hamming_loss": "high"}.items():
        interval = by_name(found)[name].interval
        assert interval.method == "wilson"
        assert 0.3 < getattr(interval, end) < 0.7


def test_a_wrong_certainty_costs_a_finite_loss():
    assert by_name(evaluate(np.array([[1.0]]), np.array([[0]]), ["a"], seed=0))["loss"].value == pytest.approx(36.04, abs=0.01)


def test_probabilities_that_are_no_numbers_are_an_error_that_counts_them():
    with pytest.raises(ModelError, match="1 of 2 rows"):
        evaluate(np.array([[0.5, np.nan], [0.5, 0.5]]), np.zeros((2, 2)), ["a", "b"], seed=0)


@pytest.mark.parametrize(("shape", "targets", "labels"), [((0, 2), (0, 2), 2), ((3, 2), (2, 2), 2), ((2, 2), (2, 2), 1)])
def test_shapes_that_do_not_fit_are_refused(shape, targets, labels):
    with pytest.raises(ValueError, match="probabilities must be"):
        evaluate(np.full(shape, 0.5), np.zeros(targets), NAMES[:labels], seed=0)
