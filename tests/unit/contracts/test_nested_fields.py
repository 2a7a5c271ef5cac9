"""A field may be a group of fields: a dict in a cell, dotted names in errors and help."""

import pytest
from pydantic import ValidationError

from fm_notebook.contracts import fields
from fm_notebook.contracts.adapters import LoraSpec, PromptTuningSpec
from fm_notebook.contracts.values import Count, Frozen
from fm_notebook.errors import SpecError


class Spec(Frozen):
    """What a fine-tuning spec has, as far as groups matter."""

    train: str = "rows"
    epochs: Count = 3
    lora: LoraSpec | None = None
    prompt_tuning: PromptTuningSpec | None = None


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def told(**given):
    """What the user reads of these fields, each written on the line of its place."""
    lines = {name: i for i, name in enumerate(given, start=1)}
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(given)
    written = {name: repr(value) for name, value in given.items()}
    return str(SpecError(faults=fields.faults(caught.value, Spec, lines, written)))


def test_a_dict_becomes_the_group():
    assert Spec.model_validate({"lora": {"rank": 4, "targets": ["query"]}}).lora == LoraSpec(rank=4, targets=("query",))
    assert Spec.model_validate({"lora": {}}).lora == LoraSpec()
    assert Spec.model_validate({"prompt_tuning": {"tokens": 5}}).prompt_tuning == PromptTuningSpec(tokens=5)


def test_a_group_survives_json():
    spec = Spec(lora=LoraSpec(rank=4, alpha=3.5, targets=("q_proj", "v_proj"), dora=True))
    assert Spec.model_validate_json(spec.model_dump_json()) == spec


def test_alpha_follows_the_rank_unless_it_is_given():
    assert [LoraSpec(rank=rank).scale for rank in (1, 8, 64)] == [2, 2, 2]
    assert LoraSpec(rank=8, alpha=16).scale == 2
    assert LoraSpec(rank=8, alpha=1).scale == 0.125


@pytest.mark.parametrize(
    "given", [{"rank": 0}, {"rank": 2.5}, {"alpha": 0}, {"dropout": 1.0}, {"targets": []}, {"targets": [""]}, {"dora": "maybe"}]
)
def test_a_part_out_of_range_is_refused(given):
    with pytest.raises(ValidationError):
        LoraSpec.model_validate(given)


def test_a_wrong_part_is_named_with_its_group_its_line_and_its_value():
    assert told(epochs=2, lora={"rank": 0}) == ("Line 2: lora.rank = 0 is not possible.\n  lora.rank is a whole number from 1.")
    assert "prompt_tuning.tokens = 'many' is not possible" in told(prompt_tuning={"tokens": "many"})


def test_an_entry_of_a_list_is_told_by_the_field_that_holds_it():
    assert "lora.targets = 3 is not possible." in told(lora={"targets": ["query", 3]})


def test_an_unknown_part_gets_a_hint_among_its_groups_parts():
    text = told(lora={"rnak": 8})
    assert "There is no field 'lora.rnak'. Did you mean rank?" in text
    assert "Fields: lora.rank, lora.alpha, lora.dropout, lora.targets, lora.dora" in text


def test_all_wrong_parts_are_told_at_once():
    text = told(epochs=0, lora={"rank": 0, "dropout": 2})
    assert [name in text for name in ("Line 1: epochs", "Line 2: lora.rank", "Line 2: lora.dropout")] == [True] * 3


def test_what_is_no_dict_is_refused_with_the_parts():
    assert told(lora=8) == (
        "Line 1: lora = 8 is not possible.\n  lora is a dict with any of rank, alpha, dropout, targets, dora or None."
    )


def test_help_and_completion_know_the_parts():
    assert fields.names(Spec) == ["train", "epochs", "lora", "prompt_tuning"]
    assert fields.parts(Spec, "lora") == ["lora.rank", "lora.alpha", "lora.dropout", "lora.targets", "lora.dora"]
    assert fields.parts(Spec, "epochs") == fields.parts(Spec, "nothing") == []
    assert fields.default(Spec, "lora.rank") == 8
    assert fields.default(Spec, "epochs") == 3
    assert fields.expected(Spec, "lora.dropout") == "a number from 0, below 1"
    assert fields.choices(Spec, "lora.dora") == []


def test_help_shows_each_part_on_a_line_of_its_own(capsys):
    from fm_notebook.magics import manual

    manual.show(
        "finetune", "%%finetune NAME", [], type("Only", (Frozen,), {"__annotations__": {"lora": LoraSpec | None}, "lora": None})
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  lora")]
    assert [row[:3] for row in rows] == [["lora", "=", "None"], ["lora.rank", "=", "8"], *rows_of("alpha dropout targets dora")]


def rows_of(parts):
    return [[f"lora.{part}", "=", repr(LoraSpec.model_fields[part].default)] for part in parts.split()]


def test_every_part_is_explained_in_both_languages():
    from fm_notebook import messages

    names = [part for group in ("lora", "prompt_tuning") for part in fields.parts(Spec, group)]
    assert not [name for name in names for code in ("en", "zh") if f"part.{name}" not in messages.catalogue(code)]
