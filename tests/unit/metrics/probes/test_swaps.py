import doctest

import numpy as np
import pytest

from fm_notebook.metrics.probes import swaps as module
from fm_notebook.metrics.probes.swaps import Swaps, within_set


def test_examples_in_the_docstrings_are_right():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def made(difference, *, flips=None, axis="gender", label="", template=None, term=None):
    n = len(difference)
    fill = lambda word: np.array([word] * n if isinstance(word, str) else word, object)  # noqa: E731
    difference = np.asarray(difference, float)
    return Swaps(
        difference=difference, gap=np.abs(difference), flips=np.zeros(n) if flips is None else np.asarray(flips, float),
        axis=fill(axis), groups=fill("female − male"), label=fill(label),
        template=np.asarray(range(n) if template is None else template), term=np.asarray(range(n) if term is None else term),
    )  # fmt: skip


def by_name(found):
    return {(each.name, each.group): each for each in found}


def test_gaps_that_cancel_are_a_gap_and_no_signed_difference():
    found = by_name(made([0.2, -0.2, 0.2, -0.2], flips=[1, 0, 0, 0]).measurements())
    assert found["ctf_gap", ""].value == pytest.approx(0.2)
    assert found["flip_rate", ""].value == 25
    assert found["signed_difference", "gender: female − male"].value == 0
    assert found["signed_difference", "gender: female − male"].p_value == 1


def test_every_axis_and_label_is_there_with_its_n_and_none_is_dropped():
    found = by_name(made([0.1] * 5, axis=["gender"] * 4 + ["age"], label=["positive"] * 4 + ["negative"]).measurements())
    assert found["ctf_gap", "age"].n == 1
    assert found["ctf_gap", "age"].interval is None
    assert found["ctf_gap", "gender"].n == 4
    assert found["ctf_gap_by_label", "negative"].n == 1
    assert {group for name, group in found if name == "signed_difference"} == {"gender: female − male", "age: female − male"}


def test_the_headline_is_the_gap_over_all():
    assert [(each.name, each.group) for each in made([0.1, 0.2]).measurements() if each.is_main] == [("ctf_gap", "")]


def test_one_template_with_many_terms_is_less_evidence_than_many_templates():
    rng = np.random.default_rng(0)
    values = 0.3 * rng.normal(size=12)[np.repeat(np.arange(12), 10)] + 0.02 * rng.normal(size=120)
    wide = by_name(made(values, template=np.repeat(np.arange(12), 10), term=np.tile(np.arange(10), 12)).measurements())
    narrow = by_name(made(values).measurements())
    width = lambda found: found["signed_difference", "gender: female − male"].interval  # noqa: E731
    assert width(wide).high - width(wide).low > 2 * (width(narrow).high - width(narrow).low)


def test_few_terms_are_less_evidence_too():
    rng = np.random.default_rng(0)
    values = 0.3 * rng.normal(size=6)[np.tile(np.arange(6), 30)] + 0.02 * rng.normal(size=180)
    template = np.repeat(np.arange(30), 6)
    many, few = (
        by_name(made(values, template=template, term=term).measurements())["signed_difference", "gender: female − male"].interval
        for term in (np.arange(180), np.tile(np.arange(6), 30))
    )
    assert few.high - few.low > 3 * (many.high - many.low)


def test_without_items_there_is_nothing():
    assert made([]).measurements() == []


def test_holm_adjusts_only_what_has_a_p_value():
    found = made([0.1, 0.3, 0.2, 0.4, 0.1], axis=["a", "a", "b", "b", "c"]).measurements()
    tested = [each for each in found if each.name == "signed_difference"]
    assert [each.adjusted_p is None for each in tested] == [False, False, True]


def test_a_set_of_sentences_equals_the_slow_loops():
    rng = np.random.default_rng(1)
    scores, predicted = rng.random(7), rng.integers(0, 3, 7)
    difference, gap, flips = within_set(scores, predicted)
    for x in range(7):
        others = [y for y in range(7) if y != x]
        assert difference[x] == pytest.approx(np.mean([scores[x] - scores[y] for y in others]))
        assert gap[x] == pytest.approx(np.mean([abs(scores[x] - scores[y]) for y in others]))
        assert flips[x] == pytest.approx(np.mean([predicted[x] != predicted[y] for y in others]))
