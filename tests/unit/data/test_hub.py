import datasets
import pytest
from datasets.exceptions import DatasetNotFoundError

from fm_notebook.data.hub import from_hub
from fm_notebook.errors import DataError


def split(*texts):
    return datasets.Dataset.from_dict({"text": list(texts)})


@pytest.fixture
def hub(monkeypatch):
    """Stands for the hub: `datasets.load_dataset` is where the network begins."""
    asked = []

    def load_dataset(name, config=None):
        asked.append((name, config))
        if name == "owner/evalless":
            return datasets.DatasetDict({"train": split("a")})
        if name == "owner/scripted":
            raise RuntimeError("Dataset scripts are no longer supported, but found scripted.py")
        if name == "owner/far":
            raise ConnectionError("no route")
        if name != "owner/name":
            raise DatasetNotFoundError(name)
        if config == "xx":
            raise ValueError("BuilderConfig 'xx' not found. Available: ['default', 'en']")
        return datasets.DatasetDict({"train": split("a"), "test": split("b", "c")})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def texts(what, field="train"):
    return from_hub(what, field=field, line=4)["text"].to_pylist()


def test_the_split_follows_the_field(hub):
    assert texts("owner/name") == ["a"]
    assert texts("owner/name", "eval") == ["b", "c"]
    assert texts("owner/name", "data") == ["b", "c"]


def test_split_and_configuration_can_be_named(hub):
    assert texts("owner/name[en]:test") == ["b", "c"]
    assert texts("owner/name:train", "eval") == ["a"]
    assert hub == [("owner/name", "en"), ("owner/name", None)]


@pytest.mark.parametrize(
    ("what", "key", "words"),
    [
        ("owner/name:tests", "hub.split", "Did you mean test?"),
        ("owner/name[xx]", "hub.refused", "'en'"),
        ("owner/nothing", "hub.unknown", "owner/nothing"),
        ("owner/scripted", "hub.script", "never run"),
        ("owner/far", "hub.unreachable", "owner/far"),
        ("what is this?", "hub.syntax", "owner/name:split"),
    ],
)
def test_what_the_hub_cannot_give_is_told_in_words(hub, monkeypatch, what, key, words):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(DataError, match=words.replace("?", r"\?")) as error:
        texts(what)
    assert error.value.faults[0].key == f"data.{key}"
    assert error.value.faults[0].line == 4


def test_a_single_split_serves_every_field(hub):
    assert texts("owner/evalless", "eval") == ["a"]


def test_a_hub_id_that_is_not_cached_is_refused_while_offline(monkeypatch, tmp_path):
    # The real datasets: it finds itself offline and asks its cache only, though it was imported before the variable was set.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        texts("no-such-owner/no-such-name")
