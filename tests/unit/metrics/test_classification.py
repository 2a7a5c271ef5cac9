import doctest
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from sklearn.metrics import classification_report, f1_score, log_loss
from sklearn.metrics import confusion_matrix as sklearn_confusion

from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import DataRef
from fm_notebook.errors import ModelError
from fm_notebook.metrics import classification
from fm_notebook.metrics.classification import evaluate

NAMES = ["no", "maybe", "yes", "never seen"]


@st.composite
def predictions(draw, n_classes=4):
    n = draw(st.integers(1, 40))
    logits = draw(npst.arrays(np.float64, (n, n_classes), elements=st.floats(-5, 5)))
    targets = draw(npst.arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    return softmax(logits), targets


def softmax(logits):
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def noisy(rng, n, shares, skill):
    targets = rng.choice(len(shares), size=n, p=shares)
    return softmax(rng.normal(size=(n, len(shares))) + skill * np.eye(len(shares))[targets]), targets


def by_name(found):
    return {score.name: score for score in found.scores}


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(classification)
    assert result.attempted > 5
    assert not result.failed


@settings(max_examples=40, deadline=None)
@given(predictions())
def test_scores_equal_scikit_learn(pair):
    probabilities, targets = pair
    found, predicted = evaluate(probabilities, targets, NAMES, seed=0), probabilities.argmax(1)
    theirs = classification_report(targets, predicted, labels=range(4), target_names=NAMES, zero_division=0, output_dict=True)
    values = {name: score.value for name, score in by_name(found).items()}
    assert values["accuracy"] == pytest.approx(np.mean(targets == predicted))
    assert values["macro_precision"] == pytest.approx(theirs["macro avg"]["precision"])
    assert values["macro_recall"] == pytest.approx(theirs["macro avg"]["recall"])
    assert values["macro_f1"] == pytest.approx(theirs["macro avg"]["f1-score"])
    assert values["weighted_f1"] == pytest.approx(theirs["weighted avg"]["f1-score"])
    assert values["loss"] == pytest.approx(log_loss(targets, probabilities, labels=range(4)))
    assert found.confusion == sklearn_confusion(targets, predicted, labels=range(4)).tolist()
    for one in found.classes:
        row = theirs[one.label]
        ours = one.precision.value, one.recall.value, one.f1.value, one.support
        assert ours == pytest.approx((row["precision"], row["recall"], row["f1-score"], row["support"]))


@settings(max_examples=40, deadline=None)
@given(predictions(), st.floats(0.5, 0.99))
def test_every_score_with_rows_has_an_interval_that_holds_it(pair, level):
    probabilities, targets = pair
    found = evaluate(probabilities, targets, NAMES, seed=0, level=level)
    every = found.scores + [score for c in found.classes for score in (c.precision, c.recall, c.f1)]
    for score in every:
        assert (score.interval is not None) == (score.n > (score.name == "loss")), score
        if score.interval and score.name != "loss":
            assert -1e-12 <= score.interval.low <= score.value + 1e-12, score
            assert score.value - 1e-12 <= score.interval.high <= 1 + 1e-12, score


def test_n_is_the_number_of_rows_a_score_stands_on():
    sure = np.eye(3)[[0, 0, 0, 1, 1]] * 0.7 + 0.1
    found = evaluate(sure, np.array([0, 0, 1, 1, 2]), ["a", "b", "c"], seed=0)
    rows = [(c.precision.n, c.recall.n, c.f1.n, c.support) for c in found.classes]
    assert rows == [(3, 2, 3, 2), (2, 2, 3, 2), (0, 1, 1, 1)]
    assert {score.n for score in found.scores} == {5}
    assert found.classes[2].precision.interval is None


def test_accuracy_has_the_wilson_interval():
    probabilities, targets = noisy(np.random.default_rng(0), 200, [0.5, 0.5], 1.0)
    accuracy = by_name(evaluate(probabilities, targets, ["a", "b"], seed=0))["accuracy"]
    hits = int((probabilities.argmax(1) == targets).sum())
    theirs = stats.binomtest(hits, 200).proportion_ci(method="wilson")
    assert accuracy.interval is not None
    assert (accuracy.interval.low, accuracy.interval.high) == pytest.approx((theirs.low, theirs.high))
    assert accuracy.interval.method == "wilson"


def test_the_bootstrap_equals_one_that_draws_rows(plain_macro_f1):
    """Cells drawn from multinomials against rows drawn one by one: the same law, so the same ends but for chance."""
    probabilities, targets = noisy(np.random.default_rng(1), 300, [0.6, 0.3, 0.1], 1.5)
    found = by_name(evaluate(probabilities, targets, ["a", "b", "c"], seed=0))["macro_f1"].interval
    rng, predicted = np.random.default_rng(2), probabilities.argmax(1)
    strata = [np.flatnonzero(targets == c) for c in range(3)]
    rows = (np.concatenate([rng.choice(own, len(own)) for own in strata]) for _ in range(2000))
    low, high = np.quantile([plain_macro_f1(targets[r], predicted[r]) for r in rows], [0.025, 0.975])
    assert found is not None
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


@pytest.mark.slow
def test_the_macro_f1_interval_covers_the_population_about_as_often_as_it_says():
    shares, skill, rng = [0.5, 0.3, 0.2], 1.5, np.random.default_rng(3)
    large, truth = noisy(rng, 400_000, shares, skill)
    population = f1_score(truth, large.argmax(1), average="macro")
    held = 0
    for repeat in range(150):
        found = by_name(evaluate(*noisy(rng, 250, shares, skill), ["a", "b", "c"], seed=repeat))["macro_f1"].interval
        assert found is not None
        held += found.low <= population <= found.high
    assert 0.90 <= held / 150 <= 0.99


def test_a_few_rows_all_right_are_not_called_certain():
    found = evaluate(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), ["a", "b"], seed=0)
    f1 = found.classes[0].f1
    assert (f1.value, f1.n) == (1.0, 1)
    assert f1.interval is not None
    assert f1.interval.method == "wilson"
    assert f1.interval.low < 0.5
    macro = by_name(found)["macro_f1"].interval
    assert macro is not None
    assert macro.low == pytest.approx(f1.interval.low)


def test_the_same_seed_gives_the_same_intervals():
    pair = noisy(np.random.default_rng(4), 100, [0.5, 0.5], 1.0)
    first, again, other = (evaluate(*pair, ["a", "b"], seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_resampling_in_parts_follows_the_same_law(monkeypatch):
    pair = noisy(np.random.default_rng(5), 200, [0.5, 0.5], 1.0)
    whole = by_name(evaluate(*pair, ["a", "b"], seed=0))["macro_f1"].interval
    monkeypatch.setattr(classification, "CELLS_AT_ONCE", 4 * 300)
    parts = by_name(evaluate(*pair, ["a", "b"], seed=0))["macro_f1"].interval
    assert whole is not None
    assert parts is not None
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_a_wrong_certainty_costs_a_finite_loss():
    loss = by_name(evaluate(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"], seed=0))["loss"]
    assert loss.value == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert loss.interval is None


def test_probabilities_that_are_no_numbers_are_an_error_that_counts_them():
    broken = np.array([[0.5, 0.5], [np.nan, np.nan]])
    with pytest.raises(ModelError, match="1 of 2 rows"):
        evaluate(broken, np.array([0, 1]), ["a", "b"], seed=0)


@pytest.mark.parametrize(("shape", "n", "labels"), [((0, 2), 0, 2), ((3, 2), 2, 2), ((2, 2), 2, 3)])
def test_shapes_that_do_not_fit_are_refused(shape, n, labels):
    with pytest.raises(ValueError, match="probabilities must be"):
        evaluate(np.full(shape, 0.5), np.zeros(n, int), NAMES[:labels], seed=0)


def test_scores_fit_into_an_evaluation_and_survive_json():
    found = evaluate(*noisy(np.random.default_rng(6), 20, [0.5, 0.5], 1.0), ["a", "b"], seed=0)
    data = DataRef(source="frame", kind="value")
    whole = Evaluation(
        model="m", data=data, labels=["a", "b"], n=20, scores=found.scores, classes=found.classes, confusion=found.confusion
    )
    assert Evaluation.model_validate_json(whole.model_dump_json()) == whole


def test_importing_the_metrics_loads_neither_scipy_nor_scikit_learn():
    code = "import sys, fm_notebook.metrics.classification; print(*{'scipy', 'sklearn', 'torch', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
