"""Names, numbers and folders of a project's runs."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import ArgumentError, RunError
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.session import store

SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["..", "../x", "/etc", "a/b", "a\\b", "~", "~nobody/x", "a\0b", "x" * 5000, "C:x", "a.1"]),
)
pytestmark = pytest.mark.usefixtures("home")


def make(name: str, created: float = 0.0) -> JobFolder:
    folder = store.create_run(name)
    folder.write(spec=SPEC, identity=Identity(name=name, created=created))
    return folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_no_text_as_a_name_leads_out_of_the_runs_folder(text):
    try:
        name = store.check_name(text)
    except ArgumentError:
        return
    folder = store.create_run(name)
    assert folder.path.parent == store.runs_folder()
    assert folder.path.name == f"{name}.{folder.path.name.rpartition('.')[2]}"
    assert len(os.fsencode(folder.path.name)) <= 255


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_any_text_can_be_looked_up(text):
    assert store.lookup(text) is None
    with pytest.raises(RunError):
        store.find(text)


@pytest.mark.parametrize(
    ("name", "suggestion"), [("my run", "my_run"), ("2nd", "run_2nd"), ("class", "run_class"), ("../up", "up"), ("", "run_")]
)
def test_a_name_that_is_no_identifier_is_refused_with_one_that_is(name, suggestion):
    with pytest.raises(ArgumentError) as caught:
        store.check_name(name)
    first, *rest = str(caught.value).splitlines()
    assert first == f"'{name}' cannot be the name of a run."
    assert rest[-1].strip() == f"For example: {suggestion}"
    assert store.check_name(suggestion) == suggestion


def test_the_refusal_is_told_in_chinese(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    with pytest.raises(ArgumentError) as caught:
        store.check_name("my run")
    assert "my run" in str(caught.value)
    assert "任务" in str(caught.value)


def test_names_are_as_python_reads_them_and_chinese_ones_are_welcome():
    assert store.check_name("ﬁx") == "fix"
    assert store.check_name("情感") == "情感"
    assert store.check_name("情" * 80)
    with pytest.raises(ArgumentError):
        store.check_name("𠀀" * 80)  # 320 bytes


def test_numbers_grow_and_are_not_used_again_below_the_newest():
    assert [make("a").path.name for _ in range(3)] == ["a.1", "a.2", "a.3"]
    (store.runs_folder() / "a.1" / "job.json").unlink()
    assert make("a").path.name == "a.4"
    assert make("ab").path.name == "ab.1"


def test_the_newest_is_found_by_name_and_each_by_its_number_and_its_folder():
    folders = [make("a") for _ in range(11)]
    assert store.find("a").path == folders[10].path
    assert store.find("a.2").path == folders[1].path
    assert store.find(str(folders[4].path)).path == folders[4].path
    assert [folder.path.name for folder in store.versions("a")] == [f"a.{i}" for i in range(1, 12)]


def test_a_folder_that_is_not_whole_is_no_run():
    store.create_run("a")
    assert store.lookup("a") is None
    assert store.all_runs() == []


def test_all_runs_are_listed_oldest_first_and_nothing_else():
    make("b", created=2.0)
    make("a", created=1.0)
    (store.runs_folder() / ".models" / "x").mkdir(parents=True)
    assert [folder.path.name for folder in store.all_runs()] == ["a.1", "b.1"]


def test_an_unknown_run_gets_a_hint():
    make("sentiment")
    with pytest.raises(RunError) as caught:
        store.find("sentment")
    assert str(caught.value).splitlines()[0] == "There is no run 'sentment'. Did you mean sentiment?"


def test_a_later_change_of_folder_hides_no_runs(monkeypatch, tmp_path):
    monkeypatch.delenv("FM_NOTEBOOK_RUNS")
    before = store.runs_folder()
    monkeypatch.chdir(tmp_path)
    assert store.runs_folder() == before
    assert isinstance(before, Path)
