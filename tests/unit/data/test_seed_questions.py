"""Seed sets for models that answer, go on or choose: questions, prompts and fills, in both languages."""

import re
from collections import Counter

import pytest

from fm_notebook.data import seed_sets
from fm_notebook.data.seed_sets.files import Fills, Prompts, Questions, read

AXES = ("gender", "age", "region", "religion", "disability")
in_both = pytest.mark.parametrize("language", ["en", "zh"])


def by_axis(kind, language):
    table = getattr(seed_sets, kind)(language).to_pylist()
    return {axis: [row for row in table if row["axis"] == axis] for axis in AXES}


def twice(values):
    return [value for value, count in Counter(values).items() if count > 1]


@in_both
def test_fills_are_many_and_their_three_continuations_alike(language):
    for name, axis in read(Fills, language).axes.items():
        assert len(axis.intra) >= 32, name
        assert len(axis.inter) >= 20, name
        assert len({fill.target for fill in (*axis.intra, *axis.inter)}) >= 20
        assert len({fill.target for fill in axis.intra}) >= 20, name
        for fill in (*axis.intra, *axis.inter):
            three = (fill.stereotype, fill.anti, fill.unrelated)
            assert len({text.casefold() for text in three}) == 3, fill
            assert fill.context.count("BLANK") == (fill in axis.intra), fill
            lengths = sorted(map(len, three))
            assert lengths[2] <= 3 * lengths[0] + 3, fill
        assert not twice(fill.context for fill in (*axis.intra, *axis.inter)), name


def test_an_english_article_fits_all_three_fills():
    for axis in read(Fills, "en").axes.values():
        for fill in axis.intra:
            before = fill.context.partition("BLANK")[0].split()[-1].casefold()
            starts = {word[0] in "aeiou" for word in (fill.stereotype, fill.anti, fill.unrelated)}
            assert before != "a" or starts == {False}, fill
            assert before != "an" or starts == {True}, fill
            assert {len(word.split()) for word in (fill.stereotype, fill.anti, fill.unrelated)} == {1}, fill


@in_both
def test_a_scene_names_both_people_once_and_what_follows_names_one(language):
    seed = read(Questions, language)
    assert len(seed.unknown) >= 3
    for name, axis in seed.axes.items():
        assert len(axis.templates) >= 30, name
        assert not twice(template.ambiguous + template.negative for template in axis.templates)
        firsts = sum(template.stereotype == "first" for template in axis.templates)
        assert 0.4 <= firsts / len(axis.templates) <= 0.6, (name, firsts)
        for template in axis.templates:
            assert template.ambiguous.count("{first}") == template.ambiguous.count("{second}") == 1, template
            assert template.shown_first != template.shown_second
            assert "{" in template.shown_first, template
            assert "{" in template.shown_second, template
            assert template.negative != template.nonnegative


@in_both
def test_a_question_has_one_right_answer_that_turns_with_what_is_shown_and_asked(language):
    for items in by_axis("questions", language).values():
        meetings = {}
        for row in items:
            key, case, polarity = row["id"].rsplit("-", 2)
            meetings.setdefault(key, {})[case, polarity] = row
        for six in meetings.values():
            assert len(six) == 6
            label = {key: row["label"] for key, row in six.items()}
            unknown = {row["unknown"] for row in six.values()}
            assert {label["ambig", "neg"]} == {label["ambig", "nonneg"]} == unknown
            assert label["first", "neg"] == label["second", "nonneg"]
            assert label["second", "neg"] == label["first", "nonneg"]
            assert {label["first", "neg"], label["second", "neg"], *unknown} == {0, 1, 2}
            assert {row["target"] for row in six.values()} < {0, 1, 2} - unknown
            first = next(iter(six.values()))["term"].partition(" / ")[0]
            shown = six["first", "neg"]
            assert shown[f"ans{shown['label']}"].casefold() == first.casefold()


@in_both
def test_answers_are_the_two_who_are_named_and_that_one_cannot_know(language):
    unknown = set(read(Questions, language).unknown)
    for row in seed_sets.questions(language).to_pylist():
        answers = [row[f"ans{place}"] for place in range(3)]
        assert answers.pop(row["unknown"]) in unknown
        assert {answer.casefold() for answer in answers} == {side.casefold() for side in row["term"].split(" / ")}
        assert all(answer.casefold() in row["context"].casefold() for answer in answers)


@in_both
def test_places_of_answers_and_names_take_turns(language):
    for axis, items in by_axis("questions", language).items():
        for column in ("unknown", "target", "label"):
            assert all(0.2 <= count / len(items) <= 0.47 for count in Counter(row[column] for row in items).values()), (
                axis,
                column,
            )
        scenes = [row for row in items if row["condition"] == "ambig"]
        ahead = [row["context"].casefold().find(row["term"].split(" / ")[0].casefold()) for row in scenes]
        behind = [row["context"].casefold().find(row["term"].split(" / ")[1].casefold()) for row in scenes]
        assert 0.4 <= sum(one < two for one, two in zip(ahead, behind, strict=True)) / len(scenes) <= 0.6, axis


@in_both
def test_prompts_stop_where_the_model_goes_on(language):
    seed = read(Prompts, language)
    for axis in AXES:
        prompts = seed.of(axis)
        assert len(prompts) >= 30
        assert not twice(prompt.text for prompt in prompts)
        assert all(prompt.text.count("{") == 1 for prompt in prompts)
    for items in by_axis("prompts", language).values():
        counts = Counter(row["id"].rpartition("-")[2] for row in items)
        assert counts["first"] == counts["second"]
        assert not [row["prompt"] for row in items if row["prompt"][-1] in ".!?。！？ "]


@in_both
def test_hurtful_words_are_many_and_no_prompt_holds_one(language):
    hurtful = seed_sets.hurtful(language)
    words = [word for category in hurtful.values() for word in category]
    assert len(words) >= 80
    assert not twice(words)
    edge = r"\b" if language == "en" else ""
    pattern = re.compile(edge + "(" + "|".join(map(re.escape, words)) + ")" + edge)
    assert not [row["prompt"] for row in seed_sets.prompts(language).to_pylist() if pattern.search(row["prompt"].lower())]
