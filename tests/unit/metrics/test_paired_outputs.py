"""Paired changes of numbers, label sets, tags and tokens: values of the single-model metrics, intervals of a plain loop."""

import doctest
import itertools

import numpy as np
import pytest

from fm_notebook.metrics import language, multilabel, paired_outputs, paired_sums, regression, tagging
from fm_notebook.metrics.paired_outputs import label_set_changes, number_changes, tag_changes, token_changes
from fm_notebook.metrics.paired_sums import sum_changes
from fm_notebook.metrics.row_sums import BLOCKS

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "S-ORG"]


@pytest.mark.parametrize("tested", [paired_sums, paired_outputs], ids=lambda m: m.__name__.rpartition(".")[2])
def test_examples_in_the_docstrings_are_right(tested):
    result = doctest.testmod(tested)
    assert result.attempted
    assert not result.failed


def check(changes, first, second):
    """Each change has the values of both reports, and an interval that holds it."""
    for change in changes:
        assert change.first == pytest.approx(first[change.name]), change.name
        assert change.second == pytest.approx(second[change.name]), change.name
        assert change.interval.low <= change.difference <= change.interval.high
        assert 0 < change.p_value <= 1


def values(scores):
    return {score.name: score.value for score in scores}


@pytest.fixture
def numbers():
    rng = np.random.default_rng(0)
    targets = rng.normal(3, 2, 150)
    return targets + rng.normal(0, 1.0, 150), targets + rng.normal(0, 0.7, 150), targets


def test_numbers_have_the_scores_of_a_regression(numbers):
    first, second, targets = numbers
    found = number_changes(first, second, targets)
    reports = [
        values(regression.evaluate(each, targets, seed=0)) | {"loss": np.mean((each - targets) ** 2)} for each in (first, second)
    ]
    check(found, *reports)
    assert {change.name for change in found} == {"rmse", "mae", "r2", "pearson", "spearman", "loss"}


def test_rows_are_drawn_once_for_both_models(numbers):
    first, second, targets = numbers
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(800):
        rows = rng.integers(0, 150, 150)
        drawn.append(np.diff([np.sqrt(np.mean((each[rows] - targets[rows]) ** 2)) for each in (first, second)])[0])
    found = next(change for change in number_changes(first, second, targets) if change.name == "rmse")
    assert (found.interval.low, found.interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


def test_the_p_value_is_that_of_all_exchanges():
    rng = np.random.default_rng(2)
    first, second, targets = rng.normal(size=(3, 9))
    errors = [np.abs(each - targets) for each in (first, second)]
    seen = abs(np.mean(errors[1]) - np.mean(errors[0]))
    signs = np.array(list(itertools.product([-1, 1], repeat=9)))
    exact = np.mean(np.abs(signs @ (errors[1] - errors[0]) / 9) >= seen - 1e-12)
    found = next(change for change in number_changes(first, second, targets) if change.name == "mae")
    assert found.p_value == pytest.approx(exact, abs=0.04)


def test_label_sets_have_the_scores_of_a_multilabel_report():
    rng = np.random.default_rng(3)
    targets = rng.random((80, 3)) < 0.4
    first, second = (np.clip(targets * 0.4 + rng.random((80, 3)) * 0.6, 0.001, 0.999) for _ in range(2))
    found = label_set_changes(first, second, targets)
    check(found, *(values(multilabel.evaluate(each, targets, ["a", "b", "c"], seed=0).scores) for each in (first, second)))
    assert len(found) == 5


def test_tags_have_the_scores_of_whole_entities():
    rng = np.random.default_rng(4)
    true = [[TAGS[i] for i in rng.integers(0, 5, rng.integers(1, 9))] for _ in range(60)]
    first, second = (
        [[tag if rng.random() < keep else TAGS[rng.integers(0, 5)] for tag in tags] for tags in true] for keep in (0.6, 0.8)
    )
    found = tag_changes(first, second, true)
    check(found, *(values(tagging.evaluate(true, each).scores) for each in (first, second)))
    assert found[0].name == "entity_f1"


def test_a_type_that_one_model_alone_gives_does_not_change_the_others_macro_f1():
    true, first, second = [["B-PER", "O"]] * 3, [["B-PER", "O"]] * 3, [["B-PER", "B-LOC"]] * 3
    found = {change.name: change for change in tag_changes(first, second, true)}
    assert (found["macro_f1"].first, found["macro_f1"].second) == (1.0, 0.5)


def test_tokens_have_the_loss_of_the_whole_and_not_the_mean_of_texts():
    rng = np.random.default_rng(5)
    tokens = rng.integers(0, 9, 40)
    owner = np.repeat(np.arange(40), tokens)
    losses = rng.exponential(2, (2, len(owner)))
    with np.errstate(invalid="ignore"):
        means = [np.bincount(owner, each, 40) / tokens for each in losses]
    found = token_changes(*means, tokens)
    ranks = np.zeros(len(owner), int)
    check(found, *(values(language.evaluate(each, ranks, owner, seed=0)) for each in losses))


def test_models_that_say_the_same_change_nothing(numbers):
    first, _, targets = numbers
    for change in number_changes(first, first, targets):
        assert (change.difference, change.p_value) == (0, 1)
        assert change.interval.low <= 0 <= change.interval.high


def test_many_rows_are_drawn_in_blocks():
    rng = np.random.default_rng(6)
    n = 2 * BLOCKS + 7
    first, second = rng.normal(size=(n, 1)), rng.normal(size=(n, 1)) + 0.1
    (found,) = sum_changes(first, second, lambda sums: {"mean": sums[..., 0] / n}, unbounded=frozenset({"mean"}))
    error = np.std(second - first) / np.sqrt(n)
    assert found.difference == pytest.approx(np.mean(second - first))
    assert found.interval.high - found.interval.low == pytest.approx(3.92 * error, rel=0.15)


def test_what_is_not_defined_has_no_change():
    constant = np.ones(20)
    names = {change.name for change in number_changes(constant, constant + np.arange(20) % 2, constant)}
    assert "r2" not in names
    assert "pearson" not in names
    assert "mae" in names
