"""Entity scores equal those of CoNLL-2000's evaluation script and of seqeval, on hostile tags and on predictions for WNUT-17."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from fm_notebook.metrics.tagging import evaluate

WNUT = Path(__file__).parents[3].parent / "shared" / "data" / "wnut17" / "dev.conll"
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-A-B", "I-A-B"]
ENDS = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
STARTS = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}


def split(tag):
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def ends(before, now):
    return (before[0], now[0]) in ENDS or (before[0] != "O" and before[1] != now[1])


def starts(before, now):
    return (before[0], now[0]) in STARTS or (now[0] != "O" and before[1] != now[1])


def conlleval(true, predicted):
    """Chunks by type that are right, there and given: conlleval.pl of the shared task, line for line, for B, I and O."""
    right, there, guessed = Counter(), Counter(), Counter()
    for gold, guess in zip(true, predicted, strict=True):
        before, guessed_before, inside = ("O", ""), ("O", ""), False
        for now, guessed_now in [*zip(map(split, gold), map(split, guess), strict=True), (("O", ""), ("O", ""))]:
            if inside:
                both = ends(before, now), ends(guessed_before, guessed_now)
                if all(both) and before[1] == guessed_before[1]:
                    right[before[1]], inside = right[before[1]] + 1, False
                elif both[0] != both[1] or guessed_now[1] != now[1]:
                    inside = False
            begun, guess_begun = starts(before, now), starts(guessed_before, guessed_now)
            inside = inside or (begun and guess_begun and guessed_now[1] == now[1])
            there[now[1]] += begun
            guessed[guessed_now[1]] += guess_begun
            before, guessed_before = now, guessed_now
    return right, there, guessed


def by_conlleval(true, predicted):
    """Precision, recall and F1 over all chunks, and by type."""
    right, there, guessed = conlleval(true, predicted)

    def rates(hits, support, given_):
        return (
            hits / given_ if given_ else 0.0,
            hits / support if support else 0.0,
            2 * hits / (support + given_) if support + given_ else 0.0,
        )

    kinds = sorted(kind for kind in {*there, *guessed} if there[kind] or guessed[kind])
    return rates(right.total(), there.total(), guessed.total()), {k: rates(right[k], there[k], guessed[k]) for k in kinds}


def ours(true, predicted, **mode):
    found = evaluate(true, predicted, **mode)
    scores = {score.name: score.value for score in found.scores}
    micro = tuple(scores[f"entity_{name}"] for name in ("precision", "recall", "f1"))
    return micro, {each.label: (each.precision.value, each.recall.value, each.f1.value) for each in found.classes}


def by_seqeval(true, predicted):
    found = classification_report(true, predicted, output_dict=True, zero_division=0, mode="strict", scheme=IOB2)
    rates = {name: (row["precision"], row["recall"], row["f1-score"]) for name, row in found.items()}
    return rates["micro avg"], {name: row for name, row in rates.items() if not name.endswith(" avg")}


def alike(found, expected):
    assert found[0] == pytest.approx(expected[0])
    assert found[1].keys() == expected[1].keys()
    for kind in expected[1]:
        assert found[1][kind] == pytest.approx(expected[1][kind])


@st.composite
def hostile(draw):
    """Sentences whose predictions differ from the truth in few tags: most entities are near misses."""
    sentences = draw(st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=9), min_size=1, max_size=6))
    changes = st.one_of(st.none(), st.none(), st.sampled_from(TAGS))
    return sentences, [[draw(changes) or tag for tag in sentence] for sentence in sentences]


@settings(max_examples=80)
@given(hostile())
@example(([["I-PER", "B-PER", "I-LOC"]], [["B-PER", "I-PER", "I-LOC"]]))
@example(([["B-PER"], ["I-PER"]], [["B-PER"], ["B-PER"]]))
@example(([["O"]], [["I-PER"]]))
def test_scores_of_hostile_tags_equal_conllevals(pair):
    alike(ours(*pair), by_conlleval(*pair))


@settings(max_examples=40)
@given(hostile())
@example(([["I-PER", "I-PER", "B-PER"]], [["B-PER", "I-PER", "B-PER"]]))
def test_strict_scores_of_hostile_tags_equal_seqevals(pair):
    found = ours(*pair, strict=True)
    if found[1]:
        alike(found, by_seqeval(*pair))


@pytest.mark.skipif(not WNUT.exists(), reason="the real data sets are not beside the repository")
@pytest.mark.parametrize("strict", [False, True])
def test_scores_of_predictions_for_wnut17_equal_conllevals_and_seqevals(strict):
    blocks = WNUT.read_text(encoding="utf-8").strip().split("\n\n")
    true = [[line.rsplit("\t", 1)[1] for line in block.splitlines()] for block in blocks]
    rng, known = np.random.default_rng(0), sorted({tag for tags in true for tag in tags})
    predicted = [[str(rng.choice(known)) if rng.random() < 0.04 else tag for tag in tags] for tags in true]
    found = ours(true, predicted, strict=strict)
    assert len(found[1]) == 6
    assert 0.2 < found[0][2] < 0.9
    alike(found, by_seqeval(true, predicted) if strict else by_conlleval(true, predicted))
