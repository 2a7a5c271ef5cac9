"""What every probe promises, see `fm_notebook.contracts.probing.Probe`."""

from __future__ import annotations

import string
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
)

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.probing import CHOICE, SKIPPED, VALUE, Probe
from fm_notebook.engine.capabilities.subject import subject_of
from fm_notebook.probes import probes

NAMES = list(probes)
FEW = 48


@pytest.fixture(scope="module")
def subjects():
    """Three tiny random models, which together are able to all that probes need."""
    letters = (
        "".join(map(chr, range(0x4E00, 0x9FA6)))
        + string.ascii_letters
        + string.digits
        + string.punctuation
        + "，。！？、：；“”（）"
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", *letters, *(f"##{letter}" for letter in string.ascii_letters)]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=256, bos_token="[BOS]")
    torch.manual_seed(0)
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 0.5,
    }
    bert = BertConfig(vocab_size=len(words), max_position_embeddings=256, num_labels=2, **small)
    gpt = GPT2Config(vocab_size=len(words), n_positions=256, n_embd=32, n_layer=1, n_head=2, bos_token_id=5, eos_token_id=0)
    models = [BertForPreTraining(bert), BertForSequenceClassification(bert), GPT2LMHeadModel(gpt)]
    return [subject_of(model.eval(), tokenizer, name="tiny") for model in models]


def asked(name, language):
    """The probe, its items in a language, and a spec."""
    kind = probes[name].Spec
    if "language" not in kind.model_fields:
        pytest.skip("has no seed set")
    spec = kind(language=language)
    return probes[name], probes[name].read(None, spec), spec


def some(items, seed=0):
    """A few whole blocks, in a random order."""
    rng = np.random.default_rng(seed)
    if "block" in items.column_names:
        blocks = np.asarray(items["block"].to_pylist(), object)
        chosen = rng.permutation(list(dict.fromkeys(blocks)))[:2]
        return items.take(pa.array(np.flatnonzero(np.isin(blocks, chosen))))
    return items.take(pa.array(rng.permutation(len(items))[:FEW]))


def scored(name, language, subjects, seed=0):
    """Some items with what they scored, the scores alone, and the spec that suits the model."""
    probe, given, spec = asked(name, language)
    for subject in subjects:
        suited = probe.suited(spec, subject.capabilities)
        if probe.needs(suited) <= subject.capabilities:
            items = some(given.table, seed)
            scores = probe.score(subject, items, suited)
            return items, scores, suited
    raise AssertionError(f"{name}: no subject fits")


def rows_of(items, scores):
    rows = pa.table({column: table[column] for table in (items, scores) for column in table.column_names})
    return rows.filter(rows[SKIPPED].is_null())


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name):
    probe = probes[name]
    assert isinstance(probe, Probe)
    assert probe.name == name
    assert "https://" in probe.source
    assert len(probe.summary) > 20
    assert probe.version >= 1
    assert not [field for field in fields.names(probe.Spec) if not messages.has(f"field.{field}")]


@pytest.mark.parametrize("name", NAMES)
def test_importing_it_loads_nothing_heavy(name):
    code = (
        f"import sys; from fm_notebook.probes import probes; probes[{name!r}].Spec; "
        "print([each for each in ('torch', 'transformers', 'numpy', 'pandas', 'pyarrow', 'scipy') if each in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_its_seed_items_are_told_apart_and_whose_they_are(name, language):
    _, given, _ = asked(name, language)
    table = given.table
    assert given.origin == "seed"
    assert given.language == language
    assert given.licence
    assert len(set(table["id"].to_pylist())) == len(table) > 0
    assert not table["axis"].null_count
    assert set(given.texts) <= set(table.column_names)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_every_item_has_a_score_or_a_reason(name, language, subjects):
    items, scores, _ = scored(name, language, subjects)
    assert len(scores) == len(items)
    assert not set(scores.column_names) & set(items.column_names)
    assert scores[VALUE].type == pa.float64()
    assert scores[SKIPPED].type == pa.string()
    for value, reason in zip(scores[VALUE].to_pylist(), scores[SKIPPED].to_pylist(), strict=True):
        assert (value is not None and np.isfinite(value)) == (reason is None)
        assert reason is None or messages.has(f"skipped.{reason}.text")
    if CHOICE in scores.column_names:
        assert scores[CHOICE].type == pa.bool_()


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_other_items_have_the_same_schema(name, subjects):
    assert scored(name, "en", subjects)[1].schema.equals(scored(name, "en", subjects, seed=1)[1].schema)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_any_part_of_the_rows_has_a_summary_in_the_catalogue(name, language, subjects):
    items, scores, spec = scored(name, language, subjects)
    rows = rows_of(items, scores)
    assert not probes[name].summarise(rows.slice(0, 0), spec).measurements
    for part in (rows.slice(0, 1), rows.slice(0, len(rows) // 2), rows):
        found = probes[name].summarise(part, spec)
        for each in found.measurements:
            _check(each)
        for remark in found.remarks:
            assert messages.text(f"remark.{remark.key}.text", **remark.values)


def _check(each: Measurement) -> None:
    assert messages.has(f"measure.{each.name}.label"), each.name
    assert each.n > 0
    assert np.isfinite(each.value)
    if each.interval:
        assert each.interval.low <= each.value <= each.interval.high
    for p in (each.p_value, each.adjusted_p):
        assert p is None or 0 <= p <= 1


@pytest.mark.parametrize("name", NAMES)
def test_what_a_model_lacks_is_told_before_it_is_loaded(name):
    probe = probes[name]
    spec = probe.Spec()
    assert probe.needs(probe.suited(spec, frozenset({"next_sentence"})))
