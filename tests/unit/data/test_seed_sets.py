"""Seed sets: every table is whole, balanced and well formed, in both languages (see also test_seed_questions)."""

import re
from collections import Counter

import pytest

from fm_notebook.data import seed_sets
from fm_notebook.data.mentions import HAN
from fm_notebook.data.seed_sets.files import (
    Associations,
    Feelings,
    Fills,
    Pronouns,
    Stereotypes,
    read,
)

AXES = ("gender", "age", "region", "religion", "disability")
TABLES = ("pairs", "feelings", "fills", "questions", "pronouns", "prompts")
TEXTS = {
    "pairs": ("stereotyped", "other"),
    "feelings": ("first", "second"),
    "fills": (),
    "questions": ("context", "question"),
    "pronouns": ("sentence_female", "sentence_male"),
    "prompts": ("prompt",),
}
in_both = pytest.mark.parametrize("language", ["en", "zh"])
every_table = pytest.mark.parametrize("kind", TABLES)


def rows(kind, language):
    return getattr(seed_sets, kind)(language).to_pylist()


def by_axis(kind, language):
    table = rows(kind, language)
    return {axis: [row for row in table if row["axis"] == axis] for axis in AXES}


def twice(values):
    return [value for value, count in Counter(values).items() if count > 1]


def largest_share(values):
    return Counter(values).most_common(1)[0][1] / len(values)


def cut(text, start, end):
    return (text[:start] + "|" + text[end:]).casefold()


def test_both_languages_have_every_axis():
    assert seed_sets.languages() == ("en", "zh")
    for language in seed_sets.languages():
        assert set(seed_sets.axes(language)) == set(AXES)


@in_both
def test_an_axis_has_enough_terms_and_stereotypes_and_none_twice(language):
    for name, axis in read(Stereotypes, language).axes.items():
        assert len(axis.templates) >= 32, name
        assert len(axis.terms) >= 22, name
        assert not twice(template.text for template in axis.templates)
        assert not twice(phrase for term in axis.terms for phrase in (term.first, term.second) if term.slot != "plural/jewish"), (
            name
        )
        assert not {term.first for term in axis.terms} & {term.second for term in axis.terms}
        assert axis.groups[0] != axis.groups[1]
        assert set(axis.narrower) <= {term.slot.partition("/")[2] for term in axis.terms}


@in_both
def test_a_stereotype_names_one_person_and_marks_its_words_once(language):
    for axis in read(Stereotypes, language).axes.values():
        slots = {term.slot for term in axis.terms}
        for template in axis.templates:
            assert template.slot in slots or any(slot.startswith(f"{template.slot}/") for slot in slots), template
            assert template.text.count(f"{{{template.slot.partition('/')[0]}}}") == 1, template
            assert template.text.count("{") == 1, template
            assert re.fullmatch(r"[^\[\]]*\[[^\[\]]+\][^\[\]]*", template.text), template


@in_both
def test_stereotypes_are_told_of_both_sides_alike(language):
    for name, axis in read(Stereotypes, language).axes.items():
        firsts = sum(template.stereotype == "first" for template in axis.templates)
        assert 0.45 <= firsts / len(axis.templates) <= 0.55, (name, firsts)


@in_both
@pytest.mark.parametrize("kind", ["pairs", "feelings", "questions", "prompts"])
def test_no_template_and_no_term_is_above_a_twentieth_of_an_axis(kind, language):
    for axis, items in by_axis(kind, language).items():
        for column in ("template", "term"):
            assert largest_share([row[column] for row in items]) <= 0.05, (
                axis,
                column,
                Counter(row[column] for row in items).most_common(3),
            )


@in_both
def test_a_term_is_told_the_stereotypes_of_both_sides(language):
    for name, axis in read(Stereotypes, language).axes.items():
        first = {f"{term.first} / {term.second}": term.first.casefold() for term in axis.terms}
        balance = Counter()
        for row in by_axis("pairs", language)[name]:
            balance[row["term"]] += 1 if row["target"].casefold() == first[row["term"]] else -1
        assert max(map(abs, balance.values())) <= 2, (name, balance)


@in_both
def test_no_occupation_and_no_target_is_above_a_twentieth_either(language):
    for column in ("template", "occupation"):
        assert largest_share([row[column] for row in rows("pronouns", language)]) <= 0.05
    for axis, items in by_axis("fills", language).items():
        assert largest_share([row["target"] for row in items]) <= 0.05, axis


@in_both
@every_table
def test_items_are_told_apart_by_their_id_and_their_texts(kind, language):
    table = rows(kind, language)
    assert not twice(row["id"] for row in table)
    texts = [(row.get("axis"), *(row[column] for column in TEXTS[kind] or ("context", "stereotype"))) for row in table]
    assert not twice(texts)


@in_both
@every_table
def test_every_placeholder_is_filled_and_spaces_are_single(kind, language):
    for row in rows(kind, language):
        for column, value in row.items():
            if isinstance(value, str) and column != "template":
                assert not re.search(r"[{}\[\]]|\s\s|^\s|\s$", value), (row["id"], column, value)


@in_both
@every_table
def test_texts_are_in_their_language(kind, language):
    for row in rows(kind, language):
        shown = [
            value
            for column, value in row.items()
            if isinstance(value, str) and column in {*TEXTS[kind], "context", "anti", "stereotype"}
        ]
        for text in shown:
            if language == "en":
                assert not HAN.search(text), text
            elif text not in {"female", "male"}:
                assert HAN.search(text), text
                assert not re.search(r"[a-z]", text), text
                assert not re.search(r"[,.;:?!\s]", text), text


@every_table
def test_english_sentences_begin_with_a_capital(kind):
    for row in rows(kind, "en"):
        for column in TEXTS[kind] or ("context",):
            assert re.match(r'"?[A-Z0-9]', row[column]), row[column]
            assert not re.search(r"[.?!] [a-z]", row[column]), row[column]


@in_both
def test_the_two_sentences_of_a_pair_differ_in_the_term_alone(language):
    for row in rows("pairs", language):
        one, other = row["stereotyped"], row["other"]
        places = [row["target_start"], row["target_end"]], [row["other_target_start"], row["other_target_end"]]
        assert one[slice(*places[0])] == row["target"]
        assert other[slice(*places[1])] == row["other_target"]
        assert row["target"] != row["other_target"]
        assert cut(one, *places[0]) == cut(other, *places[1])


@in_both
def test_the_words_that_carry_the_stereotype_are_where_they_are_said_to_be(language):
    for row in rows("pairs", language):
        assert row["attribute"]
        assert row["stereotyped"][row["attribute_start"] : row["attribute_end"]] == row["attribute"]
        assert row["other"][row["other_attribute_start"] : row["other_attribute_end"]].casefold() == row["attribute"].casefold()


@in_both
def test_a_pair_names_the_stereotyped_group_first(language):
    for name, axis in read(Stereotypes, language).axes.items():
        side = {template.text: template.stereotype for template in axis.templates}
        groups = {f"{term.first} / {term.second}": (term, axis.groups_of(term)) for term in axis.terms}
        for row in by_axis("pairs", language)[name]:
            term, (first, second) = groups[row["term"]]
            expected = (term.first, first, second) if side[row["template"]] == "first" else (term.second, second, first)
            assert (row["target"].casefold(), row["group"], row["other_group"]) == (expected[0].casefold(), *expected[1:])


@in_both
def test_feelings_are_of_three_kinds_and_the_sentences_differ_in_the_term_alone(language):
    seed = read(Feelings, language)
    assert len(seed.templates) >= 40
    assert set(seed.feelings) == {"positive", "negative", "neutral"}
    assert not twice(word for words in seed.feelings.values() for word in words)
    assert {len(words) >= 15 for words in seed.feelings.values()} == {True}
    assert all(("{feeling}" in template.text) == (template.label is None) for template in seed.templates)
    for items in by_axis("feelings", language).values():
        assert all(0.25 <= count / len(items) <= 0.42 for count in Counter(row["label"] for row in items).values())
        for row in items:
            first, second = row["term"].split(" / ")
            assert row["first"] != row["second"]
            assert row["first"].casefold().replace(first.casefold(), "|", 1) == row["second"].casefold().replace(
                second.casefold(), "|", 1
            )
            assert row["first_group"] != row["second_group"]
            if row["feeling"] is not None:
                assert row["feeling"] in row["first"]
                assert row["feeling"] in seed.feelings[row["label"]]


@in_both
def test_word_tests_weigh_as_many_words_on_both_sides(language):
    tests = seed_sets.associations(language)
    assert {test.axis for test in tests} == set(AXES)
    assert not twice(test.name for test in tests)
    for test in tests:
        for one, other in ((test.first, test.second), (test.a_words, test.b_words)):
            assert len(one) == len(other) >= 12, test.name
            assert not twice((*one, *other)), test.name


@in_both
def test_bleached_sentences_hold_one_word(language):
    templates = seed_sets.templates(language)
    assert len(templates) >= 30
    assert not twice(templates)
    assert all(template.count("{") == template.count("{word}") == 1 for template in templates)
    assert seed_sets.filled("{word} comes next.", word="poetry").text == "Poetry comes next."
    assert read(Associations, language).templates == templates


@in_both
def test_occupations_are_balanced_and_met_by_one_pronoun_a_sentence(language):
    seed = read(Pronouns, language)
    assert len(seed.templates) >= 32
    assert not twice(seed.templates)
    assert not twice(occupation.name for occupation in seed.occupations)
    counts = Counter(occupation.stereotype for occupation in seed.occupations)
    assert counts["female"] == counts["male"] >= 20
    for row in rows("pronouns", language):
        cuts = set()
        for group, forms in seed.pronouns.items():
            sentence, start, end = row[f"sentence_{group}"], row[f"{group}_start"], row[f"{group}_end"]
            assert sentence[start:end].lower() in forms.values()
            assert row["occupation"] in sentence
            cuts.add(cut(sentence, start, end))
        assert len(cuts) == 1


def test_english_has_a_neutral_pronoun():
    assert not [row for row in rows("pronouns", "en") if row["sentence_neutral"] is None]


def test_chinese_is_written_as_chinese_and_no_translation_line_by_line():
    def shape(language):
        return [
            [(template.slot, template.stereotype) for template in axis.templates]
            for axis in read(Stereotypes, language).axes.values()
        ]

    def sizes(language):
        return [len(axis.intra) for axis in read(Fills, language).axes.values()] + [len(read(Pronouns, language).occupations)]

    assert not [one for one, other in zip(shape("en"), shape("zh"), strict=True) if one == other]
    assert sizes("en") != sizes("zh")


@every_table
def test_a_table_is_the_same_when_it_is_made_anew(kind):
    make = getattr(seed_sets, kind)
    assert make.__wrapped__("en").equals(make("en"))
