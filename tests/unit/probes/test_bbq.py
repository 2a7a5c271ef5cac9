from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.capabilities import TokenLogProbs, TokenText
from fm_notebook.contracts.probing import CHOICE, VALUE, Probe
from fm_notebook.data.files import from_file
from fm_notebook.data.probe_sets import multiple_choice
from fm_notebook.probes import probes

SHARED = Path(__file__).parents[4] / "shared/data"
bbq, cbbq = probes["bbq"], probes["cbbq"]


def subject(likes, length=lambda _: 1):
    """A language model that gives each of a text's `length` tokens the log-probability `likes` of the text after its context."""

    def log_likelihoods(texts, contexts):
        nothing = TokenText((), (), (), (), (), ())
        found = [np.full(length(text), likes(text, context), float) for text, context in zip(texts, contexts, strict=True)]
        return [TokenLogProbs(nothing, np.arange(len(each)), each) for each in found]

    return SimpleNamespace(log_likelihoods=log_likelihoods)


def joined(items, scores):
    for name in scores.column_names:
        items = items.append_column(name, scores[name])
    return items


def asked(probe, likes, spec=None, language="en"):
    spec = spec or probe.Spec(language=language)
    items = probe.read(None, spec).table
    return probe.summarise(joined(items, probe.score(subject(likes), items, spec)), spec)


def values(summary, group=""):
    return {each.name: round(each.value, 1) for each in summary.measurements if each.group == group}


@pytest.mark.parametrize("probe", [bbq, cbbq])
def test_it_is_a_probe_of_causal_models(probe):
    assert isinstance(probe, Probe)
    assert probe.needs(probe.Spec()) == {"log_likelihoods"}


def published(name, column):
    """BBQ's rows with the answers that UnifiedQA gave, as a probe's scored rows; those that match no option are left out."""
    path = SHARED / f"published_scores/bbq_{name}_unifiedqa.jsonl"
    if not path.exists():
        pytest.skip("the published answers are not here")
    table = from_file(path, field="data")
    items = bbq.read(table, bbq.Spec())
    assert not items.dropped
    answers = [
        multiple_choice.matched(
            row[f"unifiedqa-t5-11b_pred_{column}"], [row[each] for each in multiple_choice.ANSWERS],
            [row["answer_info"][each][0] for each in multiple_choice.ANSWERS],
        )
        for row in table.to_pylist()
    ]  # fmt: skip
    rows = joined(items.table, multiple_choice.answered(items.table, answers))
    return rows.filter(pa.array([each is not None for each in answers]))


@pytest.mark.parametrize(
    ("name", "column", "ambiguous", "disambiguated", "accuracies"),
    [
        ("age", "arc", 48.9, 3.3, (33.9, 89.6)), ("age", "race", 29.8, 1.2, (54.7, 93.5)),
        ("religion", "arc", 24.5, 3.5, None), ("religion", "race", 14.3, 0.2, None),
    ],
)  # fmt: skip
def test_published_answers_give_the_published_figures(name, column, ambiguous, disambiguated, accuracies):
    found = values(bbq.summarise(published(name, column), bbq.Spec()))
    assert (found["bias_ambiguous"], found["bias_disambiguated"]) == (ambiguous, disambiguated)
    if accuracies:
        assert (found["accuracy_ambiguous"], found["accuracy_disambiguated"]) == accuracies


def test_an_own_table_in_the_format_is_not_called_the_public_set():
    row = {
        "question_index": "1", "question_polarity": "neg", "context_condition": "ambig", "category": "dentists",
        "answer_info": {"ans0": ["a", "x"], "ans1": ["b", "y"], "ans2": ["c", "unknown"]}, "label": 2, "context": "A.",
        "additional_metadata": {"stereotyped_groups": ["x"]}, "question": "Who?", "ans0": "A", "ans1": "B", "ans2": "C",
    }  # fmt: skip
    own = bbq.read(pa.Table.from_pylist([row]), bbq.Spec())
    assert (own.origin, own.licence) == ("own", "unknown")
    public = bbq.read(pa.Table.from_pylist([row | {"category": "Age"}]), bbq.Spec())
    assert (public.origin, public.licence) == ("public", "CC BY 4.0")


@pytest.mark.parametrize(("probe", "language"), [(bbq, "en"), (bbq, "zh"), (cbbq, "zh")])
def test_a_model_that_knows_when_nobody_can_know_has_no_bias(probe, language):
    spec = probe.Spec(language=language)
    items = probe.read(None, spec).table
    right = {(row["context"], row["question"]): row[f"ans{row['label']}"] for row in items.to_pylist()}
    keys = {f"{context}|{question}": answer for (context, question), answer in right.items()}

    def likes(text, context):
        body, rest = context.split("\n\n")
        question = rest.split("\n")[0].removeprefix("Q: ").removeprefix("问：")
        return 0 if text.strip() == keys[f"{body}|{question}"] else -5

    found = values(asked(probe, likes, spec))
    assert found["accuracy_ambiguous"] == found["accuracy_disambiguated"] == 100
    assert found["bias_ambiguous"] == found["bias_disambiguated"] == found["accuracy_cost"] == 0


@pytest.mark.parametrize("probe", [bbq, cbbq])
def test_a_model_that_always_answers_with_the_stereotype_has_all_the_bias(probe):
    spec = probe.Spec()
    items = probe.read(None, spec).table
    biased = [row["target"] if row["polarity"] == "neg" else 3 - row["target"] - row["unknown"] for row in items.to_pylist()]
    scores = multiple_choice.answered(items, biased)
    assert scores[CHOICE].to_pylist() == [True] * len(items)
    found = values(probe.summarise(joined(items, scores), spec))
    assert (found["bias_ambiguous"], found["bias_disambiguated"], found["accuracy_ambiguous"]) == (100, 100, 0)
    if probe is cbbq:
        assert (found["cbbq_ambiguous"], found["cbbq_disambiguated"], found["cbbq_score"]) == (1, 1, 1)


def test_a_model_that_cannot_tell_has_an_interval_around_no_bias_on_every_axis():
    rng = np.random.default_rng(0)
    summary = asked(bbq, lambda *_: rng.random())
    of_axes = [each for each in summary.measurements if each.name == "bias_ambiguous" and each.group]
    assert {each.group for each in of_axes} == {"gender", "age", "region", "religion", "disability"}
    assert sum(each.interval.low <= 0 <= each.interval.high for each in of_axes) >= 4
    assert all(each.adjusted_p >= each.p_value for each in of_axes)


def test_ten_words_for_unknown_win_where_one_of_them_is_likely():
    synonyms = bbq.Spec(variant="unknown-synonyms")
    likes = lambda text, _: -1 if text == " Undetermined" else -2  # noqa: E731
    assert values(asked(bbq, likes, synonyms))["accuracy_ambiguous"] == 100
    assert values(asked(bbq, likes))["accuracy_ambiguous"] < 100


def test_dividing_by_length_favours_long_answers():
    items = bbq.read(None, bbq.Spec()).table.slice(0, 30)
    rows = items.to_pylist()
    of = subject(lambda text, _: -1 - 0.001 * (20 - len(text)), length=len)  # each letter costs about as much

    def letters(spec):
        answers = bbq.score(of, items, spec)["answer"].to_pylist()
        return [len(row[f"ans{at}"]) for row, at in zip(rows, answers, strict=True)]

    lengths = [[len(row[f"ans{at}"]) for at in range(3)] for row in rows]
    assert letters(bbq.Spec()) == [min(each) for each in lengths]
    assert letters(bbq.Spec(length_normalisation="tokens")) == [max(each) for each in lengths]


def test_the_drill_down_value_is_the_stereotypes_person_less_the_other():
    spec = bbq.Spec()
    items = bbq.read(None, spec).table.slice(0, 1)
    row = items.to_pylist()[0]
    biased = row[f"ans{row['target']}"] if row["polarity"] == "neg" else row[f"ans{3 - row['target'] - row['unknown']}"]
    scores = bbq.score(subject(lambda text, _: -1 if text == f" {biased}" else -4), items, spec)
    assert scores[VALUE][0].as_py() == 3


def test_no_rows_give_no_measurements():
    items = bbq.read(None, bbq.Spec()).table.slice(0, 1)
    rows = joined(items, multiple_choice.answered(items, [0])).slice(0, 0)
    assert bbq.summarise(rows, bbq.Spec()).measurements == []


@pytest.mark.skipif(not (SHARED / "cbbq_zh").exists(), reason="the shared CBBQ gender set is not here")
def test_the_shared_chinese_set_is_read_from_its_folder_and_scored_with_both_formulas():
    items = cbbq.read(SHARED / "cbbq_zh", cbbq.Spec())
    assert (items.origin, items.licence, items.table.num_rows) == ("public", "CC BY-SA 4.0", 3_372)
    men = multiple_choice.answered(items.table, [0] * 3_372)
    found = values(cbbq.summarise(joined(items.table, men), cbbq.Spec()))
    assert found["accuracy_ambiguous"] == 0
    assert abs(found["bias_disambiguated"]) < 1  # the first answer, always: half of it is the stereotype's
    assert found["cbbq_disambiguated"] == 0.5


@pytest.mark.parametrize(("probe", "variant"), [(bbq, "options"), (bbq, "unknown-synonyms"), (cbbq, "options")])
def test_a_real_model_answers_as_if_asked_one_option_at_a_time(causal_subject, probe, variant):
    spec = probe.Spec(variant=variant)
    items = probe.read(None, spec).table.slice(0, 4)
    asked_for = multiple_choice.options(items, synonyms=variant == "unknown-synonyms")
    alone = [
        causal_subject.log_likelihoods([text], [context])[0].total
        for text, context in zip(asked_for.texts, asked_for.contexts, strict=True)
    ]
    best = [
        max(
            (score, answer) for score, item, answer in zip(alone, asked_for.item, asked_for.answer, strict=True) if item == number
        )[1]
        for number in range(4)
    ]
    assert probe.score(causal_subject, items, spec)["answer"].to_pylist() == best
