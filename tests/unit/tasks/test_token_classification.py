"""A tag for each word: how words find their tokens, and what is said of them."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.utils.class_weight import compute_sample_weight
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast, PreTrainedTokenizerFast

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import IGNORED, Outputs
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data.words import Words, characters, split
from fm_notebook.engine import families
from fm_notebook.engine.batching import Budget
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.step import accumulate
from fm_notebook.engine.words import align
from fm_notebook.tasks.token_classification import TokenClassification, task

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "anna",
    "bo",
    "##lt",
    "in",
    "par",
    "##is",
    "new",
    "york",
    ".",
    ",",
    "中",
    "国",
]


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=32)


@pytest.fixture(scope="module")
def byte_level():
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "Ġi", "Ġin", "ab"])}
    made = Tokenizer(models.BPE(vocab, [("Ġ", "i"), ("Ġi", "n"), ("a", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=64
    )


class Slow:
    """A tokenizer written in Python knows no characters."""

    is_fast = False

    def __init__(self, fast):
        self._fast = fast

    def __call__(self, texts, **settings):
        assert "return_offsets_mapping" not in settings
        return self._fast(texts, **settings)

    def __getattr__(self, name):
        return getattr(self._fast, name)


def table(*sentences):
    """Canonical rows of sentences, each a list of (word, tag) with a space between words."""
    texts = [" ".join(word for word, _ in sentence) for sentence in sentences]
    starts, ends = [], []
    for sentence in sentences:
        widths = np.array([len(word) for word, _ in sentence])
        start = np.cumsum(widths + 1) - widths - 1
        starts.append(start.tolist())
        ends.append((start + widths).tolist())
    numbers = pa.list_(pa.int32())
    return pa.table(
        {
            "text": pa.array(texts, pa.large_string()), "word_start": pa.array(starts, numbers),
            "word_end": pa.array(ends, numbers),
            "label": pa.array([[LABELS.index(tag) for _, tag in s] for s in sentences], numbers),
            "row": pa.array(range(10, 10 + len(sentences))),
        }
    )  # fmt: skip


TWO = table(
    [("anna", "B-PER"), ("bolt", "I-PER"), ("in", "O"), ("paris", "B-LOC"), (".", "O")],
    [("new", "B-LOC"), ("york", "I-LOC"), (",", "O"), ("bo", "B-PER")],
)


def labels_of_transformers(tokenizer, words, tags):
    """The recipe of run_ner.py with label_all_tokens=False."""
    found = tokenizer(words, is_split_into_words=True)
    labels, before = [], None
    for word in found.word_ids():
        labels.append(IGNORED if word is None or word == before else tags[word])
        before = word
    return found["input_ids"], labels


def test_targets_are_those_of_the_recipe_of_transformers(tokenizer):
    found = task.encode(TWO, tokenizer, LABELS, max_length=32)
    for i, row in enumerate(TWO.to_pylist()):
        words = [row["text"][s:e] for s, e in zip(row["word_start"], row["word_end"], strict=True)]
        ids, labels = labels_of_transformers(tokenizer, words, row["label"])
        mine = slice(found.tokens.offsets[i], found.tokens.offsets[i + 1])
        assert found.tokens.ids[mine].tolist() == ids
        assert found.targets[mine].tolist() == labels
    assert found.rows.tolist() == [10, 11]


def test_a_tokenizer_without_characters_gives_the_same(tokenizer):
    fast, slow = (task.encode(TWO, each, LABELS, max_length=32) for each in (tokenizer, Slow(tokenizer)))
    assert fast.tokens.ids.tolist() == slow.tokens.ids.tolist()
    assert fast.targets.tolist() == slow.targets.tolist()


def test_tokens_are_those_of_the_text_as_it_is(byte_level):
    text = "ab in, ab"  # no space before the comma, as in pre-training; the recipe for split words would put one
    words = split(characters(pa.array([text], pa.large_string())))
    for each in (byte_level, Slow(byte_level)):
        found = align(each, [text], words)
        assert found.ids.tolist() == byte_level(text, add_special_tokens=False)["input_ids"]
        assert byte_level.convert_ids_to_tokens(found.ids[found.first]) == ["ab", "Ġin", ",", "ab"]  # not the space


def test_a_token_over_two_words_is_parted(byte_level):
    found = align(byte_level, ["ab", "ab"], Words(np.array([0, 1, 0]), np.array([1, 2, 2]), np.array([2, 1])))
    assert byte_level.convert_ids_to_tokens(found.ids) == ["a", "b", "ab"]
    assert found.first.tolist() == [0, 1, 2]
    assert found.lengths.tolist() == [2, 1]
    partly = align(byte_level, ["abc"], Words(np.array([0, 1]), np.array([1, 3]), np.array([2])))
    assert byte_level.convert_ids_to_tokens(partly.ids[partly.first]) == ["a", "b"]


def test_a_word_that_the_tokenizer_drops_is_unknown(tokenizer):
    text = "in\u200bin"
    found = align(tokenizer, [text], Words(np.array([0, 2, 3]), np.array([2, 3, 5]), np.array([3])))
    assert tokenizer.convert_ids_to_tokens(found.ids) == ["in", "[UNK]", "in"]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text("ab in,.中国é\n\u200b🙂", max_size=12), min_size=1, max_size=4))
def test_every_word_has_a_first_token_of_its_own(tokenizer, byte_level, texts):
    flat = characters(pa.array(texts, pa.large_string()))
    cut = split(flat)
    origin = np.repeat(flat.offsets[:-1], cut.counts)
    words = Words(cut.start - origin, cut.end - origin, cut.counts)
    for each in (tokenizer, byte_level, Slow(byte_level)):
        found = align(each, texts, words)
        assert len(set(found.first.tolist())) == len(found.first) == len(words.start)
        assert (np.diff(found.first) > 0).all()
        owner = np.repeat(np.arange(len(texts)), found.lengths)[found.first]
        assert owner.tolist() == np.repeat(np.arange(len(texts)), words.counts).tolist()


def test_chinese_characters_are_words(tokenizer):
    rows = pa.table({"text": pa.array(["中国, paris"], pa.large_string()), "row": [0]})
    found = task.encode(rows, tokenizer, LABELS, max_length=32)
    assert tokenizer.convert_ids_to_tokens(found.tokens.ids) == ["[CLS]", "中", "国", ",", "par", "##is", "[SEP]"]
    assert found.targets.tolist() == [IGNORED, 0, 0, 0, 0, IGNORED, IGNORED]


def test_no_word_of_a_long_text_is_lost(tokenizer):
    found = task.encode(TWO, tokenizer, LABELS, max_length=4)
    assert found.tokens.lengths.max() == 4
    assert found.rows.tolist() == [10, 10, 10, 10, 11, 11]
    assert found.targets[found.targets != IGNORED].tolist() == [3, 4, 0, 1, 0, 1, 2, 0, 3]
    assert found.tokens.truncated == 0
    starts, ends = found.tokens.offsets[:-1], found.tokens.offsets[1:]
    assert set(found.tokens.ids[starts]) == {tokenizer.cls_token_id}
    assert set(found.tokens.ids[ends - 1]) == {tokenizer.sep_token_id}


def test_an_entity_over_two_pieces_of_a_text_is_one():
    logits = np.eye(5, dtype=np.float32)[[1, 2, 0]] * 9
    found = task.report(Outputs({"logits": logits}, np.array([1, 2, 0]), np.array([1, 2]), np.array([7, 7])), LABELS, seed=0)
    assert (found["entity_f1"].value, found["entity_f1"].n) == (1.0, 1)
    apart = task.report(Outputs({"logits": logits}, np.array([1, 2, 0]), np.array([1, 2])), LABELS, seed=0)
    assert apart["entity_f1"].n == 2


def test_scores_are_those_of_seqeval_and_the_loss_is_over_words():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 20)
    logits = rng.normal(size=(counts.sum(), 5)).astype(np.float32)
    targets = rng.integers(0, 5, counts.sum())
    logits[np.arange(len(targets)), targets] += 2
    found = task.report(Outputs({"logits": logits}, targets, counts), LABELS, seed=0)
    ends = np.cumsum(counts)[:-1]
    true, predicted = ([[LABELS[i] for i in part] for part in np.split(numbers, ends)] for numbers in (targets, logits.argmax(1)))
    assert found["entity_f1"].value == pytest.approx(seqeval_f1(true, predicted))
    assert found["token_accuracy"].value == pytest.approx((targets == logits.argmax(1)).mean())
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets))
    assert found["loss"].value == pytest.approx(float(loss), abs=1e-6)
    assert found["loss"].interval.low < found["loss"].value < found["loss"].interval.high
    assert {score.name for score in found.scores} >= set(task.metrics)
    assert [each.label for each in found.classes] == ["LOC", "PER"]
    assert found.partial["exact"] == sum(each.recall.value * each.support for each in found.classes)


def test_predictions_name_entities_by_their_characters():
    best = [3, 4, 0, 1, 0, 1, 2, 0, 0]
    logits = np.log(np.full((9, 5), 0.1)) + np.eye(5)[best] * np.log(6)
    found = task.predictions(Outputs({"logits": logits}, np.zeros(9, np.int64), np.array([5, 4])), TWO, LABELS).to_pylist()
    assert found[0]["tags"] == ["B-PER", "I-PER", "O", "B-LOC", "O"]
    first, second = found[0]["entities"]
    assert first == {"start": 0, "end": 9, "label": "PER", "text": "anna bolt", "score": pytest.approx(0.6)}
    assert (second["text"], second["label"]) == ("paris", "LOC")
    assert [each["text"] for each in found[1]["entities"]] == ["new york"]


def test_balanced_weights_are_those_of_scikit_learn(tokenizer):
    found = TokenClassification("balanced").encode(TWO, tokenizer, LABELS, max_length=32)
    learnt = found.targets != IGNORED
    assert found.weights[learnt] == pytest.approx(compute_sample_weight("balanced", found.targets[learnt]), abs=1e-6)
    by_tag = TokenClassification({"B-PER": 3.0}).encode(TWO, tokenizer, LABELS, max_length=32)
    assert by_tag.weights[learnt].tolist() == [3.0 if t == 3 else 1.0 for t in found.targets[learnt]]


def make_model(dropout=0.0):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        id2label=dict(enumerate(LABELS)), label2id={name: i for i, name in enumerate(LABELS)},
    )  # fmt: skip
    return BertForTokenClassification(config)


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("texts", [1, 2])
def test_the_loss_is_that_of_the_model_in_transformers(tokenizer, layout, texts):
    torch.set_num_threads(1)
    model = make_model().train()
    rows = TWO.to_pylist()
    parts = [
        labels_of_transformers(
            tokenizer, [r["text"][s:e] for s, e in zip(r["word_start"], r["word_end"], strict=True)], r["label"]
        )
        for r in rows
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ids, labels = (
        pad([torch.tensor(part[k]) for part in parts], batch_first=True, padding_value=fill) for k, fill in ((0, 0), (1, IGNORED))
    )
    expected = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
    if layout == "packed":
        families.enable(model)
    batch = task.encode(TWO, tokenizer, LABELS, max_length=32).batch(np.arange(2))
    found = accumulate(model, task, batch, Forward("fp32", layout), Budget(texts, 10**6), torch.Tensor.backward)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_tagger_learns(tokenizer, tmp_path):
    torch.set_num_threads(1)
    rng, rows = np.random.default_rng(0), []
    plain, kinds = ["in", ".", ",", "bo"], {"paris": "B-LOC", "york": "B-LOC", "anna": "B-PER"}
    for _ in range(60):
        words = rng.choice([*plain, *kinds], rng.integers(2, 9)).tolist()
        rows.append([(word, kinds.get(word, "O")) for word in words])
    examples = task.encode(table(*rows), tokenizer, LABELS, max_length=6)  # some texts are in pieces
    spec = FinetuneSpec(
        train=DataRef(source="rows", kind="value"), model=ModelRef(source="tiny", kind="folder", location="nowhere"),
        task="token-classification", epochs=6.0, batch_size=8, learning_rate=3e-3, warmup_steps=0,
    )  # fmt: skip
    model = make_model(0.1)
    families.enable(model)
    events = list(
        finetune(
            Parts(
                spec=spec, task=task.configure(spec), model=model, tokenizer=tokenizer, train=examples, held_out=examples,
                labels=LABELS, precision="fp32", layout="packed", checkpoints=tmp_path / "c", result=tmp_path / "m",
            )
        )
    )  # fmt: skip
    losses = [event.metrics["loss"] for event in events if isinstance(event, ev.EvalEnded)]
    assert losses[-1] < losses[0] / 3
    assert events[-1].result.metrics["entity_f1"] > 0.95
    assert events[-1].result.metric == "entity_f1"


def test_what_it_reads_and_is_configured_by():
    spec = SimpleNamespace(text="words", label="ner", class_weight="balanced")
    assert task.configure(spec).class_weight == "balanced"
    reading = task.reading(spec)
    assert (reading.kind, reading.text, reading.label) == ("tags", "words", "ner")
    assert dataclasses.is_dataclass(task)
