"""A run to give away: no rows inside, nothing written outside, nobody trusted unasked."""

import json
import zipfile

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.errors import FMError, RunError
from fm_notebook.jobs.queue import state_folder
from fm_notebook.session import store
from fm_notebook.session.bundles import model_card
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run

BEGAN = ev.PhaseBegan(phase="loading_libraries")
SECRET = b"a person's own words"


@pytest.fixture
def run(make_folder):
    """A finished run with a model, rows, a log and an evaluation."""
    folder = make_folder("first", BEGAN, ev.Started(total_steps=1), ev.Ended(state="finished"))
    folder.model.mkdir()
    (folder.model / "config.json").write_text("{}")
    (folder.model / "model.safetensors").write_bytes(b"weights")
    evaluation = folder.path / "evaluations" / "1"
    (evaluation / "data").mkdir(parents=True)
    (evaluation / "events.jsonl").write_text(ev.Ended(state="finished").model_dump_json() + "\n")
    for private in (
        folder.train_rows,
        folder.eval_rows,
        folder.log,
        evaluation / "data" / "eval.arrow",
        evaluation / "predictions.arrow",
    ):
        private.write_bytes(SECRET)
    return Run(Job(folder))


def test_a_bundle_holds_no_rows_no_log_and_no_weights(run, tmp_path):
    with zipfile.ZipFile(run.bundle(tmp_path / "a.zip")) as archive:
        names = set(archive.namelist())
        assert names == {"spec.json", "facts.json", "events.jsonl", "job.json", "evaluations/1/events.jsonl"}
        assert not any(SECRET in archive.read(name) for name in names)


def test_weights_come_along_when_asked(run, tmp_path):
    with zipfile.ZipFile(run.bundle(tmp_path / "a.zip", weights=True)) as archive:
        assert {name for name in archive.namelist() if name.startswith("model/")} == {
            "model/config.json",
            "model/model.safetensors",
        }


def test_a_colleague_opens_it_as_a_run_of_the_same_name(run, tmp_path):
    opened = Run.open(run.bundle(tmp_path / "a.zip", weights=True))
    assert opened.name == "first.2"
    assert opened.state == "finished"
    assert (opened.spec, opened.data, opened.job.jobfolder.identity) == (run.spec, run.data, run.job.jobfolder.identity)
    assert (opened.folder / "model" / "model.safetensors").read_bytes() == b"weights"
    assert opened.folder.stat().st_mode & 0o077 == 0


def test_an_opened_run_cannot_be_resumed(make_folder, tmp_path):
    stopped = Run(Job(make_folder("first", BEGAN, ev.Ended(state="stopped"))))
    opened = Run.open(stopped.bundle(tmp_path / "a.zip"))
    with pytest.raises(RunError, match="came without its rows"):
        opened.resume()


def change(source, target, **members: bytes):
    """A copy of the bundle with some members replaced or added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in members:
                new.writestr(name, old.read(name))
        for name, content in members.items():
            new.writestr(name, content)
    return target


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/tmp/evil",
        "model/../../evil",
        "data/train.arrow",
        "evaluations/../x/spec.json",
        "model/a/b",
        "lock",
        "evaluations/x/spec.json",
    ],
)
def test_a_member_that_is_none_of_ours_is_refused(run, tmp_path, name):
    bad = change(run.bundle(tmp_path / "a.zip"), tmp_path / "b.zip", **{name: b"x"})
    with pytest.raises(RunError, match="is not a bundle of a run, or it was tampered with"):
        Run.open(bad)
    assert [folder.path.name for folder in store.all_runs()] == ["first.1"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("fields", [{"name": "../../evil"}, {"name": "a b"}, {"device": "../../evil"}, {"device": "/tmp/evil"}])
def test_an_identity_cannot_name_a_place_elsewhere(run, tmp_path, fields):
    identity = json.dumps({**json.loads((run.folder / "job.json").read_text()), **fields}).encode()
    bad = change(run.bundle(tmp_path / "a.zip"), tmp_path / "b.zip", **{"job.json": identity})
    before = sorted(state_folder().rglob("*"))
    with pytest.raises(FMError):
        Run.open(bad)
    assert sorted(state_folder().rglob("*")) == before
    assert len(list(store.runs_folder().glob("*"))) == 1


def test_code_that_its_packer_trusted_is_not_trusted_by_who_opens_it(run, tmp_path):
    spec = run.spec.model_copy(update={"trust_remote_code": True, "allow_pickle": True})
    opened = Run.open(
        change(run.bundle(tmp_path / "a.zip"), tmp_path / "b.zip", **{"spec.json": spec.model_dump_json().encode()})
    )
    assert (opened.spec.trust_remote_code, opened.spec.allow_pickle) == (False, False)


@pytest.mark.parametrize("spec", [b"{}", b"torn"])
def test_a_bundle_whose_spec_is_broken_leaves_no_folder(run, tmp_path, spec):
    bad = change(run.bundle(tmp_path / "a.zip"), tmp_path / "b.zip", **{"spec.json": spec})
    with pytest.raises(RunError, match="is not a bundle"):
        Run.open(bad)
    assert len(list(store.runs_folder().glob("*"))) == 1


def test_what_is_no_bundle_is_told_in_words(home, run, monkeypatch):
    (home / "x.zip").write_bytes(b"no zip")
    for language, word in (("en", "is not a bundle of a run"), ("zh", "x.zip")):
        monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
        with pytest.raises(RunError, match=word):
            Run.open(home / "x.zip")
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    with pytest.raises(RunError, match=r"A bundle's name ends in \.zip; this is"):
        run.bundle(home / "x.tar")


def test_an_export_is_a_plain_folder_with_a_card(run, tmp_path):
    made = run.export(tmp_path / "out")
    assert {path.name for path in made.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert (made / "README.md").read_text().startswith('---\nlibrary_name: "transformers"')


def test_an_export_overwrites_nothing(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "empty").mkdir()
    for taken in ("file", "full"):
        with pytest.raises(RunError, match="exists and is not empty; nothing is overwritten"):
            run.export(tmp_path / taken)
    assert run.export(tmp_path / "empty").name == "empty"


def test_a_label_cannot_leave_its_code_span(run):
    run.job.jobfolder.facts.labels[0] = "x`<img src=x onerror=alert(1)>\n# head"
    card = model_card(run)
    line = next(line for line in card.splitlines() if "onerror" in line)
    assert line == "- labels: `x'<img src=x onerror=alert(1)> # head`, `p`"
