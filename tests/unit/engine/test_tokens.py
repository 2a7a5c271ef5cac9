"""Tokens in flat arrays are those that the tokenizer gives one text at a time."""

import numpy as np
import pytest

from fm_notebook.engine import tokens as module
from fm_notebook.engine.pieces import cut
from fm_notebook.engine.tokens import tokenize

TEXTS = ["good film", "the plot was bad and dull", "unheard good", "", "a " * 40]


def one_by_one(tokenizer, texts, limit):
    return [tokenizer(text, truncation=True, max_length=limit)["input_ids"] for text in texts]


def test_each_text_has_the_tokens_that_the_tokenizer_gives_it(tokenizer, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    found = tokenize(tokenizer, TEXTS, None, 16)
    split = [found.ids[a:b].tolist() for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
    assert split == one_by_one(tokenizer, TEXTS, 16)
    assert len(found) == 5


def test_padding_set_in_the_tokenizer_file_is_switched_off(tokenizer, tmp_path):
    import json

    from transformers import BertTokenizerFast

    tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    settings = json.loads(file.read_text())
    settings["padding"] = {
        "strategy": {"Fixed": 24}, "direction": "Right",
        "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    file.write_text(json.dumps(settings))
    padding = BertTokenizerFast.from_pretrained(tmp_path)
    assert padding.backend_tokenizer.padding is not None
    assert tokenize(padding, ["good film"], None, 16).lengths.tolist() == [4]


def test_cut_texts_and_unknown_tokens_are_counted(tokenizer):
    found = tokenize(tokenizer, TEXTS, None, 16)
    assert found.truncated == 1
    assert found.truncated_share == pytest.approx(1 / 5)
    assert found.unknown == 1
    assert found.plain == 2 + 6 + 2 + 0 + 14
    assert found.unknown_share == pytest.approx(1 / 24)


def test_a_text_of_just_the_limit_is_not_counted_as_cut(tokenizer):
    assert tokenize(tokenizer, ["a " * 14], None, 16).truncated == 0


def test_a_tokenizer_that_does_not_tell_what_it_cut_is_asked_again(tokenizer):
    class Silent:
        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *args, **kwargs):
            return dict(tokenizer(*args, **kwargs))

    assert tokenize(Silent(), [*TEXTS, "a " * 14], None, 16).truncated == 1


def test_pairs_have_segments(tokenizer):
    found = tokenize(tokenizer, ["good film"], ["bad plot"], 16)
    assert found.type_ids is not None
    assert found.type_ids.tolist() == tokenizer("good film", "bad plot")["token_type_ids"]
    assert found.plain == 4


def test_no_texts_make_no_tokens(tokenizer):
    found = tokenize(tokenizer, [], None, 16)
    assert (len(found), found.truncated_share, found.unknown_share) == (0, 0.0, 0.0)


def test_an_end_token_that_doubles_as_the_unknown_one_does_not_count(tokenizer):
    class LikeGpt2:
        unk_token_id = 3  # [SEP], which ends every text

        def __getattr__(self, name):
            return 3 if name == "eos_token_id" else getattr(tokenizer, name)

    assert module.count_unknown(LikeGpt2(), np.array([3, 3, 5])) == 0


def without_special_tokens():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "good": 2, "film": 3}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", model_max_length=32)


def test_a_text_without_a_token_is_one_unknown_token():
    found = tokenize(without_special_tokens(), ["good film", "  ", "", "film"], None, 8)
    assert found.lengths.tolist() == [2, 1, 1, 1]
    assert found.ids.tolist() == [2, 3, 0, 0, 3]


def test_a_piece_without_a_token_is_one_unknown_token_too():
    pieces = cut(without_special_tokens(), np.array([2, 3, 3], np.int32), np.array([0, 3]), 2)
    assert pieces.tokens.lengths.tolist() == [1, 2, 1]
    assert pieces.tokens.ids.tolist() == [0, 2, 3, 3]
    assert pieces.spread(np.array([7, 8, 9]), -100).tolist() == [-100, 7, 8, 9]
