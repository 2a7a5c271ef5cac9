"""Entities against seqeval, partial matches against scipy's pairing, intervals against a bootstrap by sentences."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, IOBES
from seqeval.scheme import Entities as StrictEntities

from fm_notebook.metrics import matching, rates, resampling, tagging
from fm_notebook.metrics.matching import Matches, Spans, match
from fm_notebook.metrics.tagging import entities, evaluate

KINDS = ["PER", "LOC", "A-B"]


def tags(prefixes):
    return st.sampled_from(["O", *(f"{p}-{kind}" for p in prefixes for kind in KINDS)])


@st.composite
def sentences(draw, prefixes="BIES"):
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=8))
    return [
        [draw(st.lists(tags(prefixes), min_size=length, max_size=length)) for length in lengths] for _ in ("true", "predicted")
    ]


def noisy(rng, n, right=0.8):
    """Sentences of three entities, each predicted right with a probability that differs between sentences."""
    true, predicted = [], []
    for _ in range(n):
        kinds = rng.choice(["PER", "LOC"], 3)
        luck = rng.beta(right * 2, (1 - right) * 2)
        given = [kind if rng.random() < luck else "ORG" for kind in kinds]
        true.append([tag for kind in kinds for tag in (f"B-{kind}", f"I-{kind}", "O")])
        predicted.append([tag for kind in given for tag in (f"B-{kind}", f"I-{kind}", "O")])
    return true, predicted


def by_name(found):
    return {score.name: score for score in found.scores}


@pytest.mark.parametrize("module", [tagging, matching, rates, resampling])
def test_examples_in_the_docstrings_are_right(module):
    result = doctest.testmod(module)
    assert result.attempted > 1
    assert not result.failed


@settings(max_examples=100, deadline=None)
@given(st.one_of(*(st.lists(tags(prefixes), max_size=10) for prefixes in ("BI", "IE", "I", "BIES"))))
def test_entities_of_any_tags_equal_seqeval(sentence):
    assert [(kind, start, end - 1) for kind, start, end in entities(sentence)] == get_entities(sentence)


@settings(max_examples=100, deadline=None)
@given(st.lists(tags("BI"), min_size=1, max_size=10))
def test_strict_entities_equal_seqeval_in_iob2(sentence):
    [theirs] = StrictEntities([sentence], IOB2).entities
    assert entities(sentence, strict=True) == [(one.tag, one.start, one.end) for one in theirs]


@pytest.mark.parametrize(
    "sentence",
    [
        "I-PER I-PER B-PER O I-LOC O",  # IOB1
        "B-PER I-PER B-PER O B-LOC O",  # IOB2
        "I-PER E-PER I-PER O I-LOC O",  # IOE1
        "I-PER E-PER E-PER O E-LOC O",  # IOE2
        "B-PER E-PER S-PER O S-LOC O",  # IOBES
        "B-PER L-PER U-PER O U-LOC O",  # BILOU
        "PER PER S-PER O LOC O",
    ],
)
def test_all_schemes_say_the_same(sentence):
    assert entities(sentence.split()) == [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)]


def test_chinese_bmes_tags_are_read():
    assert entities(["B-地名", "M-地名", "E-地名", "O", "S-人名"]) == [("地名", 0, 3), ("人名", 4, 5)]


def test_tags_without_prefix_are_types_and_a_prefix_alone_is_a_type_without_name():
    assert entities(["ORG", "ORG", "Noun", "O", "B", "I"]) == [("ORG", 0, 2), ("Noun", 2, 3), ("_", 4, 6)]


@settings(max_examples=40, deadline=None)
@given(sentences(), st.booleans())
def test_scores_equal_seqeval(pair, strict):
    true, predicted = pair
    if strict:
        true, predicted = ([[tag.replace("E-", "B-").replace("S-", "I-") for tag in s] for s in side] for side in pair)
    mode = {"mode": "strict", "scheme": IOB2} if strict else {}
    found = evaluate(true, predicted, strict=strict)
    if not found.classes:
        assert (by_name(found)["entity_f1"].value, by_name(found)["entity_f1"].n) == (0.0, 0)
        return
    theirs = classification_report(true, predicted, output_dict=True, zero_division=0, **mode)
    assert [one.label for one in found.classes] == [name for name in theirs if not name.endswith(" avg")]
    rows = [(by_name(found)[f"entity_{name}"].value, theirs["micro avg"][key]) for name, key in MICRO.items()]
    rows.append((by_name(found)["macro_f1"].value, theirs["macro avg"]["f1-score"]))
    for one in found.classes:
        row = theirs[one.label]
        rows += [(one.precision.value, row["precision"]), (one.recall.value, row["recall"]), (one.f1.value, row["f1-score"])]
        rows.append((one.support, row["support"]))
    assert [ours for ours, _ in rows] == pytest.approx([other for _, other in rows])


MICRO = {"precision": "precision", "recall": "recall", "f1": "f1-score"}


def test_token_accuracy_is_the_share_of_equal_tags():
    accuracy = by_name(evaluate([["O", "O", "B-PER"], ["O"]], [["O", "B-PER", "I-PER"], ["O"]]))["token_accuracy"]
    assert (accuracy.value, accuracy.n) == (0.5, 4)


def test_a_sentence_ends_an_entity():
    assert evaluate([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]]).partial.exact == 2


@settings(max_examples=30, deadline=None)
@given(sentences(), st.floats(0.5, 0.99))
@example([[["O"] * 4] * 2, [["O", "B-PER", "B-PER", "B-PER"]] * 2], 0.5)  # a quarter is no number of two sentences
def test_every_score_with_items_has_an_interval_that_holds_it(pair, level):
    found = evaluate(*pair, level=level)
    for score in found.scores + [s for c in found.classes for s in (c.precision, c.recall, c.f1)]:
        assert (score.interval is not None) == (score.n > 0), score
        if score.interval:
            assert -1e-12 <= score.interval.low <= score.value + 1e-12, score
            assert score.value - 1e-12 <= score.interval.high <= 1 + 1e-12, score


def test_the_bootstrap_equals_one_that_draws_sentences():
    true, predicted = noisy(np.random.default_rng(0), 80)
    found = by_name(evaluate(true, predicted))["entity_f1"].interval
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, 80, 80) for _ in range(300)]
    values = [f1_score([true[i] for i in rows], [predicted[i] for i in rows]) for rows in drawn]
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)
    assert found.method == "bootstrap"


@pytest.mark.slow
def test_the_interval_covers_the_truth_though_entities_of_a_sentence_depend_on_each_other():
    rng, held = np.random.default_rng(2), 0
    for seed in range(80):
        found = by_name(evaluate(*noisy(rng, 80), seed=seed))["entity_f1"].interval
        held += found.low <= 0.8 <= found.high
    assert 0.89 <= held / 80 <= 0.99


def test_a_few_entities_all_right_are_not_called_certain():
    f1 = by_name(evaluate([["B-PER"], ["O"]], [["B-PER"], ["O"]]))["entity_f1"]
    assert (f1.value, f1.n, f1.interval.method) == (1.0, 1, "wilson")
    assert f1.interval.low < 0.5


def test_the_same_seed_gives_the_same_intervals():
    pair = noisy(np.random.default_rng(3), 30)
    assert evaluate(*pair, seed=1) == evaluate(*pair, seed=1)
    assert evaluate(*pair, seed=1) != evaluate(*pair, seed=2)


@pytest.mark.parametrize("pair", [([], []), ([["O"]], [["O", "O"]]), ([["O"]], [])])
def test_sentences_that_do_not_fit_are_refused(pair):
    with pytest.raises(ValueError, match="same lengths"):
        evaluate(*pair)


def test_sentences_without_tokens_or_entities_score_nothing():
    found = evaluate([[], ["O"]], [[], ["O"]])
    assert found.classes == []
    assert {score.name: score.n for score in found.scores if score.n} == {"token_accuracy": 1}
    assert all(score.n == 0 for score in evaluate([[]], [[]]).scores)


@settings(max_examples=30, deadline=None)
@given(st.lists(tags("BI"), min_size=1, max_size=9).flatmap(lambda one: st.tuples(st.just(one), same_length(one))))
def test_matches_are_the_most_that_any_pairing_finds(pair):
    found = evaluate([pair[0]], [pair[1]]).partial
    true, predicted = (entities(own) for own in pair)
    assert found.exact == len(set(true) & set(predicted))
    true, predicted = sorted(set(true) - set(predicted)), sorted(set(predicted) - set(true))
    partial = most_pairs(true, predicted, lambda a, b: overlap(a, b) and a[0] == b[0])
    assert found.partial == partial
    left = found.wrong_type + found.missed
    assert left == len(true) - partial
    assert found.wrong_type + found.spurious == len(predicted) - partial
    assert found.wrong_type <= most_pairs(true, predicted, overlap) - partial


def same_length(one):
    return st.lists(tags("BI"), min_size=len(one), max_size=len(one))


def overlap(a, b):
    return a[1] < b[2] and b[1] < a[2]


def most_pairs(true, predicted, allowed):
    """Largest one-to-one pairing, by scipy."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not true or not predicted:
        return 0
    graph = csr_matrix([[int(allowed(a, b)) for b in predicted] for a in true])
    return int((maximum_bipartite_matching(graph) >= 0).sum())


def test_kinds_of_mistakes_are_counted_apart():
    true = ["B-PER", "I-PER", "O", "B-LOC", "O", "B-ORG", "I-ORG", "O", "B-PER", "O", "O"]
    given = ["B-PER", "O", "O", "B-PER", "O", "B-ORG", "I-ORG", "O", "O", "O", "B-LOC"]
    assert evaluate([true], [given]).partial == Matches(exact=1, partial=1, wrong_type=1, missed=1, spurious=1)


def test_an_entity_split_in_two_is_one_partial_match_and_one_spurious():
    spans = [Spans(*np.array(columns)) for columns in ([[0], [0], [4]], [[0, 0], [0, 2], [2, 4]])]
    assert match(*spans) == Matches(exact=0, partial=1, wrong_type=0, missed=0, spurious=1)


def test_iobes_agrees_with_seqeval_strict_where_the_tags_keep_the_scheme():
    kept = [list(itertools.chain(["B-PER", "I-PER", "E-PER"], ["S-LOC"], ["O"]))]
    [theirs] = StrictEntities(kept, IOBES).entities
    assert entities(kept[0]) == [(one.tag, one.start, one.end) for one in theirs]
