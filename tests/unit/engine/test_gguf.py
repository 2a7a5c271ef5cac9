"""GGUF weights become a transformers folder, once."""

import importlib.util
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fm_notebook.engine import gguf as conversion
from fm_notebook.engine.gguf import converted
from fm_notebook.errors import FMError, ModelError

needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf (extra gguf) is not installed")
V, D, LAYERS, HEADS, INNER = 20, 32, 2, 2, 64


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    return tmp_path / "state"


def write_llama(path: Path) -> dict[str, np.ndarray]:
    """A Llama of two layers in fp32, with a byte-pair tokenizer of one-letter words; its tensors by their names in GGUF."""
    import gguf

    rng = np.random.default_rng(0)
    shapes = {"token_embd.weight": (V, D), "output_norm.weight": (D,), "output.weight": (V, D)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.attn_{name}.weight": (D, D) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.{name}_norm.weight": (D,) for name in ("attn", "ffn")}
        shapes |= {f"blk.{i}.ffn_{name}.weight": (D, INNER) if name == "down" else (INNER, D) for name in ("gate", "up", "down")}
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(D // HEADS)
    writer.add_vocab_size(V)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", *"abcdefghijklmnopq", "ca"])
    writer.add_token_merges(["c a"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


@needs_gguf
def test_a_file_is_converted_once_and_computes_what_it_did(tmp_path, state, monkeypatch):
    written = write_llama(tmp_path / "tiny.gguf")
    folder = converted(tmp_path, "tiny.gguf")
    assert state in folder.parents
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent)} == {0o700}
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert torch.equal(model.model.layers[1].mlp.down_proj.weight.detach(), torch.from_numpy(written["blk.1.ffn_down.weight"]))
    direct = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    ids = torch.tensor([[0, 5, 9, 3]])
    assert torch.equal(model(input_ids=ids).logits, direct(input_ids=ids).logits)
    assert AutoTokenizer.from_pretrained(folder)("cab", add_special_tokens=False)["input_ids"] == [19, 3]
    monkeypatch.setattr(conversion, "_convert", None)  # a second conversion would fail
    shutil.copy(tmp_path / "tiny.gguf", tmp_path / "same.gguf")
    assert converted(tmp_path, "tiny.gguf") == converted(tmp_path, "same.gguf") == folder


@needs_gguf
def test_other_content_is_another_folder(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"a")
    (tmp_path / "b.gguf").write_bytes(b"b")
    monkeypatch.setattr(conversion, "_convert", lambda folder, file, into: (into / "config.json").write_text(file))
    assert [(converted(tmp_path, name) / "config.json").read_text() for name in ("a.gguf", "b.gguf")] == ["a.gguf", "b.gguf"]


@needs_gguf
def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path, state):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ModelError, match=r"broken\.gguf"):
        converted(tmp_path, "broken.gguf")
    assert not list((state / "gguf").iterdir())


@needs_gguf
def test_the_first_of_two_conversions_is_kept(tmp_path, state, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"a")

    def slow(folder, file, into):
        (into / "config.json").write_text("mine")
        target = state / "gguf" / "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"  # SHA-256 of "a"
        target.mkdir()
        (target / "config.json").write_text("theirs")

    monkeypatch.setattr(conversion, "_convert", slow)
    assert (converted(tmp_path, "a.gguf") / "config.json").read_text() == "theirs"
    assert len(list((state / "gguf").iterdir())) == 1


def test_without_the_package_it_is_told_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"a")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(FMError, match=r"pip install 'fm_notebook\[gguf\]'"):
        converted(tmp_path, "a.gguf")


def test_without_a_setting_the_users_cache_is_used(monkeypatch):
    monkeypatch.delenv("FM_NOTEBOOK_STATE")
    assert conversion.cache_folder().parts[-2:] == ("fm_notebook", "gguf")
