"""What a loaded model tells a probe: against the model itself, one text and one mask at a time, and how it is left."""

from __future__ import annotations

import copy
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers.pre_tokenizers import ByteLevel

from fm_notebook.contracts.capabilities import MaskedQuery, Subject, TokenText
from fm_notebook.engine.capabilities import prefixes, reading
from fm_notebook.engine.capabilities.subject import LoadedSubject, subject_of
from fm_notebook.errors import DataError, JobFailed, ModelError

WORDS = "the a man woman doctor nurse is was good bad run ##ning very not she he and [ ]".split()  # noqa: SIM905
VOCABULARY = 32
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
    "max_position_embeddings": 40, "initializer_range": 0.5,
}  # fmt: skip
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}
DISTIL = {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 96, "vocab_size": VOCABULARY, "max_position_embeddings": 40}
MASKED = {
    "bert": tf.BertConfig(**SMALL),
    "roberta": tf.RobertaConfig(**SMALL),
    "electra": tf.ElectraConfig(embedding_size=16, **SMALL),
    "distilbert": tf.DistilBertConfig(initializer_range=0.5, **DISTIL),
    "modernbert": tf.ModernBertConfig(**MODERN, **SMALL),
    "deberta": tf.DebertaV2Config(relative_attention=True, pos_att_type=["p2c", "c2p"], **SMALL),
}
CAUSAL = {
    "gpt2": tf.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=2,
        n_head=2,
        n_positions=40,
        initializer_range=0.5,
        bos_token_id=2,
        eos_token_id=3,
    ),
    "llama": tf.LlamaConfig(num_key_value_heads=1, **SMALL),
    "mistral": tf.MistralConfig(sliding_window=4, num_key_value_heads=1, **SMALL),
    "bloom": tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=64, n_layer=2, n_head=2, initializer_range=0.5),
}
TEXTS = [
    "the man is running", "the woman is running", "a doctor was very very good and he was not bad", "nurse", "the man is good",
    "the man was good", "she and he and the nurse was not good", "the man",
]  # fmt: skip


@pytest.fixture(scope="module")
def spelling() -> Any:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return tf.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=40)


@pytest.fixture(scope="module")
def beginning() -> Any:
    """A tokenizer with a BOS, as causal language models have."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return tf.BertTokenizerFast(
        vocab={word: i for i, word in enumerate(words)}, model_max_length=40, bos_token="[CLS]", eos_token="[SEP]"
    )


def make(config: Any, head: type) -> Any:
    torch.manual_seed(0)
    return head.from_config(copy.deepcopy(config)).eval()


def masked_model(family: str = "bert") -> Any:
    return make(MASKED[family], tf.AutoModelForMaskedLM)


def causal_model(family: str = "llama") -> Any:
    return make(CAUSAL[family], tf.AutoModelForCausalLM)


def every_mask(subject: LoadedSubject, texts: list[str]) -> list[MaskedQuery]:
    found = []
    for text in subject.tokens(texts):
        inside = range(1, len(text) - 1)
        found += [MaskedQuery(text, (i,), ((i, text.ids[i]), (i, 7))) for i in inside]
        found.append(MaskedQuery(text, (), tuple((i, text.ids[i]) for i in inside)))
        found.append(MaskedQuery(text, tuple(inside)[:2], ((1, 8), (len(text) - 1, 9))))
    return found


@torch.no_grad()
def obvious_masked(model: Any, query: MaskedQuery, mask: int) -> list[float]:
    ids = torch.tensor([query.text.ids])
    for place in query.masked:
        ids[0, place] = mask
    found = model(ids).logits[0].log_softmax(-1)
    return [found[place, token].item() for place, token in query.asked]


@torch.no_grad()
def obvious_causal(model: Any, ids: list[int], first: int) -> list[float]:
    found = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [found[place - 1, ids[place]].item() for place in range(first, len(ids))]


@pytest.mark.parametrize("family", MASKED)
def test_masks_in_batches_tell_what_one_mask_at_a_time_tells(spelling, family):
    model = masked_model(family)
    subject = subject_of(model, spelling, name="tiny", batch_tokens=48)
    queries = every_mask(subject, TEXTS)
    for query, found in zip(queries, subject.masked_log_probs(queries), strict=True):
        np.testing.assert_allclose(found, obvious_masked(model, query, spelling.mask_token_id), atol=1e-4)


@pytest.mark.parametrize("family", CAUSAL)
def test_likelihoods_of_texts_that_begin_alike_are_those_of_each_text_alone(beginning, family):
    model = causal_model(family)
    subject = subject_of(model, beginning, name="tiny", batch_tokens=24)
    for text, found in zip(TEXTS, subject.log_likelihoods(TEXTS), strict=True):
        ids = [beginning.bos_token_id, *beginning(text, add_special_tokens=False)["input_ids"]]
        assert found.text.ids == tuple(ids)
        np.testing.assert_allclose(found.log_probs, obvious_causal(model, ids, 1), atol=1e-4)
        assert found.positions.tolist() == list(range(1, len(ids)))


def test_a_beginning_that_texts_share_goes_through_the_model_once(beginning):
    model = causal_model()
    subject = subject_of(model, beginning, name="tiny")
    seen = count_tokens(model)
    subject.log_likelihoods(["the man is good", "the man is bad", "the man", "the woman is bad", "the man is good"])
    assert seen[-1] == 32  # the least width of a row
    where = prefixes.places(a_batch([[2, 5, 7, 9], [2, 5, 7, 9, 4], [2, 5, 8, 9], [3]]))
    assert where.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 5, 6, 7]


def test_pieces_hold_no_more_new_tokens_than_the_budget():
    texts = [[2, 5, 7, i, i + 1] for i in range(10, 19)] + [[2, 6, i] for i in range(10, 19)]
    pieces = list(prefixes.pieces(a_batch(texts), reading.Budget(99, 12), padded=False))
    assert all(prefixes.places(piece).max() < 12 for piece in pieces)
    assert sorted(row for piece in pieces for row in piece.rows.tolist()) == list(range(18))
    assert len(pieces) == 4  # 3 + 4 * 2 tokens are 11


def a_batch(texts: list[list[int]]) -> Any:
    lengths = np.array([len(text) for text in texts])
    return reading.Reader(torch.nn.Linear(1, 1), 0, 99).batch(np.concatenate(texts), lengths, None)


def count_tokens(model: Any) -> list[int]:
    seen: list[int] = []
    model.base_model.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append((args[0] if args else kwargs["input_ids"]).numel()), with_kwargs=True
    )
    return seen


def test_equal_queries_are_computed_once(spelling):
    model = masked_model("deberta")  # padded: the width tells the number of texts
    subject = subject_of(model, spelling, name="tiny")
    (first,), (again,), (other,) = (subject.tokens([text]) for text in ("the man is", "the man is", "the woman is"))
    seen = count_tokens(model)
    queries = [MaskedQuery(text, (2,), ((2, 7), (2, text.ids[2]))) for text in (first, again, other)]
    one, two, three = subject.masked_log_probs(queries)  # the texts differ only where they are masked
    assert seen[-1] == 8
    np.testing.assert_array_equal(one, two)
    assert one[0] == three[0]
    assert one[1] != three[1]


def test_a_text_longer_than_the_model_takes_has_no_score_and_spoils_no_other(spelling, beginning):
    long, short = "the man is " * 14, "the man is good"
    subject = subject_of(masked_model(), spelling, name="tiny")
    queries = [MaskedQuery(text, (1,), ((1, 5),)) for text in subject.tokens([long, short])]
    given = subject.masked_log_probs(queries)
    assert np.isnan(given[0]).all()
    assert np.isfinite(given[1]).all()
    assert [bool(words) for words in subject.likeliest(queries, 2)] == [False, True]
    attended = subject.attentions([query.text for query in queries])
    assert np.isnan(attended[0]).all()
    assert len(attended[0]) == len(queries[0].text)
    assert attended[1].sum() == pytest.approx(1)
    writer = subject_of(causal_model(), beginning, name="tiny")
    scored = writer.log_likelihoods([long, short])
    assert np.isnan(scored[0].log_probs).all()
    assert len(scored[0].log_probs) == len(scored[0].positions) == 42
    assert scored[1].total == pytest.approx(writer.log_likelihoods([short])[0].total)


def test_bos_comes_before_a_text_else_eos_and_one_that_is_there_already_is_the_context(spelling, beginning):
    with_bos = subject_of(causal_model(), beginning, name="tiny")
    (plain,), (begun,), (empty,) = (with_bos.log_likelihoods([text]) for text in ("the man", "[CLS] the man", ""))
    assert plain.text.ids == begun.text.ids == (2, 5, 7)
    assert begun.positions.tolist() == [1, 2]
    np.testing.assert_array_equal(plain.log_probs, begun.log_probs)
    assert empty.total == 0
    assert len(empty.positions) == 0
    with_eos = copy.deepcopy(spelling)
    with_eos.eos_token = "[SEP]"
    (found,) = subject_of(causal_model(), with_eos, name="tiny").log_likelihoods(["the man"])
    assert found.text.ids == (3, 5, 7)
    assert found.positions.tolist() == [1, 2]
    assert found.text.special == (True, False, False)


def test_a_tokenizer_without_bos_and_eos_has_its_first_token_for_context(spelling):
    subject = subject_of(causal_model(), spelling, name="tiny")
    found, empty = subject.log_likelihoods(["the man is", ""])
    assert found.text.ids == (5, 7, 11)
    assert found.positions.tolist() == [1, 2]
    assert len(empty.positions) == 0


def test_only_the_text_after_its_context_is_scored(beginning):
    model = causal_model()
    subject = subject_of(model, beginning, name="tiny")
    found = subject.log_likelihoods(["is good", "bad", "is good"], ["the man", "the man is ", "  "])
    before = [2]  # what the tokenizer puts before a text
    assert found[0].text.ids == (2, 5, 7, 11, 13)
    assert found[0].positions.tolist() == [3, 4]
    np.testing.assert_allclose(found[0].log_probs, obvious_causal(model, [*before, 5, 7, 11, 13], 3), atol=1e-4)
    assert found[1].text.types == (0, 0, 0, 0, 1)
    assert found[1].text.offsets[-1] == (0, 3)  # in the text itself
    assert found[2].text.ids == (2, 11, 13)
    assert found[2].positions.tolist() == [1, 2]
    assert found[2].text.offsets[1:] == ((0, 2), (3, 7))


def test_a_token_that_would_reach_over_the_border_is_spelt_apart(beginning):
    subject = subject_of(causal_model(), beginning, name="tiny")
    (found,) = subject.log_likelihoods(["ning"], ["he run"])  # together: run ##ning
    assert found.text.tokens[-1] == "##ning"
    (apart,) = subject.log_likelihoods(["n"], ["he ru"])
    assert apart.text.tokens == ("[CLS]", "he", "[UNK]", "[UNK]")
    assert apart.positions.tolist() == [3]


@pytest.mark.parametrize("pooling", ["mean", "cls", "first", "pooler"])
@pytest.mark.parametrize("packed", [True, False])
def test_vectors_are_those_of_each_text_alone(spelling, pooling, packed):
    model = make(MASKED["bert"], tf.AutoModel)
    subject = subject_of(model, spelling, name="tiny", batch_tokens=40)
    subject._reader.__dict__["packs"] = packed
    given = subject.embeddings([*TEXTS, TEXTS[0]], pooling)
    for text, vector in zip([*TEXTS, TEXTS[0]], given, strict=True):
        with torch.no_grad():
            read = model(**spelling(text, add_special_tokens=pooling != "first", return_tensors="pt"))
        hidden = read.last_hidden_state[0]
        expected = {"mean": hidden.mean(0), "cls": hidden[0], "first": hidden[0], "pooler": read.pooler_output[0]}[pooling]
        np.testing.assert_allclose(vector, expected, atol=1e-4)
    assert given.dtype == np.float64


def test_a_pooling_layer_that_is_not_there_or_not_trained_is_refused(spelling):
    untrained = subject_of(make(MASKED["bert"], tf.AutoModel), spelling, name="tiny", fresh=["pooler.dense.weight"])
    for subject in (untrained, subject_of(masked_model(), spelling, name="tiny")):
        with pytest.raises(ModelError, match="pooling"):
            subject.embeddings(["the man"], "pooler")


def test_attention_received_is_the_mean_over_layers_heads_and_queries(spelling):
    model = masked_model()
    subject = subject_of(model, spelling, name="tiny")
    texts = subject.tokens(TEXTS)
    given = subject.attentions(texts)
    eager = make(MASKED["bert"], tf.AutoModelForMaskedLM)
    eager.set_attn_implementation("eager")
    for text, found in zip(texts, given, strict=True):
        with torch.no_grad():
            layers = eager(torch.tensor([text.ids]), output_attentions=True).attentions
        expected = torch.stack(layers)[:, 0].mean(dim=(0, 1, 2))  # layers, heads, queries
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.sum() == pytest.approx(1)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_probabilities_are_those_of_each_text_alone(spelling, problem, family):
    config = copy.deepcopy({**MASKED, **CAUSAL}[family])
    config.num_labels, config.problem_type = 3, problem
    model = make(config, tf.AutoModelForSequenceClassification)
    subject = subject_of(model, spelling, name="tiny", batch_tokens=40)
    given = subject.class_probabilities([*TEXTS, TEXTS[1]])
    own = torch.sigmoid if problem.startswith("multi") else lambda logits: logits.softmax(-1)
    for text, found in zip([*TEXTS, TEXTS[1]], given, strict=True):
        model.config.pad_token_id = 0
        with torch.no_grad():
            logits = model(**spelling(text, return_tensors="pt", return_token_type_ids=False)).logits[0]
        np.testing.assert_allclose(found, own(logits.double()), atol=1e-4)
    assert subject.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_a_head_that_gives_one_number_has_no_classes(spelling):
    config = copy.deepcopy(MASKED["bert"])
    config.num_labels = 1
    subject = subject_of(make(config, tf.AutoModelForSequenceClassification), spelling, name="tiny")
    assert "class_probabilities" not in subject.capabilities
    assert subject.labels == ()
    with pytest.raises(ModelError, match="classifier"):
        subject.class_probabilities(["the man"])


def test_texts_that_were_cut_and_unknown_tokens_are_counted(spelling):
    subject = subject_of(make(MASKED["bert"], tf.AutoModel), spelling, name="tiny")
    subject.embeddings(["the man is " * 30, "the man"])
    assert subject.truncated == 1
    before = subject.tokens_read, subject.unknown_read
    subject.tokens(["the xylophone is good"])
    assert (subject.tokens_read - before[0], subject.unknown_read - before[1]) == (4, 1)
    again = subject.anew()
    assert (again.tokens_read, again.unknown_read, again.truncated) == (0, 0, 0)
    np.testing.assert_array_equal(again.embeddings(["the man"]), subject.embeddings(["the man"]))


@pytest.mark.parametrize("head", [tf.AutoModelForPreTraining, tf.AutoModelForNextSentencePrediction])
def test_next_sentences_and_words_by_one_model_are_those_of_its_heads(spelling, head):
    model = make(MASKED["bert"], head)
    subject = subject_of(model, spelling, name="tiny")
    pairs = [("the man", "is good"), ("a", "she and he was not bad"), ("the man", "is good")]
    given = subject.next_sentence(*map(list, zip(*pairs, strict=True)))
    for (first, second), found in zip(pairs, given, strict=True):
        with torch.no_grad():
            read = model(**spelling(first, second, return_tensors="pt"))
        logits = read.seq_relationship_logits if hasattr(read, "seq_relationship_logits") else read.logits
        assert found == pytest.approx(logits.softmax(-1)[0, 0].item(), abs=1e-6)
    both = head is tf.AutoModelForPreTraining
    assert ("masked_log_probs" in subject.capabilities) == both
    if both:
        queries = every_mask(subject, TEXTS[:3])
        for query, found in zip(queries, subject.masked_log_probs(queries), strict=True):
            ids = torch.tensor([query.text.ids])
            ids[0, list(query.masked)] = 4
            with torch.no_grad():
                expected = model(ids).prediction_logits[0].log_softmax(-1)
            np.testing.assert_allclose(found, [expected[p, t].item() for p, t in query.asked], atol=1e-4)


def test_pairs_are_told_apart_by_their_segments(spelling):
    model = masked_model()
    subject = subject_of(model, spelling, name="tiny")
    (text,) = subject.tokens(["the man"], ["is good"])
    assert text.types == (0, 0, 0, 0, 1, 1, 1)
    (found,) = subject.masked_log_probs([MaskedQuery(text, (4,), ((4, 11),))])
    ids, types = torch.tensor([text.ids]), torch.tensor([text.types])
    ids[0, 4] = 4
    with torch.no_grad():
        expected = model(ids, token_type_ids=types).logits[0, 4].log_softmax(-1)[11]
    assert found[0] == pytest.approx(expected.item(), abs=1e-4)


def test_the_likeliest_words_are_whole_words_with_their_log_probabilities(spelling):
    model = masked_model()
    subject = subject_of(model, spelling, name="tiny")
    (text,) = subject.tokens(["the man is good"])
    (found,) = subject.likeliest([MaskedQuery(text, (2,), ())], 99)
    words = [word for word in WORDS if word.isalpha()]
    assert sorted(word for word, _ in found) == sorted(words)
    ids = torch.tensor([text.ids])
    ids[0, 2] = 4
    with torch.no_grad():
        expected = model(ids).logits[0, 2].log_softmax(-1)
    assert found[0][1] == pytest.approx(max(expected[5 + WORDS.index(word)].item() for word in words), abs=1e-4)
    assert all(first >= second for (_, first), (_, second) in pairwise(found))
    with pytest.raises(DataError):
        subject.likeliest([MaskedQuery(text, (1, 2), ())], 3)


def test_words_are_spelt_as_within_a_text(spelling):
    subject = subject_of(masked_model(), spelling, name="tiny")
    assert subject.word_ids(["running", "man", "xylophone"]) == [(15, 16), (7,), (1,)]
    (text,) = subject.tokens(["a running man"])
    assert text.words == (None, 0, 1, 1, 2, None)
    assert text.special == (True, False, False, False, False, True)
    assert text.offsets[2:4] == ((2, 5), (5, 9))
    assert subject.lowercase
    assert subject.mask_id == 4
    assert subject.unknown_id == 1


def test_a_byte_level_tokenizer_has_a_space_before_a_word_within_a_text():
    letters = sorted(ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate([*letters, "Ġm", "<s>"])}
    tokenizer = tf.GPT2Tokenizer(
        vocab=vocab, merges=[("Ġ", "m")], bos_token="<s>", eos_token="<s>", unk_token="<s>", pad_token="<s>", model_max_length=40
    )
    subject = subject_of(causal_model("gpt2"), tokenizer, name="tiny", able=frozenset())
    assert subject.word_ids(["man"]) == [(vocab["Ġm"], vocab["a"], vocab["n"])]
    assert subject.word_ids(["他"]) == [tuple(tokenizer("他")["input_ids"])]
    assert subject.unknown_id is None
    assert not subject.lowercase


def test_a_tokenizer_without_a_mask_has_no_masked_words(spelling):
    bare = copy.deepcopy(spelling)
    bare.mask_token = None
    subject = subject_of(masked_model(), bare, name="tiny")
    assert "masked_log_probs" not in subject.capabilities
    assert subject.mask_id is None


def test_continuations_are_as_many_as_asked_and_the_same_for_a_seed(beginning):
    subject = subject_of(causal_model(), beginning, name="tiny")
    prompts = ["the man", "a", "the woman is"]
    drawn = subject.generate(prompts, max_new_tokens=4, count=3, seed=5)
    assert [len(each) for each in drawn] == [3, 3, 3]
    assert drawn == subject.generate(prompts, max_new_tokens=4, count=3, seed=5)
    assert drawn != subject.generate(prompts, max_new_tokens=4, count=3, seed=6)
    beams = subject.generate(prompts, max_new_tokens=4, count=2, seed=-1)
    assert beams == subject.generate(prompts, max_new_tokens=4, count=2, seed=-7)
    alone = subject.generate(prompts[:1], max_new_tokens=4, count=2, seed=-1)
    assert alone == beams[:1]


def test_an_encoder_decoder_scores_what_follows_a_context(spelling):
    config = tf.T5Config(
        vocab_size=VOCABULARY, d_model=64, d_kv=32, d_ff=96, num_layers=2, num_heads=2, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=3, initializer_factor=4.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = tf.T5ForConditionalGeneration(config).eval()
    subject = subject_of(model, spelling, name="tiny", batch_tokens=12)
    assert subject.capabilities == {"log_likelihoods"}
    contexts, texts = ["the man is very very good", "nurse", "a"], ["and she", "was not bad", ""]
    for context, text, found in zip(contexts, texts, subject.log_likelihoods(texts, contexts), strict=True):
        ids = spelling(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            read = model(
                **spelling(context, return_tensors="pt", return_token_type_ids=False), decoder_input_ids=torch.tensor([[0, *ids]])
            )
        expected = [read.logits[0, i].log_softmax(-1)[token].item() for i, token in enumerate(ids)]
        np.testing.assert_allclose(found.log_probs, expected, atol=1e-4)
        assert found.positions.tolist() == list(range(len(ids)))


def everything(subject: LoadedSubject) -> None:
    """All that the model is able to."""
    texts = subject.tokens(TEXTS[:2])
    asks = {
        "masked_log_probs": lambda: subject.masked_log_probs([MaskedQuery(text, (1,), ((1, 5),)) for text in texts]),
        "log_likelihoods": lambda: subject.log_likelihoods(TEXTS[:2]),
        "class_probabilities": lambda: subject.class_probabilities(TEXTS[:2]),
        "embeddings": lambda: subject.embeddings(TEXTS[:2]),
        "attentions": lambda: subject.attentions(texts),
        "next_sentence": lambda: subject.next_sentence(TEXTS[:2], TEXTS[:2]),
        "generate": lambda: subject.generate(TEXTS[:2], max_new_tokens=3, count=2, seed=1),
    }
    for name, ask in asks.items():
        if name in subject.capabilities:
            ask()


def state(model: Any) -> tuple[Any, ...]:
    modes = [module.training for module in model.modules()]
    tensors = [(name, p.data_ptr(), p.dtype, p.device, p.requires_grad, p.grad) for name, p in model.named_parameters()]
    forwards = [name for name, module in model.named_modules() if "forward" in vars(module) or module._forward_hooks]
    config = {key: value for key, value in model.config.to_dict().items() if key != "transformers_version"}
    return modes, tensors, forwards, config, model.config._attn_implementation, torch.is_inference_mode_enabled()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("head", ["MaskedLM", "PreTraining", "SequenceClassification", "CausalLM"])
def test_the_model_and_every_random_state_are_left_as_found(spelling, beginning, head, precision):
    is_causal = head == "CausalLM"
    model = make(CAUSAL["llama"] if is_causal else MASKED["bert"], getattr(tf, f"AutoModelFor{head}"))
    model.train()
    next(model.parameters()).requires_grad_(False)
    before, weights = state(model), copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    rngs = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    everything(subject_of(model, beginning if is_causal else spelling, name="tiny", precision=precision))
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rngs[0])
    assert (np.random.get_state()[1] == rngs[1]).all()  # noqa: NPY002
    assert random.getstate() == rngs[2]


def test_a_model_is_left_as_found_by_a_question_that_fails(spelling, monkeypatch):
    model = masked_model().train()
    subject = subject_of(model, spelling, name="tiny")
    before = state(model)
    (text,) = subject.tokens(["the man"])
    with pytest.raises(IndexError):
        subject.masked_log_probs([MaskedQuery(text, (1,), ((1, 999),))])
    assert state(model) == before


def test_rounded_weights_are_near_and_only_used_where_asked_for(spelling):
    model = make(tf.BertConfig(**{**SMALL, "initializer_range": 0.05}), tf.AutoModelForMaskedLM)
    exact, rounded = (subject_of(model, spelling, name="tiny", precision=precision) for precision in ("fp32", "bf16"))
    queries = every_mask(exact, TEXTS)
    one, other = (np.concatenate(subject.masked_log_probs(queries)) for subject in (exact, rounded))
    assert 0 < np.abs(one - other).max() < 0.1


def test_where_memory_does_not_suffice_pieces_get_smaller(spelling, monkeypatch):
    model = masked_model()
    subject = subject_of(model, spelling, name="tiny")
    queries = every_mask(subject, TEXTS[:2])
    expected = subject.masked_log_probs(queries)
    before, most = reading.Forward.logits, 60

    def scarce(self: Any, model: Any, batch: Any) -> Any:
        if len(batch.ids) > most:
            raise torch.OutOfMemoryError("too much")
        return before(self, model, batch)

    monkeypatch.setattr(reading.Forward, "logits", scarce)
    for one, other in zip(subject.masked_log_probs(queries), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    most = 1
    with pytest.raises(JobFailed):
        subject.masked_log_probs(queries)


def test_what_a_model_is_not_able_to_is_refused_in_words(spelling):
    subject = subject_of(masked_model(), spelling, name="tiny")
    assert isinstance(subject, Subject)
    assert subject.capabilities == {"masked_log_probs", "embeddings", "attentions"}
    with pytest.raises(ModelError, match="tiny"):
        subject.log_likelihoods(["the man"])
    with pytest.raises(ModelError, match="next sentences"):
        subject.next_sentence(["the man"], ["is"])
    untrained = subject_of(masked_model(), spelling, name="tiny", fresh=["cls.predictions.bias"])
    assert "masked_log_probs" not in untrained.capabilities


def test_nothing_asked_gives_nothing(spelling, beginning):
    subject, writer = subject_of(masked_model(), spelling, name="tiny"), subject_of(causal_model(), beginning, name="tiny")
    assert subject.masked_log_probs([]) == subject.likeliest([], 3) == subject.attentions([]) == subject.tokens([]) == []
    assert subject.embeddings([]).shape == (0, 64)
    assert subject.word_ids([]) == []
    assert (
        writer.log_likelihoods([])
        == writer.log_likelihoods([], [])
        == writer.generate([], max_new_tokens=2, count=1, seed=0)
        == []
    )


def test_a_query_without_questions_has_an_empty_answer(spelling):
    subject = subject_of(masked_model(), spelling, name="tiny")
    text: TokenText = subject.tokens(["the man"])[0]
    empty, full = subject.masked_log_probs([MaskedQuery(text, (1,), ()), MaskedQuery(text, (1,), ((1, 5),))])
    assert empty.shape == (0,)
    assert full.shape == (1,)
