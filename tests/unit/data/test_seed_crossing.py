"""How templates of the seed sets meet terms, and what becomes of them."""

from collections import Counter

import pytest

from fm_notebook.data.seed_sets.crossing import met
from fm_notebook.data.seed_sets.files import FeelingTemplate, StereotypeTemplate, Term
from fm_notebook.data.seed_sets.sentences import filled


def test_a_wide_template_takes_narrower_terms_and_a_narrow_one_no_wider():
    terms = [
        Term(slot=slot, first=f"{slot}-a", second=f"{slot}-b") for slot in ("person", "person/abroad", "plural", "person/rural")
    ]
    asked = [FeelingTemplate(slot=slot, text="{person}") for slot in ("person", "person/abroad")]
    found = [(meeting.key, meeting.term.slot) for meeting in met("axis", asked, terms, 4)]
    assert sorted(found[:3]) == [("axis-001-01", "person"), ("axis-001-02", "person/abroad"), ("axis-001-04", "person/rural")]
    assert found[3:] == [("axis-002-02", "person/abroad")]


@pytest.mark.parametrize("count", range(1, 40))
def test_terms_are_met_equally_often(count):
    terms = [Term(slot="person", first=f"a{number}", second=f"b{number}") for number in range(count)]
    asked = [FeelingTemplate(slot="person", text=f"{{person}} {number}") for number in range(count)]
    times = Counter(meeting.term.first for meeting in met("axis", asked, terms, 3))
    assert set(times.values()) == {min(3, count)}
    assert len(times) == count


def test_a_filled_sentence_says_where_its_parts_stand():
    sentence = filled('"{person} [is late]," he said. {person} came.', person="my aunt")
    assert sentence.text == '"My aunt is late," he said. My aunt came.'
    assert sentence.at(sentence.marked) == "is late"
    assert sentence.at(sentence.spans["person"]) == "My aunt"
    with pytest.raises(KeyError):
        filled("{person} came.", plural="aunts")


def test_terms_are_met_equally_often_on_each_side():
    terms = [Term(slot="person", first=f"a{number}", second=f"b{number}") for number in range(8)]
    sides = ["first", "second"] * 6
    asked = [StereotypeTemplate(slot="person", stereotype=side, text="{person} [sings].") for side in sides]
    times = Counter((meeting.template.stereotype, meeting.term.first) for meeting in met("axis", asked, terms, 4))
    assert set(times.values()) == {3}
    assert len(times) == 16
