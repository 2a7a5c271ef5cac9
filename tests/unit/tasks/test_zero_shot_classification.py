"""Labels by likelihood: against brute force, one text and one label at a time."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import f1_score, log_loss
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef
from fm_notebook.engine import evaluation, families
from fm_notebook.engine.batching import Budget
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.models import ModelSource
from fm_notebook.errors import SpecError
from fm_notebook.tasks.zero_shot_classification import ZeroShotClassification, task

TEXTS = ["the cat sat on the mat", "a dog", "the dog sat on the log", "猫 sat", "on {label} {text_pair}"]
LABELS = ["cat", "the dog", "log"]
TRUE = [0, 1, 2, 0, 1]
REF = ModelRef(source="tiny", kind="folder", location="nowhere")
WORDS = {"vocab_size": 336, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


@pytest.fixture(scope="module")
def tokenizer():
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokens.train_from_iterator([*TEXTS, "\nLabel: cat", "\nLabel: dog"] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=256
    )


@pytest.fixture(scope="module")
def model():
    """Of large weights, so that labels differ."""
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(**WORDS, **SIZES, max_position_embeddings=256, initializer_range=0.4))
    return made.eval()


def rows(texts=TEXTS, labelled=True, **more):
    columns = {"text": texts, **more, "row": [7 * i for i in range(len(texts))]}
    return pa.table(columns | ({"label": pa.array(TRUE[: len(texts)], pa.int32())} if labelled else {}))


def spec(**fields):
    return EvaluateSpec(model=REF, data=DataRef(source="rows", kind="value"), task="zero-shot-classification", **fields)


def scored(model, examples, layout="padded"):
    made = evaluation.outputs(
        model, task, examples, Forward("fp32", layout), Budget(4, 10**6), command=lambda: "run", until=frozenset()
    )
    while True:
        try:
            next(made)
        except StopIteration as end:
            return end.value


@torch.no_grad()
def likelihood(model, tokenizer, prompt, name):
    """Log-likelihood and number of the tokens of `name` after `prompt`, one token after the other."""
    before, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + name)["input_ids"]
    assert whole[: len(before)] == before
    total = 0.0
    for end in range(len(before), len(whole)):
        total += model(input_ids=torch.tensor([whole[:end]])).logits[0, -1].log_softmax(-1)[whole[end]].item()
    return total, len(whole) - len(before)


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("score", ["sum", "mean", "pmi"])
def test_scores_are_those_of_brute_force(model, tokenizer, score, layout):
    made = task.configure(spec(score=score))
    expected = []
    for text in TEXTS:
        each = [likelihood(model, tokenizer, f"{text}\nLabel:", f" {label}") for label in LABELS]
        bare = [likelihood(model, tokenizer, "\nLabel:", f" {label}")[0] for label in LABELS]
        expected.append(
            [s / (n if score == "mean" else 1) - (b if score == "pmi" else 0) for (s, n), b in zip(each, bare, strict=True)]
        )
    examples = made.encode(rows(), tokenizer, LABELS, max_length=128)
    if layout == "packed":
        families.enable(model)
    try:
        outputs = scored(model, examples, layout)
    finally:
        families.disable(model)
    assert made.scores(outputs, LABELS) == pytest.approx(np.array(expected), abs=1e-3)

    report, given = made.report(outputs, LABELS, seed=0), torch.tensor(expected).softmax(1).numpy()
    assert report["macro_f1"].value == pytest.approx(f1_score(TRUE, given.argmax(1), average="macro"))
    assert report["loss"].value == pytest.approx(log_loss(TRUE, given, labels=[0, 1, 2]), abs=1e-3)
    assert report["accuracy"].n == 5
    found = made.predictions(outputs, rows(), LABELS).to_pydict()
    assert found["label"] == [LABELS[i] for i in given.argmax(1)]
    assert found["log"] == pytest.approx(given[:, 2], abs=1e-3)


def test_rows_without_labels_are_predicted_alike(model, tokenizer):
    known, unknown = (task.encode(rows(labelled=each), tokenizer, LABELS, max_length=128) for each in (True, False))
    assert task.predictions(scored(model, known), None, LABELS) == task.predictions(scored(model, unknown), None, LABELS)


def text_of(tokenizer, made, table, i=0, max_length=256):
    examples = made.encode(table, tokenizer, LABELS, max_length=max_length)
    return tokenizer.decode(examples.tokens.ids[examples.tokens.offsets[i] : examples.tokens.offsets[i + 1]])


def test_a_text_is_put_into_the_template_as_it_is(tokenizer):
    assert text_of(tokenizer, task, rows(TEXTS[4:])) == "on {label} {text_pair}\nLabel: cat"
    chinese = task.configure(spec(template="文本：{text}\n标签：{label}。", label_words={"cat": "猫"}))
    assert text_of(tokenizer, chinese, rows(["狗"])) == "文本：狗\n标签：猫。"
    assert text_of(tokenizer, chinese, rows(["狗"]), 2) == "文本：狗\n标签：log。"
    pairs = task.configure(spec(template="{text} / {text_pair}: {label}"))
    assert text_of(tokenizer, pairs, rows(["a"], text_pair=["b"])) == "a / b: cat"


def test_examples_are_shown_before_each_text(tokenizer):
    made = task.configure(spec(shots=[("a cat", "cat"), ("dogs", "the dog")]))
    shown = "a cat\nLabel: cat\n\ndogs\nLabel: the dog\n\n"
    assert text_of(tokenizer, made, rows()) == f"{shown}{TEXTS[0]}\nLabel: cat"
    assert text_of(tokenizer, task.configure(spec(shots=made.shots, score="pmi")), rows()) == f"{shown}\nLabel: cat"
    with pytest.raises(SpecError, match="'bird'"):
        task.configure(spec(shots=[("a", "bird")])).encode(rows(), tokenizer, LABELS, max_length=64)


def test_what_is_too_long_loses_its_beginning_and_never_the_label(tokenizer):
    examples = task.encode(rows(), tokenizer, LABELS, max_length=8)
    assert examples.tokens.lengths.max() <= 8
    assert text_of(tokenizer, task, rows(), max_length=8).endswith("Label: cat")
    assert text_of(tokenizer, task, rows(), 1, max_length=8).endswith("Label: the dog")
    assert examples.tokens.truncated_share > 0


def test_only_the_labels_words_have_targets(tokenizer):
    batch = task.encode(rows(TEXTS[:1]), tokenizer, LABELS, max_length=64).batch(np.arange(3))
    tokens = batch.targets[batch.places] & 0xFFFFFFFF
    assert tokenizer.decode(tokens) == " cat the dog log"
    assert batch.counts.tolist() == [len(tokenizer(f" {label}")["input_ids"]) for label in LABELS]
    assert set(batch.rows) == {0}


@pytest.mark.parametrize("template", ["{text}", "{label}", "{label}: {text}", "no place"])
def test_a_template_without_its_places_is_refused(template):
    with pytest.raises(SpecError, match=r"does not hold \{text\}"):
        task.configure(spec(template=template))


def test_it_cannot_be_trained(tmp_path):
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(**WORDS, n_embd=32, n_layer=1, n_head=2, n_positions=64)).save_pretrained(tmp_path)
    ref = ModelRef(source="m", kind="folder", location=str(tmp_path))
    training = FinetuneSpec(model=ref, train=DataRef(source="rows", kind="value"), task="zero-shot-classification")
    with pytest.raises(SpecError, match="cannot be fine-tuned"):
        task.configure(training).load_model(ModelSource(ref), LABELS)
    assert task.has_head(ModelSource(ref))
    assert task.configure(spec()).load_model(ModelSource(ref), LABELS).fresh == ()


def test_settings_are_those_of_the_spec():
    made = task.configure(spec(template="{text} = {label}", shots=[("a", "cat")], label_words={"cat": "x"}, score="mean"))
    assert made == ZeroShotClassification("{text} = {label}", (("a", "cat"),), {"cat": "x"}, "mean")
