"""What Tab offers in our cells and lines, asked of IPython's own completer."""

import importlib.metadata
import sys

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter, rectify_completions

from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import EvaluateSpec, FinetuneSpec

FRAME = pd.DataFrame({"评论": ["好"], "review text": ["good"], "it's": ["x"], "stars": [5]})


@pytest.fixture(params=["jedi", "no jedi"])
def tab(request, shell, home, monkeypatch):
    """The line of the cursor after each of the offers at ``|``, as a front end would insert them."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(shell.Completer, "use_jedi", request.param == "jedi")
    for name in ("sentiment.1", "sentiment.2", "情感.1", "notes"):
        (home / "runs" / name).mkdir(parents=True)
    shell.user_ns |= {"reviews": FRAME, "my_rate": 3e-5, "train_rows": [{"text": "x"}]}

    def complete(cell: str) -> list[str]:
        cursor = cell.index("|")
        text = cell[:cursor] + cell[cursor + 1 :]
        row = text[:cursor].count("\n")
        with provisionalcompleter():
            found = list(rectify_completions(text, shell.Completer.completions(text, cursor)))
        return [(text[: each.start] + each.text + text[each.end :]).split("\n")[row] for each in found]

    return complete


@pytest.mark.parametrize(
    ("cell", "offered"),
    [
        ("%%finetune a\nlear|", ["learning_rate = "]),
        ("\n\n%%finetune a\nlear|", ["learning_rate = "]),
        ("%%finetune a\nlora = {\n  'rank': 8,\n}\nlear|", ["learning_rate = "]),
        ("%%finetune a\nlear|ning_rate = 3", ["learning_rate = 3"]),
        ("%%finetune a\nlear| = 3", ["learning_rate = 3"]),
        ("%%finetune a\nlora.ra|", ["lora.rank = "]),
        ("%%finetune a\nlora = {'ra|", ["lora = {'rank'"]),
        ("%%finetune a\nlr_schedule = '|'", ["lr_schedule = 'linear'", "lr_schedule = 'cosine'", "lr_schedule = 'constant'"]),
        ('%%finetune a\nlr_schedule = "co|', ['lr_schedule = "cosine"', 'lr_schedule = "constant"']),
        ('%%finetune a\nlr_schedule = "co|sine"  # x', ['lr_schedule = "cosine"  # x']),
        ("%%finetune a\ndevice = 'm|", ["device = 'mps'"]),
        ("%%finetune a\ntask = 'fill|", ["task = 'fill-mask'"]),
        ("%%finetune a\nmetric = 'acc|", ["metric = 'accuracy'"]),
        ("%%finetune a\ntask = 'token-classification'\nmetric = 'entity_f|", ["metric = 'entity_f1'"]),
        ("%%finetune a\nbase = 's|", ["base = 'sentiment'"]),
        ("%%finetune a\nbase = 'sentiment.|", ["base = 'sentiment.1'", "base = 'sentiment.2'"]),
        ("%%finetune a\nmodel = '情|", ["model = '情感'"]),
        ("%%finetune a\ntrain = 'sample:|", ["train = 'sample:tweets'"]),
        ("%%evaluate a\ntex|", ["text = ", "text_pair = "]),
        ("%%probe a crows-pairs\nvar|", ["variant = "]),
        ("%%probe a crows-pairs\nvariant = 'au|", ["variant = 'auto'", "variant = 'aul'", "variant = 'aula'"]),
        ("%%probe a\nprobes = 'weat'\nvariant = 'fi|", ["variant = 'first'"]),
        ("%%probe a\nprobes = ['crows-pairs', 'honest']\nto|", ["top_k = ", "tokenizer = "]),
        ("%%probe a crows-pairs honest\nhonest.la|", ["honest.language = "]),
        ("%%probe a\nprobes = 'identity|", ["probes = 'identity-swap'"]),
        ("%%probe a\ndata = 'sample:|", ["data = 'sample:tweets'"]),
        ("%%probe a crows-pairs --precision=b|", ["%%probe a crows-pairs --precision=bf16"]),
        ("%%fm_finetune a\nlear|", ["learning_rate = "]),
        ("%%finetune a --|", [f"%%finetune a --{flag}" for flag in ("wait", "again", "on", "quiet", "help")]),
        ("%%finetune a --wait --ag|ain", ["%%finetune a --wait --again"]),
        ("%%finetune a --on k|", ["%%finetune a --on kernel"]),
        ("%%finetune a --on=tor|", ["%%finetune a --on=torchrun:"]),
        ("%%finetune |", ["%%finetune sentiment", "%%finetune 情感"]),
        ("x = 1\n%runs sho|", ["%runs show"]),
        ("%runs show 情|", ["%runs show 情感"]),
        ("%runs show sentiment.|", ["%runs show sentiment.1", "%runs show sentiment.2"]),
        ("%panel fi|", ["%panel finetune"]),
        ("%%finetune a\ntrackers = ['tensorb|", ["trackers = ['tensorboard'"]),
        ("r = %evaluate sentiment reviews --text s|", ["r = %evaluate sentiment reviews --text stars"]),
        ("%evaluate sentiment reviews --text re|", ['%evaluate sentiment reviews --text "review text"']),
        ('%evaluate sentiment reviews --text "re|', ['%evaluate sentiment reviews --text "review text"']),
        ("%compare sentiment sent|", ["%compare sentiment sentiment"]),
        ("%compare sentiment 情感 --pos|", ["%compare sentiment 情感 --positive"]),
        ("%compare sentiment 情感 --data rev|", ["%compare sentiment 情感 --data reviews"]),
        ("%compare sentiment 情感 --data reviews --by st|", ["%compare sentiment 情感 --data reviews --by stars"]),
        ("%compare a b --data=reviews --by 评|", ["%compare a b --data=reviews --by 评论"]),
        ("%evaluate a reviews --by mentions:ag|", ["%evaluate a reviews --by mentions:age"]),
        ("%evaluate a reviews --by stars*le|", ["%evaluate a reviews --by stars*length"]),
        ("%%compare sentiment 情感 --data reviews\nlabel = 'st|", ["label = 'stars'"]),
        ("%config FMNotebook.lr_schedule = 'lin|", ["%config FMNotebook.lr_schedule = 'linear'"]),
        ("%config FMNotebook.lear|", ["%config FMNotebook.learning_rate"]),
    ],
)  # fmt: skip
def test_tab_offers_what_may_stand_there(tab, cell, offered):
    given = [each for each in tab(cell) if "dry-run" not in each and "find-lr" not in each]
    assert given == offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("text = '|", ["text = '评论'", "text = 'review text'", "text = 'it\\'s'"]),
        ('text = "|"', ['text = "评论"', 'text = "review text"', 'text = "it\'s"']),
        ('label = "st|', ['label = "stars"']),
        ("text = '评|论'", ["text = '评论'"]),
        ("text = 'nothing|", []),
    ],
)
def test_columns_are_those_of_the_frame_that_the_cell_names(tab, line, offered):
    assert tab(f"%%finetune a\ntrain = reviews[reviews.stars > 3]\n{line}") == offered
    assert tab(f"%%finetune a\n{line}\ntrain = reviews.head(3)  # below") == offered
    assert tab(f"%%evaluate sentiment reviews\n{line}") == offered


def test_texts_are_columns_of_any_kind_where_words_are_tagged(tab):
    assert "text = 'stars'" in tab("%%finetune a\ntask = 'token-classification'\ntrain = reviews\ntext = '|")


def test_columns_of_a_file_come_from_its_head(tab, home):
    (home / "rows.csv").write_text("评论,stars\ngood,5\n")
    assert tab("%%finetune a\ntrain = 'rows.csv'\ntext = '|") == ["text = '评论'"]
    assert tab("%%finetune a\ntrain = 'ro|") == ["train = 'rows.csv'"]


def test_values_without_quotes_are_choices_and_variables_and_what_fits_comes_first(tab):
    assert tab("%%finetune a\nprecision = |")[:4] == [f'precision = "{word}"' for word in ("auto", "fp32", "bf16", "fp16")]
    assert tab("%%finetune a\nwhole_words = |")[:2] == ["whole_words = True", "whole_words = False"]
    rows = tab("%%finetune a\ntrain = |")
    assert set(rows[:2]) == {"train = reviews", "train = train_rows"}
    assert "train = my_rate" in rows
    assert tab("%evaluate sentiment |")[:1] == ["%evaluate sentiment sample:tweets"]
    assert "%evaluate sentiment reviews" in tab("%evaluate sentiment |")


def test_the_users_variables_complete_on_the_right_hand_side(tab):
    assert "learning_rate = my_rate" in tab("%%finetune a\nlearning_rate = my_|")
    assert "train = reviews" in tab("%%finetune a\ntrain = revi|")
    assert any(each.startswith("train = reviews.head") for each in tab("%%finetune a\ntrain = reviews.hea|"))


def test_nothing_of_ours_is_offered_in_other_cells(tab):
    for cell in ("lear|", "%%time\nlear|", "%%html\nlear|", "x = '%%finetune'\nlear|", "%%finetunes a\nlear|"):
        assert not any("learning_rate" in each for each in tab(cell))


def test_a_field_that_is_written_is_not_offered_again(tab):
    assert "learning_rate = " not in tab("%%finetune a\nlearning_rate = 3\nlear|")


def test_every_field_of_a_spec_is_offered_once(tab):
    assert tab("%%finetune a\n|") == [f"{name} = " for name in fields.names(FinetuneSpec)]
    left = [name for name in fields.names(EvaluateSpec) if name not in {"model", "data", "label"}]
    assert tab("%%evaluate sentiment reviews --label stars\n|") == [f"{name} = " for name in left]


def test_a_newly_registered_task_is_offered(tab, tmp_path):
    from fm_notebook.tasks import tasks

    (tmp_path / "my_own.py").write_text("task = None\n")
    tasks.register(tmp_path / "my_own.py")
    try:
        assert tab("%%finetune a\ntask = 'my|") == ["task = 'my-own'"]
    finally:
        tasks._files.clear()


def test_a_plug_in_of_a_package_installed_meanwhile_is_offered(tab, tmp_path, monkeypatch):
    assert tab("%%finetune a\ntask = 'of-a|") == []
    info = tmp_path / "site" / "of_a-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-a\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fm_notebook.tasks]\nof-a-package = of_a:task\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert [point.name for point in importlib.metadata.entry_points(group="fm_notebook.tasks")] == ["of-a-package"]
    assert tab("%%finetune a\ntask = 'of-a|") == ["task = 'of-a-package'"]


def test_a_defect_of_ours_offers_nothing_and_prints_nothing(tab, monkeypatch, capsys):
    from fm_notebook.magics import completion

    def broken(*_):
        raise RuntimeError("defect")

    monkeypatch.setattr(completion, "suggest", broken)
    tab("%%finetune a\nlear|")
    assert "defect" not in "".join(capsys.readouterr())


def test_a_cell_that_holds_data_is_left_alone(tab):
    assert tab("%%finetune a\ntrain = '" + "x" * 200_000 + "'\nlear|") == []


def test_after_unloading_nothing_is_offered(shell, tab):
    from fm_notebook.magics import unload

    unload(shell)
    assert tab("%%finetune a\nlear|") == []
    assert "fm_notebook.magics.completion" in sys.modules
