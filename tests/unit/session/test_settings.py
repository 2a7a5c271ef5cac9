"""Where settings come from, which goes before which, and what becomes of broken ones."""

import json
from pathlib import Path

import pytest

from fm_notebook import messages, verbs
from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import EvaluateSpec, FinetuneSpec
from fm_notebook.errors import DataError, SpecError
from fm_notebook.session import settings, settings_files, store
from fm_notebook.session.binding import Assigned, bind_evaluate, bind_finetune, check_finetune

ROWS = [{"text": f"{'good' if i % 2 else 'bad'} film {i}", "label": "p" if i % 2 else "n"} for i in range(20)]


@pytest.fixture
def model(home):
    folder = home / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def write(home, monkeypatch):
    """Writes the settings of the project and of the user; the notebook lies in a folder of the project."""
    notebooks = home / "project" / "notebooks"
    notebooks.mkdir(parents=True)
    monkeypatch.setattr(store, "_STARTED_IN", notebooks)
    monkeypatch.setenv(settings_files.USER_FILE, str(home / "config.toml"))

    def write(project: str = "", user: str = "", *, where: Path = notebooks.parent) -> None:
        (where / "pyproject.toml").write_text(f"[tool.fm_notebook]\n{project}\n" if project else "", encoding="utf-8")
        (home / "config.toml").write_text(user, encoding="utf-8")

    yield write
    settings.forget()
    messages.prefer(None, over_environment=False)


@pytest.fixture
def bind(model):
    def bind(**values):
        given = {"model": str(model), "train": ROWS, **values}
        return bind_finetune({name: Assigned(value) for name, value in given.items()})

    return bind


def test_the_cell_goes_before_config_before_the_project_before_the_user_before_the_default(write, bind):
    assert bind().spec.seed == 0
    write(user="seed = 1")
    assert bind().spec.seed == 1
    write(project="seed = 2", user="seed = 1")
    assert bind().spec.seed == 2
    settings.configure("seed", 3)
    assert bind().spec.seed == 3
    assert bind(seed=4).spec.seed == 4
    settings.configure("seed", ...)
    assert bind().spec.seed == 2


def test_a_run_is_the_same_wherever_its_values_come_from(write, bind):
    written = bind(learning_rate=1e-3, batch_size=8).key
    write(project="learning_rate = 1e-3", user="batch_size = 8")
    assert bind().key == written
    assert bind(batch_size=9).key != written


def test_what_is_set_tells_its_value_and_its_place(write, home):
    write(project='\nlr_schedule = "cosine"\n[tool.fm_notebook.lora]\nrank = 4', user="\n\nseed = 1\nlr_schedule = 'constant'")
    settings.configure("epochs", 2)
    found = verbs.settings()
    assert dict(found) == {"lora": {"rank": 4}, "epochs": 2, "lr_schedule": "cosine", "seed": 1}
    places = {entry.name: entry.where for entry in found.entries}
    project = settings_files.shown(home / "project" / "pyproject.toml")
    assert places == {
        "lora": f"{project}, line 4",
        "epochs": "%config",
        "lr_schedule": f"{project}, line 3",
        "seed": f"{settings_files.shown(home / 'config.toml')}, line 3",
    }
    for text in (repr(found), found._repr_html_()):
        assert all(word in text for word in (*places, *places.values(), "cosine", "pyproject.toml", "config.toml"))


def test_values_come_as_they_are_set_else_as_the_default(write):
    write(project='trackers = ["tensorboard"]\non = "kernel"')
    assert settings.value("trackers") == ["tensorboard"]
    assert settings.value("on") == "kernel"
    assert settings.value("wait") is False
    assert settings.value("learning_rate") == 5e-5
    with pytest.raises(SpecError, match=r"no field 'learnin_rate'\. Did you mean learning_rate"):
        settings.value("learnin_rate")


def test_the_nearest_project_file_with_a_table_for_us_counts(write, home):
    write(project="seed = 1", where=home)
    (home / "project" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings.value("seed") == 1
    write(project="seed = 2", where=home / "project")
    assert settings.value("seed") == 2
    (home / "project" / "notebooks" / "pyproject.toml").write_text("[tool.fm_notebook]\n")
    assert settings.value("seed") == 0


def test_a_file_that_changes_is_read_anew(write):
    write(user="seed = 1")
    assert settings.value("seed") == 1
    write(user="seed = 22")
    assert settings.value("seed") == 22


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("epochs = -1", "epochs = -1 is not possible."),
        ('lr_schedule = "lienar"', "lr_schedule = 'lienar' is not possible."),
        ("lora.rank = 0", "lora.rank = 0 is not possible."),
        ("lora.rang = 1", "There is no field 'lora.rang'. Did you mean rank?"),
        ("epoch = 3", "There is no field 'epoch'. Did you mean epochs?"),
        ('on = "torchrum:2"', "--on: there is no 'torchrum:2'"),
        ("trust_remote_code = true", "'trust_remote_code' can be given in a cell or a call only"),
        ('train = "x.csv"', "'train' can be given in a cell or a call only"),
    ],
)
def test_a_wrong_value_is_refused_in_the_words_of_a_cell_with_file_and_line(write, bind, capsys, home, line, told):
    write(project=f"seed = 7\n# a comment\n{line}")
    assert bind().spec.seed == 7
    bind()
    said = capsys.readouterr().out
    where = f"Warning: {settings_files.shown(home / 'project' / 'pyproject.toml')}, line 4: "
    assert said.startswith(where)
    assert said.count("Warning") == 1
    assert told.split(".")[0] in said
    assert "left out" in said
    assert told.split(".")[0] in repr(verbs.settings())
    name = line.partition(" ")[0].partition(".")[0]
    with pytest.raises(SpecError) as caught:
        settings.configure(name, __import__("tomllib").loads(line)[name])
    assert str(caught.value).splitlines()[0] in said


@pytest.mark.parametrize(
    ("text", "line"),
    [("seed = 1\nepochs = = 3\n", 2), ("seed = 1\n[open", 2), ("a = 1\na = 2\n", 2), ('x = """never\nclosed', 2)],
)
def test_a_broken_file_is_a_warning_that_names_the_line(write, bind, capsys, home, text, line):
    write(project="batch_size = 8", user=text)
    assert bind().spec.batch_size == 8
    assert bind().spec.seed == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Warning: {settings_files.shown(home / 'config.toml')}, line {line}: The file cannot be read: ")
    assert said.count("Warning") == 1


def test_files_that_cannot_be_read_break_nothing(write, bind, capsys, home, monkeypatch):
    write()
    (home / "config.toml").write_bytes(b"seed = 1 # \xff\xfe")
    assert bind().spec.seed == 0
    assert "UTF-8" in capsys.readouterr().out
    monkeypatch.setenv(settings_files.USER_FILE, str(home))
    assert bind().spec.seed == 0
    (home / "project" / "pyproject.toml").write_text("[tool]\nfm_notebook = 3\n")
    assert bind().spec.seed == 0
    assert "no table" in capsys.readouterr().out


def test_a_run_like_another_is_that_others_whatever_is_set(write, bind, home, make_folder):
    bound = bind(seed=5)
    base = make_folder("first", spec=bound.spec)
    from fm_notebook.data.prepare import write as write_rows

    for role, table in bound.tables.items():
        write_rows(table, base.data / f"{role}.arrow")
    write(project="seed = 7\nlearning_rate = 1e-3")
    again = bind_finetune({"base": Assigned("first"), "epochs": Assigned(1.0)}).spec
    assert (again.seed, again.learning_rate, again.epochs) == (5, 5e-5, 1.0)


def test_an_evaluation_keeps_what_its_run_was_trained_with(write, bind, make_folder, model):
    folder = make_folder("first", spec=bind(max_length=64).spec)
    (folder.path / "model").mkdir()
    config = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "n", "1": "p"}}
    (folder.path / "model" / "config.json").write_text(json.dumps(config))
    write(project='max_length = 32\nprecision = "fp32"\nbatch_size = 8')
    of_run = bind_evaluate({"model": Assigned("first"), "data": Assigned(ROWS)}).spec
    assert (of_run.max_length, of_run.precision, of_run.batch_size) == (64, "auto", 8)
    of_model = bind_evaluate({"model": Assigned(str(folder.path / "model")), "data": Assigned(ROWS)}).spec
    assert (of_model.max_length, of_model.precision, of_model.batch_size) == (32, "fp32", 8)


def test_a_cell_that_chooses_one_way_silences_the_other_ways_that_are_set(write, bind):
    write(project="max_steps = 10\nlora = {rank = 4}")
    assert (bind().spec.max_steps, bind().spec.lora.rank) == (10, 4)
    chosen = bind(epochs=1.0, freeze="backbone").spec
    assert (chosen.max_steps, chosen.lora) == (None, None)


def test_a_fault_that_only_the_rows_reveal_names_the_setting(write, bind, home):
    write(project='\ntext = "review"')
    with pytest.raises(DataError) as caught:
        bind()
    assert str(caught.value).startswith(f"{settings_files.shown(home / 'project' / 'pyproject.toml')}, line 3: ")


def test_a_form_is_checked_with_the_settings_too(write, model):
    write(project="seed = 9")
    spec, faults = check_finetune({"model": Assigned(str(model)), "train": Assigned(ROWS)})
    assert faults == ()
    assert spec.seed == 9


def test_the_language_can_be_set_and_the_environment_goes_before_files(write, monkeypatch):
    write(user='language = "zh"')
    settings.current()
    assert messages.language() == "en"  # FM_NOTEBOOK_LANGUAGE says so
    monkeypatch.delenv("FM_NOTEBOOK_LANGUAGE")
    assert messages.language() == "zh"
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    settings.configure("language", "en")
    assert messages.language() == "en"


def test_what_a_cell_alone_may_give_are_data_models_and_trust():
    taken = {
        name for spec in (FinetuneSpec, EvaluateSpec) for name in fields.names(spec)
        if fields.takes(spec, name) in {"rows", "model", "run"}
    }  # fmt: skip
    assert taken | {"trust_remote_code", "allow_pickle"} == settings._ONLY_IN_A_CELL
    assert set(settings.names()).isdisjoint(settings._ONLY_IN_A_CELL)
    assert {"learning_rate", "text", "shots", "on", "trackers"} <= set(settings.names())


def test_without_a_variable_the_users_file_lies_where_the_system_keeps_such_files(monkeypatch, tmp_path):
    monkeypatch.delenv(settings_files.USER_FILE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_files.user_path().name == "config.toml"
    assert settings_files.user_path().parent.name == "fm_notebook"
