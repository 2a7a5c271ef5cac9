"""What the form draws follows the spec."""

import pytest
from pydantic import BaseModel

from fm_notebook.contracts import fields
from fm_notebook.contracts.registry import Registry
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.contracts.values import Frozen
from fm_notebook.panels.form import layout as form_layout
from fm_notebook.panels.form.layout import all_fields, quoted, sections


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


@pytest.fixture
def drawn():
    return {field.path: field for field in all_fields(sections())}


def test_every_field_of_the_spec_stands_in_one_section_with_its_parts(drawn):
    top = [field.path for section in sections() for field in section.fields]
    assert sorted(top) == sorted(fields.names(FinetuneSpec))
    assert {path for path in drawn if "." in path} == {p for name in top for p in fields.parts(FinetuneSpec, name)}
    assert [section.name for section in sections()] == ["data", "model", "training", "adapter", "mitigation"]


@pytest.mark.parametrize(
    ("path", "control", "section"),
    [
        ("train", "picker", "data"), ("text", "picker", "data"), ("max_length", "text", "data"), ("task", "picker", "model"),
        ("whole_words", "choice", "model"), ("learning_rate", "text", "training"), ("lr_schedule", "choice", "training"),
        ("class_weight", "picker", "training"), ("device", "picker", "training"), ("metric", "picker", "training"),
        ("lora", "group", "adapter"), ("freeze", "choice", "adapter"),
    ],
)  # fmt: skip
def test_each_field_has_the_control_that_fits_what_it_accepts(drawn, path, control, section):
    assert drawn[path].control == control
    assert path in [field.path for each in sections() if each.name == section for field in each.fields]


def test_options_are_python_and_what_is_not_given_is_said(drawn):
    assert drawn["lr_schedule"].options == (('"linear"', "linear"), ('"cosine"', "cosine"), ('"constant"', "constant"))
    assert drawn["lora.dora"].options == (("True", "True"), ("False", "False"))
    assert drawn["epochs"].absent == "not set: 3.0"
    assert drawn["train"].absent == "needed"
    assert drawn["eval"].absent == "not set"
    assert "a number above 0" in drawn["learning_rate"].hint
    assert drawn["train"].takes == "rows"
    assert drawn["text"].takes == "column"


def test_every_section_says_something_in_both_languages(monkeypatch):
    english = [(section.title, [field.hint for field in section.fields]) for section in sections()]
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    chinese = [(section.title, [field.hint for field in section.fields]) for section in sections()]
    for (title, hints), (titel, hinweise) in zip(english, chinese, strict=True):
        assert title != titel
        assert all(a != b for a, b in zip(hints, hinweise, strict=True))


class WithKind(Frozen):
    train: str
    epochs: float = 1.0
    mitigation: str | None = None
    seed: int = 0


@pytest.mark.parametrize("registered", [True, False])
def test_a_kind_of_plugin_has_its_section_as_soon_as_there_is_one(monkeypatch, tmp_path, registered):
    kind: Registry[object] = Registry("mitigation", "no_such_package")
    if registered:
        file = tmp_path / "reweighting.py"
        file.write_text("mitigation = 1\n")
        kind.register(file)
    monkeypatch.setattr(form_layout, "_kind_of", lambda name: kind if name == "mitigation" else None)
    monkeypatch.setattr(form_layout, "_field", lambda spec, name: name)
    found = {section.name: section.fields for section in sections(WithKind)}
    assert found.pop("mitigation", None) == (("mitigation",) if registered else None)
    assert found == {"data": ("train",), "training": ("epochs", "seed")}
    assert issubclass(WithKind, BaseModel)


def test_the_task_is_a_field_of_the_model_though_it_is_registered():
    assert form_layout._kind_of("task") is None
    assert form_layout._kind_of("epochs") is None


@pytest.mark.parametrize(
    "text", ["", "a", "it's", 'say "x"', "both ' and \"", "back\\slash", "line\nbreak", "单", "\x00", "\ud800"]
)
def test_quoted_text_is_a_literal_of_it(text):
    assert eval(quoted(text)) == text
    assert "'" in text or '"' in text or quoted(text)[0] == '"'
