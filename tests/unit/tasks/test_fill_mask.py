"""Masks drawn by place, long texts in pieces, and what is measured and filled in at the masks."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import stats
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    RobertaConfig,
    RobertaModel,
    pipeline,
)

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.protocols import IGNORED, Outputs
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.engine import evaluation, families
from fm_notebook.engine.batching import HELD_OUT, Budget
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.models import Loaded, ModelSource
from fm_notebook.engine.next_sentence import FOLLOWS, STRANGER, both_heads
from fm_notebook.engine.parts import Parts
from fm_notebook.engine.step import accumulate
from fm_notebook.errors import DataError, ModelError
from fm_notebook.tasks.fill_mask import FillMask, task

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
WORDS = [*SPECIAL, ".", *LETTERS, *("##" + letter for letter in LETTERS), "中", "国"]
WHOLE = FillMask(whole_words=True)
PAIRS = FillMask(next_sentence=True)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=32)


def table(texts, first=0):
    return pa.table({"text": pa.array(texts, pa.large_string()), "row": np.arange(first, first + len(texts))})


def some_texts(n, seed=0, longest=12):
    rng = np.random.default_rng(seed)
    return [" ".join("".join(rng.choice(LETTERS, rng.integers(1, 4))) for _ in range(rng.integers(1, longest))) for _ in range(n)]


def make_model(dropout=0.0, kind=BertForMaskedLM):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return kind(config)


def every(examples, epoch=0):
    return examples.batch(np.arange(len(examples)), epoch)


def test_masks_are_drawn_as_by_the_collator_of_transformers(tokenizer):
    examples = task.encode(table(some_texts(3000, longest=20)), tokenizer, [], max_length=200)
    plain, batch = examples.tokens.ids, every(examples)
    chosen = batch.targets != IGNORED
    regular = ~np.isin(plain, tokenizer.all_special_ids)
    assert not chosen[~regular].any()
    assert (batch.ids[~chosen] == plain[~chosen]).all()
    assert (batch.targets[chosen] == plain[chosen]).all()
    counts = [(batch.ids[chosen] == 4).sum(), (batch.ids[chosen] == plain[chosen]).sum()]
    shares = [counts[0], counts[1], chosen.sum() - sum(counts)]

    torch.manual_seed(0)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    ids = torch.from_numpy(plain[regular].astype(np.int64))[None]
    theirs, labels = collator.torch_mask_tokens(ids.clone(), torch.zeros_like(ids, dtype=torch.bool))
    hit = labels != IGNORED
    hidden, same = int((theirs[hit] == 4).sum()), int((theirs[hit] == ids[hit]).sum())
    expected = [hidden, same, int(hit.sum()) - hidden - same]
    assert stats.chi2_contingency([shares, expected]).pvalue > 0.001
    long = np.repeat(examples.tokens.lengths, examples.tokens.lengths) > 12  # the rule of one a text does not matter there
    assert chosen[regular & long].mean() == pytest.approx(0.15, abs=0.01)


def test_replacements_are_any_regular_token_alike(tokenizer):
    always = FillMask(mask_probability=0.99)
    examples = always.encode(table(some_texts(3000)), tokenizer, [], max_length=200)
    batch = every(examples)
    replaced = batch.ids[(batch.ids != examples.tokens.ids) & (batch.ids != tokenizer.mask_token_id)]
    counts = np.bincount(replaced, minlength=len(WORDS))
    assert counts[:5].sum() == 0
    assert stats.chisquare(counts[5:], np.full(len(WORDS) - 5, len(replaced) / (len(WORDS) - 5))).pvalue > 1e-4


def test_every_text_has_a_hidden_token_if_it_has_any(tokenizer):
    examples = task.encode(table(["a", "\u0000", "b c"] * 40), tokenizer, [], max_length=8)
    assert (every(examples).counts[[0, 2]] >= 1).all()
    assert every(examples).counts[1] == 0
    assert (every(examples).counts.reshape(-1, 3) >= [1, 0, 1]).all()


@pytest.mark.parametrize("kind", [task, WHOLE])
@pytest.mark.parametrize("epoch", [0, 3, HELD_OUT])
def test_masks_do_not_depend_on_order_or_company(tokenizer, kind, epoch):
    examples = kind.encode(table(some_texts(30), first=100), tokenizer, [], max_length=6)
    whole = every(examples, epoch)
    order = np.random.default_rng(0).permutation(len(examples))
    for which in np.array_split(order, 7):
        part, expected = examples.batch(which, epoch), whole.take(which)
        assert part.ids.tolist() == expected.ids.tolist()
        assert part.targets.tolist() == expected.targets.tolist()


def test_masks_are_new_in_each_epoch_and_by_seed(tokenizer):
    rows = table(some_texts(30))
    by_seed = [FillMask(seed=seed).encode(rows, tokenizer, [], max_length=32) for seed in (0, 1)]
    masks = [every(examples, epoch).targets.tolist() for examples in by_seed for epoch in (0, 1)]
    assert len({tuple(mask) for mask in masks}) == 4


def test_held_out_rows_are_hidden_alike_whatever_the_training_does(tokenizer):
    rows = table(some_texts(30))
    kinds = [task, FillMask(0.5, whole_words=True, seed=7)]
    found = [every(kind.encode(rows, tokenizer, [], max_length=6), HELD_OUT) for kind in kinds]
    assert found[0].ids.tolist() == found[1].ids.tolist()
    assert found[0].targets.tolist() == found[1].targets.tolist()


def test_whole_words_are_hidden_whole(tokenizer):
    texts = ["abc def gh 中国 i"] * 200
    examples = WHOLE.encode(table(texts), tokenizer, [], max_length=32)
    chosen = (every(examples).targets != IGNORED).reshape(200, -1)[:, 1:-1]
    words = tokenizer(texts[0], add_special_tokens=False).word_ids()
    assert words == [0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5]  # a Chinese character is a word
    for word in range(6):
        mine = chosen[:, np.array(words) == word]
        assert (mine.all(1) == mine.any(1)).all()
        assert 0.1 < mine.mean() < 0.4
    single = (every(task.encode(table(texts), tokenizer, [], max_length=32)).targets != IGNORED).reshape(200, -1)
    assert (single[:, 1:4].any(1) & ~single[:, 1:4].all(1)).any()


def test_pieces_lose_nothing_and_are_masked_apart(tokenizer):
    texts = ["a b c d e f g a b c d e f g", "", "h"]
    examples = FillMask(mask_probability=0.5).encode(table(texts, first=5), tokenizer, [], max_length=9)
    assert examples.rows.tolist() == [5, 5, 6, 7]
    pieces = np.split(examples.tokens.ids, examples.tokens.offsets[1:-1])
    assert [tokenizer.decode(piece, skip_special_tokens=True) for piece in pieces] == ["a b c d e f g"] * 2 + ["", "h"]
    assert all(piece[0] == tokenizer.cls_token_id and piece[-1] == tokenizer.sep_token_id for piece in pieces)
    first, second = (every(examples, 0).take(np.array([i])).targets != IGNORED for i in (0, 1))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("texts", [2, 10])
def test_the_loss_is_that_of_the_model_in_transformers(tokenizer, layout, texts):
    model = make_model().train()
    batch = every(task.encode(table(some_texts(10)), tokenizer, [], max_length=16))
    ids, labels = (
        torch.nn.utils.rnn.pad_sequence(torch.from_numpy(flat).split(batch.lengths.tolist()), True, fill)
        for flat, fill in ((batch.ids, 0), (batch.targets, IGNORED))
    )
    expected = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
    if layout == "packed":
        families.enable(model)
    found = accumulate(model, task, batch, Forward("fp32", layout), Budget(texts, 10**6), torch.Tensor.backward)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_ranks_put_the_smaller_number_first():
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [9.0, 1.0, 2.0, 3.0]])
    targets = torch.tensor([2, 3, 0])
    found = task.keep(logits, targets)
    orders = [np.argsort(-row, kind="stable").tolist() for row in logits.numpy()]
    assert found["rank"].tolist() == [order.index(t) for order, t in zip(orders, targets.tolist(), strict=True)] == [1, 3, 0]
    assert found["loss"].numpy() == pytest.approx(-logits.log_softmax(1).numpy()[np.arange(3), targets.numpy()])


def test_scores_are_over_hidden_tokens_with_intervals_over_texts():
    values = {"loss": np.log([2.0, 8.0, 4.0, 4.0]), "rank": np.array([0, 6, 1, 2])}
    found = task.report(Outputs(values, np.zeros(4, np.int64), np.array([1, 1, 2]), np.array([3, 3, 8])), [], seed=0)
    assert found["masked_perplexity"].value == pytest.approx(4.0)
    assert found["top1_accuracy"].value == 0.25
    assert found.text_perplexities == pytest.approx([4.0, 4.0])
    assert {score.name for score in found.scores} == set(task.metrics)
    table_ = task.predictions(
        Outputs(values, np.zeros(4, np.int64), np.array([1, 1, 2]), np.array([3, 3, 8])), table(["", ""]), []
    )
    assert table_["hidden"].to_pylist() == [2, 2]
    assert table_["loss"].to_pylist() == pytest.approx([np.log(4), np.log(4)])


def test_masks_are_filled_in_as_by_the_pipeline_of_transformers(tokenizer):
    model, texts = make_model().eval(), ["a [MASK] c", "no mask", "[MASK] b [MASK]"]
    predicting = task.configure(SimpleNamespace(kind="predict"))
    examples = predicting.encode(table(texts), tokenizer, [], max_length=16)
    job = evaluation.outputs(
        model, predicting, examples, Forward("fp32"), Budget(2, 10**6), command=lambda: "run", until=frozenset()
    )
    try:
        while True:
            next(job)
    except StopIteration as stop:
        found = predicting.predictions(stop.value, table(texts), [])["filled"].to_pylist()
    theirs = pipeline("fill-mask", model=model, tokenizer=tokenizer)
    one, two = theirs(texts[0]), [each for mask in theirs(texts[2]) for each in mask]
    for mine, expected in ((found[0], one), (found[2], two)):
        assert [each["token_str"] for each in mine] == [each["token_str"] for each in expected]
        assert [each["score"] for each in mine] == pytest.approx([each["score"] for each in expected], abs=1e-5)
    assert found[1] == []
    assert [each["place"] for each in found[2]] == [0] * 5 + [1] * 5


def test_a_model_without_a_head_gets_one_tied_to_its_embeddings(tmp_path):
    make_model(kind=BertModel).save_pretrained(tmp_path)
    source = ModelSource(ModelRef(source="bare", kind="folder", location=str(tmp_path)))
    assert not task.has_head(source)
    loaded = task.load_model(source, [])
    assert loaded.fresh
    assert all(name.startswith("cls.predictions.") for name in loaded.fresh)
    assert not any(name.endswith("decoder.weight") for name in loaded.fresh)
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    loaded.model.save_pretrained(tmp_path / "with")
    assert task.has_head(ModelSource(ModelRef(source="with", kind="folder", location=str(tmp_path / "with"))))


def test_what_cannot_be_is_said(tokenizer):
    rows = table(["a b"])
    bare = BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})
    bare.mask_token = None
    with pytest.raises(ModelError, match="mask token"):
        task.encode(rows, bare, [], max_length=8)
    with pytest.raises(DataError, match="special tokens alone"):
        task.encode(table(["\u0000"]), tokenizer, [], max_length=8)
    with pytest.raises(DataError, match=r"\[MASK\]"):
        FillMask(predicting=True).encode(rows, tokenizer, [], max_length=8)
    slow = SimpleNamespace(is_fast=False, name_or_path="slow", mask_token_id=4)
    with pytest.raises(ModelError, match="whole_words"):
        WHOLE.encode(rows, slow, [], max_length=8)


def test_a_model_learns_the_language(tokenizer, tmp_path):
    texts = ["a b c d e f g h " * 2] * 48
    spec = FinetuneSpec(
        train=DataRef(source="rows", kind="value"), model=ModelRef(source="tiny", kind="folder", location="nowhere"),
        task="fill-mask", mask_probability=0.3, whole_words=True, epochs=10.0, batch_size=8, learning_rate=3e-3, warmup_steps=0,
        seed=3,
    )  # fmt: skip
    configured = task.configure(spec)
    assert (configured.mask_probability, configured.whole_words, configured.seed, configured.predicting) == (0.3, True, 3, False)
    examples = configured.encode(table(texts), tokenizer, [], max_length=32)
    model = make_model(0.1)
    families.enable(model)
    parts = Parts(
        spec=spec, task=configured, model=model, tokenizer=tokenizer, train=examples, held_out=examples, labels=[],
        precision="fp32", layout="packed", checkpoints=tmp_path / "c", result=tmp_path / "m",
    )  # fmt: skip
    scores = [event.metrics for event in finetune(parts) if isinstance(event, ev.EvalEnded)]
    assert scores[-1]["loss"] < scores[0]["loss"] / 2
    assert scores[-1]["masked_perplexity"] == pytest.approx(np.exp(scores[-1]["loss"]))


def test_pairs_are_segments_that_follow_or_are_of_another_text(tokenizer):
    texts = [" ".join([LETTERS[i % 26]] * 5 + [".", LETTERS[i // 26], *[LETTERS[i % 26]] * 2]) for i in range(200)]
    examples = PAIRS.encode(table(texts), tokenizer, [], max_length=16)
    starts = examples.tokens.offsets[:-1]
    targets = examples.targets[starts]
    assert set(targets) == {FOLLOWS, STRANGER}
    assert 0.4 < (targets == STRANGER).mean() < 0.6
    for i, text in enumerate(texts):
        mine = slice(examples.tokens.offsets[i], examples.tokens.offsets[i + 1])
        ids, types = examples.tokens.ids[mine], examples.tokens.type_ids[mine]
        first, second = text.split(" . ")
        expected = tokenizer(first + " .", second)
        assert ids[types == 0].tolist() == tokenizer(first + " .")["input_ids"]  # parted at the sentence's end
        assert types.tolist() == expected["token_type_ids"]
        assert (ids.tolist() == expected["input_ids"]) == (targets[i] == FOLLOWS)
        units = examples.targets[mine]
        assert (units[types == 0].max() < units[types == 1].max() - 1000) == (targets[i] == STRANGER)  # masked by their own luck


def test_pieces_of_pairs_lose_nothing(tokenizer):
    text = " ".join(LETTERS[:25])
    examples = PAIRS.encode(table([text]), tokenizer, [], max_length=10)  # of one text nothing can be exchanged
    assert tokenizer.decode(examples.tokens.ids, skip_special_tokens=True) == text
    assert examples.tokens.lengths.max() == 10
    assert (examples.targets[examples.tokens.offsets[:-1]] == FOLLOWS).all()
    single = PAIRS.encode(table(["a", "b"]), tokenizer, [], max_length=10)
    assert single.targets[0] == IGNORED
    assert single.tokens.ids[:3].tolist() == tokenizer("a")["input_ids"]


@pytest.mark.parametrize(("layout", "kernels"), [("padded", False), ("packed", False), ("packed", True)])
@pytest.mark.parametrize("texts", [2, 10])
def test_the_loss_of_both_heads_is_half_of_that_in_transformers(tokenizer, layout, kernels, texts):
    model = make_model(kind=BertForPreTraining).train()
    batch = every(PAIRS.encode(table(some_texts(10)), tokenizer, [], max_length=16))
    first = np.cumsum(batch.lengths) - batch.lengths
    pair = torch.from_numpy(np.where(batch.targets[first] == IGNORED, IGNORED, FOLLOWS - batch.targets[first]))
    ids, types, labels = (
        torch.nn.utils.rnn.pad_sequence(torch.from_numpy(flat).split(batch.lengths.tolist()), True, fill)
        for flat, fill in ((batch.ids, 0), (batch.type_ids, 0), (np.where(batch.targets < 0, IGNORED, batch.targets), IGNORED))
    )
    mask = (torch.arange(ids.shape[1]) < torch.from_numpy(batch.lengths)[:, None]).long()
    expected = model(input_ids=ids, attention_mask=mask, token_type_ids=types, labels=labels, next_sentence_label=pair).loss
    both_heads(Loaded(model), "tiny")
    assert families.can_pack(model)
    if layout == "packed":
        families.enable(model)
    if kernels:
        switch.enable(model, 0)
    found = accumulate(model, PAIRS, batch, Forward("fp32", layout), Budget(texts, 10**6), torch.Tensor.backward)
    assert found.item() == pytest.approx(expected.item() / 2, abs=1e-6)


def test_next_sentences_are_learnt_beside_masks(tokenizer, tmp_path):
    texts = [" ".join([letter] * 6) for letter in LETTERS]  # pairs stay the same, so that they can be learnt by heart
    make_model(kind=BertModel).save_pretrained(tmp_path / "bare")
    source = ModelSource(ModelRef(source="bare", kind="folder", location=str(tmp_path / "bare")))
    loaded = PAIRS.load_model(source, [])
    assert {name.split(".")[1] for name in loaded.fresh} == {"predictions", "seq_relationship"}
    families.enable(loaded.model)
    examples = PAIRS.encode(table(texts), tokenizer, [], max_length=16)
    spec = FinetuneSpec(
        train=DataRef(source="rows", kind="value"), model=source.model, task="fill-mask", next_sentence=True, epochs=60.0,
        batch_size=16, learning_rate=3e-3, warmup_steps=0, eval_every=60.0,
        metric="next_sentence_accuracy",
    )  # fmt: skip
    assert "next_sentence_accuracy" not in task.metrics
    parts = Parts(
        spec=spec, task=PAIRS.configure(spec), model=loaded.model, tokenizer=tokenizer, train=examples, held_out=examples,
        labels=[], precision="fp32", layout="packed", checkpoints=tmp_path / "c", result=tmp_path / "m",
    )  # fmt: skip
    scores = [event.metrics for event in finetune(parts) if isinstance(event, ev.EvalEnded)]
    assert scores[-1]["loss"] < scores[0]["loss"]
    assert scores[-1]["next_sentence_accuracy"] > 0.9
    saved = ModelSource(ModelRef(source="saved", kind="folder", location=str(tmp_path / "m")))
    assert task.has_head(saved)
    assert not task.load_model(saved, []).fresh
    assert not PAIRS.load_model(saved, []).fresh


def test_a_model_without_a_head_for_pairs_is_refused(tmp_path):
    config = RobertaConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    RobertaModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="roberta"):
        PAIRS.load_model(ModelSource(ModelRef(source="r", kind="folder", location=str(tmp_path))), [])
