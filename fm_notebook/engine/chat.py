"""Conversations as token sequences, by the tokenizer's chat template."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from fm_notebook.engine.causal import Draft, Sequences, Span, gathered, plain_ids, strings
from fm_notebook.engine.pieces import frame
from fm_notebook.engine.tokens import CHUNK, Tokens
from fm_notebook.errors import ModelError

PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}"
    "{{ eos_token if message.role == 'assistant' else '' }}\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Template for tokenizers that come without one: ``User: …``, a line each; EOS ends what the assistant says."""

Conversation = list[dict[str, Any]]


def ensure_template(tokenizer: Any) -> None:
    """Give `tokenizer` the `PLAIN` template if it has none, for good: it is saved with the model that learns it."""
    if not tokenizer.chat_template:
        before, _ = frame(tokenizer)
        bos = "{{ bos_token }}" if tokenizer.bos_token_id is not None and before == [tokenizer.bos_token_id] else ""
        tokenizer.chat_template = bos + PLAIN


def conversations(tokenizer: Any, given: Sequence[str], limit: int, *, assistant_only: bool) -> Sequences:
    """Conversations, each a JSON list of messages; learnt is all, or only what the assistant says and the token that ends it.

    The assistant's turns are those that the template marks by ``{% generation %}``; where it marks none, they are found by
    rendering the conversation up to each turn. Cut on the right at `limit` tokens. See `ensure_template`.

    Raises
    ------
    ModelError
        If the template renders a turn in another way once the conversation goes on, so that it cannot be found.
    """
    ensure_template(tokenizer)
    return gathered(tokenizer, _drafts(tokenizer, given, assistant_only), limit)


def prompts(tokenizer: Any, given: Sequence[str], limit: int) -> Tokens:
    """Conversations to go on from: up to where the assistant is to speak; cut on the left at `limit` tokens."""
    ensure_template(tokenizer)
    rendered = _rendered(tokenizer, [json.loads(each) for each in strings(given)], add_generation_prompt=True)
    return gathered(tokenizer, ((ids, [(0, len(ids))]) for ids in plain_ids(tokenizer, rendered)), limit, head=0).tokens


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token by which the template ends what the assistant says, if it does so by one."""
    if not tokenizer.chat_template:
        return None
    said = "a"
    asked = {"role": "user", "content": said}
    whole = _rendered(tokenizer, [[asked, {"role": "assistant", "content": said}]])[0]
    prompt = _rendered(tokenizer, [[asked]], add_generation_prompt=True)[0]
    rest = whole[len(prompt) :].lstrip().removeprefix(said) if whole.startswith(prompt) else ""
    first = next(iter(plain_ids(tokenizer, [rest])[0]), None) if rest else None
    return first if first in tokenizer.all_special_ids else None


def _drafts(tokenizer: Any, given: Sequence[str], assistant_only: bool) -> Iterator[Draft]:
    marked = assistant_only and "{% generation" in tokenizer.chat_template.replace("{%-", "{%")
    for start in range(0, len(given), CHUNK):
        asked: list[Conversation] = [json.loads(each) for each in strings(given[start : start + CHUNK])]
        if marked:
            yield from _marked(tokenizer, asked)
        elif assistant_only:
            yield from _found(tokenizer, asked)
        else:
            yield from ((ids, [(0, len(ids))]) for ids in plain_ids(tokenizer, _rendered(tokenizer, asked)))


def _rendered(tokenizer: Any, asked: list[Conversation], **options: Any) -> list[str]:
    return tokenizer.apply_chat_template(asked, tokenize=False, **options) if asked else []


def _marked(tokenizer: Any, asked: list[Conversation]) -> Iterator[Draft]:
    found = tokenizer.apply_chat_template(asked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    for ids, mask in zip(found["input_ids"], found["assistant_masks"], strict=True):
        yield ids, [(i, i + 1) for i, learnt in enumerate(mask) if learnt]


def _found(tokenizer: Any, asked: list[Conversation]) -> Iterator[Draft]:
    rendered = _rendered(tokenizer, asked)
    turns = [
        [_turn(tokenizer, messages, i, text) for i, message in enumerate(messages) if message["role"] == "assistant"]
        for messages, text in zip(asked, rendered, strict=True)
    ]
    if not tokenizer.is_fast:  # one written in Python does not tell where its tokens lie
        for ids, text, each in zip(plain_ids(tokenizer, rendered), rendered, turns, strict=True):
            counts = [len(part) for part in plain_ids(tokenizer, [text[:place] for turn in each for place in turn])]
            yield ids, list(zip(counts[::2], counts[1::2], strict=True))
        return
    found = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False)
    for ids, places, each in zip(found["input_ids"], found["offset_mapping"], turns, strict=True):
        yield ids, [_tokens_in(places, turn) for turn in each]


def _tokens_in(places: Sequence[Span], turn: Span) -> Span:
    """The tokens that end within `turn`; one that begins before it holds a letter of it, and is learnt."""
    ends = [stop for _, stop in places]
    return bisect_right(ends, turn[0]), bisect_right(ends, turn[1])


def _turn(tokenizer: Any, messages: Conversation, i: int, text: str) -> Span:
    """Where message `i` begins and ends in `text`, in characters; the white space behind its end is no part of it."""
    try:
        before = _rendered(tokenizer, [messages[:i]], add_generation_prompt=True)[0]
        upto = _rendered(tokenizer, [messages[: i + 1]])[0]
    except Exception as error:  # templates may refuse a conversation that does not begin with the user
        raise ModelError("generation.turns", number=i) from error
    if not (upto.startswith(before) and text.startswith(upto)):
        raise ModelError("generation.turns", number=i)
    return len(before), len(upto.rstrip())
