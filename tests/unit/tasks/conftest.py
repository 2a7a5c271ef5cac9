"""A tokenizer of three words."""

import pytest
from transformers import BertTokenizerFast


@pytest.fixture(scope="session")
def tiny_tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=32)
