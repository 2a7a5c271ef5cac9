"""What an explanation is asked with, where it lies, and how long."""

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.attributions import Attribution, Piece
from fm_notebook.contracts.specs import ModelRef
from fm_notebook.errors import RunError, SpecError
from fm_notebook.session import explaining, launch
from fm_notebook.session.given import Assigned
from fm_notebook.session.run import Run


def given(**fields):
    return {name: Assigned(value) for name, value in fields.items()}


@pytest.fixture
def run(make_folder):
    """A finished run with a model's configuration, called ``a.1``."""
    folder = make_folder("a", ev.PhaseBegan(phase="loading_libraries"), ev.Ended(state="finished"))
    folder.model.mkdir()
    (folder.model / "config.json").write_text(
        '{"architectures": ["BertForSequenceClassification"], "id2label": {"0": "n", "1": "p"}}'
    )
    return folder


def test_a_run_is_explained_as_it_was_trained(run):
    bound = explaining.bind(given(model="a", text="good"))
    assert bound.spec.run == str(run.path)
    assert bound.spec.task == "text-classification"
    assert bound.facts.labels == ["n", "p"]


def test_unknown_labels_tasks_and_empty_texts_are_told_at_once(run):
    with pytest.raises(SpecError) as caught:
        explaining.bind(given(model="a", text=" \n", task="fill-mask"))
    with pytest.raises(SpecError, match="Did you mean"):
        explaining.bind(given(model="a", text="good", label="P"))
    assert "no text" in str(caught.value)
    with pytest.raises(SpecError, match="is no text: list"):
        explaining.bind(given(model="a", text=["good"]))
    with pytest.raises(SpecError, match="needs the labels"):
        explaining.bind(given(model="a", text="good", task="zero-shot-classification"))


def test_columns_that_are_set_elsewhere_are_no_labels_to_explain(run, monkeypatch):
    from fm_notebook.session import settings

    settings.configure("label", "stars")
    try:
        assert explaining.bind(given(model="a", text="good")).spec.label is None
    finally:
        settings.forget()


def test_equal_explanations_are_found_and_the_newest_twenty_are_kept(run, write_events, monkeypatch):
    def explain(text, **how):
        found = explaining.prepare_explanation(given(model=Run.open("a"), text=text), **how)
        if found.how == "started":
            write_events(found.job.jobfolder, ev.PhaseBegan(phase="loading_model"), ev.Ended(state="finished"))
        return found

    first = explain("text 0")
    assert first.job.folder == run.path / "explanations" / "1"
    assert explain("text 0").how == "reused"
    assert explain("text 0", again=True).how == "started"
    for number in range(1, explaining.MOST + 3):
        explain(f"text {number}")
    numbers = sorted(int(folder.path.name) for folder in launch.folders_in(run.path / "explanations"))
    assert numbers == list(range(5, 25))


def attribution(**spec):
    ref = {"source": "a", "kind": "folder", "location": "/nowhere", **spec}
    return Attribution(
        model="a", text="good", label="p", predicted="p", labels=["n", "p"], probabilities=[0.5, 0.5],
        pieces=[Piece(start=0, end=4, token="good")],
        spec=explaining.ExplainSpec(model=ModelRef(**ref), text="good", label="p").model_dump(mode="json"),
    )  # fmt: skip


def test_the_same_is_asked_again_with_another_text(run):
    fields = explaining.asked_again(attribution(kind="run", location=str(run.model)), text="bad", label=None)
    assert fields["model"].value == str(run.path)
    assert (fields["text"].value, fields["label"].value) == ("bad", None)
    assert explaining.bind(fields).spec.text == "bad"


def test_a_model_that_is_gone_is_told(home):
    with pytest.raises(RunError, match="not on disk any more"):
        explaining.asked_again(attribution(), text="bad")
    with pytest.raises(RunError):
        explaining.asked_again(attribution(kind="value"), text="bad")


def test_what_an_edit_left_behind_is_removed(run, write_events, monkeypatch):
    found = attribution(kind="run", location=str(run.model))

    def begin(job):
        write_events(job.jobfolder, ev.PhaseBegan(phase="loading_model"), ev.Ended(state="finished", attribution=found))
        job.refresh()

    monkeypatch.setattr(launch, "begin", begin)
    assert explaining.explained_again(found, text="bad", methods=()) == found
    assert launch.folders_in(run.path / "explanations") == []
    explaining.explained_again(found, text="bad")
    assert len(launch.folders_in(run.path / "explanations")) == 1
