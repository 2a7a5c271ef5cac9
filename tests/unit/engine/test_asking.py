"""Questions about a word's tag and about next tokens, against the models asked by hand; and the pieces of a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as vocabularies
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizerFast,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from fm_notebook.engine import asking, attribution
from fm_notebook.engine.asking import Written
from fm_notebook.engine.attribution import Baseline
from fm_notebook.engine.questions import plainly
from fm_notebook.engine.spelling import pieces, spell
from fm_notebook.errors import DataError, SpecError


def pieces_of(tokenizer, text, pair=None, unit="token", limit=64):
    return [piece for piece, _ in pieces(tokenizer, spell(tokenizer, text, pair, limit), text, pair, unit)]


def written(found, text, pair=None):
    return [(pair if piece.second else text)[piece.start : piece.end] for piece in found]


@pytest.fixture(scope="module")
def words():
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##believ", "##ably", "film", "影", "good", ".", "john", "lives"]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(known)}, model_max_length=32)


@pytest.fixture(scope="module")
def letters():
    """A byte-level vocabulary: each byte is a token, a Chinese character three and an emoji four."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(vocabularies.BPE({**{c: i for i, c in enumerate(alphabet)}, "<s>": len(alphabet)}, []))
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<s>", pad_token="<s>", model_max_length=64)


def test_sub_words_and_unknown_chinese_characters_keep_what_was_written(words):
    text = "Unbelievably GOOD 电影."
    found = pieces_of(words, text)
    assert written(found, text) == ["Un", "believ", "ably", "GOOD", "电", "影", "."]
    assert [piece.token for piece in found] == ["un", "##believ", "##ably", "good", "[UNK]", "影", "."]
    assert [piece.unknown for piece in found] == [False, False, False, False, True, False, False]
    assert written(pieces_of(words, text, unit="word"), text) == ["Unbelievably", "GOOD", "电", "影", "."]


def test_bytes_of_one_character_are_one_piece(letters):
    text = "a 影😀b"
    found = pieces_of(letters, text)
    assert written(found, text) == ["a", " ", "影", "😀", "b"]
    assert [len(piece.token.split()) for piece in found] == [1, 1, 3, 4, 1]


def test_pairs_are_told_apart_and_cuts_are_told(words):
    found = pieces_of(words, "good film.", "film 影")
    assert written(found, "good film.", "film 影") == ["good", "film", ".", "film", "影"]
    assert [piece.second for piece in found] == [False] * 3 + [True] * 2
    spelling = spell(words, "good film. good", None, 5)
    assert spelling.cuts == (10, None)
    assert len(spelling.ids) == 5
    assert spell(words, "good film. good", None, 6).cuts == (None, None)


def test_a_text_of_nothing_is_refused(words):
    with pytest.raises(DataError, match="no token"):
        spell(words, "\u200b \u200d", None, 32)


@pytest.fixture(scope="module")
def tagger(words):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertForTokenClassification(
        BertConfig(vocab_size=len(words), **sizes, max_position_embeddings=32, initializer_range=0.5, num_labels=3)
    ).eval()


def test_a_words_tag_is_read_at_its_first_token(words, tagger):
    text = "film unbelievably good"
    with plainly(tagger):
        asked = asking.of_word(tagger, words, Written(text, unit="word", target="unbeliev"), 32, ["O", "A", "B"])
        given = asked.question.probabilities(asked.question.answers(tagger, [asked.question.sentences]))[0]
        out = attribution.occlusion(tagger, words, asked.question, 1, list(asked.groups.values()))
    assert asked.target == [1]
    inputs = words(text, return_tensors="pt")
    expected = tagger(**inputs).logits[0, 2].softmax(-1)
    assert given == pytest.approx(expected.tolist(), abs=1e-5)
    inputs["input_ids"][0, 2:5] = words.mask_token_id
    assert out.scores[1] == pytest.approx((expected - tagger(**inputs).logits[0, 2].softmax(-1))[1].item(), abs=1e-5)


def test_by_default_the_first_word_with_a_tag_of_its_own_is_explained(words, tagger):
    text = "film unbelievably good 影"
    best = tagger(**words(text, return_tensors="pt")).logits[0, [1, 2, 5, 6]].argmax(-1).tolist()
    with plainly(tagger):
        for outside in range(3):
            labels = ["O" if i == outside else str(i) for i in range(3)]
            asked = asking.of_word(tagger, words, Written(text, unit="word"), 32, labels)
            expected = next((i for i, tag in enumerate(best) if tag != outside), 0)
            assert asked.target == [expected]


@pytest.mark.parametrize(("target", "says"), [("plot", "no piece plot"), (9, "no piece 9"), ("", "no piece")])
def test_a_target_that_is_not_there_is_refused(words, tagger, target, says):
    with pytest.raises(SpecError, match=says):
        asking.of_word(tagger, words, Written("film good", target=target), 32, ["O", "A", "B"])


@pytest.fixture(scope="module")
def llama(letters):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(letters), **sizes, initializer_range=0.3)).eval()


def likelihoods(llama, letters, text):
    """ln p of each token but the first, and the characters."""
    ids = torch.tensor([letters(text)["input_ids"]])
    logs = llama(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return logs.gather(1, ids[0, 1:, None])[:, 0].tolist()


def test_each_next_token_has_its_probability_and_the_last_one_is_explained(llama, letters):
    text = "abc影d"
    with plainly(llama):
        asked = asking.of_next_tokens(llama, letters, Written(text), 64)
        whole = asked.question.answers(llama, [asked.question.sentences])[0, 0].item()
        baseline = Baseline.of(letters, llama.get_input_embeddings(), "auto")
        found = attribution.integrated_gradients(llama, asked.question, 0, list(asked.groups.values()), baseline)
    logs = likelihoods(llama, letters, text)
    told = [piece.log_probability for piece in asked.pieces]
    assert told[0] is None
    assert told[1:] == pytest.approx([logs[0], logs[1], sum(logs[2:5]), logs[5]], abs=1e-4)
    assert whole == pytest.approx(logs[-1], abs=1e-5)
    assert asked.target == [4]
    assert sorted(asked.groups) == [0, 1, 2, 3]
    assert found.quantity == "log-probability"
    assert found.baseline == "<s>"
    assert found.completeness_error < attribution.TOLERANCE


def test_a_token_in_the_middle_is_driven_by_those_before_it_alone(llama, letters):
    with plainly(llama):
        asked = asking.of_next_tokens(llama, letters, Written("abcdef", target="c"), 64)
        out = attribution.occlusion(llama, letters, asked.question, 0, list(asked.groups.values()))
    assert sorted(asked.groups) == [0, 1]
    p = lambda text: np.exp(likelihoods(llama, letters, text)[-1])  # noqa: E731
    assert out.scores == pytest.approx([p("abc") - p("bc"), p("abc") - p("ac")], abs=1e-5)


def test_of_a_pair_the_whole_continuation_is_explained_by_the_text(llama, letters):
    with plainly(llama):
        asked = asking.of_next_tokens(llama, letters, Written("abc", " de"), 64)
        whole = asked.question.answers(llama, [asked.question.sentences])[0, 0].item()
    assert whole == pytest.approx(sum(likelihoods(llama, letters, "abc de")[2:]), abs=1e-4)
    assert sorted(asked.groups) == [0, 1, 2]
    assert asked.labels == (" de",)
    assert written([asked.pieces[i] for i in asked.target], "abc", " de") == [" ", "d", "e"]


def test_a_first_token_and_a_continuation_that_is_cut_off_are_refused(llama, letters):
    with pytest.raises(DataError, match="Nothing stands before"):
        asking.of_next_tokens(llama, letters, Written("a"), 64)
    with pytest.raises(DataError, match="nothing of the continuation"):
        asking.of_next_tokens(llama, letters, Written("abcdef", "gh"), 6)


def test_a_token_over_the_border_of_text_and_continuation_is_made_two(words, llama):
    spelling = asking._joined(words, Written("good fi", "lm."), 32)
    assert words.convert_ids_to_tokens(spelling.ids.tolist()) == ["[CLS]", "good", "[UNK]", "[UNK]", "."]
    assert spelling.seconds.tolist() == [False, False, True, True]
