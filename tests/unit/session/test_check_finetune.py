"""A spec is checked without reading rows, hashing weights or asking the hub."""

import pytest

from fm_notebook.errors import FMError
from fm_notebook.session import models
from fm_notebook.session.binding import bind_finetune, check_finetune
from fm_notebook.session.given import Assigned


class Unread(list):
    """Rows that must not be looked at."""

    def __iter__(self):
        raise AssertionError("read")

    __getitem__ = __len__ = __iter__


@pytest.fixture
def model(home, monkeypatch):
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(models, "folder_hash", lambda _: pytest.fail("hashed"))
    monkeypatch.setattr(models, "_ask_hub", lambda *_: pytest.fail("asked"))
    return str(folder)


def given(**fields):
    return {name: Assigned(value, repr(value), line) for line, (name, value) in enumerate(fields.items(), 2)}


def test_a_sound_spec_has_no_faults(model):
    spec, faults = check_finetune(given(model=model, train=Unread(), epochs=2.0, lora={"rank": 4}))
    assert not faults
    assert spec is not None
    assert (spec.epochs, spec.learning_rate, spec.model.location) == (2.0, 2e-4, model)


def test_a_hub_id_is_left_for_the_start_to_look_up(model, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    spec, faults = check_finetune(given(model="owner/no-such-model", train=Unread()))
    assert not faults
    assert spec is not None
    assert spec.model.kind == "hub"


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"epohcs": 1, "seed": "x"}, {"task": "no"}, {"lora": {}, "freeze": "backbone"}, {"base": "nobody"}]
)
def test_its_faults_are_those_of_binding(home, wrong):
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    fields = given(model=str(folder), train=[{"text": "a", "label": i % 2} for i in range(20)], **wrong)
    spec, faults = check_finetune(fields)
    with pytest.raises(FMError) as raised:
        bind_finetune(fields)
    assert [line for fault in sorted(faults, key=lambda f: f.line or 0) for line in fault.lines()] == str(
        raised.value
    ).splitlines()
    assert spec is None or faults
